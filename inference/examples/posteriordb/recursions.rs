//! Time series whose errors or variances follow a recursion.
//!
//! $$s_t^2 = \alpha_0 + \alpha_1(y_{t-1}-\mu)^2 + \beta_1 s_{t-1}^2,\qquad
//! e_t = y_t - \mu - \phi y_{t-1} - \theta e_{t-1}$$
//!
//! Source: Bollerslev 1986, doi:10.1016/0304-4076(86)90063-1, eq. 7; Box & Jenkins 1976,
//! *Time Series Analysis*, section 3.4. Derivatives run back along the recursion. Validated by `posteriordb_derivatives`.

use microtome_inference::graph_density::terms::Term;
use microtome_kernels::moving_average::{MovingAverageWorkspace, SeriesParts, moving_average};
use std::cell::RefCell;

thread_local! {
    static VARIANCES: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
    static ERRORS: RefCell<MovingAverageWorkspace> = RefCell::default();
}

/// GARCH(1, 1) of the values (mu, alpha0, alpha1, beta1).
pub(crate) struct Garch {
    /// Observations.
    pub(crate) y: Vec<f64>,
    /// First standard deviation.
    pub(crate) first: f64,
}

/// Sum of logarithms of positive numbers: one logarithm for eight factors, and one
/// each where their product leaves the range.
fn ln_product(v: &[f64]) -> f64 {
    let mut total = 0.0;
    for chunk in v.chunks(8) {
        let product: f64 = chunk.iter().product();
        total += if product > 1e-300 && product < 1e300 {
            product.ln()
        } else {
            chunk.iter().map(|v| v.ln()).sum()
        };
    }
    total
}

impl Term for Garch {
    fn add(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let [mu, a0, a1, b1] = [v[0], v[1], v[2], v[3]];
        let y = &self.y;
        VARIANCES.with_borrow_mut(|s| {
            s.clear();
            s.push(self.first * self.first);
            let mut last = self.first * self.first;
            for t in 1..y.len() {
                let r = y[t - 1] - mu;
                last = a0 + a1 * r * r + b1 * last;
                s.push(last);
            }
            let mut quadratic = 0.0;
            let (mut d_mu, mut d_a0, mut d_a1, mut d_b1, mut back) = (0.0, 0.0, 0.0, 0.0, 0.0);
            // back = derivative of all that comes from s_t^2 on, without t's own part.
            for t in (0..y.len()).rev() {
                let (r, precision) = (y[t] - mu, 1.0 / s[t]);
                let z = r * precision;
                quadratic += r * z;
                // s_{t+1}^2 depends on (y_t - mu)^2 and s_t^2.
                d_mu += z - 2.0 * a1 * r * back;
                d_a1 += r * r * back;
                d_b1 += s[t] * back;
                d_a0 += back;
                back = b1 * back + 0.5 * (z * z - precision);
            }
            // s_1 is given: the derivative that arrived at t = 0 goes nowhere.
            g[0] += d_mu;
            g[1] += d_a0;
            g[2] += d_a1;
            g[3] += d_b1;
            -0.5 * (quadratic + ln_product(s))
        })
    }

    fn needs(&self) -> usize {
        4
    }
}

/// ARMA(1, 1) of the values (mu, phi, theta, sigma).
pub(crate) struct Arma {
    /// Observations.
    pub(crate) y: SeriesParts,
}

impl Term for Arma {
    fn add(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let (at, sigma) = ([v[0], v[1], v[2]], v[3]);
        let errors = ERRORS.with_borrow_mut(|w| moving_average(&self.y, at, w));
        let precision = 1.0 / (sigma * sigma);
        for (g, slope) in g.iter_mut().zip(errors.half_slopes) {
            *g -= precision * slope;
        }
        let n = self.y.count() as f64;
        g[3] += (errors.sum * precision - n) / sigma;
        -n * sigma.ln() - 0.5 * errors.sum * precision
    }

    fn needs(&self) -> usize {
        4
    }
}
