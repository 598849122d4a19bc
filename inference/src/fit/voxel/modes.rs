//! All the ends of the starts of a voxel, for those who ask for more than the best one.
//!
//! Validated by `voxels_of_several_modes_are_seen` in `tests/suite/cheap.rs`.

use super::{Fitter, Run, VoxelFit};
use microtome_models::NoiseKind;

/// Ends that lie so far below the best one, in nats, are forgotten.
const FAR_BELOW: f64 = 30.0;

impl Fitter {
    /// As [`Fitter::fit`], and the values at the end of every start, the best first.
    ///
    /// Every start is followed to its end, where [`Fitter::fit`] gives up all but the best
    /// after a few iterations, so the fit can only be better. Ends further than 30 nats
    /// below the best of their search are left out; equal ends are all listed.
    pub fn fit_modes(
        &mut self,
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
    ) -> (VoxelFit, Vec<Vec<f64>>) {
        self.ends = Some(Vec::new());
        let fit = self.run(y, per_voxel, sigma, None);
        let mut ends = self.ends.take().unwrap_or_default();
        ends.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let mut modes = vec![fit.x.clone()];
        for mut end in ends {
            self.model().canonicalise(&mut end.x);
            modes.push(end.x);
        }
        (fit, modes)
    }

    /// How far the residuals of magnitudes are above noise of scale `sigma`, in standard
    /// deviations of their mean square: of the power $y^2$, whose mean $S^2 + 2N\sigma^2$
    /// and variance $4\sigma^2S^2 + 4N\sigma^4$ are exact, where noise is that of magnitudes.
    pub(super) fn misfit(&mut self, x: &[f64], sigma: f64) -> f64 {
        let plan = self.evaluator.lowered().plan.clone();
        let coils = self.model().noise().coils().map(f64::from);
        let freedom = self.residual_freedom();
        let square = sigma * sigma;
        let signal = self.evaluator.signal(x);
        let terms = self.y.iter().zip(signal).zip(plan.mask()).filter(|(_, m)| **m > 0.0);
        let total: f64 = terms
            .map(|((y, s), _)| match coils {
                None => (y - s) * (y - s) / square,
                Some(n) => {
                    let r = y * y - s * s - 2.0 * n * square;
                    r * r / (4.0 * square * (s * s + n * square))
                }
            })
            .sum();
        (total / freedom - 1.0) / (2.0 / freedom).sqrt()
    }

    /// The better of a run and those from the corners of the scalars.
    pub(super) fn tried_at_corners(
        &mut self,
        best: Run,
        y: &[f64],
        noise: NoiseKind,
        sigma: f64,
    ) -> Run {
        let channels = self.model().noise().coils().map_or(0.0, |n| 2.0 * f64::from(n));
        let floor = (channels - 2.0 / 3.0).max(0.0) * sigma * sigma;
        let starts = self.scheme.corner_starts(&mut self.ranking, y, floor);
        match self.best_of(starts, noise, sigma) {
            // Another mode, not the same one a little better.
            Some(run) if run.cost < best.cost - 0.5 => {
                Run { iterations: best.iterations + run.iterations, ..run }
            }
            _ => best,
        }
    }

    /// Keeps the ends of one search.
    pub(super) fn keep_ends(&mut self, runs: Vec<Run>) {
        if let Some(ends) = &mut self.ends {
            let best = runs.iter().map(|r| r.cost).fold(f64::INFINITY, f64::min);
            ends.extend(runs.into_iter().filter(|r| r.cost - best < FAR_BELOW));
        }
    }
}
