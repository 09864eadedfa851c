//! IDX: the format of MNIST, Fashion-MNIST and KMNIST.
//!
//! ```text
//! train-images-idx3-ubyte[.gz]   0x00000803, count, height, width (big-endian u32), then count * height * width bytes
//! train-labels-idx1-ubyte[.gz]   0x00000801, count, then count bytes
//! t10k-images-idx3-ubyte[.gz], t10k-labels-idx1-ubyte[.gz]   the test split, may be absent; also as `test-…`
//! classes.txt                    class names, one a line; may be absent, then the classes are "0" to "9"
//! ```
//!
//! A dot for the second hyphen (`train-images.idx3-ubyte`) is accepted. Compressed content is recognised
//! by its first two bytes. The files may lie in `raw/` or `MNIST/raw/`, where torchvision puts them.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::bounds::{OF_A_PICTURE, check_justified};
use crate::classes::{check_class_names, check_labels, read_class_names};
use crate::files::FileRoot;
use crate::findings::Findings;
use crate::listing::list;
use crate::splits::choice::choose;
use crate::{DataError, Dataset, Format, ImageSet, ReadOptions};

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;

/// The most bytes that one byte of deflate can give (a run of 258 bytes in two bits).
const DEFLATE_RATIO: u64 = 1032;

/// The contents of the files of a dataset, plain or gzip.
#[derive(Clone, Copy, Debug)]
pub struct IdxBytes<'a> {
    /// `train-images-idx3-ubyte`.
    pub train_images: &'a [u8],
    /// `train-labels-idx1-ubyte`.
    pub train_labels: &'a [u8],
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    pub test: Option<(&'a [u8], &'a [u8])>,
}

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(!locate(path)?.is_empty())
}

/// The folders with a training split: `path`, its `raw/`, else those of its subfolders, as
/// torchvision leaves `MNIST/raw/`.
fn locate(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let trains = |folder: &PathBuf| find(folder, "train", "images", 3).is_some();
    let here = [path.to_owned(), path.join("raw")];
    if let Some(folder) = here.into_iter().find(trains) {
        return Ok(vec![folder]);
    }
    let folders = list(path)?.into_iter().filter(|entry| entry.is_dir);
    let places = folders.flat_map(|entry| [entry.path.join("raw"), entry.path]);
    Ok(places.filter(trains).collect())
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// A missing, truncated or foreign file, a header that the file cannot hold, or a label without a
/// class: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let folder = match locate(path)?.as_slice() {
        [folder] => folder.clone(),
        [] => {
            return Err(DataError::MissingFile { path: path.join("train-images-idx3-ubyte.gz") });
        }
        several => {
            return Err(DataError::SeveralDatasets {
                path: path.to_owned(),
                folders: several.iter().map(|folder| format!("`{}`", folder.display())).collect(),
            });
        }
    };
    let files = FileRoot::new(path, options.follow_links)?;
    let names: Vec<String> = ["train", "t10k", "test"]
        .into_iter()
        .filter(|name| {
            let there = |what, dimensions| find(&folder, name, what, dimensions).is_some();
            there("images", 3) || there("labels", 1)
        })
        .map(str::to_owned)
        .collect();
    let mut findings = Findings::default();
    let chosen = choose(path, &names, options, &mut findings.notes)?;
    let names_file = folder.join("classes.txt");
    let (classes, named) = match &options.classes {
        Some(classes) => (classes.clone(), true),
        None if names_file.exists() => (read_class_names(&files, &names_file)?, true),
        None => (digits(), false),
    };
    let splits = chosen.try_map(|split| {
        if !names.contains(&split.name) {
            return Err(split.missing(path, &names));
        }
        let file = |what: &str, dimensions| {
            find(&folder, &split.name, what, dimensions).ok_or_else(|| {
                let name = format!("{}-{what}-idx{dimensions}-ubyte.gz", split.name);
                DataError::MissingFile { path: folder.join(name) }
            })
        };
        let open = |path: &Path| Source::open(&files, path);
        let images = open(&file("images", 3)?)?;
        read_part(images, open(&file("labels", 1)?)?, classes.len(), options.first_label)
    })?;
    // Letters count from 1, and their `a` is no digit.
    if let (Some(&first), false, None) =
        (splits.train.labels().iter().min(), named, options.first_label)
        && first > 0
    {
        return Err(DataError::LabelsStartAt { path: folder, first: first.into() });
    }
    Dataset::assemble(path, Format::Idx, classes, splits, findings)
}

