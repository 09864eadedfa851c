//! `torch.save` as it was before PyTorch 1.6: pickles of a magic number, a version, the machine, the
//! object, and the storages' keys; then for each storage its number of elements and its bytes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use faculty_zip::Extent;

use super::budget::Budget;
use super::contents::Contents;
use super::pickle::{Fault, Object};
use super::pickled::{self, Found};
use super::pytorch::take;
use super::unpickle::unpickle;
use crate::error::{Error, Result};
use crate::file_kind::Kind;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// What stands in front of the storages.
struct Head {
    found: Found,
    keys: Vec<String>,
    big_endian: bool,
    length: u64,
}

/// The tensors of a file that starts with a pickle.
pub(super) fn open(path: &Path, file: &mut File, length: u64) -> Result<Contents> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    // The pickles are short and the storages long, but nothing says where the pickles end.
    let mut size = 1 << 20;
    let head = loop {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(read_error)?;
        std::io::Read::by_ref(file).take(size).read_to_end(&mut bytes).map_err(read_error)?;
        match head(path, &bytes, &mut Budget::new(path, length)) {
            Err(Fault::CutShort) if size < length => size *= 4,
            Err(Fault::CutShort) => return Err(Error::CutShort { path: path.to_owned() }),
            Err(Fault::Damaged(problem)) => {
                let problem = format!("it has {problem}");
                return Err(Error::Damaged { path: path.to_owned(), problem });
            }
            Err(Fault::Other(error)) => return Err(error),
            Ok(head) => break head,
        }
    };
    let mut contents = Contents { big_endian: head.big_endian, ..Contents::default() };
    let mut at = head.length;
    for key in head.keys {
        let problem = || Error::Damaged {
            path: path.to_owned(),
            problem: format!("storage `{key}` is in it that no tensor speaks of"),
        };
        let bytes = *head.found.storages.get(&key).ok_or_else(problem)?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(read_error)?;
        let extent = file.read_exact(&mut count).ok().and_then(|()| {
            let count =
                if head.big_endian { u64::from_be_bytes(count) } else { u64::from_le_bytes(count) };
            let (offset, packed) = (at + 8, count.checked_mul(bytes)?);
            offset.checked_add(packed).filter(|&end| end <= length)?;
            Some(Extent { offset, length: packed, deflated: None, crc32: None })
        });
        let extent = extent.ok_or_else(|| Error::CutShort { path: path.to_owned() })?;
        at = extent.offset + extent.length;
        contents.storages.insert(key, extent);
    }
    take(path, head.found, &mut contents)?;
    Ok(contents)
}

fn head(path: &Path, bytes: &[u8], budget: &mut Budget) -> std::result::Result<Head, Fault> {
    let first = unpickle(bytes, budget)?;
    if !matches!(first.get(first.root), Object::Int(MAGIC)) {
        let kind = Kind::Pickled(pickled::kind(&first, first.root));
        return Err(Fault::Other(Error::NotWeights { path: path.to_owned(), kind }));
    }
    let mut at = first.length;
    let mut next = |budget: &mut Budget| {
        let pickle = unpickle(&bytes[at..], budget)?;
        at += pickle.length;
        Ok::<_, Fault>(pickle)
    };
    let _version = next(budget)?;
    let machine = next(budget)?;
    let object = next(budget)?;
    let keys = next(budget)?;
    let big_endian = match machine.get(machine.root) {
        Object::Dict(entries) => entries.iter().any(|&(key, value)| {
            machine.text(key) == Some("little_endian") && machine.truth(value) == Some(false)
        }),
        _ => false,
    };
    let key = |&id| keys.text(id).map(str::to_owned);
    let named = keys.members(keys.root).and_then(|list| list.iter().map(key).collect());
    let keys = named.ok_or_else(|| Fault::Damaged("no list of its storages".to_owned()))?;
    let found = pickled::find(&object, budget)?;
    Ok(Head { found, keys, big_endian, length: at as u64 })
}
