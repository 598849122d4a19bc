//! A normal density whose covariance is a squared exponential.
//!
//! $$K_{ij} = \alpha^2 e^{-(x_i-x_j)^2/2\rho^2} + \sigma\,\delta_{ij},\qquad
//! \ln p = -\tfrac12 y^\mathsf TK^{-1}y - \tfrac12\ln|K|,\qquad
//! \partial\ln p = \tfrac12\operatorname{tr}\bigl((aa^\mathsf T-K^{-1})\,\partial K\bigr),\ a = K^{-1}y$$
//!
//! Source: Rasmussen & Williams 2006, *Gaussian Processes for Machine Learning*, eq. 5.8-5.9.
//! Validated by `posteriordb_derivatives`.

use microtome_inference::dense::{backward, cholesky, forward};
use microtome_inference::graph_density::terms::Term;
use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<[Vec<f64>; 4]> =
        const { RefCell::new([Vec::new(), Vec::new(), Vec::new(), Vec::new()]) };
}

/// The density of the values (rho, alpha, sigma).
pub(crate) struct SquaredExponential {
    /// Half squared distances, `[n, n]`.
    half: Vec<f64>,
    y: Vec<f64>,
}

impl SquaredExponential {
    /// Of places and data.
    pub(crate) fn new(x: &[f64], y: Vec<f64>) -> Self {
        let half = x.iter().flat_map(|a| x.iter().map(move |b| 0.5 * (a - b) * (a - b))).collect();
        Self { half, y }
    }
}

impl Term for SquaredExponential {
    fn add(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let [rho, alpha, sigma] = [v[0], v[1], v[2]];
        let n = self.y.len();
        let (falloff, power) = (1.0 / (rho * rho), alpha * alpha);
        SCRATCH.with_borrow_mut(|[k, l, a, column]| {
            k.clear();
            k.resize(n * n, 0.0);
            for i in 0..n {
                for j in 0..i {
                    k[i * n + j] = power * (-self.half[i * n + j] * falloff).exp();
                }
                k[i * n + i] = power;
            }
            l.clone_from(k);
            for i in 0..n {
                l[i * n + i] += sigma;
            }
            if !cholesky(l, n, 1e-15) {
                return f64::NAN;
            }
            a.clone_from(&self.y);
            forward(l, n, a);
            let quadratic: f64 = a.iter().map(|v| v * v).sum();
            backward(l, n, a);
            let (mut d_power, mut d_falloff, mut d_sigma, mut ln_det) = (0.0, 0.0, 0.0, 0.0);
            for j in 0..n {
                ln_det += l[j * n + j].ln();
                // Column j of the inverse below the diagonal.
                column.clear();
                column.resize(n, 0.0);
                column[j] = 1.0;
                forward(l, n, column);
                backward(l, n, column);
                let own = 0.5 * (a[j] * a[j] - column[j]);
                d_sigma += own;
                d_power += own * k[j * n + j];
                for i in j + 1..n {
                    let w = (a[i] * a[j] - column[i]) * k[i * n + j];
                    d_power += w;
                    d_falloff -= w * self.half[i * n + j];
                }
            }
            g[0] -= 2.0 * d_falloff * falloff / rho;
            g[1] += 2.0 * d_power / alpha;
            g[2] += d_sigma;
            -0.5 * quadratic - ln_det
        })
    }

    fn needs(&self) -> usize {
        3
    }
}
