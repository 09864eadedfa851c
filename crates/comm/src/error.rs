//! Collective operations that did not come about.

use std::time::Duration;

/// What a collective operation gives.
pub type Result<T> = std::result::Result<T, CommError>;

/// Why a collective operation did not come about. All ranks that took part get one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommError {
    /// A rank ended with an error, or panicked.
    #[error("rank {rank} of {size} ended: {message}")]
    RankFailed {
        /// Which one, from 0.
        rank: usize,
        /// How many there are.
        size: usize,
        /// What it said.
        message: String,
    },
    /// A rank came to its end while the others still needed it.
    #[error("rank {rank} of {size} was done while the others went on")]
    RankLeft {
        /// Which one, from 0.
        rank: usize,
        /// How many there are.
        size: usize,
    },
    /// Ranks that did not come in time.
    #[error(
        "{} of {size} did not come within {} s", ranks_in_words(missing), limit.as_secs_f64()
    )]
    Late {
        /// Which ones, from 0.
        missing: Vec<usize>,
        /// How many there are.
        size: usize,
        /// How long was waited for them.
        limit: Duration,
    },
    /// Ranks that do not do the same.
    #[error("rank {rank} of {size} {found}, while rank 0 {expected}")]
    Mismatch {
        /// The first that differs.
        rank: usize,
        /// How many there are.
        size: usize,
        /// What it does.
        found: String,
        /// What the others do.
        expected: String,
    },
    /// The MPI library refuses.
    #[error("MPI: {0}")]
    Library(String),
}

impl CommError {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::RankFailed { .. } => {
                "fix what that rank says; `--resume` goes on from the last checkpoint"
            }
            Self::Late { .. } => "see whether that rank is still at work, and on which machine",
            Self::RankLeft { .. } | Self::Mismatch { .. } => {
                "all ranks need the same program, recipe and data; if they have, it is a bug"
            }
            Self::Library(_) => "`docs/scale.md` names what MPI libraries need",
        }
    }
}

fn ranks_in_words(ranks: &[usize]) -> String {
    let numbers: Vec<String> = ranks.iter().map(ToString::to_string).collect();
    match ranks {
        [_] => format!("rank {}", numbers[0]),
        _ => format!("ranks {}", numbers.join(", ")),
    }
}
