//! NumPy's `.npz` with the arrays of a data set: MedMNIST, and Keras' `mnist.npz`.
//!
//! ```text
//! train_images, train_labels, val_images, val_labels, test_images, test_labels      MedMNIST
//! x_train, y_train, x_test, y_test                                                  Keras
//! images, labels                                       the same of one split, which is trained on
//! ```
//!
//! Images are bytes, `[n, height, width]`, `[n, height, width, channels]` or
//! `[n, channels, height, width]` with 1 or 3 channels; labels are whole numbers, `[n]` or `[n, 1]`. A
//! split whose labels are all -1 has none. The path is that of the file, or of a folder with one such
//! file. Classes are numbers up to the highest label.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use faculty_zip::Member;

use crate::bounds::{OF_A_DATASET, check_justified};
use crate::files::{FileRoot, open_regular};
use crate::findings::Findings;
use crate::listing::list;
use crate::npy::{Header, numbers};
use crate::splits::choice::choose;
use crate::splits::{Chosen, Splits};
use crate::{DataError, Dataset, Format, ImageSet, ReadOptions};

/// What arrays of images and of labels are called, beside the name of their split.
const IMAGES: [&str; 4] = ["images", "image", "x", "data"];
const LABELS: [&str; 5] = ["labels", "label", "y", "targets", "target"];

/// The label of a sample that has none.
const UNLABELLED: i64 = -1;

/// Whether a path is called like such a file.
pub(crate) fn is_called_so(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"))
}

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    Ok(!locate(path)?.is_empty())
}

/// The file itself, or those in a folder that hold images and labels to train on.
fn locate(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = list(path)?.into_iter().filter(|entry| !entry.is_dir && is_called_so(&entry.path));
    let holds_data = |path: &PathBuf| {
        let Ok((mut file, length)) = open_regular(path) else { return false };
        let members = faculty_zip::members(&mut file, length);
        members.is_ok_and(|members| members.is_some_and(|members| !arrays(&members).0.is_empty()))
    };
    Ok(files.map(|entry| entry.path).filter(holds_data).collect())
}

/// Images and labels of one split.
#[derive(Clone, Copy, Default)]
struct Arrays<'a> {
    images: Option<&'a Member>,
    labels: Option<&'a Member>,
}

/// The arrays of each split, and the names of those that belong to none.
fn arrays(members: &[Member]) -> (BTreeMap<String, Arrays<'_>>, Vec<&str>) {
    let mut splits: BTreeMap<String, Arrays<'_>> = BTreeMap::new();
    let mut others = Vec::new();
    for member in members {
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name);
        let halves = name.split_once('_').into_iter().flat_map(|(a, b)| [(a, b), (b, a)]);
        let is = |what: &str, known: &[&str]| known.iter().any(|k| k.eq_ignore_ascii_case(what));
        let found = halves.into_iter().find(|(what, _)| is(what, &IMAGES) || is(what, &LABELS));
        match found {
            Some((what, split)) => {
                let arrays = splits.entry(split.to_owned()).or_default();
                let place = if is(what, &IMAGES) { &mut arrays.images } else { &mut arrays.labels };
                *place = Some(member);
            }
            None => others.push((name, member)),
        }
    }
    // Names without a split are those of the training split, where nothing else is.
    if splits.is_empty() {
        let named = |known: &[&str]| {
            let is = |(name, _): &(&str, _)| known.iter().any(|k| k.eq_ignore_ascii_case(name));
            let found: Vec<&Member> =
                others.iter().filter(|one| is(one)).map(|one| one.1).collect();
            if let [only] = found.as_slice() { Some(*only) } else { None }
        };
        if let (Some(images), Some(labels)) = (named(&IMAGES), named(&LABELS)) {
            others.retain(|(_, member)| member.name != images.name && member.name != labels.name);
            let arrays = Arrays { images: Some(images), labels: Some(labels) };
            splits.insert("train".to_owned(), arrays);
        }
    }
    (splits, others.into_iter().map(|(name, _)| name).collect())
}

