//! A network from an ONNX file: its graph becomes one of this program, and is trained.
//!
//! ```text
//! initialisers               parameters under their names in the file, or constants
//! nodes                      operations; several that are one function together (GELU, SiLU) become one
//! Reshape, Transpose         another look at the same memory; a shuffle of channels where they are one
//! last Softmax, Sigmoid      left out: logits are learned
//! ```
//! The file is read once for each size of images and number of classes, since shapes follow from them.
//! Another number of classes than the file's gives its last layer new weights. What cannot be read is
//! named node by node, everything at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::model::OnnxModel;
use self::translate::translate;
pub(crate) use self::translator::Translated;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::networks::{self, Architecture};
use crate::shape::MapShape;
use crate::shortened::shortened_to;
use crate::weights::file_hash;

mod axes;
mod convolution;
mod elementwise;
mod fold;
mod fused;
mod known;
mod linear;
mod model;
mod norm;
mod operators;
mod pooling;
mod shaping;
mod sizes;
mod symbol;
mod taps;
mod translate;
mod translator;

/// Digits of the file's hash in a network's name.
const NAME_DIGITS: usize = 8;

/// Nodes that an error names.
const MOST_PROBLEMS: usize = 24;

/// An ONNX file as an architecture, and with the weights that it holds.
#[derive(Clone, Debug)]
pub struct OnnxNetwork {
    path: PathBuf,
    name: String,
    model: Arc<OnnxModel>,
}

impl OnnxNetwork {
    /// Reads a file; `output` is the tensor with the logits, its only output if none is named.
    ///
    /// Its name is that of the file and the first digits of its SHA-256, `mine.onnx:9f86d081`: names
    /// stand in weight files, and one name is one network.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or has several inputs or outputs.
    pub fn open(path: &Path, output: Option<&str>) -> Result<Self> {
        let wrong = |(problem, hint)| Error::Onnx { path: path.to_owned(), problem, hint };
        let model = Arc::new(OnnxModel::read(path, output).map_err(wrong)?);
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let hash = file_hash(path)?;
        // Names of networks that reuse a classifier are told by these.
        let file = file.replace(['+', '@'], "_");
        let name = format!("{file}:{}", hash.get(..NAME_DIGITS).unwrap_or(&hash));
        Ok(Self { path: path.to_owned(), name, model })
    }

    /// Makes its name known, for the whole process: weight files name their network.
    ///
    /// # Errors
    /// As [`crate::register`].
    pub fn register(&self) -> Result<()> {
        // One name is one content.
        if networks::find(&self.name).is_ok() { Ok(()) } else { networks::register(self.clone()) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class names in its metadata.
    #[must_use]
    pub fn class_names(&self) -> Option<&[String]> {
        self.model.class_names.as_deref()
    }

    /// The file for these images and classes.
    pub(crate) fn translated(&self, input: MapShape, classes: Option<usize>) -> Result<Translated> {
        translate(&self.model, input, classes).map_err(|problems| Error::OnnxNodes {
            path: self.path.clone(),
            problems: shortened_to(problems, MOST_PROBLEMS),
        })
    }
}

impl Architecture for OnnxNetwork {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> &str {
        "a network from an ONNX file"
    }

    fn graph(&self, input: MapShape, classes: usize) -> Result<Graph> {
        Ok(self.translated(input, Some(classes))?.graph)
    }
}
