//! Which samples of a part a student got right: one bit a sample.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Right and wrong, sample by sample, in the order of the sample ids: two students measured on the same
/// samples can be compared one by one, however their parts were read.
///
/// In files: `"10000:f7fe…"`, the number of samples and four samples a hexadecimal digit, the first in
/// its highest bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightAnswers {
    samples: usize,
    digits: Vec<u8>,
}

impl RightAnswers {
    /// Of sample ids with whether the answer was right.
    #[must_use]
    pub fn of<Id: Ord>(mut answers: Vec<(Id, bool)>) -> Self {
        answers.sort();
        let digit = |four: &[(Id, bool)]| {
            four.iter().enumerate().map(|(at, own)| u8::from(own.1) << (3 - at)).sum()
        };
        Self { samples: answers.len(), digits: answers.chunks(4).map(digit).collect() }
    }

    /// How many samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Right or wrong, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = bool> {
        (0..self.samples).map(|at| self.digits[at / 4] >> (3 - at % 4) & 1 == 1)
    }
}

impl Serialize for RightAnswers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.digits.iter().map(|&own| char::from_digit(own.into(), 16).unwrap_or('0'));
        format!("{}:{}", self.samples, digits.collect::<String>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RightAnswers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once(':').and_then(|(samples, digits)| {
            let samples: usize = samples.parse().ok()?;
            let digit = |own: char| own.to_digit(16).and_then(|own| u8::try_from(own).ok());
            let digits: Option<Vec<u8>> = digits.chars().map(digit).collect();
            Some(Self { samples, digits: digits? })
        });
        parts
            .filter(|own| own.digits.len() == own.samples.div_ceil(4))
            .ok_or_else(|| Error::custom("right answers are `SAMPLES:HEXADECIMAL`, four a digit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_in_the_order_of_the_ids() {
        let own = RightAnswers::of(vec![(5, true), (1, false), (9, false), (3, true), (7, true)]);
        assert_eq!(own.iter().collect::<Vec<bool>>(), [false, true, true, true, false]);
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, "\"5:70\"");
        assert_eq!(serde_json::from_str::<RightAnswers>(&text).unwrap(), own);
    }

    #[test]
    fn damaged_answers_are_refused() {
        for text in
            ["\"5:7\"", "\"5:7g\"", "\"x:70\"", "\"70\"", "\"\"", "\"99999999999999999999:\""]
        {
            assert!(serde_json::from_str::<RightAnswers>(text).is_err(), "{text}");
        }
    }
}