/// Reads the data set in a file, or in a folder with one such file.
///
/// # Errors
/// A file that is no whole `.npz`, arrays of other types and shapes, labels without a class:
/// [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let file_path = match locate(path)?.as_slice() {
        [file] => file.clone(),
        [] => return Err(DataError::MissingFile { path: path.join("*.npz") }),
        several => {
            return Err(DataError::SeveralDatasets {
                path: path.to_owned(),
                folders: several.iter().map(|file| format!("`{}`", file.display())).collect(),
            });
        }
    };
    let (mut file, length) = FileRoot::new(path, options.follow_links)?.open(&file_path)?;
    let io = |source| DataError::Io { path: file_path.clone(), source };
    let members = faculty_zip::members(&mut file, length).map_err(io)?.ok_or_else(|| {
        let fix = "its download was perhaps cut: fetch it again";
        problem(&file_path, "it is no zip file, or cut short", fix)
    })?;
    let (arrays, others) = arrays(&members);
    let mut findings = Findings::default();
    if !others.is_empty() {
        let named: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
        findings.notes.push(format!("not used of the file: {}", named.join(", ")));
    }
    let names: Vec<String> = arrays.keys().cloned().collect();
    let chosen = choose(path, &names, options, &mut findings.notes)?;
    let mut reader = Reader { path: &file_path, file, length };
    let mut read = |split: &Chosen| {
        let arrays = arrays.get(&split.name).ok_or_else(|| split.missing(path, &names))?;
        let images = reader.images(&split.name, *arrays)?;
        let labels = reader.labels(&split.name, *arrays)?;
        if labels.iter().all(|&label| label == UNLABELLED) && !labels.is_empty() {
            return split.unlabelled(&file_path, &mut findings.notes);
        }
        let [channels, height, width] = images.shape;
        let count = images.pixels.len() / (channels * height * width);
        if labels.len() != count {
            let text = format!("{count} images of `{}`, but {} labels", split.name, labels.len());
            return Err(problem(&file_path, text, "save images and labels of the same samples"));
        }
        Ok(Some((images, labels)))
    };
    let train =
        read(&chosen.train)?.ok_or_else(|| DataError::NoImages { path: file_path.clone() })?;
    let mut other = |split: &Option<Chosen>| split.as_ref().map_or(Ok(None), &mut read);
    let validation = other(&chosen.validation)?;
    let test = other(&chosen.test)?;
    let splits = Splits { train, validation, test };

    let lowest = splits.train.1.iter().copied().filter(|&label| label >= 0).min().unwrap_or(0);
    if options.classes.is_none() && options.first_label.is_none() && lowest > 0 {
        return Err(DataError::LabelsStartAt { path: file_path, first: lowest.unsigned_abs() });
    }
    let first = i64::from(options.first_label.unwrap_or(0));
    let highest = splits.iter().flat_map(|(_, labels)| labels).copied().max().unwrap_or(0);
    let classes = match &options.classes {
        Some(names) => names.clone(),
        None => (first..=highest.max(first)).map(|label| label.to_string()).collect(),
    };
    let splits = splits.try_map(|(images, labels)| {
        let labels = numbered(&labels, first, classes.len(), &file_path)?;
        let [channels, height, width] = images.shape;
        ImageSet::new(channels, height, width, images.pixels, labels)
    })?;
    Dataset::assemble(path, Format::Npz, classes, splits, findings)
}

/// Classes from 0, of which there are `classes`.
fn numbered(
    labels: &[i64],
    first: i64,
    classes: usize,
    path: &Path,
) -> Result<Vec<u32>, DataError> {
    let class = |(row, &label): (usize, &i64)| {
        let class = label.checked_sub(first).and_then(|class| u32::try_from(class).ok());
        class.filter(|&class| (class as usize) < classes).ok_or_else(|| {
            DataError::LabelOutOfRange { path: path.to_owned(), row: row as u64, label, classes }
        })
    };
    labels.iter().enumerate().map(class).collect()
}

/// Pictures of one split.
struct Images {
    /// Channels, height and width.
    shape: [usize; 3],
    /// `[n, channels, height, width]`.
    pixels: Vec<u8>,
}

fn problem(path: &Path, problem: impl Into<String>, fix: &str) -> DataError {
    DataError::Arrays { path: path.to_owned(), problem: problem.into(), fix: fix.to_owned() }
}

struct Reader<'a> {
    path: &'a Path,
    file: File,
    length: u64,
}

