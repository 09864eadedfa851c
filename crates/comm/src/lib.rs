//! Collective operations between the ranks of one training.
//!
//! ```text
//! Comm       what ranks do together: sums, flags, rows, bytes           trait
//! Alone      one process
//! Threads    ranks as threads of one process: tests, and small machines
//! Group      a `Comm` whose first error stays, for code that cannot return one
//! ```
//! Every operation is *collective*: all ranks call the same ones in the same order with values of the
//! same length. Sums are added in the order of the ranks, so that the same number of ranks gives the
//! same bytes on every run, and all ranks get the same bytes.

mod alone;
mod comm;
mod error;
mod group;
mod share;
mod threads;

pub use alone::Alone;
pub use comm::Comm;
pub use error::{CommError, Result};
pub use group::Group;
pub use share::{Share, ShareError};
pub use threads::{Failed, Network, Threads};
