//! Every reader of files as a function of bytes.
//!
//! ```text
//! cargo fuzz run NAME      coverage-guided, from corpus/NAME; see docs/reliability.md
//! cargo test --release     reads corpus/ and crashes/ again, and simple damages of both
//! ```
//! Files come from strangers. Whatever stands in them, a reader gives a value or an error: it does
//! not panic, run code, read outside its folder, or take memory that the file does not justify.

mod datasets;
mod input;
mod language;
mod runs;
mod teachers;

#[cfg(feature = "libfuzzer")]
#[doc(hidden)]
pub use libfuzzer_sys;

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Name of its target and its corpus.
    pub name: &'static str,
    /// Reads a file with these bytes; whether it was accepted.
    pub read: fn(&[u8]) -> bool,
    /// Valid files of formats of our own, which change with the version. Those of other programs'
    /// formats are in the corpus.
    pub own: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const READERS: &[Reader] = &[
    Reader { name: "cache", read: runs::cache, own: runs::cache_files },
    Reader { name: "checkpoint", read: runs::checkpoint, own: runs::checkpoints },
    Reader { name: "cifar", read: datasets::cifar, own: Vec::new },
    Reader { name: "classes", read: teachers::classes, own: Vec::new },
    Reader { name: "gguf", read: language::gguf, own: language::gguf_files },
    Reader { name: "idx", read: datasets::idx, own: Vec::new },
    Reader { name: "image", read: datasets::image, own: Vec::new },
    Reader { name: "logits", read: teachers::logits, own: Vec::new },
    Reader { name: "npz", read: datasets::npz, own: Vec::new },
    Reader { name: "onnx", read: teachers::onnx, own: Vec::new },
    Reader { name: "parquet", read: datasets::parquet, own: Vec::new },
    Reader { name: "pytorch", read: teachers::pytorch, own: Vec::new },
    Reader { name: "recipe", read: runs::recipe, own: Vec::new },
    Reader { name: "report", read: runs::report, own: runs::run_folders },
    Reader { name: "safetensors", read: teachers::safetensors, own: Vec::new },
    Reader { name: "student", read: teachers::student, own: teachers::students },
    Reader { name: "texts", read: datasets::texts, own: Vec::new },
    Reader { name: "tokenizer", read: datasets::tokenizer, own: Vec::new },
];

/// The reader of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn reader(name: &str) -> &'static Reader {
    let own = READERS.iter().find(|reader| reader.name == name);
    own.unwrap_or_else(|| panic!("no reader `{name}`"))
}

/// Before the first input: keeps libFuzzer from ending the program at every panic, also at those of
/// other libraries that a reader catches and tells as an error of the file, and writes our own
/// formats' files into the folder `FACULTY_OWN_FILES`.
///
/// # Panics
/// When they cannot be written.
#[cfg(feature = "libfuzzer")]
#[doc(hidden)]
pub fn prepare(name: &str) {
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(folder) = std::env::var_os("FACULTY_OWN_FILES") {
        for (n, file) in (reader(name).own)().iter().enumerate() {
            let path = std::path::Path::new(&folder).join(format!("own-{n}"));
            std::fs::write(path, file).expect("the folder can be written");
        }
    }
}

/// A program for libFuzzer.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(init: $crate::prepare($name), |bytes: &[u8]| {
            ($crate::reader($name).read)(bytes);
        });
    };
}
