//! Eight `f64` as one value with explicit vector instructions.
//!
//! The compiler turns a loop over `[f64; 8]` into vector instructions when the
//! body is short; with several stages and branches it falls back to pairs, single
//! numbers or gathers. The hot loops of this crate are therefore written once over
//! the trait [`Lanes`], and `dispatch!` compiles that body for each level with the
//! type that holds a block there:
//!
//! | level | type | registers |
//! |---|---|---|
//! | `avx512` | `Avx512` | one of 512 bits |
//! | `avx2` | `Avx2` | two of 256 bits |
//! | `neon` | `Array<true>` | left to the compiler |
//! | `scalar` | `Array<false>` | left to the compiler |
//!
//! Every method is one IEEE operation a lane, the same on all levels but for
//! [`Lanes::madd`] and [`Lanes::nmadd`], which round twice on the scalar level only.
//! Validated by the tests `levels_agree` of `exp.rs`, `log.rs`, `special.rs` and
//! `rician.rs`.

use crate::simd::{Block, LANES, madd, tree_sum};
use crate::single::lanes::{NarrowArray, Singles};

/// Eight numbers.
///
/// The types of the x86-64 levels may only be named by `dispatch!`, inside
/// a function compiled for their instructions.
pub(crate) trait Lanes: Copy {
    /// One truth value a lane.
    type Mask: Copy;
    /// Sixteen numbers of single precision on the same level.
    type Single: Singles;

    fn splat(v: f64) -> Self;
    fn load(b: &Block) -> Self;
    fn store(self, b: &mut Block);
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    /// `self * b + c`, fused where the level has it.
    fn madd(self, b: Self, c: Self) -> Self;
    /// `c - self * b`, fused where the level has it.
    fn nmadd(self, b: Self, c: Self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    /// `self >= o`, false for NaN.
    fn ge(self, o: Self) -> Self::Mask;
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Bit l is lane l.
    fn mask_bits(mask: Self::Mask) -> u8;
    /// Eight `f32`, widened.
    fn load_single(b: &[f32; LANES]) -> Self;
    fn floor(self) -> Self;
    /// The smaller; `o` where one is NaN.
    fn min(self, o: Self) -> Self;
    /// The larger; `o` where one is NaN.
    fn max(self, o: Self) -> Self;
    /// Lane l is number `index[l] mod 16` of the sixteen numbers of `low` and `high`; the
    /// index is the word of the lane.
    fn pick(low: Self, high: Self, index: Self) -> Self;
    /// Lane 0.
    #[inline(always)]
    fn first(self) -> f64 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        lanes[0]
    }
    /// The sum of the lanes by a fixed tree, the same on every level.
    #[inline(always)]
    fn tree_sum(self) -> f64 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        tree_sum(&lanes)
    }

    // The same registers as 64-bit words; additions and subtractions wrap.
    fn word(v: u64) -> Self {
        Self::splat(f64::from_bits(v))
    }
    fn word_add(self, o: Self) -> Self;
    fn word_sub(self, o: Self) -> Self;
    fn word_and(self, o: Self) -> Self;
    fn word_or(self, o: Self) -> Self;
    fn word_shl_52(self) -> Self;
    fn word_shr_52(self) -> Self;
    fn word_xor(self, o: Self) -> Self;
    fn word_shl_32(self) -> Self;
    fn word_shr_32(self) -> Self;
    /// The whole product of the low halves of the words.
    fn word_product(self, o: Self) -> Self;
}

