//! The log likelihood of every measurement at every draw.
//!
//! $$\ell_{is} = \ln p(y_i\,|\,\theta_s)$$
//!
//! Stored `[measurement, draw]`, since all that follows runs over the draws of one
//! measurement; eight draws are evaluated before they are written, so that lines of
//! the cache are filled at once.
//!
//! Source: Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4, sec. 2.
//! Validated by `sums_over_measurements_are_likelihoods` in `tests/suite/comparison.rs`.

use microtome_models::{PointwiseLikelihood, Posterior};

/// Draws that are evaluated before they are written.
const TILE: usize = 8;

/// Log likelihoods by measurement and draw, with reused memory.
#[derive(Debug, Clone, Default)]
pub struct Likelihoods {
    values: Vec<f64>,
    measurements: usize,
    draws: usize,
    tile: Vec<f64>,
}

impl Likelihoods {
    /// No likelihoods yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Evaluates the draws of a voxel; `visit` sees the signals of each (draw, slots, σ).
    ///
    /// # Shapes
    /// `values` `[draw, value]`, σ last when it is free.
    pub fn evaluate(
        &mut self,
        posterior: &mut Posterior<'_>,
        likelihood: &PointwiseLikelihood,
        values: &[f64],
        mut visit: impl FnMut(usize, &[f64], f64),
    ) {
        let plan = posterior.plan();
        let (width, slots) = (posterior.chart().values(), plan.slots());
        self.measurements = plan.measurements();
        self.draws = values.len() / width.max(1);
        self.values.resize(self.measurements * self.draws, 0.0);
        self.tile.resize(TILE * slots, 0.0);
        for (t, draws) in values.chunks(TILE * width.max(1)).enumerate() {
            let first = t * TILE;
            for ((k, x), out) in
                draws.chunks_exact(width).enumerate().zip(self.tile.chunks_exact_mut(slots))
            {
                let (signal, sigma) = posterior.signal_at(x);
                likelihood.evaluate(signal, plan.mask(), sigma, out);
                visit(first + k, signal, sigma);
            }
            let n = draws.len() / width;
            for (row, &slot) in self.values.chunks_exact_mut(self.draws).zip(plan.slot_of()) {
                for (k, out) in row[first..first + n].iter_mut().enumerate() {
                    *out = self.tile[k * slots + slot];
                }
            }
        }
    }

    /// The number of draws.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// All of them, `[measurement, draw]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Adds the likelihoods of all measurements of each draw to `total` `[draw]`.
    pub fn add_totals(&self, total: &mut [f64]) {
        for row in self.values.chunks_exact(self.draws.max(1)) {
            for (total, v) in total.iter_mut().zip(row) {
                *total += v;
            }
        }
    }
}
