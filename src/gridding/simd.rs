//! Vectors of floats as the inner loops use them, so that one text serves every instruction set.
//!
//! The compiler's own vectorization undid itself on these loops (sums became scalar: half the speed), hence this.

use super::Float;

/// A vector of `LANES` numbers; complex numbers lie in it as (re, im) pairs.
///
/// # Safety
/// Every method may use instructions that the caller must know to exist; pointers must be valid for `LANES` numbers.
pub(super) unsafe trait Vector: Copy {
    type T: Float;
    const LANES: usize;
    unsafe fn load(from: *const Self::T) -> Self;
    unsafe fn store(self, to: *mut Self::T);
    unsafe fn splat(value: Self::T) -> Self;
    /// (re, im, re, im, ...)
    unsafe fn pair(re: Self::T, im: Self::T) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * b + c`
    unsafe fn madd(self, b: Self, c: Self) -> Self;
    /// (a0, a0, a1, a1, ...) in two vectors.
    unsafe fn doubled(self) -> [Self; 2];
    /// Sums of the even and of the odd lanes.
    unsafe fn sum_pairs(self) -> (Self::T, Self::T);
}

/// Vectors as arrays, for processors whose instructions the compiler handles well by itself.
#[derive(Clone, Copy)]
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
pub(super) struct Portable<T, const LANES: usize>([T; LANES]);

#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

unsafe impl<T: Float, const LANES: usize> Vector for Portable<T, LANES> {
    type T = T;
    const LANES: usize = LANES;
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        Portable(unsafe { from.cast::<[T; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        unsafe { to.cast::<[T; LANES]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Portable([value; LANES])
    }
    #[inline(always)]
    unsafe fn pair(re: T, im: T) -> Self {
        Portable(std::array::from_fn(|i| if i % 2 == 0 { re } else { im }))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn madd(self, b: Self, c: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i].madd::<FUSED>(b.0[i], c.0[i])))
    }
    #[inline(always)]
    unsafe fn doubled(self) -> [Self; 2] {
        [0, LANES / 2].map(|first| Portable(std::array::from_fn(|i| self.0[first + i / 2])))
    }
    #[inline(always)]
    unsafe fn sum_pairs(self) -> (T, T) {
        let mut v = self.0;
        let mut n = LANES;
        while n > 2 {
            n /= 2;
            for i in 0..n {
                v[i] = v[i] + v[i + n];
            }
        }
        (v[0], v[1])
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::Vector;
    use std::arch::x86_64::*;

    unsafe impl Vector for __m256 {
        type T = f32;
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn pair(re: f32, im: f32) -> Self {
            unsafe { _mm256_unpacklo_ps(_mm256_set1_ps(re), _mm256_set1_ps(im)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn madd(self, b: Self, c: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn doubled(self) -> [Self; 2] {
            unsafe {
                let (low, high) = (_mm256_unpacklo_ps(self, self), _mm256_unpackhi_ps(self, self));
                [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
            }
        }
        #[inline(always)]
        unsafe fn sum_pairs(self) -> (f32, f32) {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                (_mm_cvtss_f32(two), _mm_cvtss_f32(_mm_movehdup_ps(two)))
            }
        }
    }

    unsafe impl Vector for __m256d {
        type T = f64;
        const LANES: usize = 4;
        #[inline(always)]
        unsafe fn load(from: *const f64) -> Self {
            unsafe { _mm256_loadu_pd(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f64) {
            unsafe { _mm256_storeu_pd(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f64) -> Self {
            unsafe { _mm256_set1_pd(value) }
        }
        #[inline(always)]
        unsafe fn pair(re: f64, im: f64) -> Self {
            unsafe { _mm256_unpacklo_pd(_mm256_set1_pd(re), _mm256_set1_pd(im)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm256_mul_pd(self, other) }
        }
        #[inline(always)]
        unsafe fn madd(self, b: Self, c: Self) -> Self {
            unsafe { _mm256_fmadd_pd(self, b, c) }
        }
        #[inline(always)]
        unsafe fn doubled(self) -> [Self; 2] {
            unsafe {
                let (low, high) = (_mm256_unpacklo_pd(self, self), _mm256_unpackhi_pd(self, self));
                [_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high)]
            }
        }
        #[inline(always)]
        unsafe fn sum_pairs(self) -> (f64, f64) {
            unsafe {
                let two = _mm_add_pd(_mm256_castpd256_pd128(self), _mm256_extractf128_pd::<1>(self));
                (_mm_cvtsd_f64(two), _mm_cvtsd_f64(_mm_unpackhi_pd(two, two)))
            }
        }
    }
}
