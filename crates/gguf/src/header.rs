//! Everything before the data: metadata, and where each tensor lies.

use std::collections::BTreeMap;
use std::io::Read;

use crate::error::{GgufError, Result};
use crate::source::Source;
use crate::tensor_type::{TensorType, name_of};
use crate::value::Value;

/// The first bytes of a file.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
/// Key, type and value take at least so many bytes.
const LEAST_PAIR: u64 = 8 + 4 + 1;
/// Name, dimensions, type and offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;
/// Dimensions of a tensor, at most.
const DIMENSIONS: u32 = 4;
/// Where data begin unless the file says otherwise.
pub(crate) const ALIGNMENT: u64 = 32;

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name: `blk.0.attn_q.weight`.
    pub name: String,
    /// Sizes, outermost first, as PyTorch has them; the file has them the other way round.
    pub shape: Vec<usize>,
    /// The form of its values; `Err` has the name of one that is not dequantised here.
    pub kind: std::result::Result<TensorType, String>,
    /// Where it begins, from the start of the data.
    pub(crate) offset: u64,
}

impl TensorInfo {
    /// Number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in the file, of a type that is known.
    pub(crate) fn bytes(&self) -> u64 {
        let known = self.kind.as_ref().ok();
        known.and_then(|kind| kind.bytes_of(self.elements() as u64)).unwrap_or(0)
    }
}

/// What stands before the data.
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) metadata: BTreeMap<String, Value>,
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) data_start: u64,
}

impl Header {
    pub(crate) fn read<R: Read>(source: &mut Source<'_, R>, len: u64) -> Result<Self> {
        let magic = source.magic()?;
        if magic != MAGIC {
            let found = describe(magic);
            return Err(GgufError::NotGguf { path: source.path(), found });
        }
        let version = source.u32("its version")?;
        if version.swap_bytes() == 3 {
            return Err(source.damaged("it is big-endian, as for IBM mainframes".to_owned()));
        }
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { path: source.path(), version });
        }
        let tensors = source.u64("the number of tensors")?;
        let pairs = source.u64("the number of keys")?;
        let tensors = source.count(tensors, LEAST_TENSOR, "tensors")?;
        let pairs = source.count(pairs, LEAST_PAIR, "keys of metadata")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..pairs {
            let key = source.string("a key of metadata")?;
            let what = format!("`{key}`");
            let kind = source.u32(&what)?;
            let value = source.value(kind, &what)?;
            if metadata.insert(key, value).is_some() {
                return Err(source.damaged(format!("{what} is there twice")));
            }
        }
        let infos = (0..tensors).map(|_| tensor(source)).collect::<Result<Vec<_>>>()?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => match value.unsigned() {
                Some(alignment) if (1..=1 << 16).contains(&alignment) => alignment,
                _ => {
                    let problem = "`general.alignment` is no number from 1 to 65,536";
                    return Err(source.damaged(problem.to_owned()));
                }
            },
        };
        let data_start = source.at().next_multiple_of(alignment);
        check_places(source, &infos, len.saturating_sub(data_start))?;
        Ok(Self { version, metadata, tensors: infos, data_start })
    }
}

fn tensor<R: Read>(source: &mut Source<'_, R>) -> Result<TensorInfo> {
    let name = source.string("the name of a tensor")?;
    let what = format!("the description of tensor `{name}`");
    let dimensions = source.u32(&what)?;
    if !(1..=DIMENSIONS).contains(&dimensions) {
        return Err(source.damaged(format!("tensor `{name}` has {dimensions} dimensions")));
    }
    let mut sizes = (0..dimensions).map(|_| source.u64(&what)).collect::<Result<Vec<_>>>()?;
    let number = source.u32(&what)?;
    let offset = source.u64(&what)?;
    let innermost = sizes[0];
    sizes.reverse();
    let elements = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
    // Memory counts floats of four bytes.
    let elements = elements.filter(|&count| count > 0 && count <= isize::MAX as u64 / 8);
    if elements.is_none() {
        return Err(source.damaged(format!("tensor `{name}` has sizes {sizes:?}")));
    }
    let kind = TensorType::of(number).ok_or_else(|| name_of(number));
    if let Ok(kind) = &kind
        && !innermost.is_multiple_of(kind.block_values() as u64)
    {
        let (name_of_kind, block) = (kind.name(), kind.block_values());
        return Err(source.damaged(format!(
            "tensor `{name}` has rows of {innermost} values, {name_of_kind} has blocks of {block}"
        )));
    }
    let shape = sizes.into_iter().map(|size| size as usize).collect();
    Ok(TensorInfo { name, shape, kind, offset })
}

/// Tensors lie inside the data, and none over another: what is read of all of them together is
/// bounded by the file then.
fn check_places<R: Read>(source: &Source<'_, R>, tensors: &[TensorInfo], data: u64) -> Result<()> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = order.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(source.damaged(format!("tensor `{}` is there twice", pair[0].name)));
    }
    order.sort_by_key(|tensor| tensor.offset);
    let mut end = 0;
    for tensor in order {
        let (name, offset) = (&tensor.name, tensor.offset);
        if offset < end {
            return Err(source.damaged(format!("tensor `{name}` lies over another one")));
        }
        end = match offset.checked_add(tensor.bytes()) {
            Some(end) if end <= data => end,
            _ => {
                let what = format!("tensor `{name}`");
                return Err(GgufError::CutShort { path: source.path(), what });
            }
        };
    }
    Ok(())
}

/// First bytes that are not ours, for a message.
fn describe(start: [u8; 4]) -> String {
    match &start {
        b"ggml" | b"tjgg" | b"lmgg" => "the mark of an older format of llama.cpp".to_owned(),
        b"PK\x03\x04" => "the mark of a zip archive, as `torch.save` writes".to_owned(),
        _ => format!("the bytes {start:02x?}"),
    }
}
