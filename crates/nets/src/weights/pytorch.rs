//! `torch.save` as it is since PyTorch 1.6: a zip file with the pickle `data.pkl` and a member for
//! each storage.

use std::fs::File;
use std::path::Path;

use super::budget::Budget;
use super::contents::{Contents, unreadable};
use super::pickle::Fault;
use super::pickled::{self, Found};
use super::unpickle::unpickle;
use crate::error::{Error, Result};
use crate::file_kind::Kind;

/// The tensors of a zip file that `torch.save` wrote.
pub(super) fn open(
    path: &Path,
    file: &mut File,
    length: u64,
    budget: &mut Budget,
) -> Result<Contents> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let damaged = |problem: String| Error::Damaged { path: path.to_owned(), problem };
    let members = faculty_zip::members(file, length)
        .map_err(read_error)?
        .ok_or_else(|| Error::CutShort { path: path.to_owned() })?;
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let kind = Kind::of_zip(&names);
    // The name of the folder in it is that of the file when it was saved.
    let root = names.iter().find_map(|name| match name.strip_suffix("data.pkl")? {
        root if root.is_empty() || root.ends_with('/') => Some(root.to_owned()),
        _ => None,
    });
    let root = match (root, &kind) {
        (Some(root), Kind::Archive(_) | Kind::Numpy) => root,
        _ => return Err(Error::NotWeights { path: path.to_owned(), kind }),
    };

    let mut contents = Contents::default();
    let mut pickle = None;
    for member in &members {
        let Some(name) = member.name.strip_prefix(&root) else { continue };
        let key = name.strip_prefix("data/").filter(|key| !key.is_empty());
        if key.is_none() && !["data.pkl", "byteorder"].contains(&name) {
            continue;
        }
        let extent = member.extent(file, length).map_err(read_error)?.ok_or_else(|| {
            damaged(format!("`{}` in it is misplaced, encrypted or oddly packed", member.name))
        })?;
        if let Some(key) = key {
            contents.storages.insert(key.to_owned(), extent);
            continue;
        }
        budget.spend(extent.length)?;
        let bytes = extent
            .read(file, 0, extent.length)
            .map_err(|source| unreadable(path, &format!("`{}`", member.name), source))?;
        match name {
            "byteorder" => contents.big_endian = bytes.starts_with(b"big"),
            _ => pickle = Some(bytes),
        }
    }
    let bytes = pickle.unwrap_or_default();
    let found = unpickle(&bytes, budget).and_then(|pickle| pickled::find(&pickle, budget));
    let found = found.map_err(|fault| match fault {
        Fault::CutShort => damaged("`data.pkl` ends too early".to_owned()),
        Fault::Damaged(problem) => damaged(format!("it has {problem}")),
        Fault::Other(error) => error,
    })?;
    take(path, found, &mut contents)?;
    Ok(contents)
}

/// Puts what a pickle holds into `contents`, if those can be weights.
pub(super) fn take(path: &Path, found: Found, contents: &mut Contents) -> Result<()> {
    let not_weights = |kind| Err(Error::NotWeights { path: path.to_owned(), kind });
    let numbered =
        |name: &String| name.split('.').all(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
    match &found.module {
        Some(class) if found.tensors.is_empty() => {
            return not_weights(Kind::Module(class.clone()));
        }
        // Also a list of tensors: which is which, nothing tells.
        _ if found.tensors.keys().all(numbered) && found.kind != "dict" => {
            return not_weights(Kind::Pickled(found.kind));
        }
        _ => {}
    }
    contents.tensors = found.tensors;
    contents.objects = found.objects;
    contents.module = found.module;
    Ok(())
}