impl Reader<'_> {
    /// An array in row order: its header, and its values alone.
    fn array(&mut self, member: &Member) -> Result<(Header, Vec<u8>), DataError> {
        let (path, name) = (self.path, &member.name);
        let wrong = |what: String| problem(path, what, "write it again with `np.savez_compressed`");
        let extent = member
            .extent(&mut self.file, self.length)
            .map_err(|source| DataError::Io { path: path.to_owned(), source })?
            .ok_or_else(|| {
                wrong(format!("`{name}` in it is misplaced, encrypted or oddly packed"))
            })?;
        check_justified(path, self.length, extent.length, OF_A_DATASET)?;
        let mut bytes = extent
            .read(&mut self.file, 0, extent.length)
            .map_err(|error| wrong(format!("`{name}` in it cannot be read: {error}")))?;
        let header =
            Header::read(&bytes).map_err(|what| wrong(format!("`{name}` in it is {what}")))?;
        if header.fortran_order && header.shape.len() > 1 {
            let fix = "save `np.ascontiguousarray(…)`";
            return Err(problem(path, format!("`{name}` in it is in column order"), fix));
        }
        bytes.drain(..header.data.start);
        Ok((header, bytes))
    }

    fn images(&mut self, split: &str, arrays: Arrays<'_>) -> Result<Images, DataError> {
        let path = self.path;
        let Some(member) = arrays.images else {
            let fix = "give each split an array of images and one of labels";
            return Err(problem(path, format!("it has labels of `{split}`, but no images"), fix));
        };
        let (header, bytes) = self.array(member)?;
        let (name, shape) = (&member.name, &header.shape);
        if header.descr != "|u1" {
            let text = format!("`{name}` in it holds numbers of type `{}`", header.descr);
            return Err(problem(
                path,
                text,
                "store pixels as they are, bytes from 0 to 255 (`uint8`)",
            ));
        }
        let layout = match *shape.as_slice() {
            [n, height, width] => Some((n, [1, height, width], false)),
            [n, height, width, channels @ (1 | 3)] => Some((n, [channels, height, width], true)),
            [n, channels @ (1 | 3), height, width] => Some((n, [channels, height, width], false)),
            _ => None,
        };
        let Some((n, size, interleaved)) = layout else {
            let text = format!("`{name}` in it has the shape {shape:?}");
            let fix = "pictures are [n, height, width], perhaps with 1 or 3 channels in the second or \
                       last place; volumes and rows of pixels are not read";
            return Err(problem(path, text, fix));
        };
        if header.values() != Some(bytes.len()) {
            let text =
                format!("`{name}` in it has the shape {shape:?}, but {} values", bytes.len());
            return Err(problem(path, text, "its download was perhaps cut: fetch it again"));
        }
        if n == 0 || size.contains(&0) {
            return Err(DataError::NoImages { path: path.to_owned() });
        }
        let pixels = if interleaved && size[0] == 3 {
            let planes = |picture: &[u8]| {
                (0..3).flat_map(|c| picture.iter().skip(c).step_by(3).copied()).collect::<Vec<_>>()
            };
            bytes.chunks_exact(size.iter().product()).flat_map(planes).collect()
        } else {
            bytes
        };
        Ok(Images { shape: size, pixels })
    }

    fn labels(&mut self, split: &str, arrays: Arrays<'_>) -> Result<Vec<i64>, DataError> {
        let path = self.path;
        let Some(member) = arrays.labels else {
            let fix = "leave the split out, for example with `test = \"none\"`, or add its labels";
            return Err(problem(path, format!("it has images of `{split}`, but no labels"), fix));
        };
        let (header, bytes) = self.array(member)?;
        let (name, shape) = (&member.name, &header.shape);
        let rows = match *shape.as_slice() {
            [n] | [n, 1] => n,
            _ => {
                let text = format!("`{name}` in it has the shape {shape:?}");
                let fix = "faculty learns one class a sample, [n] or [n, 1]: of one-hot labels save \
                           `labels.argmax(1)`; several labels a sample are not read";
                return Err(problem(path, text, fix));
            }
        };
        let labels: Vec<i64> = match header.descr.as_str() {
            "|u1" | "|b1" => bytes.iter().map(|&label| label.into()).collect(),
            "|i1" => bytes.iter().map(|&label| label.cast_signed().into()).collect(),
            "<u2" => numbers(&bytes, |b| u16::from_le_bytes(b).into()),
            "<i2" => numbers(&bytes, |b| i16::from_le_bytes(b).into()),
            "<u4" => numbers(&bytes, |b| u32::from_le_bytes(b).into()),
            "<i4" => numbers(&bytes, |b| i32::from_le_bytes(b).into()),
            "<i8" => numbers(&bytes, i64::from_le_bytes),
            // Too large for any class either way.
            "<u8" => numbers(&bytes, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            other => {
                let text = format!("`{name}` in it holds values of type `{other}`");
                let fix =
                    "store labels as whole numbers from 0, little-endian (`labels.astype('<i8')`)";
                return Err(problem(path, text, fix));
            }
        };
        if labels.len() != rows {
            let text =
                format!("`{name}` in it has the shape {shape:?}, but {} values", labels.len());
            return Err(problem(path, text, "its download was perhaps cut: fetch it again"));
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests;