/// $c_0 + c_1 t + c_2 t^2 + \dots$ by Horner's rule.
#[inline(always)]
pub(crate) fn horner<L: Lanes, const N: usize>(c: &[f64; N], t: L) -> L {
    let mut p = L::splat(c[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        p = p.madd(t, L::splat(c[i]));
    }
    p
}

/// $c_1 + 2c_2 t + 3c_3 t^2 + \dots$, the derivative of [`horner`].
#[inline(always)]
pub(crate) fn horner_derivative<L: Lanes, const N: usize>(c: &[f64; N], t: L) -> L {
    let mut p = L::splat((N - 1) as f64 * c[N - 1]);
    let mut i = N - 1;
    while i > 1 {
        i -= 1;
        p = p.madd(t, L::splat(i as f64 * c[i]));
    }
    p
}

/// [`Lanes::pick`] by memory.
#[inline(always)]
fn picked(low: &Block, high: &Block, index: &Block) -> Block {
    let mut all = [0.0; 2 * LANES];
    all[..LANES].copy_from_slice(low);
    all[LANES..].copy_from_slice(high);
    index.map(|i| all[i.to_bits() as usize % (2 * LANES)])
}

/// A block as an array.
#[derive(Clone, Copy)]
pub(crate) struct Array<const FMA: bool>(Block);

impl<const FMA: bool> Array<FMA> {
    #[inline(always)]
    fn zip(self, o: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|l| f(self.0[l], o.0[l])))
    }
    #[inline(always)]
    fn words(self, o: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        self.zip(o, |a, b| f64::from_bits(f(a.to_bits(), b.to_bits())))
    }
}

impl<const FMA: bool> Lanes for Array<FMA> {
    type Mask = [bool; LANES];
    type Single = NarrowArray<FMA>;

