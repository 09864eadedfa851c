//! How products of bfloat16 tiles are computed: detection and choice stand here and nowhere else.

use std::sync::OnceLock;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::Amx;
#[cfg(target_arch = "x86_64")]
use super::dots::Dots;
use super::maps::IMAGES;
use super::plain::Plain;
use super::products::TileKernel;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// A way to compute that this machine has.
#[derive(Clone, Copy)]
pub(crate) enum Engine {
    /// Factors widened to `f32`.
    Plain(Isa),
    /// AVX-512's dot product of pairs.
    #[cfg(target_arch = "x86_64")]
    Dots(Dots),
    /// AMX.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Tiles(Amx),
}

impl Engine {
    /// The way all public functions take; see the [module](super).
    pub(crate) fn active() -> Self {
        static ACTIVE: OnceLock<Engine> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let available = Self::available();
            let asked = std::env::var("FACULTY_ISA").unwrap_or_default();
            let forced = available.iter().find(|engine| engine.word() == asked).copied();
            forced.unwrap_or(available[available.len() - 1])
        })
    }

    /// Every way this machine has, the slowest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut engines: Vec<Self> = Isa::available().into_iter().map(Self::Plain).collect();
        #[cfg(target_arch = "x86_64")]
        engines.extend(Dots::new().map(Self::Dots));
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        engines.extend(Amx::new().map(Self::Tiles));
        engines
    }

    /// The word that `FACULTY_ISA` takes.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plain(isa) => isa.word(),
            #[cfg(target_arch = "x86_64")]
            Self::Dots(_) => "avx512bf16",
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(_) => "amx",
        }
    }

    /// Runs `kernel` with tiles of `rows` rows.
    pub(super) fn run<K: TileKernel>(self, rows: usize, kernel: K) {
        assert!((1..=IMAGES).contains(&rows), "{rows} rows");
        match self {
            Self::Plain(isa) => isa.run(Widened(kernel)),
            #[cfg(target_arch = "x86_64")]
            Self::Dots(dots) => dots.run(kernel),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Tiles(amx) => amx.run(rows, kernel),
        }
    }
}

struct Widened<K>(K);

impl<K: TileKernel> Kernel for Widened<K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.run(Plain(simd));
    }
}

/// The name of the way in use, as [`isa::name`](crate::isa::name) for `f32`: two names are equal where
/// all results are, bit for bit.
///
/// ```
/// assert!(faculty_kernels::bf16::name().contains("-bf16-"));
/// ```
pub fn name() -> &'static str {
    match Engine::active() {
        Engine::Plain(isa) => match isa.word() {
            "avx2" => "x86_64-bf16-avx2-1",
            "avx512" => "x86_64-bf16-avx512-1",
            _ if cfg!(target_arch = "x86_64") => "x86_64-bf16-scalar-1",
            _ if cfg!(target_arch = "aarch64") => "aarch64-bf16-scalar-1",
            _ => "other-bf16-scalar-1",
        },
        #[cfg(target_arch = "x86_64")]
        Engine::Dots(_) => "x86_64-bf16-avx512bf16-1",
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Engine::Tiles(_) => "x86_64-bf16-amx-1",
    }
}
