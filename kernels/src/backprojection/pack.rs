//! A stretch of numbers of one type, and looking them up in a short table.
//!
//! Neighbouring voxels meet neighbouring pixels. So the pixels of a stretch of voxels are
//! read as one table of twice its length, and each voxel picks its two by a permutation
//! instead of a gather.
//!
//! A stretch has 16 `f32` or 8 `f64` on every level, so that all levels do the same: with
//! AVX-512 it is one register, elsewhere an array that is left to the compiler. Every
//! method is one IEEE operation a lane, but for [`Pack::madd`], which rounds twice on the
//! scalar level. Validated by `equals_the_definition` in `mod.rs`.

use crate::ray::Real;

/// A stretch of numbers.
///
/// The types of AVX-512 may only be named inside functions compiled for it, as `mod.rs` of
/// this folder does.
pub trait Pack: Copy {
    /// `f32` or `f64`.
    type Item: Real;
    /// How many.
    const LANES: usize;

    fn splat(v: Self::Item) -> Self;
    /// 0, 1, 2...
    fn count() -> Self;
    /// The first [`Pack::LANES`] numbers of a slice that has as many.
    fn load(from: &[Self::Item]) -> Self;
    /// Over the first [`Pack::LANES`] numbers of a slice that has as many.
    fn store(self, to: &mut [Self::Item]);
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    /// `self * b + c`.
    fn madd(self, b: Self, c: Self) -> Self;
    fn floor(self) -> Self;
    /// The smaller; `o` where one is NaN.
    fn min(self, o: Self) -> Self;
    /// The larger; `o` where one is NaN.
    fn max(self, o: Self) -> Self;
    /// Entries `at` and `at + 1` of the table `low, high`; `at` is whole, at least 0 and
    /// less than `2 * LANES - 1`.
    fn pick(low: Self, high: Self, at: Self) -> (Self, Self);
    /// Entry `at + plus` of the table, modulo its length; `at` is whole.
    fn pick_one(low: Self, high: Self, at: Self, plus: u8) -> Self;
    /// The weight of linear interpolation at a distance: `max(1 - |self|, 0)`.
    fn hat(self) -> Self;
}

/// Longest stretch of any type.
pub(super) const LANES_MAX: usize = 16;

/// A stretch as an array.
#[derive(Clone, Copy)]
pub struct Plain<T, const N: usize, const FMA: bool>([T; N]);

