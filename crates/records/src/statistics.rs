//! Paired differences over few seeds: how large, how sure, and a verdict in words.
//!
//! [`compare_paired`] gives the verdict (the rule stands above it in its file and in `docs/compare.md`), [`per_image`] says
//! whether two students differ on the images of one part, [`seeds_needed`] how many seeds a gap takes, and
//! [`Look`] keeps a comparison that goes on seed by seed honest. [`simulation`] shows what all of it is
//! worth.

mod bootstrap;
mod interval;
mod moderation;
mod moments;
mod needed;
mod paired;
mod sequential;
pub mod simulation;
mod special;

pub use bootstrap::per_image;
pub use interval::Interval;
pub use moments::{deviation, mean};
pub use needed::{NeededSeeds, seeds_needed};
pub use paired::{Paired, SIGNIFICANCE, Verdict, compare_paired};
pub use sequential::{FIRST_LOOK, Look};
