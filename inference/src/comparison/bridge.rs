//! The marginal likelihood of a voxel, by bridge sampling from its draws and by
//! Laplace's approximation.
//!
//! With a normal density $g$ of the mean and covariance of the first halves of the
//! chains, $q(z) = p(y, z)$, and $l = q/g$ at the $N_1$ draws of the second halves
//! ($z_j$) and at $N_2$ draws of $g$ ($\tilde z_i$), the fixed point of
//!
//! $$\hat r = \frac{\frac1{N_2}\sum_i \frac{l(\tilde z_i)}{s_1l(\tilde z_i) + s_2\hat r}}
//!   {\frac1{N_1}\sum_j\frac1{s_1l(z_j) + s_2\hat r}},\qquad s_1 = \frac{N_1'}{N_1'+N_2} = 1 - s_2$$
//!
//! is $p(y)$, $N_1'$ being the effective number of draws. Its relative error is
//!
//! $$\mathrm{RE}^2 = \frac{\mathrm{var}f_1}{N_2\,\bar f_1^2} + \frac{\mathrm{var}f_2}{N_1'\bar f_2^2},\qquad
//!   f_1 = \frac{l(\tilde z)/\hat r}{s_1l(\tilde z)/\hat r+s_2},\quad f_2 = \frac1{s_1l(z)/\hat r+s_2}$$
//!
//! with $N_1'$ the effective sample size of $f_2$; it is the standard error of
//! $\ln\hat r$. Laplace: $\ln p(y)\approx\ln q(\hat z)+\tfrac d2\ln2\pi-\tfrac12\ln\det H$.
//! Where compartments are exchangeable both are of all labellings ([`Relabelling`]).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $z$ | 1 | coordinates of the chart |
//! | $\ln p(y)$ | nat | log density of the measurements, in the unit of the signals |
//!
//! Source: Meng & Wong 1996, Statistica Sinica 6:831, eq. 4.1; Gronau et al. 2017,
//! doi:10.1016/j.jmp.2017.09.005, eqs. 14 and 15; Frühwirth-Schnatter 2004,
//! doi:10.1111/j.1368-423X.2004.00125.x (error). Validated by
//! `evidence_of_a_ball_is_the_integral` in `tests/suite/comparison.rs`.

use super::exchange::Relabelling;
use crate::dense::{cholesky, forward};
use crate::diagnostics::{Chains, Workspace, ess_mean};
use crate::sample::Laplace;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::Posterior;
use rand_distr::{Distribution, StandardNormal};

/// Draws of the normal density.
const PROPOSALS: usize = 1000;
/// Most steps to the fixed point.
const STEPS: usize = 1000;
/// A step that changes the estimate by less than this part ends the search.
const ENOUGH: f64 = 1e-10;
/// $\ln\sqrt{2\pi}$.
const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_7;

/// A marginal likelihood.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bridge {
    /// $\ln p(y)$ (nat).
    pub ln_evidence: f64,
    /// Its Monte Carlo standard error (nat).
    pub mcse: f64,
}

/// $\ln p(y)$ by Laplace's approximation, of all labellings of exchangeable compartments.
pub fn laplace_evidence(laplace: &Laplace, copies: usize) -> f64 {
    laplace.ln_evidence() + (copies as f64).ln()
}

/// A normal density.
struct Normal {
    mean: Vec<f64>,
    /// Lower Cholesky factor of the covariance.
    factor: Vec<f64>,
    ln_norm: f64,
}

impl Normal {
    /// Of the moments of some points; `None` when their covariance is not positive.
    fn of<'a>(points: impl Iterator<Item = &'a [f64]> + Clone, dim: usize) -> Option<Self> {
        let n = points.clone().count() as f64;
        if n < dim as f64 + 2.0 {
            return None;
        }
        let mut mean = vec![0.0; dim];
        for z in points.clone() {
            for (m, z) in mean.iter_mut().zip(z) {
                *m += z / n;
            }
        }
        let mut factor = vec![0.0; dim * dim];
        for z in points {
            for i in 0..dim {
                for j in 0..=i {
                    factor[i * dim + j] += (z[i] - mean[i]) * (z[j] - mean[j]) / (n - 1.0);
                }
            }
        }
        for i in 0..dim {
            for j in i + 1..dim {
                factor[i * dim + j] = factor[j * dim + i];
            }
        }
        if !cholesky(&mut factor, dim, 1e-13) {
            return None;
        }
        let ln_det: f64 = (0..dim).map(|i| factor[i * dim + i].ln()).sum();
        Some(Self { mean, factor, ln_norm: -ln_det - dim as f64 * LN_SQRT_TAU })
    }

    fn draw(&self, rng: &mut PhiloxRng, z: &mut [f64]) -> f64 {
        let n = z.len();
        let white: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
        for (i, (z, mean)) in z.iter_mut().zip(&self.mean).enumerate() {
            let row = &self.factor[i * n..=i * n + i];
            *z = mean + row.iter().zip(&white).map(|(l, x)| l * x).sum::<f64>();
        }
        self.ln_norm - 0.5 * white.iter().map(|x| x * x).sum::<f64>()
    }

    fn ln_density(&self, z: &[f64], scratch: &mut [f64]) -> f64 {
        for ((s, z), m) in scratch.iter_mut().zip(z).zip(&self.mean) {
            *s = z - m;
        }
        forward(&self.factor, z.len(), scratch);
        self.ln_norm - 0.5 * scratch.iter().map(|x| x * x).sum::<f64>()
    }
}

