//! Sixteen `f32` as one value: the counterpart of [`Lanes`] in single precision.
//!
//! A body that is written over [`Lanes`] finds the type for single precision of its level
//! as `L::Single`. Every method is one IEEE operation a lane, the same on all levels but for
//! [`Singles::madd`], which rounds twice on the scalar level only.
//!
//! Validated by `levels_agree` of `single/mod.rs`.

use crate::lanes::{Array, Lanes};

/// Numbers in a block of single precision.
pub(crate) const WIDTH: usize = 16;

/// One block of single precision.
pub(crate) type Narrow = [f32; WIDTH];

/// Sixteen numbers of single precision.
pub(crate) trait Singles: Copy {
    /// Eight numbers of double precision on the same level.
    type Wide: Lanes;
    /// One truth value a lane.
    type Mask: Copy;

    fn splat(v: f32) -> Self;
    fn load(b: &Narrow) -> Self;
    fn store(self, b: &mut Narrow);
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    /// `self * b + c`, fused where the level has it.
    fn madd(self, b: Self, c: Self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    /// The smaller; `o` where one is NaN.
    fn min(self, o: Self) -> Self;
    /// The larger; `o` where one is NaN.
    fn max(self, o: Self) -> Self;
    /// `self >= o`, false for NaN.
    fn ge(self, o: Self) -> Self::Mask;
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Bit l is lane l.
    fn mask_bits(mask: Self::Mask) -> u16;
    /// The bits of the lanes as 32-bit words: the sum of those of `self` and of those of
    /// `o`, shifted up by 23.
    fn add_shifted(self, o: Self) -> Self;
    /// The lower and the upper eight, widened.
    fn halves(self) -> [Self::Wide; 2];

    /// The sum of the lanes in double precision by a fixed tree, the same on every level.
    #[inline(always)]
    fn sum(self) -> f64 {
        let [low, high] = self.halves();
        low.add(high).tree_sum()
    }
}

/// $c_0 + c_1 t + c_2 t^2 + \dots$ by Horner's rule.
#[inline(always)]
pub(crate) fn horner<V: Singles, const N: usize>(c: &[f32; N], t: V) -> V {
    let mut p = V::splat(c[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        p = p.madd(t, V::splat(c[i]));
    }
    p
}

/// A block as an array.
#[derive(Clone, Copy)]
pub(crate) struct NarrowArray<const FMA: bool>(Narrow);

impl<const FMA: bool> Singles for NarrowArray<FMA> {
    type Wide = Array<FMA>;
    type Mask = [bool; WIDTH];

    #[inline(always)]
    fn splat(v: f32) -> Self {
        Self([v; WIDTH])
    }
    #[inline(always)]
    fn load(b: &Narrow) -> Self {
        Self(*b)
    }
    #[inline(always)]
    fn store(self, b: &mut Narrow) {
        *b = self.0;
    }
    arithmetic!(f32);
    each! {
        div(o) = |a: f32, o: f32| a / o;
        abs() = f32::abs;
        sqrt() = f32::sqrt;
        copysign(sign) = f32::copysign;
        add_shifted(o) = |a: f32, o: f32| {
            f32::from_bits(a.to_bits().wrapping_add(o.to_bits() << 23))
        };
    }
    #[inline(always)]
    fn ge(self, o: Self) -> Self::Mask {
        std::array::from_fn(|l| self.0[l] >= o.0[l])
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|l| if mask[l] { yes.0[l] } else { no.0[l] }))
    }
    #[inline(always)]
    fn mask_bits(mask: Self::Mask) -> u16 {
        mask.iter().rev().fold(0, |bits, &m| bits << 1 | u16::from(m))
    }
    #[inline(always)]
    fn halves(self) -> [Self::Wide; 2] {
        let half =
            |first: usize| Array::load(&std::array::from_fn(|l| f64::from(self.0[first + l])));
        [half(0), half(WIDTH / 2)]
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{NarrowAvx2, NarrowAvx512};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    // SAFETY of every block below: as in `lanes.rs`; `dispatch!` alone names these types,
    // inside functions compiled for the features, which `SimdLevel::available` found on this
    // CPU; loads and stores go through references to whole blocks and need no alignment.
    use super::{Narrow, Singles};
    use crate::lanes::{Avx2, Avx512};
    use std::arch::x86_64::*;

    /// A block in one 512-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct NarrowAvx512(__m512);

    /// A block in two 256-bit registers.
    #[derive(Clone, Copy)]
    pub(crate) struct NarrowAvx2(__m256, __m256);

    impl Singles for NarrowAvx512 {
        type Wide = Avx512;
        type Mask = __mmask16;

        #[inline(always)]
        fn splat(v: f32) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_set1_ps(v) })
        }
        #[inline(always)]
        fn load(b: &Narrow) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_loadu_ps(b.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, b: &mut Narrow) {
            // SAFETY: see the head of the module.
            unsafe { _mm512_storeu_ps(b.as_mut_ptr(), self.0) }
        }
        wide! {
            add(o) = _mm512_add_ps;
            sub(o) = _mm512_sub_ps;
            mul(o) = _mm512_mul_ps;
            div(o) = _mm512_div_ps;
            madd(b, c) = _mm512_fmadd_ps;
            abs() = _mm512_abs_ps;
            sqrt() = _mm512_sqrt_ps;
            copysign(s) = |a, s| {
                let sign = _mm512_set1_ps(-0.0);
                _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s))
            };
            min(o) = _mm512_min_ps;
            max(o) = _mm512_max_ps;
            add_shifted(o) = |a, o| _mm512_castsi512_ps(_mm512_add_epi32(
                _mm512_castps_si512(a),
                _mm512_slli_epi32::<23>(_mm512_castps_si512(o)),
            ));
        }
        #[inline(always)]
        fn ge(self, o: Self) -> Self::Mask {
            // SAFETY: see the head of the module.
            unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
        }
        #[inline(always)]
        fn mask_bits(mask: Self::Mask) -> u16 {
            mask
        }
        #[inline(always)]
        fn halves(self) -> [Self::Wide; 2] {
            // SAFETY: see the head of the module.
            unsafe {
                [
                    Avx512::of(_mm512_cvtps_pd(_mm512_castps512_ps256(self.0))),
                    Avx512::of(_mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(self.0))),
                ]
            }
        }
    }

    impl Singles for NarrowAvx2 {
        type Wide = Avx2;
        type Mask = (__m256, __m256);

        #[inline(always)]
        fn splat(v: f32) -> Self {
            // SAFETY: see the head of the module.
            unsafe { Self(_mm256_set1_ps(v), _mm256_set1_ps(v)) }
        }
        #[inline(always)]
        fn load(b: &Narrow) -> Self {
            // SAFETY: see the head of the module.
            unsafe { Self(_mm256_loadu_ps(b.as_ptr()), _mm256_loadu_ps(b[8..].as_ptr())) }
        }
        #[inline(always)]
        fn store(self, b: &mut Narrow) {
            // SAFETY: see the head of the module.
            unsafe {
                _mm256_storeu_ps(b.as_mut_ptr(), self.0);
                _mm256_storeu_ps(b[8..].as_mut_ptr(), self.1);
            }
        }
        halves! {
            add(o) = _mm256_add_ps;
            sub(o) = _mm256_sub_ps;
            mul(o) = _mm256_mul_ps;
            div(o) = _mm256_div_ps;
            madd(b, c) = _mm256_fmadd_ps;
            abs() = |a| _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
            sqrt() = _mm256_sqrt_ps;
            copysign(s) = |a, s| {
                let sign = _mm256_set1_ps(-0.0);
                _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s))
            };
            min(o) = _mm256_min_ps;
            max(o) = _mm256_max_ps;
            add_shifted(o) = |a, o| _mm256_castsi256_ps(_mm256_add_epi32(
                _mm256_castps_si256(a),
                _mm256_slli_epi32::<23>(_mm256_castps_si256(o)),
            ));
        }
        #[inline(always)]
        fn ge(self, o: Self) -> Self::Mask {
            // SAFETY: see the head of the module.
            unsafe {
                (_mm256_cmp_ps::<_CMP_GE_OQ>(self.0, o.0), _mm256_cmp_ps::<_CMP_GE_OQ>(self.1, o.1))
            }
        }
        #[inline(always)]
        fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
            // SAFETY: see the head of the module.
            unsafe {
                Self(_mm256_blendv_ps(no.0, yes.0, mask.0), _mm256_blendv_ps(no.1, yes.1, mask.1))
            }
        }
        #[inline(always)]
        fn mask_bits(mask: Self::Mask) -> u16 {
            // SAFETY: see the head of the module.
            let (low, high) = unsafe { (_mm256_movemask_ps(mask.0), _mm256_movemask_ps(mask.1)) };
            (low | high << 8) as u16
        }
        #[inline(always)]
        fn halves(self) -> [Self::Wide; 2] {
            // SAFETY: see the head of the module.
            unsafe {
                [self.0, self.1].map(|v| {
                    Avx2::of(
                        _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                        _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v)),
                    )
                })
            }
        }
    }
}
