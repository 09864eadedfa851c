//! NumPy's `.npy`: the header, and where the values begin.
//!
//! ```text
//! "\x93NUMPY", version (2 bytes), length of the header (2 bytes; 4 from version 2), header, values
//! header: {'descr': '<f4', 'fortran_order': False, 'shape': (n, classes), }
//! ```

use std::ops::Range;

/// What the header says.
#[derive(Debug)]
pub(crate) struct Header {
    /// The type of a value, such as `<f4` or `|u1`.
    pub(crate) descr: String,
    /// Whether the first axis runs fastest.
    pub(crate) fortran_order: bool,
    /// Values along each axis; empty for a single number.
    pub(crate) shape: Vec<usize>,
    /// Where the values are in the file.
    pub(crate) data: Range<usize>,
}

impl Header {
    /// Reads the header of a file; errors say what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |what: &str| format!("no readable .npy file: {what}");
        let cut = || wrong("it is cut short");
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| wrong("other first bytes"))?;
        let (&[major, _minor], rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (length, rest) = match major {
            1 => rest.split_first_chunk().map(|(n, rest)| (u16::from_le_bytes(*n) as usize, rest)),
            _ => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        }
        .ok_or_else(cut)?;
        let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header = std::str::from_utf8(header).map_err(|_| wrong("its header is no text"))?;
        let value = |key: &str| {
            let (_, rest) = header.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let order = value("fortran_order").ok_or_else(|| wrong("no `fortran_order`"))?;
        let shape = value("shape")
            .and_then(|text| text.strip_prefix('(')?.split_once(')'))
            .ok_or_else(|| wrong("no `shape`"))?
            .0;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<_>>();
        let shape = shape.ok_or_else(|| wrong("a `shape` that is none"))?;
        // Of plain numbers; records and objects have longer descriptions, or none in quotes.
        let descr = value("descr").and_then(|text| text.strip_prefix('\'')?.split_once('\''));
        let descr = descr.map_or_else(String::new, |(descr, _)| descr.to_owned());
        let data = bytes.len() - data.len()..bytes.len();
        Ok(Self { descr, fortran_order: !order.starts_with("False"), shape, data })
    }

    /// The number of values; `None` if no memory could hold them.
    pub(crate) fn values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1, |product: usize, &extent| product.checked_mul(extent))
    }
}

/// Little-endian values, as `decode` reads one.
pub(crate) fn numbers<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| decode(chunk)).collect()
}
