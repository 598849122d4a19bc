//! The non-central chi log likelihood of root-sum-of-squares magnitudes of N
//! coils, its score and its curvature.
//!
//! $$\ln p(y\mid S) = N\ln y - (N-1)\ln S - \ln\sigma^2 - \frac{y^2+S^2}{2\sigma^2} + \ln I_{N-1}(x),
//!   \qquad x = \frac{yS}{\sigma^2}$$
//!
//! In the scaled function $f(x) = \Gamma(N)(2/x)^{N-1}I_{N-1}(x)e^{-x}$, which is 1 at
//! zero, the logarithms of S cancel:
//!
//! $$\ln p = \ln\frac{y^{2N-1}}{2^{N-1}\Gamma(N)\,\sigma^{2N}} - \frac{(y-|S|)^2}{2\sigma^2} + \ln f(|x|)$$
//!
//! $$\frac{\partial\ln p}{\partial S} = \frac{y\,r(x) - S}{\sigma^2},\qquad
//!   -\frac{\partial^2\ln p}{\partial S^2} = \frac{1 - (y^2/\sigma^2)\,r'(x)}{\sigma^2},
//!   \qquad r = \frac{I_N}{I_{N-1}}$$
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y$ | measured magnitude | of the signal |
//! | $S$ | noise-free magnitude of the model; may be negative in a step of a search | of the signal |
//! | $\sigma$ | standard deviation of each of the 2N channels | of the signal |
//! | $N$ | coils, from 1 (Rician noise, to the bit) to [`COILS_MAX`] | 1 |
//! | mask | 1 where the slot counts, 0 where it does not; no other weights | 1 |
//!
//! The functions sum over slots without the first logarithm, which the caller knows
//! once for a voxel; slices are padded as in [`rician`](crate::rician).
//!
//! Source: Constantinides, Atalar & McVeigh 1997, doi:10.1002/mrm.1910380524, eq. 3.
//! The functions of x are those of `nc_chi/bessel.rs`. Validated by
//! `sums_match_the_definition`, `one_coil_is_rician` and
//! `score_and_curvature_are_derivatives` below and by `golden_densities` of the models.

pub(crate) mod bessel;
mod coefficients;

use crate::lanes::{Lanes, dispatch};
use crate::log::{LOG_PRODUCT_BLOCKS, LogProduct};
use crate::rician::{rician_at, rician_value_at, rician_with_curvature_at};
use crate::simd::{SimdLevel, blocks, blocks_mut, level};
use crate::special::{DERIVATIVE, RATIO, VALUE, log_bessel};
use bessel::{Order, scaled_bessel};

/// Most coils.
pub const COILS_MAX: u32 = 64;

