//! Products of bfloat16 tiles on Intel's AMX.
//!
//! The compiler knows nothing of tile registers, so each product stands in one block of assembly that
//! loads, multiplies and stores; only the configuration outlasts it.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::dots::Dots;
use super::products::{Products, Quad, Store, TileKernel};
use crate::simd::avx512::Avx512;

/// Proves that the CPU has AMX for bfloat16 and that the system lets this process use it.
#[derive(Clone, Copy)]
pub(crate) struct Amx(Dots);

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

impl Amx {
    /// The token, if the CPU has the features and the system gives leave.
    pub(super) fn new() -> Option<Self> {
        static ALLOWED: OnceLock<bool> = OnceLock::new();
        let dots = Dots::new()?;
        ALLOWED.get_or_init(|| cpu_has_it() && ask_leave()).then_some(Self(dots))
    }

    /// Runs `kernel` with left tiles and sums of `rows` rows.
    pub(super) fn run<K: TileKernel>(self, rows: usize, kernel: K) {
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..8 {
            configuration.0[16 + 2 * tile] = 64;
            // Sums 0 to 3, left factors 4 and 5, right factors 6 and 7.
            configuration.0[48 + tile] = if tile < 6 { rows as u8 } else { 16 };
        }
        // SAFETY: the token proves AMX and leave to use it; the configuration is a valid one of
        // palette 1: rows of 64 bytes, at most 16 of them.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        self.0.run(Tiled { amx: self, kernel });
        // SAFETY: as above; so that the system need not keep the tiles of a thread that sleeps.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Whether the CPU has AMX and the system saves its registers.
fn cpu_has_it() -> bool {
    let leaves = __cpuid(0).eax;
    if leaves < 7 {
        return false;
    }
    // Bit 27 of leaf 1: XGETBV may be used.
    let saves = __cpuid(1).ecx & 1 << 27 != 0;
    let features = __cpuid_count(7, 0).edx;
    let (bf16, tiles) = (features & 1 << 22 != 0, features & 1 << 24 != 0);
    // SAFETY: the system has set the bit that allows XGETBV.
    saves && bf16 && tiles && unsafe { xcr0() } & 0b11 << 17 == 0b11 << 17
}

/// # Safety
/// The CPU and the system allow XGETBV.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's promise.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the tile registers, once for all threads: their 8 KiB are saved on request only.
fn ask_leave() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call without pointers, which clobbers what is named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

struct Tiled<K> {
    amx: Amx,
    kernel: K,
}

impl<K: TileKernel> TileKernel for Tiled<K> {
    #[inline(always)]
    fn run<P: Products>(self, _: P) {
        self.kernel.run(self.amx);
    }
}

/// A loop over the steps of a product; `$start` prepares the sums, `$half` multiplies one or two right
/// tiles, `$end` stores.
macro_rules! product {
    ($quad:ident, [$($start:literal),*], [$($half:literal),*], [$($end:literal),*]) => {
        asm!(
            $($start,)*
            "test {steps}, {steps}",
            "jz 3f",
            "2:",
            "mov {first:e}, dword ptr [{step}]",
            "mov {second:e}, dword ptr [{step} + 4]",
            "mov {both:e}, dword ptr [{step} + 8]",
            "add {first}, {left}",
            "add {second}, {left}",
            "add {both}, {right}",
            "tileloadd tmm4, [{first} + {row}*1]",
            "tileloadd tmm6, [{both} + {row}*1]",
            $($half,)*
            "add {step}, 12",
            "dec {steps}",
            "jnz 2b",
            "3:",
            $($end,)*
            step = inout(reg) $quad.steps.as_ptr() => _,
            steps = inout(reg) $quad.steps.len() => _,
            left = in(reg) $quad.left,
            right = in(reg) $quad.right,
            to0 = in(reg) $quad.targets[0],
            to1 = in(reg) $quad.targets[1],
            row = in(reg) 64_usize,
            first = out(reg) _,
            second = out(reg) _,
            both = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// A product with two right tiles.
macro_rules! two {
    ($quad:ident, [$($start:literal),*]) => {
        product!(
            $quad,
            [$($start),*],
            [
                "tileloadd tmm7, [{both} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{second} + {row}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7"
            ],
            [
                "tilestored [{to0} + {row}*1], tmm0",
                "tilestored [{to0} + {row}*1 + 1024], tmm1",
                "tilestored [{to1} + {row}*1], tmm2",
                "tilestored [{to1} + {row}*1 + 1024], tmm3"
            ]
        )
    };
}

/// A product with one right tile.
macro_rules! one {
    ($quad:ident, [$($start:literal),*]) => {
        product!(
            $quad,
            [$($start),*],
            [
                "tileloadd tmm5, [{second} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6"
            ],
            ["tilestored [{to0} + {row}*1], tmm0", "tilestored [{to1} + {row}*1], tmm2"]
        )
    };
}

impl Products for Amx {
    type Vectors = Avx512;

    #[inline(always)]
    fn vectors(self) -> Avx512 {
        self.0.vectors()
    }

    #[inline(always)]
    unsafe fn quad(self, quad: Quad<'_>) {
        // SAFETY: the token proves AMX, `run` has configured the tiles, and the caller promises that
        // all of them are readable or writable. Steps are three words of 32 bits.
        unsafe {
            match (quad.halves, quad.adds) {
                (2, false) => {
                    two!(quad, ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"])
                }
                (2, true) => two!(
                    quad,
                    [
                        "tileloadd tmm0, [{to0} + {row}*1]",
                        "tileloadd tmm1, [{to0} + {row}*1 + 1024]",
                        "tileloadd tmm2, [{to1} + {row}*1]",
                        "tileloadd tmm3, [{to1} + {row}*1 + 1024]"
                    ]
                ),
                (_, false) => one!(quad, ["tilezero tmm0", "tilezero tmm2"]),
                (_, true) => one!(
                    quad,
                    ["tileloadd tmm0, [{to0} + {row}*1]", "tileloadd tmm2, [{to1} + {row}*1]"]
                ),
            }
        }
    }

    #[inline(always)]
    unsafe fn round(self, from: *const f32, to: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe { self.0.round(from, to) }
    }

    #[inline(always)]
    unsafe fn pair(self, from: *const u16, images: usize, half: usize, to: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe { self.0.pair(from, images, half, to) }
    }

    #[inline(always)]
    unsafe fn turn(self, from: *const u16, images: usize, to: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe { self.0.turn(from, images, to) }
    }

    #[inline(always)]
    unsafe fn turn_pairs(self, from: *const u16, rows: usize, to: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe { self.0.turn_pairs(from, rows, to) }
    }

    #[inline(always)]
    unsafe fn store(self, store: Store) {
        // SAFETY: the caller's promise.
        unsafe { self.0.store(store) }
    }
}