    #[inline(always)]
    fn splat(v: f64) -> Self {
        Self([v; LANES])
    }
    #[inline(always)]
    fn load(b: &Block) -> Self {
        Self(*b)
    }
    #[inline(always)]
    fn store(self, b: &mut Block) {
        *b = self.0;
    }
    arithmetic!(f64);
    each! {
        div(o) = |a: f64, o: f64| a / o;
        nmadd(b, c) = |a: f64, b: f64, c: f64| madd::<FMA>(-a, b, c);
        abs() = f64::abs;
        sqrt() = f64::sqrt;
        copysign(sign) = f64::copysign;
        floor() = f64::floor;
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
    fn mask_bits(mask: Self::Mask) -> u8 {
        mask.iter().rev().fold(0, |bits, &m| bits << 1 | u8::from(m))
    }
    #[inline(always)]
    fn load_single(b: &[f32; LANES]) -> Self {
        Self(b.map(f64::from))
    }
    #[inline(always)]
    fn pick(low: Self, high: Self, index: Self) -> Self {
        Self(picked(&low.0, &high.0, &index.0))
    }
    #[inline(always)]
    fn word_add(self, o: Self) -> Self {
        self.words(o, u64::wrapping_add)
    }
    #[inline(always)]
    fn word_sub(self, o: Self) -> Self {
        self.words(o, u64::wrapping_sub)
    }
    #[inline(always)]
    fn word_and(self, o: Self) -> Self {
        self.words(o, |a, b| a & b)
    }
    #[inline(always)]
    fn word_or(self, o: Self) -> Self {
        self.words(o, |a, b| a | b)
    }
    #[inline(always)]
    fn word_shl_52(self) -> Self {
        Self(self.0.map(|v| f64::from_bits(v.to_bits() << 52)))
    }
    #[inline(always)]
    fn word_shr_52(self) -> Self {
        Self(self.0.map(|v| f64::from_bits(v.to_bits() >> 52)))
    }
    #[inline(always)]
    fn word_xor(self, o: Self) -> Self {
        self.words(o, |a, b| a ^ b)
    }
    #[inline(always)]
    fn word_shl_32(self) -> Self {
        Self(self.0.map(|v| f64::from_bits(v.to_bits() << 32)))
    }
    #[inline(always)]
    fn word_shr_32(self) -> Self {
        Self(self.0.map(|v| f64::from_bits(v.to_bits() >> 32)))
    }
    #[inline(always)]
    fn word_product(self, o: Self) -> Self {
        self.words(o, |a, b| u64::from(a as u32) * u64::from(b as u32))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    // SAFETY of every block below: `dispatch!` alone names these types, inside
    // functions compiled for the features, which `SimdLevel::available` found on this
    // CPU; loads and stores go through references to whole blocks and need no alignment.
    use super::Lanes;
    use crate::simd::Block;
    use crate::single::lanes::{NarrowAvx2, NarrowAvx512};
    use std::arch::x86_64::*;

    /// A block in one 512-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512d);

    /// A block in two 256-bit registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256d, __m256d);

    impl Avx512 {
        #[inline(always)]
        pub(crate) fn of(v: __m512d) -> Self {
            Self(v)
        }
    }

    impl Avx2 {
        #[inline(always)]
        pub(crate) fn of(low: __m256d, high: __m256d) -> Self {
            Self(low, high)
        }
    }

    impl Lanes for Avx512 {
        type Mask = __mmask8;
        type Single = NarrowAvx512;

        #[inline(always)]
        fn splat(v: f64) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_set1_pd(v) })
        }
        #[inline(always)]
        fn load(b: &Block) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_loadu_pd(b.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, b: &mut Block) {
            // SAFETY: see the head of the module.
            unsafe { _mm512_storeu_pd(b.as_mut_ptr(), self.0) }
        }
        wide! {
            add(o) = _mm512_add_pd;
            sub(o) = _mm512_sub_pd;
            mul(o) = _mm512_mul_pd;
            div(o) = _mm512_div_pd;
            madd(b, c) = _mm512_fmadd_pd;
            nmadd(b, c) = _mm512_fnmadd_pd;
            abs() = _mm512_abs_pd;
            sqrt() = _mm512_sqrt_pd;
            copysign(s) = |a, s| {
                let sign = _mm512_set1_pd(-0.0);
                _mm512_or_pd(_mm512_andnot_pd(sign, a), _mm512_and_pd(sign, s))
            };
            word_add(o) = |a, o| _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(o)));
            word_sub(o) = |a, o| _mm512_castsi512_pd(_mm512_sub_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(o)));
            word_and(o) = _mm512_and_pd;
            word_or(o) = _mm512_or_pd;
            word_shl_52() = |a| _mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(a)));
            word_shr_52() = |a| _mm512_castsi512_pd(_mm512_srli_epi64::<52>(_mm512_castpd_si512(a)));
            word_xor(o) = _mm512_xor_pd;
            word_shl_32() = |a| _mm512_castsi512_pd(_mm512_slli_epi64::<32>(_mm512_castpd_si512(a)));
            word_shr_32() = |a| _mm512_castsi512_pd(_mm512_srli_epi64::<32>(_mm512_castpd_si512(a)));
            word_product(o) = |a, o| _mm512_castsi512_pd(_mm512_mul_epu32(_mm512_castpd_si512(a), _mm512_castpd_si512(o)));
            floor() = _mm512_roundscale_pd::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>;
            min(o) = _mm512_min_pd;
            max(o) = _mm512_max_pd;
        }
        #[inline(always)]
        fn first(self) -> f64 {
            // SAFETY: see the head of the module.
            unsafe { _mm512_cvtsd_f64(self.0) }
        }
        #[inline(always)]
        fn load_single(b: &[f32; 8]) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(b.as_ptr())) })
        }
        #[inline(always)]
        fn pick(low: Self, high: Self, index: Self) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_permutex2var_pd(low.0, _mm512_castpd_si512(index.0), high.0) })
        }
        #[inline(always)]
        fn ge(self, o: Self) -> Self::Mask {
            // SAFETY: see the head of the module.
            unsafe { _mm512_cmp_pd_mask::<_CMP_GE_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
            // SAFETY: see the head of the module.
            Self(unsafe { _mm512_mask_blend_pd(mask, no.0, yes.0) })
        }
        #[inline(always)]
        fn mask_bits(mask: Self::Mask) -> u8 {
            mask
        }
    }

    impl Lanes for Avx2 {
        type Mask = (__m256d, __m256d);
        type Single = NarrowAvx2;

        #[inline(always)]
        fn splat(v: f64) -> Self {
            // SAFETY: see the head of the module.
            unsafe { Self(_mm256_set1_pd(v), _mm256_set1_pd(v)) }
        }
        #[inline(always)]
        fn load(b: &Block) -> Self {
            // SAFETY: see the head of the module.
            unsafe { Self(_mm256_loadu_pd(b.as_ptr()), _mm256_loadu_pd(b[4..].as_ptr())) }
        }
        #[inline(always)]
        fn store(self, b: &mut Block) {
            // SAFETY: see the head of the module.
            unsafe {
                _mm256_storeu_pd(b.as_mut_ptr(), self.0);
                _mm256_storeu_pd(b[4..].as_mut_ptr(), self.1);
            }
        }
        halves! {
            add(o) = _mm256_add_pd;
            sub(o) = _mm256_sub_pd;
            mul(o) = _mm256_mul_pd;
            div(o) = _mm256_div_pd;
            madd(b, c) = _mm256_fmadd_pd;
            nmadd(b, c) = _mm256_fnmadd_pd;
            abs() = |a| _mm256_andnot_pd(_mm256_set1_pd(-0.0), a);
            sqrt() = _mm256_sqrt_pd;
            copysign(s) = |a, s| {
                let sign = _mm256_set1_pd(-0.0);
                _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, s))
            };
            word_add(o) = |a, o| _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(o)));
            word_sub(o) = |a, o| _mm256_castsi256_pd(_mm256_sub_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(o)));
            word_and(o) = _mm256_and_pd;
            word_or(o) = _mm256_or_pd;
            word_shl_52() = |a| _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(a)));
            word_shr_52() = |a| _mm256_castsi256_pd(_mm256_srli_epi64::<52>(_mm256_castpd_si256(a)));
            word_xor(o) = _mm256_xor_pd;
            word_shl_32() = |a| _mm256_castsi256_pd(_mm256_slli_epi64::<32>(_mm256_castpd_si256(a)));
            word_shr_32() = |a| _mm256_castsi256_pd(_mm256_srli_epi64::<32>(_mm256_castpd_si256(a)));
            word_product(o) = |a, o| _mm256_castsi256_pd(_mm256_mul_epu32(_mm256_castpd_si256(a), _mm256_castpd_si256(o)));
            floor() = _mm256_floor_pd;
            min(o) = _mm256_min_pd;
            max(o) = _mm256_max_pd;
        }
        #[inline(always)]
        fn first(self) -> f64 {
            // SAFETY: see the head of the module.
            unsafe { _mm256_cvtsd_f64(self.0) }
        }
        #[inline(always)]
        fn load_single(b: &[f32; 8]) -> Self {
            // SAFETY: see the head of the module.
            unsafe {
                Self(
                    _mm256_cvtps_pd(_mm_loadu_ps(b.as_ptr())),
                    _mm256_cvtps_pd(_mm_loadu_ps(b[4..].as_ptr())),
                )
            }
        }
        #[inline(always)]
        fn pick(low: Self, high: Self, index: Self) -> Self {
            let mut of = [[0.0; 8]; 3];
            low.store(&mut of[0]);
            high.store(&mut of[1]);
            index.store(&mut of[2]);
            Self::load(&super::picked(&of[0], &of[1], &of[2]))
        }
        #[inline(always)]
        fn ge(self, o: Self) -> Self::Mask {
            // SAFETY: see the head of the module.
            unsafe {
                (_mm256_cmp_pd::<_CMP_GE_OQ>(self.0, o.0), _mm256_cmp_pd::<_CMP_GE_OQ>(self.1, o.1))
            }
        }
        #[inline(always)]
        fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
            // SAFETY: see the head of the module.
            unsafe {
                Self(_mm256_blendv_pd(no.0, yes.0, mask.0), _mm256_blendv_pd(no.1, yes.1, mask.1))
            }
        }
        #[inline(always)]
        fn mask_bits(mask: Self::Mask) -> u8 {
            // SAFETY: see the head of the module.
            let (low, high) = unsafe { (_mm256_movemask_pd(mask.0), _mm256_movemask_pd(mask.1)) };
            (low | high << 4) as u8
        }
    }
}

