//! The lobe: the sharpest axisymmetric function of given order whose side lobes are
//! not deeper than a share ε of its peak.
//!
//! $$L(t) = \sum_l \lambda_l \frac{2l+1}{4\pi} P_l(t),\qquad
//! \min_\lambda \sum_{l\ge2} (2l+1)(\lambda_l - 1)^2\quad\text{subject to}\quad L(t) \ge -\epsilon L(1)$$
//!
//! With $\lambda_0 = 1$ its integral is 1; $\lambda_l = 1$ for all l would be the truncated
//! peak, whose side lobes reach 15 %. ε = 0 gives a lobe that is nowhere negative.
//! A fibre orientation distribution that is a non-negative sum of lobes
//! is then bounded below, too, and its unknowns are few and not negative.
//!
//! Source: Raffelt et al. 2012, doi:10.1016/j.neuroimage.2011.10.045, appendix (apodised
//! peaks, there by another rule); Jian & Vemuri 2007, doi:10.1109/TMI.2007.907552
//! (spherical deconvolution as non-negative least squares over directions).
//! Validated by `side_lobes_are_bounded_and_the_peak_is_sharpest` below.

use super::nonnegative::{NEIGHBOURS, NonNegative};
use microtome_kernels::legendre::even_polynomials;
use std::f64::consts::PI;

/// Angles from the axis to its normal at which the bound is imposed.
const ANGLES: usize = 361;
/// What the lobe may fall between two angles, in units of its peak.
const BETWEEN: f64 = 5e-5;
/// Makes the multipliers unique; the bound is missed by 1e-6 of the peak for it.
const RIDGE: f64 = 1e-8;

/// $P_0, P_2, \dots$ at a cosine.
fn legendre(lmax: usize, t: f64) -> Vec<f64> {
    let mut out = vec![0.0; lmax / 2 + 1];
    even_polynomials(t, &mut out);
    out
}

/// $\lambda_l$, l = 0, 2, ..., of the lobe with side lobes up to `depth` of its peak.
pub fn lobe(lmax: usize, depth: f64) -> Vec<f64> {
    let orders = lmax / 2;
    let degree = |k: usize| (4 * k + 1) as f64;
    let depth = depth - BETWEEN;
    // Constraint i: a_i . lambda + e_i >= 0.
    let rows: Vec<Vec<f64>> = (0..ANGLES)
        .map(|i| {
            let p = legendre(lmax, (0.5 * PI * i as f64 / (ANGLES - 1) as f64).cos());
            (0..=orders).map(|k| degree(k) * (p[k] + depth)).collect()
        })
        .collect();
    // Dual: lambda = 1 + W^-1 A' v, v >= 0, of which the Gram matrix is A W^-1 A'.
    let mut gram = vec![0.0; ANGLES * ANGLES];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            gram[i * ANGLES + j] = (1..=orders).map(|k| a[k] * b[k] / degree(k)).sum();
        }
    }
    let largest = (0..ANGLES).map(|i| gram[i * (ANGLES + 1)]).fold(0.0, f64::max);
    (0..ANGLES).for_each(|i| gram[i * (ANGLES + 1)] += RIDGE * largest);
    let table: Vec<f64> =
        rows.iter().flat_map(|a| (1..=orders).map(|k| a[k] / degree(k))).collect();
    let near: Vec<[u32; NEIGHBOURS]> = (0..ANGLES)
        .map(|i| [1, 2, 3, 4].map(|d| [i.saturating_sub(d), (i + d).min(ANGLES - 1)]).concat())
        .map(|n| std::array::from_fn(|k| n[k] as u32))
        .collect();
    let problem = NonNegative::new(&gram, ANGLES, &table, ANGLES, &near);
    let mut w = vec![0.0; problem.width()];
    for (w, a) in w.iter_mut().zip(&rows) {
        *w = a.iter().sum();
    }
    let mut state = problem.state();
    problem.solve(&w, &mut state);
    let mut change = vec![0.0; orders.next_multiple_of(8)];
    problem.expand(&state, &mut change);
    let changed = change[..orders].iter().map(|c| 1.0 + c);
    std::iter::once(1.0).chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lambda: &[f64], t: f64) -> f64 {
        let p = legendre(2 * (lambda.len() - 1), t);
        lambda.iter().enumerate().map(|(k, l)| l * (4 * k + 1) as f64 * p[k]).sum()
    }

    fn misfit(lambda: &[f64]) -> f64 {
        lambda.iter().enumerate().map(|(k, l)| (4 * k + 1) as f64 * (l - 1.0).powi(2)).sum()
    }

    #[test]
    fn side_lobes_are_bounded_and_the_peak_is_sharpest() {
        for (lmax, depth) in [(4, 0.02), (8, 0.0), (8, 0.02), (12, 0.01)] {
            let lambda = lobe(lmax, depth);
            let peak = at(&lambda, 1.0);
            let least = (0..=2000).map(|i| at(&lambda, f64::from(i) / 2000.0)).fold(9e9, f64::min);
            let least = least / peak;
            assert!(least >= -depth && least < 2.0 * BETWEEN - depth, "{lmax} {depth} {least}");
            // Not a lobe of the same bound is nearer to the peak: small changes break the bound or the misfit.
            for k in 1..lambda.len() {
                for sign in [-1.0, 1.0] {
                    let mut other = lambda.clone();
                    other[k] += sign * 1e-3;
                    let bound = (0..ANGLES)
                        .map(|i| at(&other, (0.5 * PI * i as f64 / (ANGLES - 1) as f64).cos()))
                        .fold(9e9, f64::min);
                    let feasible = bound >= (BETWEEN - depth) * at(&other, 1.0);
                    assert!(!feasible || misfit(&other) > misfit(&lambda), "{lmax} {depth} {k}");
                }
            }
        }
        // An independent solution: SciPy's nnls as least-distance programming (Lawson &
        // Hanson, ch. 23.4) at the same angles, without the margin between them.
        let expected = [1.0, 0.929_227_88, 0.642_615_26, 0.416_851_97, 0.204_751_63];
        for (a, b) in lobe(8, 0.02 + BETWEEN).iter().zip(expected) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
