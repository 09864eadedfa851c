//! The header's bytes: read in order, never beyond the end, and nothing reserved that is not there.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{GgufError, Result};
use crate::value::{ARRAY, Array, NumberKind, STRING, Value};

/// Arrays in arrays, at most.
const DEEPEST: usize = 4;
/// Bytes taken at once where a count promises more.
const AT_ONCE: u64 = 1 << 20;

/// What is left of the header.
pub(crate) struct Source<'a, R> {
    reader: BufReader<R>,
    path: &'a Path,
    /// Bytes read, and of the file.
    at: u64,
    len: u64,
}

impl<'a, R: Read> Source<'a, R> {
    pub(crate) fn new(reader: R, path: &'a Path, len: u64) -> Self {
        Self { reader: BufReader::new(reader), path, at: 0, len }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.to_owned()
    }

    pub(crate) fn damaged(&self, problem: String) -> GgufError {
        GgufError::Damaged { path: self.path(), problem }
    }

    fn cut_short(&self, what: &str) -> GgufError {
        GgufError::CutShort { path: self.path(), what: what.to_owned() }
    }

    /// `count` things of at least `each` bytes; an error if so many cannot follow.
    pub(crate) fn count(&self, count: u64, each: u64, what: &str) -> Result<usize> {
        let left = self.len.saturating_sub(self.at);
        match count.checked_mul(each) {
            Some(bytes) if bytes <= left => {
                usize::try_from(count).map_err(|_| self.cut_short(what))
            }
            _ => Err(self.damaged(format!(
                "{what}: {count} are announced at byte {}, and {left} bytes are left",
                self.at
            ))),
        }
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        if count > self.len.saturating_sub(self.at) {
            return Err(self.cut_short(what));
        }
        // A file may shrink while it is read, so memory grows with what comes.
        let mut bytes = Vec::with_capacity(count.min(AT_ONCE) as usize);
        let read = (&mut self.reader).take(count).read_to_end(&mut bytes);
        read.map_err(|source| GgufError::Read { path: self.path(), source })?;
        self.at += bytes.len() as u64;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(self.cut_short(what)) }
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        if N as u64 > self.len.saturating_sub(self.at) {
            return Err(self.cut_short(what));
        }
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.cut_short(what),
            _ => GgufError::Read { path: self.path(), source },
        })?;
        self.at += N as u64;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    pub(crate) fn magic(&mut self) -> Result<[u8; 4]> {
        self.fixed("its first bytes")
    }

    /// Length and UTF-8.
    pub(crate) fn string(&mut self, what: &str) -> Result<String> {
        let len = self.u64(what)?;
        let at = self.at;
        let bytes = self.bytes(len, what)?;
        String::from_utf8(bytes)
            .map_err(|_| self.damaged(format!("{what}: the text at byte {at} is no UTF-8")))
    }

    /// A value of this type.
    pub(crate) fn value(&mut self, kind: u32, what: &str) -> Result<Value> {
        match kind {
            STRING => Ok(Value::String(self.string(what)?)),
            ARRAY => Ok(Value::Array(self.array(what, 1)?)),
            other => {
                let kind = self.number_kind(other, what)?;
                Ok(kind.value(&self.bytes(kind.bytes() as u64, what)?))
            }
        }
    }

    fn number_kind(&self, number: u32, what: &str) -> Result<NumberKind> {
        NumberKind::of(number)
            .ok_or_else(|| self.damaged(format!("{what}: there is no type {number} of values")))
    }

    fn array(&mut self, what: &str, depth: usize) -> Result<Array> {
        if depth > DEEPEST {
            return Err(self.damaged(format!("{what}: arrays lie more than {DEEPEST} deep")));
        }
        let kind = self.u32(what)?;
        let count = self.u64(what)?;
        match kind {
            STRING => {
                let count = self.count(count, 8, what)?;
                (0..count).map(|_| self.string(what)).collect::<Result<_>>().map(Array::Strings)
            }
            ARRAY => {
                let count = self.count(count, 12, what)?;
                let arrays = (0..count).map(|_| self.array(what, depth + 1));
                arrays.collect::<Result<_>>().map(Array::Arrays)
            }
            other => {
                let kind = self.number_kind(other, what)?;
                let count = self.count(count, kind.bytes() as u64, what)?;
                let bytes = self.bytes((count * kind.bytes()) as u64, what)?;
                Ok(Array::Numbers { kind, bytes })
            }
        }
    }
}
