//! Strength of the distillation terms.

/// Where a released code multiplies the distillation terms by another constant than "weights sum
/// to 1", this chooses between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Weights sum to 1: equal strength at equal α for every method.
    #[default]
    Unit,
    /// The factor of the authors' released code.
    Official,
}
