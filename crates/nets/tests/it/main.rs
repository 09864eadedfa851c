//! Integration tests of the networks.

mod gradients;
mod networks;
