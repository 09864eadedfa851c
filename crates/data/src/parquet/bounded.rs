//! A file whose page headers are checked before the Parquet reader believes them.
//!
//! The reader allocates what a page header says: up to 2 GiB for the page, and one entry for each
//! of up to 2^31 dictionary values. A single damaged byte must not cost that much memory, so sizes
//! that the compressed bytes cannot give are refused here.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Mutex;

use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;

/// The most bytes of a page for one compressed byte: that of deflate. Zstandard could give more, but
/// images and labels do not.
pub(super) const MOST_RATIO: u64 = 1032;

/// The most values in all pages: runs of one value take next to no bytes, but there is an end to
/// what a column of labels or logits needs.
const MOST_VALUES: u64 = 1 << 24;
const VALUES_A_BYTE: u64 = 64;

/// Bytes at the end of the file that are no page header.
const FOOTER_LEN: u64 = 8;

/// A Parquet file read with checked page headers.
pub(super) struct BoundedFile {
    file: File,
    length: u64,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    /// Where the data of pages begins whose headers were checked.
    data: HashSet<u64>,
    /// Where their headers begin.
    headers: HashSet<u64>,
    /// The values that they announce.
    values: u64,
}

/// The start of a page that is looked at; headers are shorter by far.
const HEAD_LEN: u64 = 4096;

impl BoundedFile {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file, length, pages: Mutex::default() }
    }
}

impl Length for BoundedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for BoundedFile {
    type T = BufReader<File>;

    /// Called for the footer, at the start of each page header, and, for columns of lists, whose
    /// headers the reader looks at ahead, at the start of a page's data.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.file.try_clone()?;
        let mut pages = self.pages.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if start.saturating_add(FOOTER_LEN) < self.length && !pages.data.contains(&start) {
            let mut head = Vec::with_capacity(HEAD_LEN as usize);
            file.seek(SeekFrom::Start(start))?;
            file.by_ref().take(HEAD_LEN).read_to_end(&mut head)?;
            let Page { compressed, values } = check_page_header(&head)?;
            if pages.headers.insert(start) {
                pages.values = pages.values.saturating_add(values);
            }
            if pages.values > MOST_VALUES.saturating_add(self.length.saturating_mul(VALUES_A_BYTE))
            {
                let text = format!("pages of {} values in {} bytes", pages.values, self.length);
                return Err(ParquetError::General(text));
            }
            // Of an empty page the next header stands there.
            if let Some(length) = header_length(&head).filter(|_| compressed > 0) {
                pages.data.insert(start + length as u64);
            }
        }
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(file))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.file.get_bytes(start, length)
    }
}

/// What a page header announces.
#[derive(Debug)]
struct Page {
    /// Bytes.
    compressed: u64,
    /// None of a page that has none.
    values: u64,
}

/// Checks the sizes in the first bytes of a page header.
///
/// Thrift compact protocol: 1 = type, 2 = size, 3 = compressed size, all i32, then perhaps 4 =
/// checksum, and for a dictionary 7 = struct with 1 = number of values. A field is `(step of the
/// number) << 4 | kind`, kind 5 = i32, 12 = struct.
/// A data page likewise has 5 = struct, or 8 in its second version, with 1 = number of values.
fn check_page_header(mut head: &[u8]) -> Result<Page> {
    let head = &mut head;
    let wrong = |text: &str| ParquetError::General(format!("page header: {text}"));
    let mut next = || field(head, 0x15).ok_or_else(|| wrong("not the usual fields"));
    let (_, size, compressed) = (next()?, next()?, next()?);
    if size > MOST_RATIO.saturating_mul(compressed) {
        return Err(wrong(&format!("{size} bytes from {compressed} compressed ones")));
    }
    let [dictionary, first, second] = match field(head, 0x15) {
        Some(_checksum) => [0x3c, 0x1c, 0x4c],
        None => [0x4c, 0x2c, 0x5c],
    };
    let kind = head.first().copied();
    if ![dictionary, first, second].map(Some).contains(&kind) {
        return Ok(Page { compressed, values: 0 });
    }
    *head = &head[1..];
    let values = match field(head, 0x15) {
        Some(values) => values,
        None if kind == Some(dictionary) => return Err(wrong("not the usual fields")),
        None => 0,
    };
    // The value of every type read here takes 4 bytes or more.
    if kind == Some(dictionary) && values.saturating_mul(4) > size {
        return Err(wrong(&format!("{values} dictionary values in {size} bytes")));
    }
    Ok(Page { compressed, values })
}

/// Bytes of the Thrift struct at the start of `head`, if all of it is there.
fn header_length(head: &[u8]) -> Option<usize> {
    let mut rest = head;
    skip_struct(&mut rest, 0)?;
    Some(head.len() - rest.len())
}

