//! Sixteen numbers of neighbouring rays, and the look-up of the cells they are in.
//!
//! Every operation is one IEEE operation a lane, the same on all levels but for `madd`,
//! which rounds twice on the scalar level. Neighbours along x are loaded together as one
//! word of 64 bits: gather instructions take longer than that on the processors at hand.
//!
//! Validated by `levels_agree` in `tests.rs`.

use crate::ray::Real;
use crate::simd::SimdLevel;

/// Rays of a bundle.
pub(super) const RAYS: usize = 16;

/// Numbers of the rays of a bundle.
pub trait Wide: Copy {
    /// The number type.
    type Scalar: Real;
    /// One truth value a ray.
    type Mask: Copy;

    /// The same number for all.
    fn splat(v: Self::Scalar) -> Self;
    /// From memory.
    fn load(v: &[Self::Scalar; RAYS]) -> Self;
    /// To memory.
    fn store(self, v: &mut [Self::Scalar; RAYS]);
    /// Sum.
    fn add(self, o: Self) -> Self;
    /// Difference.
    fn sub(self, o: Self) -> Self;
    /// Product.
    fn mul(self, o: Self) -> Self;
    /// `self * b + c`.
    fn madd(self, b: Self, c: Self) -> Self;
    /// The lesser; `o` where `self` is NaN.
    fn min(self, o: Self) -> Self;
    /// The greater; `o` where `self` is NaN.
    fn max(self, o: Self) -> Self;
    /// The greatest whole number not above.
    fn floor(self) -> Self;
    /// `self >= o`, false for NaN.
    fn ge(self, o: Self) -> Self::Mask;
    /// One of two.
    fn pick(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Whether it holds for all.
    fn all(mask: Self::Mask) -> bool;
    /// $c_x + c_ys_y + c_zs_z$ for whole numbers, which must not be negative.
    fn cells(c: [Self; 3], strides: [u32; 2]) -> Cells;
    /// The values at a cell and its neighbour along x, at the cell and `offsets` away.
    ///
    /// # Safety
    /// `cell + offset + 1` must be in `volume` for every cell and offset.
    #[allow(unsafe_code)]
    unsafe fn corners(
        volume: &[Self::Scalar],
        cells: &Cells,
        offsets: [usize; 4],
    ) -> [[Self; 2]; 4];
}

/// Storage indices of one voxel a ray.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Cells(pub(super) [u32; RAYS]);

/// Work whose body is compiled for every level.
pub trait Job {
    /// The number type.
    type Scalar: Real;
    /// The result.
    type Output;
    /// The body, `#[inline(always)]`.
    fn run<W: Wide<Scalar = Self::Scalar>>(self) -> Self::Output;
}

/// A number type that has lanes.
pub trait Laned: Copy {
    /// Runs a job with the instructions of a level.
    fn at_level<J: Job<Scalar = Self>>(level: SimdLevel, job: J) -> J::Output;
    /// Sum.
    fn plus(self, o: Self) -> Self;
}

/// A bundle as an array.
#[derive(Clone, Copy)]
struct Array<T, const FMA: bool>([T; RAYS]);

macro_rules! array {
    ($t:ty) => {
        impl<const FMA: bool> Wide for Array<$t, FMA> {
            type Scalar = $t;
            type Mask = [bool; RAYS];

            #[inline(always)]
            fn splat(v: $t) -> Self {
                Self([v; RAYS])
            }
            #[inline(always)]
            fn load(v: &[$t; RAYS]) -> Self {
                Self(*v)
            }
            #[inline(always)]
            fn store(self, v: &mut [$t; RAYS]) {
                *v = self.0;
            }
            arithmetic!($t);
            each! {
                floor() = <$t>::floor;
            }
            #[inline(always)]
            fn ge(self, o: Self) -> Self::Mask {
                let mut out = [false; RAYS];
                for l in 0..RAYS {
                    out[l] = self.0[l] >= o.0[l];
                }
                out
            }
            #[inline(always)]
            fn pick(mask: Self::Mask, yes: Self, no: Self) -> Self {
                let mut out = no;
                for l in 0..RAYS {
                    if mask[l] {
                        out.0[l] = yes.0[l];
                    }
                }
                out
            }
            #[inline(always)]
            fn all(mask: Self::Mask) -> bool {
                mask.iter().all(|m| *m)
            }
            #[inline(always)]
            fn cells(c: [Self; 3], strides: [u32; 2]) -> Cells {
                let mut out = Cells([0; RAYS]);
                for l in 0..RAYS {
                    out.0[l] = (c[0].0[l] as u32)
                        .wrapping_add((c[1].0[l] as u32).wrapping_mul(strides[0]))
                        .wrapping_add((c[2].0[l] as u32).wrapping_mul(strides[1]));
                }
                out
            }
            #[inline(always)]
            #[allow(unsafe_code)]
            unsafe fn corners(volume: &[$t], cells: &Cells, offsets: [usize; 4]) -> [[Self; 2]; 4] {
                let mut out = [[Self([0.0; RAYS]); 2]; 4];
                for (pair, offset) in out.iter_mut().zip(offsets) {
                    for l in 0..RAYS {
                        let at = cells.0[l] as usize + offset;
                        pair[0].0[l] = volume[at];
                        pair[1].0[l] = volume[at + 1];
                    }
                }
                out
            }
        }
    };
}

array!(f32);
array!(f64);

impl Laned for f32 {
    #[inline(always)]
    fn plus(self, o: Self) -> Self {
        self + o
    }
    #[allow(unsafe_code)]
    fn at_level<J: Job<Scalar = f32>>(level: SimdLevel, job: J) -> J::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
        fn avx512<J: Job<Scalar = f32>>(job: J) -> J::Output {
            job.run::<x86::Single>()
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<J: Job<Scalar = f32>>(job: J) -> J::Output {
            job.run::<Array<f32, true>>()
        }
        match level.0 {
            // SAFETY: these levels are only handed out by `SimdLevel::available` after the
            // CPU reported the features.
            #[cfg(target_arch = "x86_64")]
            crate::simd::Isa::Avx512 => unsafe { avx512(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            crate::simd::Isa::Avx2 => unsafe { avx2(job) },
            #[cfg(target_arch = "aarch64")]
            crate::simd::Isa::Neon => job.run::<Array<f32, true>>(),
            _ => job.run::<Array<f32, false>>(),
        }
    }
}

impl Laned for f64 {
    #[inline(always)]
    fn plus(self, o: Self) -> Self {
        self + o
    }
    #[allow(unsafe_code)]
    fn at_level<J: Job<Scalar = f64>>(level: SimdLevel, job: J) -> J::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<J: Job<Scalar = f64>>(job: J) -> J::Output {
            job.run::<Array<f64, true>>()
        }
        match level.0 {
            // SAFETY: these levels are only handed out by `SimdLevel::available` after the
            // CPU reported the features, those of AVX2 at the level of AVX-512 too. Lanes of
            // f64 have no instructions of their own yet, so one body serves both.
            #[cfg(target_arch = "x86_64")]
            crate::simd::Isa::Avx512 | crate::simd::Isa::Avx2 => unsafe { avx2(job) },
            #[cfg(target_arch = "aarch64")]
            crate::simd::Isa::Neon => job.run::<Array<f64, true>>(),
            _ => job.run::<Array<f64, false>>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    // SAFETY of every block below: `Laned::at_level` alone names this type, inside a
    // function compiled for the features, which `SimdLevel::available` found on this CPU;
    // loads and stores of lanes go through references to whole arrays.
    use super::{Cells, RAYS, Wide};
    use std::arch::x86_64::*;

    /// A bundle of `f32` in one register.
    #[derive(Clone, Copy)]
    pub(super) struct Single(__m512);

    impl Wide for Single {
        type Scalar = f32;
        type Mask = __mmask16;

        #[inline(always)]
        fn splat(v: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(v) })
        }
        #[inline(always)]
        fn load(v: &[f32; RAYS]) -> Self {
            Self(unsafe { _mm512_loadu_ps(v.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, v: &mut [f32; RAYS]) {
            unsafe { _mm512_storeu_ps(v.as_mut_ptr(), self.0) }
        }
        wide! {
            add(o) = _mm512_add_ps;
            sub(o) = _mm512_sub_ps;
            mul(o) = _mm512_mul_ps;
            madd(b, c) = _mm512_fmadd_ps;
            min(o) = _mm512_min_ps;
            max(o) = _mm512_max_ps;
            floor() = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>;
        }
        #[inline(always)]
        fn ge(self, o: Self) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn pick(mask: __mmask16, yes: Self, no: Self) -> Self {
            Self(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
        }
        #[inline(always)]
        fn all(mask: __mmask16) -> bool {
            mask == !0
        }
        #[inline(always)]
        fn cells(c: [Self; 3], strides: [u32; 2]) -> Cells {
            let mut out = Cells([0; RAYS]);
            unsafe {
                let [x, y, z] = [
                    _mm512_cvttps_epi32(c[0].0),
                    _mm512_cvttps_epi32(c[1].0),
                    _mm512_cvttps_epi32(c[2].0),
                ];
                let y = _mm512_mullo_epi32(y, _mm512_set1_epi32(strides[0] as i32));
                let z = _mm512_mullo_epi32(z, _mm512_set1_epi32(strides[1] as i32));
                let sum = _mm512_add_epi32(_mm512_add_epi32(x, y), z);
                _mm512_store_si512(out.0.as_mut_ptr().cast(), sum);
            }
            out
        }
        #[inline(always)]
        unsafe fn corners(volume: &[f32], cells: &Cells, offsets: [usize; 4]) -> [[Self; 2]; 4] {
            // SAFETY: the caller keeps `cell + offset + 1` inside the volume; loads of 64
            // bits need no alignment.
            unsafe {
                let base = volume.as_ptr();
                let even =
                    _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
                let odd =
                    _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
                let mut quads = [[_mm256_setzero_pd(); 4]; 4];
                let mut q = 0;
                while q < 4 {
                    let a = cells.0[4 * q] as usize;
                    let b = cells.0[4 * q + 1] as usize;
                    let c = cells.0[4 * q + 2] as usize;
                    let d = cells.0[4 * q + 3] as usize;
                    let mut k = 0;
                    while k < 4 {
                        let p = base.add(offsets[k]);
                        let ab = _mm_loadh_pd(_mm_load_sd(p.add(a).cast()), p.add(b).cast());
                        let cd = _mm_loadh_pd(_mm_load_sd(p.add(c).cast()), p.add(d).cast());
                        quads[k][q] = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(ab), cd);
                        k += 1;
                    }
                    q += 1;
                }
                let mut out = [[Self(_mm512_setzero_ps()); 2]; 4];
                let mut k = 0;
                while k < 4 {
                    let [a, b, c, d] = quads[k];
                    let low = _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(a), b);
                    let high = _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(c), d);
                    let (low, high) = (_mm512_castpd_ps(low), _mm512_castpd_ps(high));
                    out[k][0] = Self(_mm512_permutex2var_ps(low, even, high));
                    out[k][1] = Self(_mm512_permutex2var_ps(low, odd, high));
                    k += 1;
                }
                out
            }
        }
    }
}
