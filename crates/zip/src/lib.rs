//! The members of a zip file, found by the places that the file itself gives.
//!
//! PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5, as far as PyTorch, NumPy and programs that repack their
//! files write it: stored and deflated members, zip64 records, no encryption, one volume.

use std::fs::File;
use std::io::{Read as _, Result, Seek as _, SeekFrom};

mod extent;

pub use extent::Extent;

/// A member: its name and where its bytes are, if they can be read.
#[derive(Debug)]
pub struct Member {
    /// As the directory spells it, with `/` between folders.
    pub name: String,
    /// How its bytes are packed.
    pub method: Method,
    /// Of its local header.
    header: u64,
    packed: u64,
    length: u64,
    crc32: u32,
}

/// How a member's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Not at all.
    Stored,
    /// By deflate.
    Deflated,
    /// Encrypted, or compressed in another way.
    Other,
}

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";

/// All members of a file of `length` bytes, in its order; `None` if it has no directory, as when its end
/// is missing.
///
/// # Errors
/// When it cannot be read.
pub fn members(file: &mut File, length: u64) -> Result<Option<Vec<Member>>> {
    let Some((start, size)) = directory(file, length)? else { return Ok(None) };
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Ok(None);
    }
    let bytes = at(file, start, size)?;
    let mut rest = bytes.as_slice();
    let mut members = Vec::new();
    while rest.starts_with(CENTRAL) {
        let Some((member, next)) = member(rest) else { return Ok(None) };
        members.push(member);
        rest = next;
    }
    Ok(rest.is_empty().then_some(members))
}

/// Start and size of the directory.
fn directory(file: &mut File, length: u64) -> Result<Option<(u64, u64)>> {
    const RECORD: u64 = 22;
    const LOCATOR: u64 = 20;
    let tail_length = length.min(RECORD + LOCATOR + u64::from(u16::MAX));
    let tail = at(file, length - tail_length, tail_length)?;
    // A comment may follow, of any bytes: the record is the one that leaves room for its comment.
    let is_end = |&place: &usize| {
        let record = &tail[place..];
        record.starts_with(END) && number(record, 20, 2) == Some(record.len() as u64 - RECORD)
    };
    let last = tail.len().checked_sub(RECORD as usize);
    let Some(place) = last.and_then(|last| (0..=last).rev().find(is_end)) else { return Ok(None) };
    let record = &tail[place..];
    let locator = place.checked_sub(LOCATOR as usize).map(|start| &tail[start..place]);
    if let Some(locator) = locator.filter(|bytes| bytes.starts_with(LOCATOR64)) {
        let start = number(locator, 8, 8).filter(|&start| start <= length.saturating_sub(56));
        let Some(start) = start else { return Ok(None) };
        let record = at(file, start, 56)?;
        let found = record.starts_with(END64);
        return Ok(number(&record, 48, 8).zip(number(&record, 40, 8)).filter(|_| found));
    }
    Ok(number(record, 16, 4).zip(number(record, 12, 4)))
}

/// The first entry of a directory and what follows it.
fn member(bytes: &[u8]) -> Option<(Member, &[u8])> {
    const HEADER: usize = 46;
    let lengths = [28, 30, 32].map(|at| number(bytes, at, 2));
    let [name, extra, comment] = [lengths[0]?, lengths[1]?, lengths[2]?].map(|n| n as usize);
    let name = bytes.get(HEADER..HEADER + name)?;
    let extra = bytes.get(HEADER + name.len()..HEADER + name.len() + extra)?;
    let rest = bytes.get(HEADER + name.len() + extra.len() + comment..)?;
    let (mut packed, mut length) = (number(bytes, 20, 4)?, number(bytes, 24, 4)?);
    let mut header = number(bytes, 42, 4)?;
    // Numbers that need more than four bytes stand in the zip64 field, in this order.
    let mut large = zip64_field(extra);
    for value in [&mut length, &mut packed, &mut header] {
        if *value == u64::from(u32::MAX)
            && let Some(eight) = large.and_then(|field| field.split_at_checked(8))
        {
            *value = number(eight.0, 0, 8)?;
            large = Some(eight.1);
        }
    }
    let encrypted = number(bytes, 8, 2)? & 1 != 0;
    let method = match number(bytes, 10, 2)? {
        0 if !encrypted => Method::Stored,
        8 if !encrypted => Method::Deflated,
        _ => Method::Other,
    };
    let crc32 = number(bytes, 16, 4)? as u32;
    let name = String::from_utf8_lossy(name).into_owned();
    Some((Member { name, method, header, packed, length, crc32 }, rest))
}

fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let length = number(extra, 2, 2)? as usize;
        let (field, rest) = extra.get(4..)?.split_at_checked(length)?;
        if number(extra, 0, 2)? == 1 {
            return Some(field);
        }
        extra = rest;
    }
}

impl Member {
    /// Where its bytes are; `None` if its header is not where the directory says, or it is packed in a
    /// way that is not read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn extent(&self, file: &mut File, file_length: u64) -> Result<Option<Extent>> {
        const HEADER: u64 = 30;
        if self.header > file_length.saturating_sub(HEADER) || self.method == Method::Other {
            return Ok(None);
        }
        let header = at(file, self.header, HEADER)?;
        let lengths = number(&header, 26, 2).zip(number(&header, 28, 2));
        let Some((name, extra)) = lengths.filter(|_| header.starts_with(LOCAL)) else {
            return Ok(None);
        };
        let offset = self.header + HEADER + name + extra;
        let deflated = (self.method == Method::Deflated).then_some(self.packed);
        let stored = deflated.is_some() || self.packed == self.length;
        let inside = offset.checked_add(self.packed).is_some_and(|end| end <= file_length);
        // PyTorch writes 0 where it was told to compute none.
        let crc32 = Some(self.crc32).filter(|&crc32| crc32 != 0);
        let extent = Extent { offset, length: self.length, deflated, crc32 };
        Ok((inside && stored).then_some(extent))
    }
}

fn at(file: &mut File, start: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of `width` bytes.
#[must_use]
pub fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + width)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}