fn skip_struct(rest: &mut &[u8], depth: usize) -> Option<()> {
    loop {
        let (&tag, after) = rest.split_first()?;
        *rest = after;
        if tag == 0 {
            return Some(());
        }
        if tag >> 4 == 0 {
            varint(rest)?;
        }
        // 1, 2 = true, false; 3 = byte; 4 to 6 = numbers; 7 = double; 8 = bytes; 12 = struct.
        let length = match tag & 15 {
            1 | 2 => 0,
            3 => 1,
            4..=6 => {
                varint(rest)?;
                0
            }
            7 => 8,
            8 => usize::try_from(varint(rest)?).ok()?,
            12 if depth < 8 => {
                skip_struct(rest, depth + 1)?;
                0
            }
            _ => return None,
        };
        *rest = rest.get(length..)?;
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes an i32 field with this tag, if it is next; a negative one reads as huge.
fn field(head: &mut &[u8], tag: u8) -> Option<u64> {
    let mut rest = head.strip_prefix(&[tag])?;
    let mut zigzag = 0_u64;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *head = rest;
            return Some(if zigzag.is_multiple_of(2) { zigzag / 2 } else { u64::MAX });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(number: u64) -> Vec<u8> {
        let mut zigzag = number * 2;
        let mut bytes = Vec::new();
        while zigzag >= 0x80 {
            bytes.push((zigzag % 0x80) as u8 | 0x80);
            zigzag /= 0x80;
        }
        bytes.push(zigzag as u8);
        bytes
    }

    fn header(size: u64, compressed: u64, tail: &[u8]) -> Vec<u8> {
        let fields = [0, size, compressed].map(|number| [vec![0x15], encoded(number)].concat());
        [fields.concat(), tail.to_vec()].concat()
    }

    #[test]
    fn accepts_sizes_that_compression_can_give() {
        check_page_header(&header(1000, 1, &[0x2c])).unwrap();
        check_page_header(&header(50_000_000, 50_000_100, &[0x2c])).unwrap();
        check_page_header(&header(0, 0, &[])).unwrap();
    }

    #[test]
    fn refuses_pages_and_dictionaries_larger_than_their_bytes() {
        assert!(check_page_header(&header(i32::MAX as u64, 1000, &[0x2c])).is_err());
        for (tail, name) in [(vec![0x4c], "plain"), (vec![0x15, 3, 0x3c], "with checksum")] {
            let dictionary = |values| {
                let tail = [tail.clone(), vec![0x15], encoded(values)].concat();
                check_page_header(&header(4000, 1000, &tail))
            };
            assert!(dictionary(1000).is_ok(), "{name}");
            assert!(dictionary(1001).is_err(), "{name}");
            assert!(dictionary(i32::MAX as u64).is_err(), "{name}");
        }
    }

    #[test]
    fn values_of_both_kinds_of_data_pages_are_counted() {
        for (tail, kind) in [
            (vec![0x2c], "first version"),
            (vec![0x15, 3, 0x1c], "with checksum"),
            (vec![0x5c], "second version"),
            (vec![0x15, 3, 0x4c], "second version with checksum"),
        ] {
            let tail = [tail, vec![0x15], encoded(1 << 30)].concat();
            let page = check_page_header(&header(9, 9, &tail)).unwrap();
            assert_eq!((page.compressed, page.values), (9, 1 << 30), "{kind}");
        }
    }

    #[test]
    fn pages_that_announce_more_values_than_a_file_justifies_are_refused() {
        let mut file = tempfile::tempfile().unwrap();
        let tail = [vec![0x2c, 0x15], encoded(MOST_VALUES)].concat();
        let page = header(9, 9, &tail);
        std::io::Write::write_all(
            &mut file,
            &[page.clone(), vec![0; 64], page, vec![0; 64]].concat(),
        )
        .unwrap();
        let length = file.metadata().unwrap().len();
        let second = length / 2;
        let file = BoundedFile::new(file, length);
        assert!(file.get_read(0).is_ok());
        assert!(file.get_read(0).is_ok(), "the same page counts once");
        assert!(file.get_read(second).unwrap_err().to_string().contains("values in"));
    }

    #[test]
    fn the_data_begins_where_the_header_ends() {
        // A data page: 5 = struct with 1 = number of values, then statistics with bytes.
        let tail = [0x2c, 0x15, 2, 0x1c, 0x18, 2, 9, 9, 0, 0, 0];
        let header = header(1000, 1, &tail);
        assert_eq!(header_length(&[&header[..], &[7; 9]].concat()), Some(header.len()));
        for cut in 0..header.len() {
            assert_eq!(header_length(&header[..cut]), None);
        }
        assert_eq!(header_length(&[0x1c; 40]), None);
    }

    #[test]
    fn refuses_what_is_no_page_header() {
        for bytes in
            [&[][..], &[0x15], &[0x15, 0x80], b"PAR1PAR1", &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(check_page_header(bytes).is_err(), "{bytes:?}");
        }
        // A negative size.
        assert!(check_page_header(&[0x15, 0, 0x15, 1, 0x15, 2]).is_err());
    }
}
