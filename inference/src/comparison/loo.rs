//! The expected log predictive density of a new set of measurements, by leaving each
//! measurement out (PSIS-LOO) and by the widely applicable information criterion.
//!
//! $$\widehat{\mathrm{elpd}}_{\mathrm{loo}} = \sum_i \ln\frac{\sum_s w_{is}\,e^{\ell_{is}}}{\sum_s w_{is}},\qquad
//!   w_{is}\leftarrow \mathrm{PSIS}\left(e^{-\ell_{is}}\right)$$
//!
//! $$\widehat{\mathrm{elpd}}_{\mathrm{waic}} = \sum_i\left[\ln\frac1S\sum_s e^{\ell_{is}} - \mathrm{var}_s\,\ell_{is}\right],\qquad
//!   p_{\mathrm{loo}} = \sum_i \ln\frac1S\sum_s e^{\ell_{is}} - \widehat{\mathrm{elpd}}_{\mathrm{loo}}$$
//!
//! Standard errors are $\sqrt{n\,\mathrm{var}_i}$ of the terms. Outside the smoothed tail
//! $w_{is}e^{\ell_{is}}$ is the same number for all draws, and $e^{\ell}$ is a reciprocal of
//! $e^{-\ell}$: one exponential a draw and measurement is all.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\ell_{is}$ | nat | log likelihood of measurement i at draw s |
//! | elpd, $p$ | nat, 1 | expected log predictive density, effective number of parameters |
//!
//! The numbers are those of ArviZ 0.23 (`az.loo`, `az.waic`) at the same relative
//! efficiency.
//!
//! Source: Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4, eqs. 3 to 12;
//! Vehtari et al. 2024, JMLR 25(72); Watanabe 2010, JMLR 11:3571.
//! Validated by `loo_and_waic_are_those_of_arviz` in `tests/suite/comparison.rs`.

use crate::diagnostics::moments::{extremes, mean, sum_of};
use crate::diagnostics::pareto::smooth_tail;
use crate::diagnostics::{Chains, ParetoWorkspace, Workspace, ess_mean, khat_limit};
use microtome_kernels::exp::exp_in_place;

/// Logarithms up to here may be taken back by a reciprocal.
const SAFE_RANGE: f64 = 600.0;

/// Leave-one-out predictive accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Loo {
    /// Expected log predictive density (nat).
    pub elpd: f64,
    /// Its standard error (nat).
    pub se: f64,
    /// Effective number of parameters.
    pub p: f64,
    /// The largest k-hat.
    pub khat: f64,
    /// Measurements whose k-hat is above the limit of so many draws.
    pub khats_high: usize,
    /// The terms of `elpd` by measurement.
    pub terms: Vec<f64>,
    /// k-hat by measurement.
    pub khats: Vec<f64>,
}

/// The widely applicable information criterion, on the scale of log densities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waic {
    /// Expected log predictive density (nat).
    pub elpd: f64,
    /// Its standard error (nat).
    pub se: f64,
    /// Effective number of parameters.
    pub p: f64,
}

/// Buffers of [`loo_and_waic`]. Keep one a thread.
#[derive(Debug, Clone, Default)]
pub struct LooWorkspace {
    pareto: ParetoWorkspace,
    ratios: Vec<f64>,
    weights: Vec<f64>,
}

/// One measurement.
struct Term {
    elpd: f64,
    khat: f64,
    /// $\ln\frac1S\sum_s e^{\ell_s}$.
    lppd: f64,
    variance: f64,
}

