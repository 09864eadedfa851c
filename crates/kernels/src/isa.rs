//! Which instruction set the kernels run on: detection and choice stand here and nowhere else.
//!
//! A kernel is a value that implements `Kernel`; `Isa::run` calls its body inside a function
//! compiled for the instruction set, so one generic body serves every set.

use std::sync::OnceLock;

use crate::simd::{Simd, portable::Portable};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// A body that is compiled once for every instruction set.
///
/// `run` and everything it calls must be `#[inline(always)]`: code that is not inlined into the
/// entry points of this file is compiled for the baseline.
pub(crate) trait Kernel {
    /// What the body gives back.
    type Output;
    /// The body.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set this machine has; the tokens inside can only be made after detection.
#[derive(Clone, Copy)]
pub(crate) enum Isa {
    /// Plain Rust, eight lanes.
    Portable(Portable),
    /// AVX2 and FMA, eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, BW, DQ, VL, sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The set all public functions use: the widest this machine has, or what `FACULTY_ISA` asks
    /// for (a set the machine lacks, or an unknown word, is ignored; the words that [`bf16`](crate::bf16)
    /// knows beside these leave the widest).
    pub(crate) fn active() -> Self {
        static ACTIVE: OnceLock<Isa> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let available = Self::available();
            let asked = std::env::var("FACULTY_ISA").unwrap_or_default();
            let forced = available.iter().find(|isa| isa.word() == asked).copied();
            forced.unwrap_or(available[available.len() - 1])
        })
    }

    /// Every set this machine has, narrowest first.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "one set only"))]
        let mut sets = vec![Self::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(Avx2::new().map(Self::Avx2));
            sets.extend(Avx512::new().map(Self::Avx512));
        }
        sets
    }

    /// The word `FACULTY_ISA` takes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Portable(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
        }
    }

    /// Lanes of one vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable(_) => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Avx512::LANES,
        }
    }

    /// Runs `kernel` compiled for this set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token exists only if `Avx2::new` found AVX2 and FMA on this CPU.
            Self::Avx2(simd) => unsafe { run_avx2(simd, kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token exists only if `Avx512::new` found these features on this CPU.
            Self::Avx512(simd) => unsafe { run_avx512(simd, kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// The name of the path in use, for logs, benches, checkpoints and caches: architecture, element
/// type, set, and the generation of the arithmetic.
///
/// Two names are equal where all results are, bit for bit: whoever changes the order of a sum raises
/// the generation. 2: `linear` is a blocked product (2026-11-30).
///
/// ```
/// let name = faculty_kernels::isa::name();
/// assert!(name.contains("-f32-"));
/// ```
pub fn name() -> &'static str {
    match Isa::active() {
        Isa::Portable(_) if cfg!(target_arch = "x86_64") => "x86_64-f32-scalar-2",
        Isa::Portable(_) if cfg!(target_arch = "aarch64") => "aarch64-f32-scalar-2",
        Isa::Portable(_) => "other-f32-scalar-2",
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(_) => "x86_64-f32-avx2-2",
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(_) => "x86_64-f32-avx512-2",
    }
}
