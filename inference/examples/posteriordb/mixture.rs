//! A mixture of two normal densities.
//!
//! $$\ln p = \sum_i\ln\left(\theta\,\mathcal N(y_i;\mu_1,s_1) + (1-\theta)\,\mathcal N(y_i;\mu_2,s_2)\right)
//! = \sum_i \max(a_i,b_i) + \ln\left(1+e^{-|a_i-b_i|}\right)$$
//!
//! with the logarithms $a_i, b_i$ of the two parts; the slope of each is its share of
//! the sum. Exponentials are those of `kernels::exp`, many at a time; the logarithms are one
//! for every 512 factors between 1 and 2. Source: McLachlan & Peel 2000, *Finite Mixture
//! Models*, section 1.4. Validated by `posteriordb_derivatives`.

use microtome_inference::graph_density::terms::Term;
use microtome_kernels::exp::exp_in_place;
use std::cell::RefCell;

thread_local! {
    static RATIOS: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Two normal densities of the values (mu1, mu2, s1, s2, theta).
pub(crate) struct TwoNormals {
    y: Vec<f64>,
}

impl TwoNormals {
    /// Of data.
    pub(crate) fn new(y: Vec<f64>) -> Self {
        Self { y }
    }
}

impl Term for TwoNormals {
    fn add(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let [m1, m2, s1, s2, theta] = [v[0], v[1], v[2], v[3], v[4]];
        let (w1, w2) = (1.0 / s1, 1.0 / s2);
        let (c1, c2) = ((theta * w1).ln(), ((1.0 - theta) * w2).ln());
        RATIOS.with_borrow_mut(|e| {
            e.clear();
            let mut total = 0.0;
            for y in &self.y {
                let (z1, z2) = ((y - m1) * w1, (y - m2) * w2);
                let (a, b) = (c1 - 0.5 * z1 * z1, c2 - 0.5 * z2 * z2);
                total += a.max(b);
                e.push(-(a - b).abs());
            }
            exp_in_place(e);
            for chunk in e.chunks(512) {
                // Factors up to 2: the product stays below 2^512.
                total += chunk.iter().map(|e| 1.0 + e).product::<f64>().ln();
            }
            // Sums of r, r z, r z^2 over the data, r the share of the first part, and without r.
            let mut sums = [0.0; 6];
            for (y, e) in self.y.iter().zip(e.iter()) {
                let (z1, z2) = ((y - m1) * w1, (y - m2) * w2);
                let small = e / (1.0 + e);
                let first = c1 - 0.5 * z1 * z1 >= c2 - 0.5 * z2 * z2;
                let r = if first { 1.0 - small } else { small };
                let q = if first { small } else { 1.0 - small };
                sums[0] += r;
                sums[1] += r * z1;
                sums[2] += r * z1 * z1;
                sums[3] += q;
                sums[4] += q * z2;
                sums[5] += q * z2 * z2;
            }
            g[0] += sums[1] * w1;
            g[1] += sums[4] * w2;
            g[2] += (sums[2] - sums[0]) * w1;
            g[3] += (sums[5] - sums[3]) * w2;
            g[4] += sums[0] / theta - sums[3] / (1.0 - theta);
            total
        })
    }

    fn needs(&self) -> usize {
        5
    }
}
