//! CPU kernels of faculty: slices in, slices out, `f32`, NCHW.
//!
//! Every public function checks the lengths it is given, picks the instruction set once
//! ([`isa::name`]) and spreads its work over rayon's current pool. Results are bit-identical for
//! any number of threads: work is cut by the shape alone, and partial sums are added in a fixed
//! order. They differ in the last bits between instruction sets.
//!
//! The instruction set is chosen at run time; `FACULTY_ISA=scalar|avx2|avx512` forces one.
#![expect(unsafe_code, reason = "micro-kernels")]

pub mod activation;
pub mod allocator;
pub mod attention;
pub mod batch_norm;
pub mod bf16;
pub mod channel_affine;
pub mod channels;
pub mod columns;
pub mod conv2d;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod gate;
pub mod head_loss;
pub mod isa;
pub mod layer_norm;
pub mod linear;
pub mod matmul;

pub mod pad;
mod parallel;
pub mod piecewise;
pub mod pool;
pub mod prelu;
pub mod resize;
pub mod rms_norm;
pub mod rotary;
pub mod row_norm;
mod scratch;
mod simd;
mod sizes;
pub mod softmax_kl;
mod special;
pub mod squared_error;
pub mod teacher_weights;
#[cfg(test)]
mod testing;
pub mod transpose;

/// Runs `work` on a thread of rayon's current pool and waits for it.
///
/// A thread outside the pool sleeps and wakes at every parallel loop, some hundred times in a
/// training step, and takes a core from the workers each time. Called from inside, it only calls
/// `work`.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
