//! A network from a description: a TOML file of layers and blocks, for students of one's own.
//!
//! ```toml
//! start = "kaiming-fan-out"
//! network = [
//!     { conv = "conv1", channels = 16, kernel = 3 },
//!     { batch_norm = "bn1", relu = true, tap = true },
//!     { block = "basic", name = "layer1.{i}", repeat = 3, width = 16, tap = true },
//!     { classifier = "fc" },
//! ]
//!
//! [blocks]
//! basic = [
//!     { conv = "conv1", channels = "width", kernel = 3, stride = "stride" },
//!     …
//! ]
//! ```
//! Layers stand in the order in which they are computed, and read the one before unless `from` names
//! another value; names are those of PyTorch's state dict. `docs/students.md` has every key. A built-in
//! network in this form is what [`described`] gives: built again it is the same graph.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_files::open_regular;

use self::fault::Fault;
use self::plan::Plan;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::networks::{self, Architecture};
use crate::shape::MapShape;
use crate::weights::file_hash;

mod build;
mod expression;
mod families;
mod fault;
mod parse;
mod plan;

pub use families::described;

/// Digits of the file's hash in a network's name.
const NAME_DIGITS: usize = 8;

/// Bytes of a file that is read: far above any description.
const MOST_BYTES: u64 = 1 << 20;

/// A description as an architecture.
#[derive(Clone, Debug)]
pub struct DescribedNetwork {
    path: PathBuf,
    name: String,
    plan: Arc<Plan>,
}

impl DescribedNetwork {
    /// Reads a file.
    ///
    /// Its name is that of the file and the first digits of its SHA-256, `student.toml:9f86d081`: names
    /// stand in weight files, and one name is one network.
    ///
    /// # Errors
    /// [`Error::Description`] with the line of what cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let text = read(path)?;
        let hash = file_hash(path)?;
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        // Names of networks that reuse a classifier are told by these.
        let file = file.replace(['+', '@'], "_");
        let name = format!("{file}:{}", hash.get(..NAME_DIGITS).unwrap_or(&hash));
        Self::of_text(&text, name, path)
    }

    /// Of a text; `path` only names it in errors.
    ///
    /// # Errors
    /// [`Error::Description`].
    pub fn of_text(text: &str, name: String, path: &Path) -> Result<Self> {
        let plan = parse::parse(text).map_err(|fault| error(path, fault))?;
        Ok(Self { path: path.to_owned(), name, plan: Arc::new(plan) })
    }

    /// Makes its name known, for the whole process: weight files name their network.
    ///
    /// # Errors
    /// As [`crate::register`].
    pub fn register(&self) -> Result<()> {
        // One name is one content.
        if networks::find(&self.name).is_ok() { Ok(()) } else { networks::register(self.clone()) }
    }
}

impl Architecture for DescribedNetwork {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> &str {
        "a network from a description"
    }

    fn graph(&self, input: MapShape, classes: usize) -> Result<Graph> {
        build::build(&self.plan, input, classes).map_err(|fault| error(&self.path, fault))
    }
}

fn error(path: &Path, Fault { line, problem, hint }: Fault) -> Error {
    Error::Description { path: path.to_owned(), line, problem, hint }
}

/// The text of a file that is not too large to be one.
fn read(path: &Path) -> Result<String> {
    let wrong = |problem: String| {
        let hint = "`faculty networks --show resnet8` writes one".to_owned();
        Error::Description { path: path.to_owned(), line: 1, problem, hint }
    };
    let (file, _) =
        open_regular(path).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong("it is larger than 1 MiB, which no description is".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".to_owned()))
}

#[cfg(test)]
mod tests;
