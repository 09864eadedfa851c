//! Pages compressed with Zstandard, without C.
//!
//! The Parquet reader knows the codec only through the C library. Here it is told that the pages are
//! not compressed, and its pages are decompressed before they are decoded.

use std::io::Read as _;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::serialized_reader::SerializedPageReader;
use bytes::Bytes;
use ruzstd::decoding::StreamingDecoder;

use super::bounded::{BoundedFile, MOST_RATIO};

/// Bytes of a page that need no justification.
const FREE: u64 = 1 << 16;

/// The pages of one column chunk.
pub(super) struct Pages {
    compressed: SerializedPageReader<BoundedFile>,
}

impl Pages {
    pub(super) fn new(
        file: Arc<BoundedFile>,
        chunk: &ColumnChunkMetaData,
        rows: i64,
    ) -> Result<Self> {
        let plain =
            chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let rows = usize::try_from(rows)?;
        Ok(Self { compressed: SerializedPageReader::new(file, &plain, rows, None)? })
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.compressed.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = decompressed(buf, 0)?;
            }
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: true,
                ..
            } => {
                // Levels stand in front, never compressed.
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                *buf = decompressed(buf, usize::try_from(levels)?)?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.compressed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.compressed.skip_next_page()
    }
}

/// The bytes behind the first `plain` ones decompressed; a page that gives more than its bytes
/// justify is refused.
fn decompressed(page: &Bytes, plain: usize) -> Result<Bytes> {
    let wrong = |problem: String| ParquetError::General(format!("Zstandard: {problem}"));
    let (levels, mut rest) = page
        .split_at_checked(plain)
        .ok_or_else(|| wrong("the page is shorter than its levels".to_owned()))?;
    let most = (rest.len() as u64).saturating_mul(MOST_RATIO).saturating_add(FREE);
    let mut bytes = levels.to_vec();
    // Several frames may follow each other; a page without values has none.
    while !rest.is_empty() {
        let mut decoder =
            StreamingDecoder::new(&mut rest).map_err(|error| wrong(error.to_string()))?;
        let left = most.saturating_sub((bytes.len() - levels.len()) as u64);
        decoder
            .by_ref()
            .take(left.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| wrong(error.to_string()))?;
        if (bytes.len() - levels.len()) as u64 > most {
            return Err(wrong(format!("{} bytes give more than {most}", page.len())));
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one block of `count` times the same byte.
    fn frame(count: u32) -> Vec<u8> {
        // Magic; a single segment with a content size of 4 bytes; last block of kind 1 (repeat).
        let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
        bytes.extend(count.to_le_bytes());
        bytes.extend((count << 3 | 1 << 1 | 1).to_le_bytes().into_iter().take(3));
        bytes.push(7);
        bytes
    }

    #[test]
    fn frames_are_decompressed_behind_the_levels() {
        let page = Bytes::from([vec![1, 2], frame(5), frame(3)].concat());
        assert_eq!(decompressed(&page, 2).unwrap(), [[1, 2].as_slice(), &[7; 8]].concat());
        assert_eq!(decompressed(&Bytes::from_static(&[1, 2]), 2).unwrap(), [1, 2].as_slice());
        assert!(decompressed(&page, 99).is_err());
        for cut in 3..page.len() - 13 {
            assert!(decompressed(&page.slice(..cut), 2).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_page_that_gives_more_than_it_justifies_is_refused() {
        let bomb = vec![frame(100_000); 1000].concat();
        let error = decompressed(&bomb.into(), 0).unwrap_err().to_string();
        assert!(error.contains("give more than"), "{error}");
    }
}
