//! Safetensors in and out.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use faculty_zip::Extent;
use half::{bf16, f16};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};

use super::contents::{Contents, Stored};
use super::state_dict::{Array, StateDict, is_counter};
use crate::error::{Error, Result};

/// The one storage of such a file.
const DATA: &str = "";

/// Reads any safetensors file with its metadata, without the checks for weights.
///
/// # Errors
/// When it cannot be read or holds something other than numbers.
pub fn read_safetensors(path: &Path) -> Result<(StateDict, HashMap<String, String>)> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse_safetensors(path, &bytes)
}

/// The same from memory; `path` only names the source in errors.
///
/// # Errors
/// When the bytes are no safetensors or hold something other than numbers.
pub fn parse_safetensors(
    path: &Path,
    bytes: &[u8],
) -> Result<(StateDict, HashMap<String, String>)> {
    let damaged = |source| Error::Safetensors { path: path.to_owned(), source };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut state = StateDict::new();
    for (name, view) in file.iter() {
        if is_counter(name) {
            continue;
        }
        let values = match view.dtype() {
            Dtype::F32 => le_values(view.data(), f32::from_le_bytes),
            Dtype::F64 => le_values(view.data(), |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => le_values(view.data(), |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => le_values(view.data(), |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I64 => le_values(view.data(), |b| i64::from_le_bytes(b) as f32),
            Dtype::I32 => le_values(view.data(), |b| i32::from_le_bytes(b) as f32),
            other => {
                return Err(Error::TensorType {
                    path: path.to_owned(),
                    tensor: name.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        state.insert(name.to_owned(), Array { shape: view.shape().to_vec(), values });
    }
    Ok((state, metadata))
}

fn le_values<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| decode(chunk)).collect()
}

/// The metadata of a safetensors file, of which only the header is read; nothing for other files.
///
/// # Errors
/// When the file cannot be read.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let (mut file, length) = super::opened::open(path)?;
    let start = super::opened::start(&mut file).map_err(read_error)?;
    if !is_safetensors(&start) {
        return Ok(HashMap::new());
    }
    Ok(header(path, &mut file, length)?.1.metadata().clone().unwrap_or_default())
}

/// A safetensors file starts with the header's length and then the header's JSON; no pickle, zip or
/// tar file has a brace there.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    start.get(8) == Some(&b'{')
}

/// Where the data begin, and what the header says; its offsets and shapes fit each other then.
fn header(path: &Path, file: &mut File, length: u64) -> Result<(u64, Metadata)> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    file.read_exact(&mut size).map_err(read_error)?;
    let size = u64::from_le_bytes(size);
    if size > length - 8 {
        return Err(Error::CutShort { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).map_err(read_error)?;
    let header = serde_json::from_slice(&bytes).map_err(|source| Error::Safetensors {
        path: path.to_owned(),
        source: SafeTensorError::InvalidHeaderDeserialization(source),
    })?;
    Ok((8 + size, header))
}

/// The tensors of a safetensors file.
pub(super) fn open(path: &Path, file: &mut File, length: u64) -> Result<Contents> {
    let (offset, header) = header(path, file, length)?;
    let data = header.data_len() as u64;
    match (length - offset).cmp(&data) {
        std::cmp::Ordering::Less => return Err(Error::CutShort { path: path.to_owned() }),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => {
            let problem = format!("{} bytes follow its tensors", length - offset - data);
            return Err(Error::Damaged { path: path.to_owned(), problem });
        }
    }
    let mut contents = Contents::default();
    let extent = Extent { offset, length: data, deflated: None, crc32: None };
    contents.storages.insert(DATA.to_owned(), extent);
    for (name, info) in header.tensors() {
        let dtype = match info.dtype {
            Dtype::F32 => "float32".to_owned(),
            Dtype::F64 => "float64".to_owned(),
            Dtype::F16 => "float16".to_owned(),
            Dtype::BF16 => "bfloat16".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let (shape, start) = (info.shape.clone(), info.data_offsets.0 as u64);
        let stored = Stored { dtype, shape, strides: None, storage: DATA.to_owned(), start };
        contents.tensors.insert(name, stored);
    }
    Ok(contents)
}

pub(super) fn to_bytes(
    path: &Path,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let bytes: Vec<Vec<u8>> = state
        .values()
        .map(|array| array.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let damaged = |source| Error::Safetensors { path: path.to_owned(), source };
    let views = state
        .iter()
        .zip(&bytes)
        .map(|((name, array), data)| {
            TensorView::new(Dtype::F32, array.shape.clone(), data).map(|view| (name, view))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(damaged)?;
    let metadata = (!metadata.is_empty())
        .then(|| metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<HashMap<_, _>>());
    let mut file = safetensors::serialize(views, metadata).map_err(damaged)?;
    sort_header(&mut file);
    Ok(file)
}

/// Sorts the names in a safetensors header: the library writes metadata in the random order of a
/// hash map, and equal networks must give equal files.
fn sort_header(file: &mut [u8]) {
    let (length, rest) = file.split_at_mut(8);
    let length = u64::from_le_bytes(length.try_into().expect("split at eight bytes")) as usize;
    let header = &mut rest[..length];
    let sorted =
        serde_json::from_slice::<BTreeMap<String, BTreeMap<String, serde_json::Value>>>(header)
            .ok()
            .and_then(|names| serde_json::to_vec(&names).ok())
            .filter(|sorted| sorted.len() <= length)
            .expect("the header was just written by the library as an object of objects");
    let (text, padding) = header.split_at_mut(sorted.len());
    text.copy_from_slice(&sorted);
    padding.fill(b' ');
}