macro_rules! plain {
    ($item:ty, $n:literal) => {
        impl<const FMA: bool> Pack for Plain<$item, $n, FMA> {
            type Item = $item;
            const LANES: usize = $n;

            #[inline(always)]
            fn splat(v: $item) -> Self {
                Self([v; $n])
            }
            #[inline(always)]
            fn count() -> Self {
                let mut out = [0.0; $n];
                for (k, v) in out.iter_mut().enumerate() {
                    *v = k as $item;
                }
                Self(out)
            }
            #[inline(always)]
            fn load(from: &[$item]) -> Self {
                let mut out = [0.0; $n];
                out.copy_from_slice(&from[..$n]);
                Self(out)
            }
            #[inline(always)]
            fn store(self, to: &mut [$item]) {
                to[..$n].copy_from_slice(&self.0);
            }
            arithmetic!($item);
            each! {
                div(o) = |a: $item, o: $item| a / o;
                floor() = <$item>::floor;
                hat() = |a: $item| (1.0 - a.abs()).max(0.0);
            }
            #[inline(always)]
            fn pick(low: Self, high: Self, at: Self) -> (Self, Self) {
                let mut table = [0.0; 2 * $n];
                table[..$n].copy_from_slice(&low.0);
                table[$n..].copy_from_slice(&high.0);
                let (mut first, mut second) = (at, at);
                for k in 0..$n {
                    let i = at.0[k] as i32 as usize;
                    first.0[k] = table[i & (2 * $n - 1)];
                    second.0[k] = table[(i + 1) & (2 * $n - 1)];
                }
                (first, second)
            }
            #[inline(always)]
            fn pick_one(low: Self, high: Self, at: Self, plus: u8) -> Self {
                let mut table = [0.0; 2 * $n];
                table[..$n].copy_from_slice(&low.0);
                table[$n..].copy_from_slice(&high.0);
                let mut out = at;
                for k in 0..$n {
                    let i = (at.0[k] as i32).wrapping_add(i32::from(plus)) as usize;
                    out.0[k] = table[i & (2 * $n - 1)];
                }
                out
            }
        }
    };
}
plain!(f32, 16);
plain!(f64, 8);

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Wide;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    // SAFETY of every block below: only functions compiled for AVX-512 name this type, and
    // they run at the level that `SimdLevel::available` found on this CPU; loads and stores
    // check the length of the slice and need no alignment.
    use super::Pack;
    use std::arch::x86_64::*;

    /// A stretch in one register of 512 bits.
    #[derive(Clone, Copy)]
    pub struct Wide<R>(R);

    macro_rules! register {
        ($item:ty, $register:ty, $n:literal, $count:expr, $set:ident, $load:ident, $store:ident,
         $add:ident, $sub:ident, $mul:ident, $div:ident, $madd:ident, $floor:ident, $whole:ident, $add_whole:ident, $wholes:ident, $pick:ident,
         $abs:ident, $min:ident, $max:ident) => {
            impl Pack for Wide<$register> {
                type Item = $item;
                const LANES: usize = $n;

                #[inline(always)]
                fn splat(v: $item) -> Self {
                    // SAFETY: see the head of the module.
                    Self(unsafe { $set(v) })
                }
                #[inline(always)]
                fn count() -> Self {
                    Self::load(&$count)
                }
                #[inline(always)]
                fn load(from: &[$item]) -> Self {
                    let from = &from[..$n];
                    // SAFETY: see the head of the module.
                    Self(unsafe { $load(from.as_ptr()) })
                }
                #[inline(always)]
                fn store(self, to: &mut [$item]) {
                    let to = &mut to[..$n];
                    // SAFETY: see the head of the module.
                    unsafe { $store(to.as_mut_ptr(), self.0) }
                }
                wide! {
                    add(o) = $add;
                    sub(o) = $sub;
                    mul(o) = $mul;
                    div(o) = $div;
                    madd(b, c) = $madd;
                    floor() = $floor::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>;
                    min(o) = $min;
                    max(o) = $max;
                    hat() = |a| $max($sub($set(1.0), $abs(a)), $set(0.0));
                }
                #[inline(always)]
                fn pick(low: Self, high: Self, at: Self) -> (Self, Self) {
                    // SAFETY: see the head of the module.
                    unsafe {
                        let i = $whole(at.0);
                        let j = $add_whole(i, $wholes(1));
                        (Self($pick(low.0, i, high.0)), Self($pick(low.0, j, high.0)))
                    }
                }
                #[inline(always)]
                fn pick_one(low: Self, high: Self, at: Self, plus: u8) -> Self {
                    // SAFETY: see the head of the module.
                    unsafe {
                        let i = $add_whole($whole(at.0), $wholes(plus.into()));
                        Self($pick(low.0, i, high.0))
                    }
                }
            }
        };
    }

    register!(
        f32,
        __m512,
        16,
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        _mm512_fmadd_ps,
        _mm512_roundscale_ps,
        _mm512_cvttps_epi32,
        _mm512_add_epi32,
        _mm512_set1_epi32,
        _mm512_permutex2var_ps,
        _mm512_abs_ps,
        _mm512_min_ps,
        _mm512_max_ps
    );
    register!(
        f64,
        __m512d,
        8,
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_mul_pd,
        _mm512_div_pd,
        _mm512_fmadd_pd,
        _mm512_roundscale_pd,
        _mm512_cvttpd_epi64,
        _mm512_add_epi64,
        _mm512_set1_epi64,
        _mm512_permutex2var_pd,
        _mm512_abs_pd,
        _mm512_min_pd,
        _mm512_max_pd
    );
}
