//! Integration tests of the networks.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod batches;
mod gradients;
mod networks;
