//! The modes of the posterior of a voxel, each in a chart centred on it.
//!
//! From the end of every start of the fit a mode is climbed to ([`Laplace::at_mode`]).
//! Two are one where the second lies within one standard deviation of the first, by the
//! curvature there. Modes are ordered by the evidence of their normal approximation; those
//! more than [`NEGLIGIBLE`] nats below the first are forgotten.
//!
//! Validated by `tests/suite/cheap.rs`.

use super::importance::Charted;
use super::laplace::Laplace;
use microtome_models::{Chart, Posterior};

/// Modes whose evidence is lower by more than this, in nats, hold nothing.
const NEGLIGIBLE: f64 = 15.0;
/// Modes within this of the best one, in nats, count as modes of the voxel.
const COUNTED: f64 = 6.0;

/// A mode and its chart.
#[derive(Debug)]
pub(super) struct Mode {
    pub(super) chart: Chart,
    pub(super) laplace: Laplace,
    ln_evidence: f64,
}

/// Climbs from `centres`; the chart of `posterior` must be centred on the first.
///
/// # Shapes
/// `centres` `[mode][value]`, σ last when it is free.
pub(super) fn find(posterior: &mut Posterior<'_>, centres: &[Vec<f64>]) -> Vec<Mode> {
    let mut modes: Vec<Mode> = Vec::with_capacity(1);
    let mut start = vec![0.0; posterior.dim()];
    for (i, centre) in centres.iter().enumerate() {
        let chart =
            if i == 0 { posterior.chart().clone() } else { posterior.chart().recentred(centre) };
        chart.to_coordinates(centre, &mut start);
        if is_known(posterior, &modes, &chart, &start).is_some() {
            continue;
        }
        if i > 0 {
            posterior.set_chart(chart.clone());
        }
        let Some(laplace) = Laplace::at_mode(posterior, &start) else { continue };
        let mode = Mode { ln_evidence: laplace.ln_evidence(), laplace, chart };
        match is_known(posterior, &modes, &mode.chart, &mode.laplace.mode) {
            Some(k) if modes[k].ln_evidence < mode.ln_evidence => modes[k] = mode,
            Some(_) => {}
            None => modes.push(mode),
        }
    }
    modes.sort_by(|a, b| b.ln_evidence.total_cmp(&a.ln_evidence));
    let best = modes.first().map_or(0.0, |m| m.ln_evidence);
    modes.retain(|m| best - m.ln_evidence < NEGLIGIBLE);
    if let [first, ..] = modes.as_slice()
        && centres.len() > 1
    {
        posterior.set_chart(first.chart.clone());
    }
    modes
}

/// The known mode that a point is within a standard deviation of.
fn is_known(
    posterior: &mut Posterior<'_>,
    modes: &[Mode],
    chart: &Chart,
    z: &[f64],
) -> Option<usize> {
    let mut there = vec![0.0; z.len()];
    modes.iter().position(|mode| {
        posterior.set_chart(mode.chart.clone());
        posterior.carry(chart, z, &mut there);
        mode.laplace.square_distance(&there) < 1.0
    })
}

/// How many modes count: those within six nats of the best.
pub(super) fn count(modes: &[Mode]) -> usize {
    let best = modes.first().map_or(0.0, |m| m.ln_evidence);
    modes.iter().filter(|m| best - m.ln_evidence <= COUNTED).count()
}

/// Evidence of every mode.
pub(super) fn ln_evidence(modes: &[Mode]) -> Vec<f64> {
    modes.iter().map(|m| m.ln_evidence).collect()
}

/// A posterior on the charts of its modes.
pub(super) struct OnCharts<'a, 'b> {
    posterior: &'a mut Posterior<'b>,
    modes: &'a [Mode],
    current: usize,
}

impl<'a, 'b> OnCharts<'a, 'b> {
    /// The chart of the posterior is that of the first mode.
    pub(super) fn new(posterior: &'a mut Posterior<'b>, modes: &'a [Mode]) -> Self {
        Self { posterior, modes, current: 0 }
    }

    fn turn_to(&mut self, k: usize) {
        if self.current != k {
            self.posterior.set_chart(self.modes[k].chart.clone());
            self.current = k;
        }
    }
}

impl Charted for OnCharts<'_, '_> {
    fn ln_density(&mut self, k: usize, z: &[f64]) -> f64 {
        self.turn_to(k);
        self.posterior.quick_ln_density_value(z)
    }

    fn values(&self) -> &[f64] {
        self.posterior.values()
    }

    fn carry(&mut self, from: usize, to: usize, z: &[f64], out: &mut [f64]) -> f64 {
        self.turn_to(to);
        // ln|∂x/∂z'| - ln|∂x/∂z| is minus ln|∂z'/∂z|.
        -self.posterior.carry(&self.modes[from].chart, z, out)
    }
}
