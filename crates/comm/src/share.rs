//! One part of a work that is cut into equal parts.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Part `index` of `count`: `2/8` is the second of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    index: usize,
    count: usize,
}

/// Text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share: write `I/N` with I from 1 to N, for example `2/8`")]
pub struct ShareError(String);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Part `index`, from 0, of `count`; none if there is no such part.
    #[must_use]
    pub fn new(index: usize, count: usize) -> Option<Self> {
        (index < count).then_some(Self { index, count })
    }

    /// From 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// How many parts there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether there is only this part.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Whether the thing of this number, from 0, belongs to this part: they are dealt out in turn.
    #[must_use]
    pub fn has(self, number: usize) -> bool {
        number % self.count == self.index
    }

    /// The part that the thing of this number belongs to, by [`Share::has`].
    #[must_use]
    pub fn owner(self, number: usize) -> Option<Self> {
        Self::new(number % self.count, self.count)
    }

    /// The neighbouring things of `len` that belong to this part; parts differ by one at most, and
    /// are empty where there are more parts than things.
    #[must_use]
    pub fn of(self, len: usize) -> Range<usize> {
        let at = |part: usize| {
            let (len, part, count) = (len as u128, part as u128, self.count as u128);
            (len * part / count) as usize
        };
        at(self.index)..at(self.index + 1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |own: &str| {
            own.parse::<usize>().ok().filter(|_| own.starts_with(|c: char| c.is_ascii_digit()))
        };
        let (index, count) = number(index).zip(number(count)).ok_or_else(wrong)?;
        index.checked_sub(1).and_then(|index| Self::new(index, count)).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_count() {
        let share: Share = "2/8".parse().unwrap();
        assert_eq!((share.index(), share.count(), share.to_string()), (1, 8, "2/8".to_owned()));
        for text in ["", "2", "0/8", "9/8", "1/0", "-1/8", "+1/8", "1/8/2", "a/b", " 1/8", "1/8 "] {
            assert_eq!(text.parse::<Share>(), Err(ShareError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn parts_are_whole_together_and_differ_by_one() {
        for (len, count) in [(0, 3), (1, 3), (7, 3), (9, 3), (100, 7), (usize::MAX, 2)] {
            let parts: Vec<_> =
                (0..count).map(|index| Share::new(index, count).unwrap().of(len)).collect();
            assert_eq!((parts[0].start, parts[count - 1].end), (0, len));
            assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
            let sizes = parts.iter().map(|part| part.len());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
        for number in 0..20 {
            let owners = (0..7).filter(|&index| Share::new(index, 7).unwrap().has(number));
            assert_eq!(owners.count(), 1);
            assert!(Share::new(3, 7).unwrap().owner(number).unwrap().has(number));
        }
    }
}
