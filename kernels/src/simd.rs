//! Instruction-set levels and run-time dispatch of the hot loops.
//!
//! A hot loop is written once as an `#[inline(always)]` body over blocks of
//! [`LANES`] numbers, generic over the trait of `lanes.rs`. The macro `dispatch!`
//! there compiles that body once for every level and picks the level at run
//! time, so one distributed binary uses AVX-512 where it exists and still starts
//! on any x86-64.
//!
//! On AVX2, AVX-512 and NEON each lane performs the same IEEE operations in the
//! same order, so these levels agree to the bit. The scalar level has no fused
//! multiply-add and may differ in the last bits; a run records its level.
//!
//! Validated by `levels_agree` in `exp.rs`, `log.rs`, `special.rs` and `rician.rs`.

use std::sync::OnceLock;

/// Numbers in a block: the width of an AVX-512 register of `f64`.
pub const LANES: usize = 8;

/// One block of numbers.
pub type Block = [f64; LANES];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code)]
pub(crate) enum Isa {
    /// Plain code without fused multiply-add.
    Scalar,
    /// 128-bit NEON of every aarch64 CPU.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, DQ, VL and BW.
    Avx512,
}

/// An instruction-set level that this CPU has: `scalar`, `neon`, `avx2` or
/// `avx512`.
///
/// Values come only from [`level`] and [`SimdLevel::available`], which ask the
/// CPU first; holding one is the proof that its instructions may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimdLevel(pub(crate) Isa);

impl SimdLevel {
    /// The name that `run.json` records.
    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Scalar => "scalar",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The levels that this CPU can execute, lowest first.
    pub fn available() -> Vec<SimdLevel> {
        let mut levels = vec![SimdLevel(Isa::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(SimdLevel(Isa::Avx2));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                {
                    levels.push(SimdLevel(Isa::Avx512));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(SimdLevel(Isa::Neon));
        levels
    }
}

/// The level in use: the highest that the CPU has, or the one named by the
/// environment variable `MICROTOME_SIMD` when the CPU has that one.
pub fn level() -> SimdLevel {
    static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let available = SimdLevel::available();
        let wanted = std::env::var("MICROTOME_SIMD").unwrap_or_default();
        available
            .iter()
            .copied()
            .find(|l| l.name() == wanted)
            .or(available.last().copied())
            .unwrap_or(SimdLevel(Isa::Scalar))
    })
}

/// `a * b + c`, fused where the level has it.
///
/// Without `FMA` this is two roundings: `f64::mul_add` would become a library
/// call on baseline x86-64.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of a block by a fixed tree, the same on every level.
#[inline(always)]
pub(crate) fn tree_sum(v: &Block) -> f64 {
    let q = [v[0] + v[4], v[1] + v[5], v[2] + v[6], v[3] + v[7]];
    (q[0] + q[2]) + (q[1] + q[3])
}

/// Splits a padded slice into its blocks.
#[inline(always)]
pub(crate) fn blocks(x: &[f64]) -> &[Block] {
    x.as_chunks::<LANES>().0
}

/// Splits a padded mutable slice into its blocks.
#[inline(always)]
pub(crate) fn blocks_mut(x: &mut [f64]) -> &mut [Block] {
    x.as_chunks_mut::<LANES>().0
}
