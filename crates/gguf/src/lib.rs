//! GGUF, the file format of llama.cpp: metadata by key, and tensors dequantised to `f32`.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  pairs u64  { key, type u32, value }*
//! { name, dimensions u32, size u64 each, innermost first, type u32, offset u64 }*
//! zeros up to a multiple of `general.alignment`, data of all tensors
//! ```
//! Version 2 and 3, little-endian. Files come from strangers: every count is bounded by the bytes
//! that are left, tensors lie inside the file and apart from each other, and what is read takes no
//! more memory than the file, dequantised tensors eight times that.
//!
//! Files are written too, of plain floats and Q8_0 ([`GgufWriter`]).
//!
//! Made from the format's specification (ggml's `docs/gguf.md`) and the definitions of its block
//! types, see [`TensorType`].

mod block;
mod error;
mod file;
mod header;
mod source;
mod tensor_type;
mod value;
mod writer;

pub use error::{GgufError, Result};
pub use file::GgufFile;
pub use header::TensorInfo;
pub use tensor_type::TensorType;
pub use value::{Array, NumberKind, Value};
pub use writer::GgufWriter;
