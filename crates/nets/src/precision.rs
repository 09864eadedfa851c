//! In which numbers products are computed.

use std::sync::OnceLock;

use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};
use faculty_kernels::{bf16, isa};

/// What the factors of convolutions and matrix products are rounded to as they enter them; sums and
/// everything else is `f32` either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Nothing is rounded.
    #[default]
    F32,
    /// Rounded to the nearest bfloat16 (8 bits of fraction, `f32`'s range), ties to even.
    Bf16,
}

impl Precision {
    /// Both, `f32` first.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Its name in recipes and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The product of two matrices.
    pub(crate) fn multiply(
        self,
        left: Matrix<'_>,
        right: Matrix<'_>,
        finish: Finish<'_>,
        output: MatrixMut<'_>,
    ) {
        match self {
            Self::F32 => matmul(left, right, finish, output),
            Self::Bf16 => bf16::matmul::matmul(left, right, finish, output),
        }
    }

    /// Path of the numeric kernels that compute in it here, as records and caches name it.
    #[must_use]
    pub fn kernels(self) -> &'static str {
        match self {
            Self::F32 => isa::name(),
            Self::Bf16 => {
                // Sums and everything but products run on the other kernels.
                static BOTH: OnceLock<String> = OnceLock::new();
                BOTH.get_or_init(|| format!("{}+{}", isa::name(), bf16::name()))
            }
        }
    }
}
