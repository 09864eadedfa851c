//! One shard: a safetensors file with all views of a block of samples.
//!
//! ```text
//! header      length, then JSON, as safetensors wants it; `__metadata__.index` = xxh3 of the next
//!             two, `__metadata__.origin` = hash of all that the records were computed from
//! ids         u64 [samples]                   rising
//! checksums   u64 [samples, views]            xxh3 of a record's bytes, seeded with (id xor view xor origin)
//! NAME        f32 or f16 [samples, views, …]  the records
//! ```
//! The header is a function of the layout and the index hash alone, so it is compared byte by byte;
//! every record is checked each time it is read. No byte of a shard can change unnoticed, and no
//! shard can stand in another one's place.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_data::SampleId;
use faculty_files::{NewFile, failed};
use half::f16;
use half::slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::kind::{FORMAT, WITHOUT_ORIGIN};
use crate::error::{Result, TeacherError};
use faculty_recipe::CacheDtype;

/// What the records of a set of shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Name of the tensor.
    pub(super) name: String,
    /// Shape of one record.
    pub(super) shape: Vec<usize>,
    pub(super) views: usize,
    pub(super) dtype: CacheDtype,
    /// Hash of everything that the records depend on: teacher, data, views. None of a cache of
    /// version [`WITHOUT_ORIGIN`].
    pub(super) origin: Option<u64>,
}

impl Layout {
    /// Values of a record.
    pub(super) fn values(&self) -> usize {
        self.shape.iter().product()
    }

    fn record_bytes(&self) -> usize {
        self.values() * self.value_bytes()
    }

    fn value_bytes(&self) -> usize {
        match self.dtype {
            CacheDtype::F32 => 4,
            CacheDtype::F16 => 2,
        }
    }

    fn index_bytes(&self, samples: usize) -> usize {
        8 * samples * (1 + self.views)
    }

    /// Size of a shard of `samples` samples.
    pub(super) fn file_bytes(&self, samples: usize) -> u64 {
        let header = self.header_len(samples);
        (header + self.index_bytes(samples) + samples * self.views * self.record_bytes()) as u64
    }

    /// The hash has a fixed width, so the length does not depend on it.
    fn header_len(&self, samples: usize) -> usize {
        self.header(samples, 0).len()
    }

    /// The length and the JSON text, padded to 64 bytes so that all tensors are aligned.
    fn header(&self, samples: usize, index: u64) -> Vec<u8> {
        let ids = 8 * samples;
        let checksums = self.index_bytes(samples);
        let end = checksums + samples * self.views * self.record_bytes();
        let shape: String = self.shape.iter().map(|size| format!(",{size}")).collect();
        let (name, views) = (&self.name, self.views);
        let dtype = match self.dtype {
            CacheDtype::F32 => "F32",
            CacheDtype::F16 => "F16",
        };
        let (format, origin) = match self.origin {
            Some(origin) => (FORMAT, format!(",\"origin\":\"{origin:016x}\"")),
            None => (WITHOUT_ORIGIN, String::new()),
        };
        let mut text = format!(
            "{{\"__metadata__\":{{\"faculty_cache\":\"{format}\",\"index\":\"{index:016x}\"{origin}}},\
             \"checksums\":{{\"data_offsets\":[{ids},{checksums}],\"dtype\":\"U64\",\
             \"shape\":[{samples},{views}]}},\
             \"ids\":{{\"data_offsets\":[0,{ids}],\"dtype\":\"U64\",\"shape\":[{samples}]}},\
             \"{name}\":{{\"data_offsets\":[{checksums},{end}],\"dtype\":\"{dtype}\",\
             \"shape\":[{samples},{views}{shape}]}}}}"
        );
        while !(8 + text.len()).is_multiple_of(64) {
            text.push(' ');
        }
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// Whether `header` is that of a shard of this layout, whatever the hash of its index.
    fn is_of(&self, header: &[u8], samples: usize) -> bool {
        let text = String::from_utf8_lossy(header);
        let index = text.split_once("\"index\":\"").and_then(|(_, rest)| rest.get(..16));
        let index = index.and_then(|index| u64::from_str_radix(index, 16).ok());
        index.is_some_and(|index| self.header(samples, index) == header)
    }

    fn checksum(&self, record: &[u8], id: SampleId, view: usize) -> u64 {
        xxh3_64_with_seed(record, id.0 ^ view as u64 ^ self.origin.unwrap_or(0))
    }
}

/// File name of a block's shard.
pub(super) fn shard_path(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("{block:05}.safetensors"))
}

/// What stands in a shard's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shard {
    There,
    Missing,
    /// A whole file with records of something else.
    OfAnother,
}

