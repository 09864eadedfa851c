//! Tests that walk all methods, or hold them against references.

mod golden;
mod profiled;
mod properties;
mod published;
mod reference;