/// Both criteria of the draws of a voxel.
///
/// # Shapes
/// `ln_likelihood` `[measurement, draw]` with `draws` columns. Likelihoods that are
/// not finite make NaN.
pub fn loo_and_waic(
    ln_likelihood: &[f64],
    draws: usize,
    relative_efficiency: f64,
    workspace: &mut LooWorkspace,
) -> (Loo, Waic) {
    let rows = ln_likelihood.chunks_exact(draws.max(1));
    let mut loo = Loo {
        elpd: 0.0,
        se: 0.0,
        p: 0.0,
        khat: f64::NEG_INFINITY,
        khats_high: 0,
        terms: Vec::with_capacity(rows.len()),
        khats: Vec::with_capacity(rows.len()),
    };
    let limit = khat_limit(draws);
    let (mut lppd, mut waic) = (0.0, Vec::with_capacity(rows.len()));
    let mut p_waic = 0.0;
    for row in rows {
        let term = term(row, relative_efficiency, workspace);
        lppd += term.lppd;
        p_waic += term.variance;
        waic.push(term.lppd - term.variance);
        loo.khat = loo.khat.max(term.khat);
        loo.khats_high += usize::from(term.khat > limit);
        loo.terms.push(term.elpd);
        loo.khats.push(term.khat);
    }
    (loo.elpd, loo.se) = sum_and_error(&loo.terms);
    loo.p = lppd - loo.elpd;
    let (elpd, se) = sum_and_error(&waic);
    (loo, Waic { elpd, se, p: p_waic })
}

/// The sum of independent terms and its standard error.
pub(crate) fn sum_and_error(terms: &[f64]) -> (f64, f64) {
    let centre = mean(terms);
    (sum_of(terms, |v| v), sum_of(terms, |v| (v - centre) * (v - centre)).sqrt())
}

fn term(ln_likelihood: &[f64], relative_efficiency: f64, w: &mut LooWorkspace) -> Term {
    let (low, high) = extremes(ln_likelihood);
    let finite = ln_likelihood.iter().fold(true, |all, v| all & v.is_finite());
    if !finite || ln_likelihood.is_empty() {
        let nan = f64::NAN;
        return Term { elpd: nan, khat: f64::INFINITY, lppd: nan, variance: nan };
    }
    let draws = ln_likelihood.len() as f64;
    // Logarithms of the ratios 1/p, the largest 0.
    w.ratios.clear();
    w.ratios.extend(ln_likelihood.iter().map(|l| low - l));
    let khat = smooth_tail(&w.ratios, 0.0, relative_efficiency, &mut w.pareto);
    w.weights.clear();
    w.weights.extend_from_slice(&w.ratios);
    exp_in_place(&mut w.weights);
    let range = high - low;
    let likelihood = if range < SAFE_RANGE {
        sum_of(&w.weights, |v| 1.0 / v) * (-range).exp()
    } else {
        sum_of(ln_likelihood, |l| (l - high).exp())
    };
    let mut tail = 0.0;
    let (mut smoothed, mut weighted) = (0.0, 0.0);
    for t in w.pareto.tail() {
        let at = t.position as usize;
        w.weights[at] = 0.0;
        tail += 1.0;
        smoothed += t.ln_weight.exp();
        weighted += (t.ln_weight - w.ratios[at]).exp();
    }
    let total = sum_of(&w.weights, |v| v) + smoothed;
    let centre = mean(ln_likelihood);
    Term {
        elpd: low + ((draws - tail + weighted) / total).ln(),
        khat,
        lppd: high + (likelihood / draws).ln(),
        variance: sum_of(ln_likelihood, |l| (l - centre) * (l - centre)) / draws,
    }
}

/// The relative efficiency of draws: the mean over values of their effective sample
/// size for means over their number, as ArviZ takes it; 1 where nothing varies.
///
/// # Shapes
/// `values` `[chain, draw, value]`.
pub fn relative_efficiency(
    values: &[f64],
    width: usize,
    chains: usize,
    workspace: &mut Workspace,
) -> f64 {
    let draws = values.len() / (width * chains).max(1);
    let mut column = vec![0.0; chains * draws];
    let (mut total, mut n) = (0.0, 0);
    for k in 0..width {
        for (c, x) in column.iter_mut().zip(values.chunks_exact(width)) {
            *c = x[k];
        }
        let Ok(x) = Chains::new(&column, chains, draws) else { continue };
        let size = ess_mean(x, workspace);
        if size.is_finite() && size > 0.0 {
            total += size;
            n += 1;
        }
    }
    if n == 0 { 1.0 } else { total / f64::from(n) / column.len() as f64 }
}