/// Whether the shard at `path` is there, by its length and its header; no record is read.
pub(super) fn find(path: &Path, layout: &Layout, samples: usize) -> Result<Shard> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Shard::Missing),
        Err(error) => return Err(failed("read", path)(error).into()),
    };
    let length = file.metadata().map_err(failed("read", path))?.len();
    let expected = layout.file_bytes(samples);
    let mut header = Vec::new();
    let most = layout.header_len(samples) as u64;
    (&mut file).take(most).read_to_end(&mut header).map_err(failed("read", path))?;
    match layout.is_of(&header, samples) {
        true if length == expected => Ok(Shard::There),
        true => Err(damaged(path, format!("it has {length} bytes, {expected} are expected"))),
        false => Ok(Shard::OfAnother),
    }
}

pub(super) fn of_another(path: &Path) -> TeacherError {
    let reason = "it holds records of something else: another teacher, other data or other views";
    damaged(path, reason.to_owned())
}

fn damaged(path: &Path, reason: String) -> TeacherError {
    TeacherError::CacheDamaged { path: path.to_owned(), reason }
}

/// Writes one shard record by record; it gets its name when it is complete.
pub(super) struct ShardWriter<'a> {
    layout: &'a Layout,
    ids: &'a [SampleId],
    path: PathBuf,
    file: BufWriter<NewFile>,
    checksums: Vec<u64>,
    bytes: Vec<u8>,
    halves: Vec<f16>,
}

impl<'a> ShardWriter<'a> {
    pub(super) fn create(path: PathBuf, layout: &'a Layout, ids: &'a [SampleId]) -> Result<Self> {
        let start = layout.header_len(ids.len()) + layout.index_bytes(ids.len());
        let file = NewFile::create(&path)
            .and_then(|mut file| {
                // Header and index come last, when the checksums are known.
                file.seek(SeekFrom::Start(start as u64))?;
                Ok(BufWriter::with_capacity(1 << 20, file))
            })
            .map_err(failed("write", &path))?;
        let checksums = Vec::with_capacity(ids.len() * layout.views);
        let (bytes, halves) = (Vec::new(), Vec::new());
        Ok(Self { layout, ids, path, file, checksums, bytes, halves })
    }

    /// Appends records; they come sample by sample, the views of a sample one after the other.
    pub(super) fn push(&mut self, teacher: &str, values: &[f32]) -> Result<()> {
        for record in values.chunks_exact(self.layout.values()) {
            self.bytes.clear();
            let bad = match self.layout.dtype {
                CacheDtype::F32 => {
                    self.bytes.extend(record.iter().flat_map(|value| value.to_le_bytes()));
                    record.iter().position(|value| !value.is_finite())
                }
                CacheDtype::F16 => {
                    // What is above the largest number of half precision becomes an infinity.
                    self.halves.resize(record.len(), f16::ZERO);
                    self.halves.convert_from_f32_slice(record);
                    self.bytes.extend(self.halves.iter().flat_map(|value| value.to_le_bytes()));
                    self.halves.iter().position(|value| !value.is_finite())
                }
            };
            if let Some(place) = bad {
                return Err(TeacherError::CacheValue {
                    teacher: teacher.to_owned(),
                    what: self.layout.name.clone(),
                    value: record[place],
                    dtype: self.layout.dtype.name(),
                });
            }
            let (sample, view) = (
                self.checksums.len() / self.layout.views,
                self.checksums.len() % self.layout.views,
            );
            self.checksums.push(self.layout.checksum(&self.bytes, self.ids[sample], view));
            self.file.write_all(&self.bytes).map_err(failed("write", &self.path))?;
        }
        Ok(())
    }

    /// Writes header and index, syncs, and gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        assert_eq!(self.checksums.len(), self.ids.len() * self.layout.views, "all records are in");
        let ids = self.ids.iter().map(|id| id.0);
        let index: Vec<u8> =
            ids.chain(self.checksums.iter().copied()).flat_map(u64::to_le_bytes).collect();
        let header = self.layout.header(self.ids.len(), xxh3_64(&index));
        let Self { mut file, path, .. } = self;
        Ok(file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header))
            .and_then(|()| file.write_all(&index))
            .and_then(|()| file.into_inner().map_err(std::io::IntoInnerError::into_error))
            .and_then(NewFile::finish)
            .map_err(failed("write", path))?)
    }
}

/// Reads records of a set of shards by sample id and view, from the page cache where it holds them.
///
/// Positioned reads, not a memory map: a shard that is cut short while it is in use gives an error
/// and not a signal, and they cost under a microsecond (`docs/cache.md`).
#[derive(Debug)]
pub(super) struct ShardReader {
    folder: PathBuf,
    layout: Layout,
    /// Rising.
    ids: Arc<[SampleId]>,
    block: usize,
    files: Vec<Option<File>>,
    /// Lengths of the headers that were checked, with their indices.
    headers: Vec<Option<usize>>,
    /// Open files, oldest first.
    open: VecDeque<usize>,
    most_open: usize,
    bytes: Vec<u8>,
    halves: Vec<u16>,
}

