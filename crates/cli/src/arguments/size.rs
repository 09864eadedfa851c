//! Height and width as one argument.

use std::str::FromStr;

/// `H,W`: height and width, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) [usize; 2]);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let side = |text: &str| text.trim().parse::<u16>().ok().filter(|&side| side > 0);
        let sides = text.split_once(',').and_then(|(height, width)| {
            Some([usize::from(side(height)?), usize::from(side(width)?)])
        });
        sides
            .map(Self)
            .ok_or_else(|| "height and width are expected, for example `32,32`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_needed() {
        assert_eq!("8,12".parse(), Ok(Size([8, 12])));
        for bad in ["8", "8,", "0,8", "8,8,8", "8x8", "-1,8", "70000,1", ""] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
