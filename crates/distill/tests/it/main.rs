//! Integration tests of training: gradients through the whole student, whole runs, resuming.

mod data;
mod finite_differences;
mod runs;
