//! State dicts in files: PyTorch's `.pth`/`.pt` in, `.safetensors` in and out.
//!
//! Names are PyTorch's. A file may hold the dict at the top or under `model`, `state_dict` (or the
//! other usual keys), with or without a `module.` prefix, with or without `num_batches_tracked`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::PytorchReader;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use faculty_files::write_atomically;

/// Values of one tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<f32>,
}

/// Tensors by PyTorch name, sorted, so that equal networks give equal files.
pub type StateDict = BTreeMap<String, Array>;

/// Keys under which training scripts keep the weights beside other things.
const WRAPPERS: [&str; 5] = ["state_dict.", "model.", "model_state_dict.", "net.", "student."];

/// Prefixes that wrapping a network in a module puts before every name.
const PREFIXES: [&str; 4] = ["module.", "model.", "net.", "_orig_mod."];

/// Reads a weight file; the format is recognised from its content.
///
/// # Errors
/// When it cannot be read, holds no weights, or holds a NaN or an infinity.
pub fn read(path: &Path) -> Result<StateDict> {
    let state = if looks_like_safetensors(path)? {
        let mut state = read_safetensors(path)?.0;
        let names = plain_names(state.keys());
        names.into_iter().filter_map(|(name, full)| Some((name, state.remove(&full)?))).collect()
    } else {
        read_pytorch(path)?
    };
    if state.is_empty() {
        return Err(Error::NoWeights { path: path.to_owned() });
    }
    for (tensor, array) in &state {
        if let Some(index) = array.values.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite {
                path: path.to_owned(),
                tensor: tensor.clone(),
                index,
                value: array.values[index],
            });
        }
    }
    Ok(state)
}

/// Writes a state dict as safetensors: to a temporary file beside it first, then renamed, so that a
/// half-written file never bears the final name.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, state: &StateDict, metadata: &BTreeMap<String, String>) -> Result<()> {
    let write_error = |source| Error::Write { path: path.to_owned(), source };
    let bytes = to_safetensors(path, state, metadata)?;
    write_atomically(path, &bytes).map_err(write_error)
}

/// SHA-256 of a file in hexadecimal: names the weights in run records.
///
/// # Errors
/// When the file cannot be read.
pub fn file_hash(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    // Piece by piece: a large teacher that is only hashed takes no memory.
    fs::File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

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
        if is_batch_counter(name) {
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

fn to_safetensors(
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

fn looks_like_safetensors(path: &Path) -> Result<bool> {
    use std::io::Read as _;
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(9).read_to_end(&mut start))
        .map_err(read_error)?;
    // A safetensors file starts with the header's length and then the header's JSON; no pickle,
    // zip or tar file has a brace there.
    Ok(start.get(8) == Some(&b'{'))
}

fn read_pytorch(path: &Path) -> Result<StateDict> {
    let reader = PytorchReader::new(path)
        .map_err(|source| Error::PyTorch { path: path.to_owned(), source: Box::new(source) })?;
    let tensors = reader.into_tensors();
    // Only the weights are read: what lies beside them may be of any size and type.
    let mut names = plain_names(tensors.keys());
    names.retain(|name, _| !is_batch_counter(name));
    check_sizes(path, names.values().map(|full_name| &tensors[full_name]))?;
    let mut state = StateDict::new();
    for (name, full_name) in names {
        let tensor = &tensors[&full_name];
        let bytes =
            tensor.read().map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let values = match tensor.dtype() {
            pytorch_reader::DType::F32 => le_values(&bytes, f32::from_le_bytes),
            pytorch_reader::DType::F64 => le_values(&bytes, |b| f64::from_le_bytes(b) as f32),
            pytorch_reader::DType::F16 => le_values(&bytes, |b| f16::from_le_bytes(b).to_f32()),
            pytorch_reader::DType::BF16 => le_values(&bytes, |b| bf16::from_le_bytes(b).to_f32()),
            other => {
                return Err(Error::TensorType {
                    path: path.to_owned(),
                    tensor: name,
                    found: format!("{other:?}"),
                });
            }
        };
        state.insert(name, Array { shape: tensor.shape().to_vec(), values });
    }
    Ok(state)
}

/// Refuses tensors that take far more memory than their file: those that repeat one storage, and
/// compressed ones, have no bound of their own.
fn check_sizes<'a>(
    path: &Path,
    tensors: impl Iterator<Item = &'a pytorch_reader::Tensor>,
) -> Result<()> {
    const FREE: u64 = 64 << 20;
    const MOST_RATIO: u64 = 16;
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let stored = fs::metadata(path).map_err(read_error)?.len();
    let bytes = |tensor: &pytorch_reader::Tensor| {
        let size = tensor.dtype().size() as u64;
        tensor.shape().iter().fold(size, |bytes, &extent| bytes.saturating_mul(extent as u64))
    };
    let decoded = tensors.map(bytes).fold(0, u64::saturating_add);
    if decoded <= FREE.max(stored.saturating_mul(MOST_RATIO)) {
        return Ok(());
    }
    Err(Error::Bomb { path: path.to_owned(), stored, decoded })
}

/// The weights among the tensors of a file: their plain names with the names in the file. Takes them
/// out of a checkpoint that keeps them beside optimiser state and the like, and drops prefixes.
fn plain_names<'a>(names: impl Iterator<Item = &'a String> + Clone) -> BTreeMap<String, String> {
    let wrapper = WRAPPERS.into_iter().find(|w| names.clone().any(|name| name.starts_with(w)));
    let mut plain: BTreeMap<String, String> = names
        .filter_map(|full| {
            let name = wrapper.map_or(Some(full.as_str()), |w| full.strip_prefix(w))?;
            Some((name.to_owned(), full.clone()))
        })
        .collect();
    while let Some(prefix) =
        PREFIXES.into_iter().find(|p| !plain.is_empty() && plain.keys().all(|n| n.starts_with(p)))
    {
        plain = plain.into_iter().map(|(name, f)| (name[prefix.len()..].to_owned(), f)).collect();
    }
    plain
}

fn is_batch_counter(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
}

fn le_values<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| decode(chunk)).collect()
}

#[cfg(test)]
mod tests;
