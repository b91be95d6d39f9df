//! The two precisions that gridding is compiled for.

use rustfft::FftNum;

/// `f32` or `f64`.
pub trait Float:
    super::spread::Compiled
    + FftNum
    + Copy
    + Default
    + PartialOrd
    + bytemuck::Pod
    + std::ops::AddAssign
    + std::ops::MulAssign
    + std::iter::Sum
    + std::fmt::Debug
{
    /// Rounds to this precision.
    fn of(value: f64) -> Self;
    /// As double precision.
    fn f64(self) -> f64;
    /// `self * b + c`, fused where the processor can.
    fn madd<const FUSED: bool>(self, b: Self, c: Self) -> Self;
}

macro_rules! float {
    ($T:ty) => {
        impl Float for $T {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $T
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn madd<const FUSED: bool>(self, b: Self, c: Self) -> Self {
                // Without the instruction `mul_add` is a library call, a hundred times slower.
                if FUSED { self.mul_add(b, c) } else { self * b + c }
            }
        }
    };
}
float!(f32);
float!(f64);
