//! The precision that a recipe names, as networks take it.

use faculty_nets::Precision;
use faculty_recipe as recipe;

/// What networks are told where a recipe says this.
#[must_use]
pub fn precision_of(named: recipe::Precision) -> Precision {
    match named {
        recipe::Precision::F32 => Precision::F32,
        recipe::Precision::Bf16 => Precision::Bf16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_same_precisions_by_the_same_names() {
        let named = [recipe::Precision::F32, recipe::Precision::Bf16];
        assert_eq!(named.map(recipe::Precision::name), recipe::Precision::NAMES);
        assert_eq!(named.map(precision_of), Precision::ALL);
        assert_eq!(named.map(|own| precision_of(own).name()), recipe::Precision::NAMES);
    }
}