/// The one loop; `ORDER` says how many derivatives are written.
#[inline(always)]
fn sum<L: Lanes, const ORDER: u8, const LOW: bool>(
    [y, s, mask]: [&[f64]; 3],
    inv_sigma2: f64,
    coils: u32,
    order: &Order,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    let (y, s, mask) = (blocks(y), blocks(s), blocks(mask));
    let (score, curvature) = (blocks_mut(score), blocks_mut(curvature));
    let n = y.len();
    let (s, mask) = (&s[..n], &mask[..n]);
    let score = &mut score[..if ORDER >= RATIO { n } else { 0 }];
    let curvature = &mut curvature[..if ORDER >= DERIVATIVE { n } else { 0 }];
    let (one, half) = (L::splat(1.0), L::splat(0.5));
    let inverse = L::splat(inv_sigma2);
    let minus_inverse = L::splat(-inv_sigma2);
    // -(sum of squares)/sigma², sum of offsets, sum of logarithms.
    let (mut squares, mut offsets, mut logs) = (L::splat(0.0), L::splat(0.0), 0.0);
    let mut first = 0;
    while first < n {
        let end = n.min(first + LOG_PRODUCT_BLOCKS);
        let (mut zero, mut above) = (LogProduct::<L>::new(), LogProduct::<L>::new());
        let (mut below, mut steps) = (LogProduct::<L>::new(), LogProduct::<L>::new());
        for i in first..end {
            let (y, s, mask) = (L::load(&y[i]), L::load(&s[i]), L::load(&mask[i]));
            let y_scaled = y.mul(inverse);
            let x = y_scaled.mul(s);
            let i_zero = log_bessel::<L, VALUE>(x);
            let bessel = scaled_bessel::<L, ORDER, LOW>(x, order);
            let d = y.sub(s.abs());
            let minus_weight = mask.mul(minus_inverse);
            squares = minus_weight.mul(d).madd(d, squares);
            offsets = mask.madd(i_zero.offset, offsets);
            let counts = mask.ge(half);
            zero.push(L::select(counts, i_zero.factor, one));
            above.push(L::select(counts, bessel.h_order, one));
            below.push(L::select(counts, bessel.h_zero, one));
            steps.push(L::select(counts, bessel.t, one));
            if ORDER >= RATIO {
                minus_weight.mul(y.nmadd(bessel.ratio, s)).store(&mut score[i]);
            }
            if ORDER >= DERIVATIVE {
                let bend = y.mul(y_scaled).madd(bessel.derivative, L::splat(-1.0));
                minus_weight.mul(bend).store(&mut curvature[i]);
            }
        }
        let taken = end - first;
        logs += above.finish(taken) - below.finish(taken) - 0.5 * zero.finish(taken)
            + f64::from(coils - 1) * steps.finish(taken);
        first = end;
    }
    half.madd(squares, offsets).tree_sum() + logs
}

#[inline(always)]
fn either<L: Lanes, const ORDER: u8>(
    slots: [&[f64]; 3],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    let order = Order::new(coils, ORDER >= DERIVATIVE);
    if order.is_low() {
        sum::<L, ORDER, true>(slots, inv_sigma2, coils, &order, score, curvature)
    } else {
        sum::<L, ORDER, false>(slots, inv_sigma2, coils, &order, score, curvature)
    }
}

#[inline(always)]
fn value_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32) -> f64 {
    either::<L, VALUE>([y, s, mask], inv_sigma2, coils, &mut [], &mut [])
}

#[inline(always)]
fn score_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
) -> f64 {
    either::<L, RATIO>([y, s, mask], inv_sigma2, coils, score, &mut [])
}

#[inline(always)]
fn curvature_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    either::<L, DERIVATIVE>([y, s, mask], inv_sigma2, coils, score, curvature)
}

dispatch! {
    fn several_value / value_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32) -> f64
}
dispatch! {
    fn several_score / score_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32, score: &mut [f64]) -> f64
}
dispatch! {
    fn several_curvature / curvature_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32, score: &mut [f64], curvature: &mut [f64]) -> f64
}

/// [`nc_chi_value`] at a given level.
pub fn nc_chi_value_at(
    level: SimdLevel,
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
) -> f64 {
    match coils.clamp(1, COILS_MAX) {
        1 => rician_value_at(level, y, s, mask, inv_sigma2),
        n => several_value(level, y, s, mask, inv_sigma2, n),
    }
}

/// [`nc_chi`] at a given level.
pub fn nc_chi_at(
    level: SimdLevel,
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
) -> f64 {
    match coils.clamp(1, COILS_MAX) {
        1 => rician_at(level, y, s, mask, inv_sigma2, score),
        n => several_score(level, y, s, mask, inv_sigma2, n, score),
    }
}

/// [`nc_chi_with_curvature`] at a given level.
#[allow(clippy::too_many_arguments)]
pub fn nc_chi_with_curvature_at(
    level: SimdLevel,
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    match coils.clamp(1, COILS_MAX) {
        1 => rician_with_curvature_at(level, y, s, mask, inv_sigma2, score, curvature),
        n => several_curvature(level, y, s, mask, inv_sigma2, n, score, curvature),
    }
}