/// The marginal likelihood from draws of the posterior.
///
/// # Shapes
/// `z` `[chain, draw, coordinate]`, relabelled; `ln_density` `[chain, draw]`:
/// $\ln p(y, z)$ of each.
///
/// `None` when the draws span no volume, or the estimate is not finite.
pub fn bridge(
    posterior: &mut Posterior<'_>,
    laplace: &Laplace,
    relabelling: &mut Relabelling,
    (z, ln_density): (&[f64], &[f64]),
    (chains, share): (usize, f64),
    rng: &mut PhiloxRng,
    workspace: &mut Workspace,
) -> Option<Bridge> {
    let dim = posterior.dim();
    let draws = ln_density.len().checked_div(chains)?;
    let half = draws / 2;
    let usable = |(z, l): &(&[f64], &f64)| l.is_finite() && z.iter().all(|v| v.is_finite());
    let all = || z.chunks_exact(dim).zip(ln_density);
    let first = all().enumerate().filter(|(s, _)| s % draws < half).map(|(_, d)| d).filter(usable);
    let proposal = Normal::of(first.map(|(z, _)| z), dim)?;
    let mut scratch = vec![0.0; dim];
    // Logarithms of q/g.
    let of_draws: Vec<f64> = all()
        .enumerate()
        .filter(|(s, _)| s % draws >= half)
        .map(|(_, d)| {
            if usable(&d) {
                d.1 - proposal.ln_density(d.0, &mut scratch)
            } else {
                f64::NEG_INFINITY
            }
        })
        .collect();
    let of_proposals: Vec<f64> = (0..PROPOSALS)
        .map(|_| {
            let ln_proposal = proposal.draw(rng, &mut scratch);
            let ln_target = posterior.ln_density_value(&scratch);
            let inside = ln_target.is_finite()
                && (relabelling.copies() == 1
                    || relabelling.is_closest(
                        posterior.chart(),
                        laplace,
                        posterior.values(),
                        &scratch,
                    ));
            if inside { ln_target - ln_proposal } else { f64::NEG_INFINITY }
        })
        .collect();
    let found = fixed_point(&of_draws, &of_proposals, (chains, share), workspace)?;
    let ln_copies = (relabelling.copies() as f64).ln();
    Some(Bridge { ln_evidence: found.ln_evidence + ln_copies, ..found })
}

/// The fixed point and its error, from the logarithms of q/g at both kinds of draws.
fn fixed_point(
    of_draws: &[f64],
    of_proposals: &[f64],
    (chains, share): (usize, f64),
    workspace: &mut Workspace,
) -> Option<Bridge> {
    let mut sorted = of_draws.to_vec();
    sorted.sort_by(f64::total_cmp);
    let offset = *sorted.get(sorted.len() / 2)?;
    if !offset.is_finite() {
        return None;
    }
    let ratio =
        |l: &[f64]| -> Vec<f64> { l.iter().map(|l| (l - offset).min(700.0).exp()).collect() };
    let (draws, proposals) = (ratio(of_draws), ratio(of_proposals));
    let length = draws.len() / chains.max(1);
    // A draw without a proposal counts as the farthest.
    let series_of_draws: Vec<f64> =
        of_draws.iter().map(|l| if l.is_finite() { *l } else { offset - 700.0 }).collect();
    let mut effective = |series: &[f64]| {
        let size = Chains::new(series, chains, length).map_or(f64::NAN, |c| ess_mean(c, workspace));
        // Constant terms have no scatter; a NaN is that of draws without a density.
        let size = if size.is_finite() { size.min(series.len() as f64) } else { size };
        share * size
    };
    let (n1, n2) = (effective(&series_of_draws), proposals.len() as f64);
    if !n1.is_finite() {
        return None;
    }
    let (s1, s2) = (n1 / (n1 + n2), n2 / (n1 + n2));
    let average =
        |x: &[f64], f: &dyn Fn(f64) -> f64| x.iter().map(|l| f(*l)).sum::<f64>() / x.len() as f64;
    let (mut r, mut is_settled) = (1.0, false);
    for _ in 0..STEPS {
        let above = average(&proposals, &|l| l / (s1 * l + s2 * r));
        let below = average(&draws, &|l| 1.0 / (s1 * l + s2 * r));
        let next = above / below;
        if !(next.is_finite() && next > 0.0) {
            return None;
        }
        let change = (next - r).abs() / next;
        r = next;
        if change < ENOUGH {
            is_settled = true;
            break;
        }
    }
    if !is_settled {
        return None;
    }
    let part = |x: &[f64], f: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = x.iter().map(|l| f(l / r)).collect();
        let mean = average(&values, &|v| v);
        let variance = average(&values, &|v| (v - mean) * (v - mean));
        (variance / (mean * mean), values)
    };
    let (of_f1, _) = part(&proposals, &|l| l / (s1 * l + s2));
    let (of_f2, series) = part(&draws, &|l| 1.0 / (s1 * l + s2));
    let mcse = (of_f1 / n2 + of_f2 / effective(&series)).sqrt();
    Some(Bridge { ln_evidence: offset + r.ln(), mcse })
}
