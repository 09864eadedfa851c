//! The stable name of a sample.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::Xxh3;

/// The stable name of a sample: a hash of its content and label; of an image its size and pixels,
/// of a text its bytes.
///
/// Re-ordering, shuffling or cutting the files changes no id. Exact duplicates within a set (same
/// content and label) are numbered in the order met; since they are interchangeable, this does
/// not depend on the order in any way that can be seen. The same sample in the training and in the
/// test split has the same id in both.
///
/// Written as 16 hexadecimal digits, in text and in serde formats (JSON numbers lose digits above
/// 2^53).
///
/// # Example
/// ```
/// use faculty_data::SampleId;
/// let id: SampleId = "00000000000000ff".parse().unwrap();
/// assert_eq!(id, SampleId(255));
/// assert_eq!(id.to_string(), "00000000000000ff");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleId(pub u64);

/// Why a text is not a [`SampleId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a sample id: 16 hexadecimal digits are expected")]
pub struct ParseSampleIdError {
    text: String,
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SampleId({self})")
    }
}

impl FromStr for SampleId {
    type Err = ParseSampleIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSampleIdError { text: text.to_owned() };
        // `from_str_radix` alone would accept a sign.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).ok().map(SampleId).ok_or_else(wrong)
    }
}

impl Serialize for SampleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SampleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The ids of samples whose contents and labels have these hashes.
pub(crate) fn number_duplicates(contents: Vec<u64>) -> Vec<SampleId> {
    let mut seen: HashMap<u64, u64> = HashMap::with_capacity(contents.len());
    contents
        .into_iter()
        .map(|content| {
            let occurrence = seen.entry(content).or_insert(0);
            let id = SampleId(number_duplicate(content, *occurrence));
            *occurrence += 1;
            id
        })
        .collect()
}

/// The id of the `occurrence`-th (from 0) of several samples with the same content.
fn number_duplicate(content: u64, occurrence: u64) -> u64 {
    if occurrence == 0 {
        return content;
    }
    let mut hash = Xxh3::with_seed(occurrence);
    hash.update(&content.to_le_bytes());
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_16_hexadecimal_digits_and_read_back() {
        let id = SampleId(0x0123_4567_89ab_cdef);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"0123456789abcdef\"");
        assert_eq!(serde_json::from_str::<SampleId>(&json).unwrap(), id);
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "12", "+123456789abcdef", "0123456789abcdeg", "0x23456789abcdef0"] {
            assert!(text.parse::<SampleId>().is_err(), "{text}");
        }
    }
}
