//! Convolutions and matrix products whose factors are rounded to bfloat16.
//!
//! # Numbers
//! Every factor is rounded to the nearest bfloat16 (`f32`'s range, 8 significant bits), ties to even,
//! NaN staying NaN; the products of two such numbers are exact in `f32`, and sums are `f32`. The order
//! of a sum depends on the shape alone, so results do not depend on the number of threads. They
//! differ in the last bits of `f32` between the ways to compute ([`name`]), and those with an
//! instruction for it read and give subnormal numbers (below 1.2e-38) as zero.
//!
//! # Error
//! Against the same operation in real numbers: a rounded factor is off by at most `2^-9` of itself, so
//! a product by `2^-8 + 2^-18`, and a sum of `n` products by `2^-8 + 2^-18 + n 2^-23` of the sum of
//! absolute products. The tests hold every path to that. What [`Maps`] store is rounded once more.
//!
//! # Layout
//! Activations lie in [`Maps`]: tiles of 16 images × 32 channels, so that every product is one of
//! tiles, whatever the size of the maps, the kernel and the stride.
//!
//! # Ways
//! `FACULTY_ISA` forces one of `amx` (tiles of Intel's AMX), `avx512bf16` (its dot product of pairs),
//! `avx512`, `avx2`, `scalar` (the factors are widened and multiplied as `f32`). Without it the first
//! that this machine has is taken, in this order.

mod amx;
pub mod batch_norm;
pub mod conv2d;
mod convert;
mod dots;
pub mod elementwise;
mod engine;
mod lines;
mod maps;
pub mod matmul;
mod plain;
mod planes;
pub mod pool;
mod products;
#[cfg(test)]
mod tests;

pub use self::engine::name;
pub use self::maps::Maps;