/// Reads a dataset from memory, such as one that is part of the program; without `classes` they are
/// "0" to "9".
///
/// # Errors
/// As [`read`], with the usual file names as paths.
pub fn from_bytes(
    name: &str,
    files: IdxBytes<'_>,
    classes: Option<&[String]>,
) -> Result<Dataset, DataError> {
    let classes = classes.map_or_else(digits, <[String]>::to_vec);
    check_class_names(&classes, Path::new(name))?;
    let load = |part: &str, images, labels| {
        read_part(
            Source::memory(format!("{name}/{part}-images-idx3-ubyte"), images),
            Source::memory(format!("{name}/{part}-labels-idx1-ubyte"), labels),
            classes.len(),
            None,
        )
    };
    let train = load("train", files.train_images, files.train_labels)?;
    let test = files.test.map(|(images, labels)| load("t10k", images, labels)).transpose()?;
    Dataset::new(name, Format::Idx, classes, train, test)
}

fn digits() -> Vec<String> {
    (0..10).map(|digit| digit.to_string()).collect()
}

fn find(folder: &Path, prefix: &str, what: &str, dimensions: u8) -> Option<PathBuf> {
    let names = ["-", "."].into_iter().flat_map(move |dot| {
        ["", ".gz"].map(|gz| format!("{prefix}-{what}{dot}idx{dimensions}-ubyte{gz}"))
    });
    names.map(|name| folder.join(name)).find(|path| path.is_file())
}

/// A file or bytes, with their length as stored.
struct Source<'a> {
    path: PathBuf,
    stored: u64,
    bytes: Box<dyn Read + 'a>,
}

impl<'a> Source<'a> {
    fn open(files: &FileRoot, path: &Path) -> Result<Self, DataError> {
        let (file, stored) = files.open(path)?;
        Ok(Self { path: path.to_owned(), stored, bytes: Box::new(io::BufReader::new(file)) })
    }

    fn memory(path: String, bytes: &'a [u8]) -> Self {
        Self { path: path.into(), stored: bytes.len() as u64, bytes: Box::new(bytes) }
    }

    /// Reads the header and exactly the bytes that it announces, which the stored length must be
    /// able to hold.
    fn content<const D: usize>(
        self,
        magic: u32,
    ) -> Result<([u32; D], Vec<u8>, PathBuf), DataError> {
        let stored = self.stored;
        let mut stream = Stream::start(self)?;
        let header_len = 4 * (D as u64 + 1);
        let found = big_endian(&stream.read_exact(4, header_len)?);
        if found != magic {
            let (path, expected) = (stream.path, magic);
            return Err(DataError::WrongMagic { path, expected, found });
        }
        let header = stream.read_exact(header_len - 4, header_len)?;
        let mut sizes = [0; D];
        for (size, bytes) in sizes.iter_mut().zip(header.chunks_exact(4)) {
            *size = big_endian(bytes);
        }
        let path = stream.path.clone();
        match sizes.iter().position(|&size| size == 0) {
            None => {}
            Some(0) => return Err(DataError::NoImages { path }),
            Some(1) => {
                return Err(DataError::BadHeader { path, field: "height", found: 0 });
            }
            Some(_) => {
                return Err(DataError::BadHeader { path, field: "width", found: 0 });
            }
        }
        // Too large for u64 is too large for any file.
        let end = sizes
            .iter()
            .try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)))
            .and_then(|length| length.checked_add(header_len))
            .unwrap_or(u64::MAX);
        if end > stream.most {
            return Err(truncated(&path, end, stream.most));
        }
        check_justified(&path, stored, end, OF_A_PICTURE)?;
        let content = stream.read_exact(end - header_len, end)?;
        // This also checks the checksum of gzip, which comes last.
        if !stream.read_up_to(1)?.is_empty() {
            return Err(DataError::TooLong { path, expected: end });
        }
        Ok((sizes, content, path))
    }
}

/// The plain bytes of a source, decompressed if they are gzip.
struct Stream<'a> {
    path: PathBuf,
    gzip: bool,
    /// The most bytes that can be in it.
    most: u64,
    position: u64,
    bytes: Box<dyn Read + 'a>,
}

impl<'a> Stream<'a> {
    fn start(source: Source<'a>) -> Result<Self, DataError> {
        let Source { path, stored, bytes } = source;
        let mut plain = Self { path, gzip: false, most: stored, position: 0, bytes };
        let start = plain.read_up_to(2)?;
        let gzip = start == [0x1f, 0x8b];
        let whole = io::Cursor::new(start).chain(plain.bytes);
        let (most, bytes): (u64, Box<dyn Read + 'a>) = if gzip {
            (stored.saturating_mul(DEFLATE_RATIO), Box::new(MultiGzDecoder::new(whole)))
        } else {
            (stored, Box::new(whole))
        };
        Ok(Self { path: plain.path, gzip, most, position: 0, bytes })
    }

