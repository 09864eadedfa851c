//! A range of a file, packed or not.

use std::fs::File;
use std::io::{self, Read as _, Result, Seek as _, SeekFrom};

/// Where the bytes of something are in a file.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Of its first byte.
    pub offset: u64,
    /// Once they are unpacked.
    pub length: u64,
    /// Their length in the file if they are deflated.
    pub deflated: Option<u64>,
    /// Checksum of the unpacked bytes, if there is one.
    pub crc32: Option<u32>,
}

impl Extent {
    /// `length` unpacked bytes from `start` on. The checksum is checked if those are all. Whoever calls
    /// this has asked whether the file justifies so many.
    ///
    /// # Errors
    /// When the file cannot be read, ends before, or its bytes do not match their checksum.
    pub fn read(&self, file: &mut File, start: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.deflated {
            None => {
                file.seek(SeekFrom::Start(self.offset.saturating_add(start)))?;
                file.take(length).read_to_end(&mut bytes)?;
            }
            Some(packed) => {
                file.seek(SeekFrom::Start(self.offset))?;
                let mut unpacked = flate2::read::DeflateDecoder::new(file.take(packed));
                io::copy(&mut (&mut unpacked).take(start), &mut io::sink())?;
                unpacked.take(length).read_to_end(&mut bytes)?;
            }
        }
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(crc32) = self.crc32.filter(|_| length == self.length) {
            let mut seen = flate2::Crc::new();
            seen.update(&bytes);
            if seen.sum() != crc32 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its bytes do not match their checksum",
                ));
            }
        }
        Ok(bytes)
    }
}