/// $\sum \text{mask}\left[-\tfrac{(y-|S|)^2}{2\sigma^2} + \ln f(yS/\sigma^2)\right]$.
///
/// # Shapes
/// `y`, `s` and `mask` are `[slot]`, padded to a multiple of eight; `coils` is 1 to
/// [`COILS_MAX`], other numbers are taken as the nearest of these.
///
/// # Panics
/// When `s` or `mask` is shorter than `y`.
///
/// # Example
/// ```
/// // With y = 0 the scaled function is 1: -3²/(2·2²) = -1.125.
/// let (y, mut s, mut mask) = ([0.0; 8], [0.0; 8], [0.0; 8]);
/// (s[0], mask[0]) = (3.0, 1.0);
/// let sum = microtome_kernels::nc_chi::nc_chi_value(&y, &s, &mask, 0.25, 8);
/// assert!((sum + 1.125).abs() < 1e-14);
/// ```
pub fn nc_chi_value(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32) -> f64 {
    nc_chi_value_at(level(), y, s, mask, inv_sigma2, coils)
}

/// The sum of [`nc_chi_value`], equal to the bit, and its derivative by every S.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `score` receives $\text{mask}\,(y\,r(x) - S)/\sigma^2$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn nc_chi(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
) -> f64 {
    nc_chi_at(level(), y, s, mask, inv_sigma2, coils, score)
}

