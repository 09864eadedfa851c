//! What a file is that is no state dict, by its first bytes or its members' names.

use std::path::Path;

/// A kind of file that is sometimes taken for a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Made by `torch.jit.save`.
    TorchScript,
    /// Made by `torch.export.save`.
    Exported,
    /// A module that was saved whole, with its class.
    Module(String),
    /// Another pickled object than a dict of tensors.
    Pickled(String),
    /// Keras weights or another HDF5 file.
    Hdf5,
    /// NumPy arrays.
    Numpy,
    /// An ONNX file.
    Onnx,
    /// Something to be unpacked, and what is in it.
    Archive(String),
    /// A pointer of Git LFS to the file.
    LfsPointer,
    /// A web page.
    Html,
    /// The table of contents of several weight files.
    Json,
    /// No bytes.
    Empty,
    /// A folder.
    Folder,
    /// Neither file nor folder.
    Device,
    /// Nothing known.
    Unknown,
}

impl Kind {
    /// By the first bytes of a file.
    pub(super) fn of(start: &[u8], path: &Path) -> Self {
        const MAGIC: [(&[u8], &str); 6] = [
            (b"\x1f\x8b", "gzip"),
            (b"BZh", "bzip2"),
            (b"\xfd7zXZ", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"Rar!", "RAR"),
        ];
        let text =
            String::from_utf8_lossy(&start[..start.len().min(64)]).trim_start().to_lowercase();
        if start.is_empty() {
            Self::Empty
        } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
            Self::Hdf5
        } else if start.starts_with(b"\x93NUMPY") {
            Self::Numpy
        } else if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
            Self::Archive((*name).to_owned())
        } else if start.get(257..262) == Some(b"ustar") {
            Self::Archive("tar".to_owned())
        } else if text.starts_with("version https://git-lfs") {
            Self::LfsPointer
        } else if text.starts_with("<!doctype") || text.starts_with("<html") {
            Self::Html
        } else if text.starts_with('{') {
            Self::Json
        } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
            Self::Onnx
        } else {
            Self::Unknown
        }
    }

    /// A zip file without a pickle of PyTorch's, by its members.
    pub(super) fn of_zip(names: &[&str]) -> Self {
        let inside = |name: &str| names.iter().any(|own| own.rsplit('/').next() == Some(name));
        let ends = |ending: &str| names.iter().any(|own| own.ends_with(ending));
        if inside("archive_format")
            || inside("serialized_exported_program.json")
            || ends("models/model.json")
        {
            Self::Exported
        } else if inside("constants.pkl") || names.iter().any(|own| own.contains("/code/")) {
            Self::TorchScript
        } else if inside("model.weights.h5") {
            Self::Hdf5
        } else if !names.is_empty() && names.iter().all(|own| own.ends_with(".npy")) {
            Self::Numpy
        } else {
            const SHOWN: usize = 3;
            let mut shown = names.iter().take(SHOWN).map(|name| format!("`{name}`"));
            let more = if names.len() > SHOWN { ", …" } else { "" };
            let list = shown.by_ref().collect::<Vec<_>>().join(", ");
            Self::Archive(format!("zip ({list}{more})"))
        }
    }

    /// What to do instead.
    #[must_use]
    pub fn hint(&self) -> String {
        const ONNX: &str = "export the network to ONNX, \
             `torch.onnx.export(net.eval(), torch.randn(1, CHANNELS, HEIGHT, WIDTH), \"net.onnx\")`, \
             and give that file";
        match self {
            Self::TorchScript => format!(
                "save `torch.jit.load(FILE).state_dict()` with `torch.save`, if the network is one \
                 of `faculty networks`; else {ONNX}"
            ),
            Self::Exported => format!(
                "save `torch.export.load(FILE).state_dict` with `torch.save`, if the network is \
                 one of `faculty networks`; else {ONNX}"
            ),
            Self::Module(_) => format!(
                "save `torch.load(FILE, weights_only=False).state_dict()` with `torch.save`, if \
                 the network is one of `faculty networks`; else {ONNX}"
            ),
            Self::Pickled(_) | Self::Unknown => format!(
                "save the weights with `torch.save(net.state_dict(), FILE)`, or as safetensors; or \
                 {ONNX}"
            ),
            Self::Hdf5 => "export the model to ONNX (`python -m tf2onnx.convert`, or Keras's \
                 `model.export(\"net.onnx\", format=\"onnx\")`), and give that file"
                .to_owned(),
            Self::Numpy => "save the weights with `torch.save` or as safetensors under PyTorch's \
                 names; a table of logits is `logits = …`"
                .to_owned(),
            Self::Onnx => "give it as `onnx = …`, without `network` and `weights`".to_owned(),
            Self::Archive(_) => "unpack it, and give the weight file inside".to_owned(),
            Self::LfsPointer => "fetch the file itself: `git lfs pull`".to_owned(),
            Self::Html => {
                "the download gave a page instead of the file: download it again".to_owned()
            }
            Self::Json => {
                "give the weight file itself; of a model in several files, join them and \
                 save one"
                    .to_owned()
            }
            Self::Empty => "copy or download the file again".to_owned(),
            Self::Folder => "give the weight file inside it".to_owned(),
            Self::Device => "give a file on disk".to_owned(),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TorchScript => "a TorchScript program (`torch.jit.save`)",
            Self::Exported => "an exported program (`torch.export.save`, `.pt2`)",
            Self::Module(class) => {
                return write!(f, "a whole pickled module (class `{class}`)");
            }
            Self::Pickled(what) => return write!(f, "a pickled {what} of Python"),
            Self::Hdf5 => "an HDF5 file, as Keras writes it",
            Self::Numpy => "a file of NumPy arrays",
            Self::Onnx => "an ONNX file",
            Self::Archive(what) => return write!(f, "an archive: {what}"),
            Self::LfsPointer => "a pointer of Git LFS to the file",
            Self::Html => "a web page",
            Self::Json => "a JSON file",
            Self::Empty => "empty",
            Self::Folder => "a folder",
            Self::Device => "a device or a pipe",
            Self::Unknown => "of no known format",
        })
    }
}