/// Defines `fn name(level, args..)` that runs `body::<L>(args..)`, with `L` the
/// [`Lanes`] of the given level.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident / $body:ident $(<$lt:lifetime>)? ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)?) => {
        $(#[$doc])*
        #[allow(unsafe_code, clippy::too_many_arguments)]
        $vis fn $name $(<$lt>)? (level: $crate::simd::SimdLevel, $($arg : $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
            fn avx512 $(<$lt>)? ($($arg : $ty),*) $(-> $ret)? { $body::<$crate::lanes::Avx512>($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$lt>)? ($($arg : $ty),*) $(-> $ret)? { $body::<$crate::lanes::Avx2>($($arg),*) }
            match level.0 {
                // SAFETY: these levels are only handed out by `SimdLevel::available`
                // after the CPU reported the features.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Isa::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                $crate::simd::Isa::Neon => $body::<$crate::lanes::Array<true>>($($arg),*),
                _ => $body::<$crate::lanes::Array<false>>($($arg),*),
            }
        }
    };
}
pub(crate) use dispatch;

/// Work whose body is compiled for every level: the counterpart of `dispatch!` for bodies
/// with type parameters of their own and no use of [`Lanes`].
pub(crate) trait Task {
    /// The result.
    type Output;
    /// The body, `#[inline(always)]` so that it takes the instruction set of its caller;
    /// `FMA` is as in [`madd`].
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs a task with the instructions of a level.
#[allow(unsafe_code)]
pub(crate) fn at_level<K: Task>(level: crate::simd::SimdLevel, task: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    fn avx512<K: Task>(task: K) -> K::Output {
        task.run::<true>()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: Task>(task: K) -> K::Output {
        task.run::<true>()
    }
    match level.0 {
        // SAFETY: these levels are only handed out by `SimdLevel::available` after the CPU
        // reported the features.
        #[cfg(target_arch = "x86_64")]
        crate::simd::Isa::Avx512 => unsafe { avx512(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        crate::simd::Isa::Avx2 => unsafe { avx2(task) },
        #[cfg(target_arch = "aarch64")]
        crate::simd::Isa::Neon => task.run::<true>(),
        _ => task.run::<false>(),
    }
}

/// Work whose body is written over [`Lanes`]: the counterpart of `dispatch!` for bodies with
/// type parameters of their own.
pub(crate) trait LaneTask {
    /// The body, `#[inline(always)]` so that it takes the instruction set of its caller.
    fn run<L: Lanes>(self);
}

/// Runs a task with the lanes of a level.
#[allow(unsafe_code)]
pub(crate) fn in_lanes<K: LaneTask>(level: crate::simd::SimdLevel, task: K) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    fn avx512<K: LaneTask>(task: K) {
        task.run::<Avx512>();
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: LaneTask>(task: K) {
        task.run::<Avx2>();
    }
    match level.0 {
        // SAFETY: these levels are only handed out by `SimdLevel::available` after the CPU
        // reported the features.
        #[cfg(target_arch = "x86_64")]
        crate::simd::Isa::Avx512 => unsafe { avx512(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        crate::simd::Isa::Avx2 => unsafe { avx2(task) },
        #[cfg(target_arch = "aarch64")]
        crate::simd::Isa::Neon => task.run::<Array<true>>(),
        _ => task.run::<Array<false>>(),
    }
}
