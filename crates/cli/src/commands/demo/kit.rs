//! What a demo is made of: the files that travel inside the program.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;

use faculty_files::{failed, write_atomically};
use flate2::read::GzDecoder;

use crate::failure::Failure;

/// Files of a folder that travel inside the program, with what stands before their names in the demo's.
macro_rules! embedded {
    ($($folder:literal as $there:literal: $($name:literal),+ $(,)?);+) => {
        &[$($((
            concat!($there, $name),
            include_bytes!(concat!("../../../", $folder, "/", $name)),
        )),+),+]
    };
}

pub(super) struct Kit {
    /// Where it is unpacked if nothing else is asked for.
    pub(super) output: &'static str,
    /// Heading of the table.
    pub(super) data: &'static str,
    /// How many teachers there are, in words.
    pub(super) teachers: &'static str,
    /// Whether trained weights of the teachers are among the files.
    pub(super) has_weights: bool,
    /// Path in the demo's folder, and content. A name that ends in `.csv.gz` is unpacked.
    pub(super) files: &'static [(&'static str, &'static [u8])],
}

impl Kit {
    /// Writes the embedded files; an earlier demo's files are replaced.
    pub(super) fn unpack(&self, folder: &Path) -> Result<(), Failure> {
        for &(name, bytes) in self.files {
            let (name, content) = match name.strip_suffix(".gz") {
                // Tables of texts are read as they are, and to be looked at.
                Some(table) if table.ends_with(".csv") => {
                    let mut content = Vec::new();
                    GzDecoder::new(bytes)
                        .read_to_end(&mut content)
                        .expect("the program's own file");
                    (table, Cow::Owned(content))
                }
                _ => (name, Cow::Borrowed(bytes)),
            };
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).map_err(failed("create the folder of", &path))?;
            write_atomically(&path, &content).map_err(failed("write", &path))?;
        }
        Ok(())
    }
}

pub(super) const IMAGES: Kit = Kit {
    output: "runs/demo",
    data: "Fashion-MNIST",
    teachers: "three",
    has_weights: true,
    files: embedded![
        "demo" as "":
        "README.md",
        "distill.toml",
        "teachers/ada.toml",
        "teachers/ada.safetensors",
        "teachers/ben.toml",
        "teachers/ben.safetensors",
        "teachers/mal.toml",
        "teachers/mal.safetensors",
        "fashion-mnist/LICENSE",
        "fashion-mnist/classes.txt",
        "fashion-mnist/train-images-idx3-ubyte.gz",
        "fashion-mnist/train-labels-idx1-ubyte.gz",
        "fashion-mnist/t10k-images-idx3-ubyte.gz",
        "fashion-mnist/t10k-labels-idx1-ubyte.gz",
    ],
};

pub(super) const TEXTS: Kit = Kit {
    output: "runs/demo-text",
    data: "Jane Austen's novels",
    teachers: "four",
    has_weights: false,
    files: embedded![
        "demo-text" as "":
        "README.md",
        "distill.toml",
        "teachers/ada.toml",
        "teachers/ben.toml",
        "teachers/mal.toml",
        "vocab.txt",
        "austen/train.csv.gz",
        "austen/validation.csv.gz",
        "austen/test.csv.gz",
    ],
};

pub(super) const LANGUAGE: Kit = Kit {
    output: "runs/demo-lm",
    data: "Jane Austen's novels",
    teachers: "three",
    has_weights: false,
    files: embedded![
        "demo-lm" as "":
        "README.md",
        "distill.toml",
        "tokenizer.json",
        "teachers/ada.toml",
        "teachers/ben.toml",
        "teachers/mal.toml";
        // The passages of the demo of texts.
        "demo-text/austen" as "passages/":
        "train.csv.gz",
        "validation.csv.gz",
        "test.csv.gz",
    ],
};
