//! `torch.save` as it was before PyTorch 0.1.10, of which torchvision's oldest files are: a tar file
//! with the object in `pickle`, which refers to `tensors`, which refer to `storages`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use faculty_zip::{Extent, number};

use super::budget::Budget;
use super::contents::{Contents, Stored};
use super::pickle::{Fault, Pickle};
use super::pickled;
use super::pytorch::take;
use super::unpickle::unpickle;
use crate::error::{Error, Result};

/// The tensors of such a file; `None` if it is another tar file.
pub(super) fn open(path: &Path, file: &mut File, length: u64) -> Result<Option<Contents>> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let members = members(file, length).map_err(read_error)?;
    let names = ["storages", "tensors", "pickle"].map(|name| members.get(name).copied());
    let [Some(storages), Some(tensors), Some(pickle)] = names else {
        return Ok(None);
    };
    let mut budget = Budget::new(path, length);
    let mut bytes = |(start, size): (u64, u64)| -> Result<Vec<u8>> {
        if start.checked_add(size).is_none_or(|end| end > length) {
            return Err(Error::CutShort { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(read_error)?;
        (&mut *file).take(size).read_to_end(&mut bytes).map_err(read_error)?;
        Ok(bytes)
    };
    let (stored, described, pickled) = (bytes(storages)?, bytes(tensors)?, bytes(pickle)?);
    let mut contents = Contents::default();
    let read = read_storages(&stored, storages.0, &mut contents, &mut budget)
        .and_then(|storages| read_tensors(&described, &storages, &mut budget))
        .and_then(|tensors| {
            pickled::find_with(&unpickle(&pickled, &mut budget)?, &tensors, &mut budget)
        });
    let found = read.map_err(|fault| match fault {
        Fault::CutShort => Error::CutShort { path: path.to_owned() },
        Fault::Damaged(problem) => {
            Error::Damaged { path: path.to_owned(), problem: format!("it has {problem}") }
        }
        Fault::Other(error) => error,
    })?;
    take(path, found, &mut contents)?;
    Ok(Some(contents))
}

/// Start and size of each plain file, by name.
fn members(file: &mut File, length: u64) -> std::io::Result<BTreeMap<String, (u64, u64)>> {
    const BLOCK: u64 = 512;
    let mut members = BTreeMap::new();
    let mut at = 0;
    while at + BLOCK <= length {
        let mut header = [0; BLOCK as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut header)?;
        let text = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(&header[range]);
            text.split('\0').next().unwrap_or_default().trim().to_owned()
        };
        let Ok(size) = u64::from_str_radix(&text(124..136), 8) else { break };
        let start = at + BLOCK;
        if matches!(header[156], b'0' | 0) {
            members.insert(text(0..100).trim_start_matches("./").to_owned(), (start, size));
        }
        let Some(next) = size.checked_next_multiple_of(BLOCK).and_then(|n| start.checked_add(n))
        else {
            break;
        };
        at = next;
    }
    Ok(members)
}

/// A storage as its tensors need it: dtype, bytes of an element, where it begins.
type Storages = HashMap<i128, (&'static str, u64, String, u64)>;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn pickle(&mut self, budget: &mut Budget) -> std::result::Result<Pickle<'a>, Fault> {
        let pickle = unpickle(&self.bytes[self.at..], budget)?;
        self.at += pickle.length;
        Ok(pickle)
    }

    fn number(&mut self, width: usize) -> std::result::Result<u64, Fault> {
        let value = number(self.bytes, self.at, width).ok_or(Fault::CutShort)?;
        self.at += width;
        Ok(value)
    }

    fn skip(&mut self, length: u64) -> std::result::Result<(), Fault> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        self.at = end.filter(|&end| end <= self.bytes.len()).ok_or(Fault::CutShort)?;
        Ok(())
    }
}

fn damaged() -> Fault {
    Fault::Damaged("a list of tensors or storages that is none".to_owned())
}

/// A count; for each storage `(key, device, class)`, its elements and their bytes; then the views
/// `(key, key of the storage, offset, elements)`. `offset` is where all this lies in the file.
fn read_storages(
    bytes: &[u8],
    offset: u64,
    contents: &mut Contents,
    budget: &mut Budget,
) -> std::result::Result<Storages, Fault> {
    let mut cursor = Cursor { bytes, at: 0 };
    let count = cursor.pickle(budget)?;
    let count = count.count(count.root).ok_or_else(damaged)?;
    let mut storages = Storages::new();
    for _ in 0..count {
        let about = cursor.pickle(budget)?;
        let Some(&[key, _, class]) = about.members(about.root) else { return Err(damaged()) };
        let key = about.int(key).ok_or_else(damaged)?;
        let (dtype, size) = pickled::storage_class(&about, class).ok_or_else(damaged)?;
        let length = cursor.number(8)?.checked_mul(size).ok_or(Fault::CutShort)?;
        let extent =
            Extent { offset: offset + cursor.at as u64, length, deflated: None, crc32: None };
        cursor.skip(length)?;
        contents.storages.insert(key.to_string(), extent);
        storages.insert(key, (dtype, size, key.to_string(), 0));
    }
    let views = cursor.pickle(budget)?;
    for &view in views.members(views.root).ok_or_else(damaged)? {
        let Some(&[key, root, start, _]) = views.members(view) else { return Err(damaged()) };
        let ids = views.int(key).zip(views.int(root)).zip(views.count(start));
        let ((key, root), start) = ids.ok_or_else(damaged)?;
        let (dtype, size, root, _) = storages.get(&root).cloned().ok_or_else(damaged)?;
        storages.insert(key, (dtype, size, root, start));
    }
    Ok(storages)
}

/// A count; for each tensor `(key, key of the storage, class)`, the number of axes in eight bytes,
/// shape, strides and offset.
fn read_tensors(
    bytes: &[u8],
    storages: &Storages,
    budget: &mut Budget,
) -> std::result::Result<HashMap<i128, Stored>, Fault> {
    let mut cursor = Cursor { bytes, at: 0 };
    let count = cursor.pickle(budget)?;
    let count = count.count(count.root).ok_or_else(damaged)?;
    let mut tensors = HashMap::new();
    for _ in 0..count {
        let about = cursor.pickle(budget)?;
        let Some(&[key, storage, _]) = about.members(about.root) else { return Err(damaged()) };
        let ids = about.int(key).zip(about.int(storage));
        let (key, storage) = ids.ok_or_else(damaged)?;
        let (dtype, size, storage, start) = storages.get(&storage).cloned().ok_or_else(damaged)?;
        let axes = cursor.number(4)?;
        cursor.skip(4)?;
        let mut extents = || (0..axes).map(|_| Ok(cursor.number(8)? as usize)).collect();
        let shape: std::result::Result<Vec<usize>, Fault> = extents();
        let (shape, strides) = (shape?, extents()?);
        let offset = cursor.number(8)?;
        let start = start.checked_add(offset).and_then(|start| start.checked_mul(size));
        let start = start.ok_or_else(damaged)?;
        tensors.insert(key, Stored::new(dtype, shape, strides, storage, start));
    }
    Ok(tensors)
}