    /// Fewer bytes at the end. `length` is at most `most`, so the file justifies the allocation.
    fn read_up_to(&mut self, length: u64) -> Result<Vec<u8>, DataError> {
        let mut buffer = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let result = self.bytes.by_ref().take(length).read_to_end(&mut buffer);
        self.position += buffer.len() as u64;
        match result {
            Ok(_) => Ok(buffer),
            Err(source) => {
                let (path, position) = (self.path.clone(), self.position);
                Err(match self.gzip {
                    true => DataError::Gzip { path, position, source },
                    false => DataError::Io { path, source },
                })
            }
        }
    }

    fn read_exact(&mut self, length: u64, goal: u64) -> Result<Vec<u8>, DataError> {
        let bytes = self.read_up_to(length)?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        Err(truncated(&self.path, goal, self.position))
    }
}

fn truncated(path: &Path, expected: u64, found: u64) -> DataError {
    DataError::Truncated { path: path.to_owned(), record: None, expected, found }
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

fn read_part(
    images: Source<'_>,
    labels: Source<'_>,
    classes: usize,
    first_label: Option<u32>,
) -> Result<ImageSet, DataError> {
    let ([image_count, height, width], pixels, images_path) = images.content::<3>(IMAGES_MAGIC)?;
    let ([label_count], labels, labels_path) = labels.content::<1>(LABELS_MAGIC)?;
    if image_count != label_count {
        return Err(DataError::CountsDiffer {
            images_path,
            images: image_count.into(),
            labels_path,
            labels: label_count.into(),
        });
    }
    // Below the first one wraps to a number that no class has.
    let first = first_label.unwrap_or(0);
    let labels: Vec<u32> =
        labels.into_iter().map(|label| u32::from(label).wrapping_sub(first)).collect();
    check_labels(&labels, classes, &labels_path)?;
    ImageSet::new(1, height as usize, width as usize, pixels, labels)
}

/// The content of an image file, compressed: equal sets give equal bytes (no time, no name in the
/// gzip header).
///
/// # Errors
/// [`DataError::OutOfRange`] if the images are not grey or there are 2^32 or more.
pub fn images_gz(set: &ImageSet) -> Result<Vec<u8>, DataError> {
    if set.channels() != 1 {
        return Err(DataError::OutOfRange {
            name: "the number of channels",
            found: set.channels().to_string(),
            range: "1 for IDX".to_owned(),
        });
    }
    gzip(IMAGES_MAGIC, &[set.len(), set.height(), set.width()], set.pixels())
}

/// The content of a label file, compressed: equal sets give equal bytes.
///
/// # Errors
/// [`DataError::OutOfRange`] if a label is above 255 or there are 2^32 or more.
pub fn labels_gz(set: &ImageSet) -> Result<Vec<u8>, DataError> {
    let byte = |&label: &u32| {
        u8::try_from(label).ok().ok_or_else(|| DataError::OutOfRange {
            name: "a label",
            found: label.to_string(),
            range: "at most 255 for IDX".to_owned(),
        })
    };
    let labels = set.labels().iter().map(byte).collect::<Result<Vec<u8>, _>>()?;
    gzip(LABELS_MAGIC, &[set.len()], &labels)
}

fn gzip(magic: u32, sizes: &[usize], content: &[u8]) -> Result<Vec<u8>, DataError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let mut header = magic.to_be_bytes().to_vec();
    for &size in sizes {
        let size = u32::try_from(size).ok().ok_or_else(|| DataError::OutOfRange {
            name: "a size",
            found: size.to_string(),
            range: "below 2^32 for IDX".to_owned(),
        })?;
        header.extend(size.to_be_bytes());
    }
    let written = encoder.write_all(&header).and_then(|()| encoder.write_all(content));
    Ok(written.and_then(|()| encoder.finish()).expect("writing to memory cannot fail"))
}

/// Writes a dataset as four compressed files (two without a test split) and `classes.txt` to
/// `folder`, which is made if needed.
///
/// # Errors
/// What [`images_gz`] and [`labels_gz`] refuse; [`DataError::Io`].
pub fn write(
    folder: &Path,
    train: &ImageSet,
    test: Option<&ImageSet>,
    classes: &[String],
) -> Result<(), DataError> {
    fs::create_dir_all(folder)
        .map_err(|source| DataError::Io { path: folder.to_owned(), source })?;
    let save = |name: &str, bytes: &[u8]| {
        let (path, partial) = (folder.join(name), folder.join(format!("{name}.partial")));
        // Under its name a file is always whole.
        fs::write(&partial, bytes)
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|source| DataError::Io { path, source })
    };
    for (part, set) in [("train", Some(train)), ("t10k", test)] {
        if let Some(set) = set {
            save(&format!("{part}-images-idx3-ubyte.gz"), &images_gz(set)?)?;
            save(&format!("{part}-labels-idx1-ubyte.gz"), &labels_gz(set)?)?;
        }
    }
    save("classes.txt", (classes.join("\n") + "\n").as_bytes())
}

#[cfg(test)]
mod tests;