/// The sum and score of [`nc_chi`], equal to the bit, and the curvature.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `curvature` receives $\text{mask}\,\left(1 - (y^2/\sigma^2)\,r'(x)\right)/\sigma^2$,
/// minus the second derivative by S; it is negative where y is large and S small.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn nc_chi_with_curvature(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    nc_chi_with_curvature_at(level(), y, s, mask, inv_sigma2, coils, score, curvature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::LANES;

    const INV_SIGMA2: f64 = 1.0 / (0.7 * 0.7);
    const COILS: [u32; 6] = [2, 4, 12, 17, 32, 64];

    /// Magnitudes and signals in order and mixed, some negative, some slots masked
    /// out, and padding at the end.
    fn data(slots: usize) -> [Vec<f64>; 3] {
        let padded = slots.next_multiple_of(LANES) + LANES;
        let (mut y, mut s, mut mask) = (vec![0.0; padded], vec![1e200; padded], vec![0.0; padded]);
        for i in 0..slots {
            let a = if i < slots / 2 { i as f64 } else { (i * 7919 % 101) as f64 };
            y[i] = 0.02 + a * 0.11;
            s[i] = (a * 0.113 + 0.3 * (i as f64).sin()) * if i % 17 == 3 { -1.0 } else { 1.0 };
            mask[i] = f64::from(u8::from(i % 11 != 5));
        }
        [y, s, mask]
    }

    /// One slot alone: value, score, curvature.
    fn one(level: SimdLevel, coils: u32, y: f64, s: f64, inv_sigma2: f64) -> [f64; 3] {
        let block = |v: f64| [v, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let (mut score, mut curvature) = ([f64::NAN; 8], [f64::NAN; 8]);
        let value = nc_chi_with_curvature_at(
            level,
            &block(y),
            &block(s),
            &block(1.0),
            inv_sigma2,
            coils,
            &mut score,
            &mut curvature,
        );
        [value, score[0], curvature[0]]
    }

    /// The sum is that of the slots alone, whatever their neighbours, and the score and
    /// curvature of a slot are equal to the bit; single slots are those of golden densities.
    #[test]
    fn sums_match_the_definition() {
        for level in SimdLevel::available() {
            for coils in COILS {
                for slots in [1, 131, 5000] {
                    let [y, s, mask] = data(slots);
                    let n = y.len();
                    let (mut score, mut curvature) = (vec![f64::NAN; n], vec![f64::NAN; n]);
                    let value = nc_chi_with_curvature_at(
                        level,
                        &y,
                        &s,
                        &mask,
                        INV_SIGMA2,
                        coils,
                        &mut score,
                        &mut curvature,
                    );
                    let (mut truth, mut size) = (0.0, 1.0);
                    for i in 0..slots {
                        let [v, a, b] = one(level, coils, y[i], s[i], INV_SIGMA2);
                        truth += mask[i] * v;
                        size += mask[i] * v.abs();
                        assert_eq!([score[i], curvature[i]], [mask[i] * a, mask[i] * b], "{i}");
                    }
                    assert!((value - truth).abs() <= 1e-14 * size, "{value} {truth} of {size}");
                    assert!(score[slots..].iter().chain(&curvature[slots..]).all(|v| *v == 0.0));
                    let alone = nc_chi_value_at(level, &y, &s, &mask, INV_SIGMA2, coils);
                    assert_eq!(value, alone);
                    let again = nc_chi_at(level, &y, &s, &mask, INV_SIGMA2, coils, &mut curvature);
                    assert_eq!((value, &score), (again, &curvature));
                }
            }
        }
    }

    /// One coil is Rician to the bit, and the path of several coils has it as its
    /// limit to 1e-14.
    #[test]
    fn one_coil_is_rician() {
        for level in SimdLevel::available() {
            let [y, s, mask] = data(288);
            let n = y.len();
            let (mut a, mut b, mut c, mut d) =
                (vec![0.0; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            let rician = rician_with_curvature_at(level, &y, &s, &mask, INV_SIGMA2, &mut a, &mut b);
            let ours =
                nc_chi_with_curvature_at(level, &y, &s, &mask, INV_SIGMA2, 1, &mut c, &mut d);
            assert_eq!((rician, &a, &b), (ours, &c, &d));
            let path = several_curvature(level, &y, &s, &mask, INV_SIGMA2, 1, &mut c, &mut d);
            assert!((path - rician).abs() < 1e-14 * rician.abs(), "{path} {rician}");
            for i in 0..288 {
                let scale = (y[i] + s[i].abs()) * INV_SIGMA2;
                assert!((a[i] - c[i]).abs() <= 1e-14 * scale, "score {i}");
                let scale = (1.0 + y[i] * y[i] * INV_SIGMA2) * INV_SIGMA2;
                assert!((b[i] - d[i]).abs() <= 1e-14 * scale, "curvature {i}");
            }
        }
    }

    /// Central differences of the value and of the score, at step 1e-5 (error of the
    /// difference about 1e-10).
    #[test]
    fn score_and_curvature_are_derivatives() {
        for level in SimdLevel::available() {
            for coils in COILS {
                for (y, s) in [
                    (0.0, 0.3),
                    (0.5, 0.0),
                    (0.5, 0.2),
                    (1.3, 1.5),
                    (2.2, 2.6),
                    (9.0, 4.0),
                    (30.0, 29.0),
                    (2.0, -1.0),
                ] {
                    let step = 1e-5;
                    let at = |s: f64| one(level, coils, y, s, INV_SIGMA2);
                    let (below, here, above) = (at(s - step), at(s), at(s + step));
                    let slope = (above[0] - below[0]) / (2.0 * step);
                    let bend = (below[1] - above[1]) / (2.0 * step);
                    let error = 2e-8 * (1.0 + y * y);
                    assert!((slope - here[1]).abs() < error, "{coils} {y} {s}: {slope} {here:?}");
                    assert!((bend - here[2]).abs() < error, "{coils} {y} {s}: {bend} {here:?}");
                }
            }
        }
    }

    #[test]
    fn a_signal_that_is_not_a_number_shows() {
        let (y, mut s, mask) = ([1.0; 8], [1.0; 8], [1.0; 8]);
        s[3] = f64::NAN;
        assert!(nc_chi_value(&y, &s, &mask, INV_SIGMA2, 4).is_nan());
    }

    #[test]
    fn levels_agree() {
        let [y, s, mask] = data(1000);
        let results: Vec<(f64, Vec<f64>, Vec<f64>)> = SimdLevel::available()
            .into_iter()
            .filter(|l| l.name() != "scalar")
            .map(|level| {
                let (mut a, mut b) = (vec![0.0; y.len()], vec![0.0; y.len()]);
                let value =
                    nc_chi_with_curvature_at(level, &y, &s, &mask, INV_SIGMA2, 8, &mut a, &mut b);
                (value, a, b)
            })
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