impl ShardReader {
    /// `ids` are all samples of the set; every `block` of them are one shard.
    pub(super) fn new(folder: PathBuf, layout: Layout, ids: Arc<[SampleId]>, block: usize) -> Self {
        let shards = ids.len().div_ceil(block);
        Self {
            folder,
            layout,
            ids,
            block,
            files: (0..shards).map(|_| None).collect(),
            headers: vec![None; shards],
            open: VecDeque::new(),
            most_open: usize::MAX,
            bytes: Vec::new(),
            halves: Vec::new(),
        }
    }

    /// With at most so many files open at a time.
    pub(super) fn with_most_open(mut self, most_open: usize) -> Self {
        self.most_open = most_open.max(1);
        self
    }

    /// Appends the values of one record to `out`.
    pub(super) fn read_into(
        &mut self,
        id: SampleId,
        view: usize,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let position = self.ids.binary_search(&id).ok().filter(|_| view < self.layout.views);
        let Some(position) = position else {
            return Err(TeacherError::CacheIncomplete {
                path: self.folder.clone(),
                what: format!("view {view} of sample {id}"),
            });
        };
        let (shard, row) = (position / self.block, position % self.block);
        let header = self.open(shard)?;
        let samples = self.samples(shard).len();
        let record = row * self.layout.views + view;
        let checksum_at = header + 8 * (samples + record);
        let start = header + self.layout.index_bytes(samples) + record * self.layout.record_bytes();
        let path = shard_path(&self.folder, shard);
        let file = self.files[shard].as_ref().expect("opened above");
        let mut expected = [0; 8];
        self.bytes.resize(self.layout.record_bytes(), 0);
        read_at(file, &mut expected, checksum_at as u64)
            .and_then(|()| read_at(file, &mut self.bytes, start as u64))
            .map_err(|error| cut_or_io(&path, error))?;
        if self.layout.checksum(&self.bytes, id, view) != u64::from_le_bytes(expected) {
            let reason = format!("view {view} of sample {id} does not have its checksum");
            return Err(damaged(&path, reason));
        }
        match self.layout.dtype {
            CacheDtype::F32 => {
                let (values, _) = self.bytes.as_chunks::<4>();
                out.extend(values.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            CacheDtype::F16 => {
                let (values, _) = self.bytes.as_chunks::<2>();
                self.halves.clear();
                self.halves.extend(values.iter().map(|&bytes| u16::from_le_bytes(bytes)));
                // All at once: one by one costs twice the time of reading them.
                let halves: &[f16] = self.halves.reinterpret_cast();
                let start = out.len();
                out.resize(start + halves.len(), 0.0);
                halves.convert_to_f32_slice(&mut out[start..]);
            }
        }
        Ok(())
    }

    fn samples(&self, shard: usize) -> &[SampleId] {
        let start = shard * self.block;
        &self.ids[start..self.ids.len().min(start + self.block)]
    }

    fn missing(&self, shard: usize) -> TeacherError {
        TeacherError::CacheIncomplete { path: self.folder.clone(), what: format!("shard {shard}") }
    }

    /// Opens a shard, checks it the first time, and gives the length of its header.
    fn open(&mut self, shard: usize) -> Result<usize> {
        if let (Some(header), Some(_)) = (self.headers[shard], &self.files[shard]) {
            return Ok(header);
        }
        let path = shard_path(&self.folder, shard);
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.missing(shard),
            _ => failed("read", &path)(error).into(),
        })?;
        let header = match self.headers[shard] {
            Some(header) => header,
            None => self.check(shard, &path, &file)?,
        };
        self.headers[shard] = Some(header);
        if self.open.len() >= self.most_open
            && let Some(oldest) = self.open.pop_front()
        {
            self.files[oldest] = None;
        }
        self.files[shard] = Some(file);
        self.open.push_back(shard);
        Ok(header)
    }

    /// Length, header and index.
    fn check(&self, shard: usize, path: &Path, file: &File) -> Result<usize> {
        let samples = self.samples(shard);
        match find(path, &self.layout, samples.len())? {
            Shard::There => {}
            Shard::Missing => return Err(self.missing(shard)),
            Shard::OfAnother => return Err(of_another(path)),
        }
        let mut header = vec![0; self.layout.header_len(samples.len())];
        let mut index = vec![0; self.layout.index_bytes(samples.len())];
        read_at(file, &mut header, 0)
            .and_then(|()| read_at(file, &mut index, header.len() as u64))
            .map_err(|error| cut_or_io(path, error))?;
        if header != self.layout.header(samples.len(), xxh3_64(&index)) {
            return Err(damaged(path, "its header or its index was changed".to_owned()));
        }
        let ids = samples.iter().flat_map(|id| id.0.to_le_bytes());
        if !index.iter().copied().take(8 * samples.len()).eq(ids) {
            return Err(damaged(path, "it holds other samples".to_owned()));
        }
        Ok(header.len())
    }
}

fn cut_or_io(path: &Path, error: std::io::Error) -> TeacherError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged(path, "it was cut short".to_owned()),
        _ => failed("read", path)(error).into(),
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}
