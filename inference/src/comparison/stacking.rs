//! Weights of models: of a mixture of their predictions, and by their evidence.
//!
//! $$\hat w = \arg\max_{w\ge0,\ \sum w=1}\ \sum_i\ln\sum_k w_k\,e^{\mathrm{elpd}_{ik}},\qquad
//!   \Pr(k\,|\,y) = \frac{p(y|k)}{\sum_j p(y|j)}$$
//!
//! (equal prior probabilities). The stacking objective is concave; its slope is at
//! most n at the maximum for every model, and n for those with weight. Weight goes
//! from the model with the smallest slope to that with the largest, by an exact line
//! search, until no slope exceeds $n$ by more than a part in $10^{10}$, when the objective is
//! within $10^{-10}n$ nats of its maximum, or 2000 searches are done.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\mathrm{elpd}_{ik}$ | nat | leave-one-out log density of measurement i under model k |
//!
//! Source: Yao, Vehtari, Simpson & Gelman 2018, doi:10.1214/17-BA1091, eqs. 4 and 5.
//! Validated by `stacking_weights_are_those_of_arviz` in `tests/suite/comparison.rs`.

/// Most line searches.
const STEPS: usize = 2000;
const GAP: f64 = 1e-10;

/// The stacking weights of models.
///
/// # Shapes
/// `elpd` `[model][measurement]`, result `[model]`; NaN when a number is not finite.
pub fn stacking_weights(elpd: &[&[f64]]) -> Vec<f64> {
    let models = elpd.len();
    let n = elpd.iter().map(|e| e.len()).min().unwrap_or(0);
    if elpd.iter().any(|e| e.iter().any(|v| !v.is_finite())) || n == 0 {
        return vec![f64::NAN; models];
    }
    // Densities relative to the best of each measurement.
    let best: Vec<f64> =
        (0..n).map(|i| elpd.iter().map(|e| e[i]).fold(f64::NEG_INFINITY, f64::max)).collect();
    let density: Vec<Vec<f64>> =
        elpd.iter().map(|e| e.iter().zip(&best).map(|(e, b)| (e - b).exp()).collect()).collect();
    let mut weights = vec![1.0 / models as f64; models];
    let mut mixture = vec![0.0; n];
    for _ in 0..STEPS {
        mixture.fill(0.0);
        for (w, d) in weights.iter().zip(&density) {
            for (m, d) in mixture.iter_mut().zip(d) {
                *m += w * d;
            }
        }
        let slopes: Vec<f64> =
            density.iter().map(|d| d.iter().zip(&mixture).map(|(d, m)| d / m).sum()).collect();
        let up = (0..models).max_by(|a, b| slopes[*a].total_cmp(&slopes[*b]));
        let down = (0..models)
            .filter(|k| weights[*k] > 0.0)
            .min_by(|a, b| slopes[*a].total_cmp(&slopes[*b]));
        let (Some(up), Some(down)) = (up, down) else { break };
        if up == down || slopes[up] - slopes[down] <= GAP * n as f64 {
            break;
        }
        let step = line_search(&density[up], &density[down], &mixture, weights[down]);
        weights[up] += step;
        weights[down] -= step;
        if weights[down] < 1e-15 {
            weights[up] += weights[down];
            weights[down] = 0.0;
        }
    }
    weights
}

/// The step t in [0, most] that maximises $\sum\ln(m + t(u-d))$.
fn line_search(up: &[f64], down: &[f64], mixture: &[f64], most: f64) -> f64 {
    let slope = |t: f64| -> f64 {
        let rows = up.iter().zip(down).zip(mixture);
        rows.map(|((u, d), m)| (u - d) / (m + t * (u - d)).max(f64::MIN_POSITIVE)).sum()
    };
    if slope(most) >= 0.0 {
        return most;
    }
    let (mut low, mut high) = (0.0, most);
    while high - low > 1e-16 * most.max(high) {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Posterior probabilities of models with equal prior probabilities.
///
/// # Shapes
/// `ln_evidence` and the result `[model]`; NaN when an evidence is NaN.
pub fn model_probabilities(ln_evidence: &[f64]) -> Vec<f64> {
    let best = ln_evidence.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = ln_evidence.iter().map(|l| (l - best).exp()).sum();
    ln_evidence.iter().map(|l| (l - best).exp() / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_models_weigh_as_their_shares() {
        // Measurements of which each is possible under one model only.
        let far = -800.0;
        let a: Vec<f64> = (0..10).map(|i| if i < 3 { 0.0 } else { far }).collect();
        let b: Vec<f64> = (0..10).map(|i| if i < 3 { far } else { 0.0 }).collect();
        let w = stacking_weights(&[&a, &b]);
        assert!((w[0] - 0.3).abs() < 1e-12 && (w[1] - 0.7).abs() < 1e-12, "{w:?}");
        // A model that is worse everywhere has no weight; its copy shares.
        let worse: Vec<f64> = a.iter().map(|v| v - 1.0).collect();
        let w = stacking_weights(&[&a, &worse]);
        assert_eq!(w, [1.0, 0.0]);
        assert!(stacking_weights(&[&a, &[f64::NAN; 10]]).iter().all(|w| w.is_nan()));
    }

    /// The conditions of a maximum on the simplex, for random densities.
    #[test]
    fn no_slope_exceeds_that_of_the_mixture() {
        for models in [2, 3, 6] {
            let elpd: Vec<Vec<f64>> = (0..models)
                .map(|k| {
                    let wave = |i: usize| ((i * (7 * k + 3)) as f64 * 0.37 + k as f64).sin();
                    (0..288).map(|i| 2.0 * wave(i) - 0.1 * k as f64).collect()
                })
                .collect();
            let rows: Vec<&[f64]> = elpd.iter().map(Vec::as_slice).collect();
            let w = stacking_weights(&rows);
            assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-13);
            for k in 0..models {
                let slope: f64 = (0..288)
                    .map(|i| {
                        let m: f64 = w.iter().zip(&elpd).map(|(w, e)| w * e[i].exp()).sum();
                        elpd[k][i].exp() / m
                    })
                    .sum();
                assert!(slope < 288.0 * (1.0 + 1e-9), "{models}, {k}: {slope}");
                assert!(w[k] == 0.0 || slope > 288.0 * (1.0 - 1e-9), "{models}, {k}: {slope}");
            }
        }
    }

    #[test]
    fn probabilities_follow_the_evidence() {
        let p = model_probabilities(&[-1000.0, -1000.0 + 3.0_f64.ln(), f64::NEG_INFINITY]);
        assert!((p[0] - 0.25).abs() < 1e-13 && (p[1] - 0.75).abs() < 1e-13 && p[2] == 0.0);
        assert!(model_probabilities(&[-3.0, f64::NAN]).iter().all(|p| p.is_nan()));
    }
}
