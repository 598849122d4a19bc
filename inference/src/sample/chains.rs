//! The chains of a voxel, drawn together until they agree.
//!
//! Chains run in the white coordinates of a mode. A chain tunes the step of the leapfrog
//! flow to the wanted acceptance by dual averaging, then it makes one leapfrog draw in
//! [`PERIOD`] and quarter turns of the flow that is exact for the normal approximation
//! between (see [`orbit`](super::orbit)). A quarter turn costs one gradient; where it is
//! accepted too seldom, as the posterior is far from normal, all draws are leapfrog ones.
//!
//! After the draws that were asked for, the split R-hat of every value and of its distance
//! from its mean is looked at, and the effective number of draws, in the tails as well; where an
//! R-hat is above [`AGREED`] or draws are too few to be trusted, the chains go on to twice their
//! length, [`NutsOptions::doublings`] times at most, after the first two only where they are in
//! [`REACH`] and not for want of draws in the tails alone. Nothing is thrown away but by chains that were so far apart
//! ([`APART`]) that they had not arrived: what they drew was warm-up.
//!
//! Source: Hoffman & Gelman 2014, JMLR 15:1593, section 3.2 (dual averaging); Gelman & Rubin
//! 1992, doi:10.1214/ss/1177011136. Validated by `tests/suite/sample.rs` and the calibration in
//! `docs/validation.md`.

use super::monitor::Watch;
use super::nuts::{Draw, LnDensity, NutsOptions, Trace};
use super::orbit::{Flow, Orbit, Point, Telling};
use crate::diagnostics::{Chains, ESS_A_CHAIN, Workspace, ess_below, ess_mean};
use microtome_kernels::philox::PhiloxRng;

/// One leapfrog draw in so many, the others are quarter turns.
const PERIOD: usize = 4;
/// Quarter turns that every chain tries after tuning.
const TRIALS: usize = 12;
/// Quarter turns with a lower mean acceptance are not made.
const ACCEPTED: f64 = 0.7;
/// Chains agree where no split R-hat is larger.
const AGREED: f64 = 1.0075;
/// Later doublings, which halve the distance, are for chains no further apart than this.
const REACH: f64 = 1.03;
/// Draws of chains further apart are warm-up.
const APART: f64 = 1.1;
/// The share of the draws that is enough, however few they are.
const FEW: f64 = 0.25;
/// Where the tails begin, in standard deviations.
const TAIL: f64 = 1.645;
/// Times that chains are made twice as long whatever is wrong; later only where that
/// will do, and not for their tails alone.
const EARLY_DOUBLINGS: usize = 2;
/// Dual averaging: shrinkage, early draws that count less, decay.
const GAMMA: f64 = 0.05;
const EARLY: f64 = 10.0;
const DECAY: f64 = 0.75;
/// How far the logarithm of the step may follow one draw.
const GAIN: f64 = 0.1;
/// The step of the leapfrog flow before tuning.
const FIRST_STEP: f64 = 0.9;

/// The step of a chain, tuned.
#[derive(Debug)]
struct StepSize {
    now: f64,
    error: f64,
    ln_mean: f64,
    count: f64,
}

impl StepSize {
    fn new() -> Self {
        Self { now: FIRST_STEP, error: 0.0, ln_mean: 0.0, count: 0.0 }
    }

    /// Learns from the acceptance of a draw.
    fn learn(&mut self, acceptance: f64, target: f64) {
        self.count += 1.0;
        let weight = 1.0 / (self.count + EARLY);
        self.error += weight * (target - acceptance - self.error);
        let ln_step = FIRST_STEP.ln() - GAIN * self.count.sqrt() / GAMMA * self.error;
        let weight = self.count.powf(-DECAY);
        self.ln_mean += weight * (ln_step - self.ln_mean);
        self.now = ln_step.exp();
    }

    /// Ends tuning.
    fn settle(&mut self) {
        if self.count > 0.0 {
            self.now = self.ln_mean.exp();
        }
    }
}

/// One chain of a voxel.
struct Walker {
    point: Point,
    step: StepSize,
    rng: PhiloxRng,
    made: usize,
}

/// The chains of one mode or several, of which each has its own white coordinates.
pub(super) struct Walkers {
    walkers: Vec<Walker>,
    orbit: Orbit,
    /// Whether quarter turns are made.
    turns: bool,
    /// What was drawn.
    pub(super) traces: Vec<Trace>,
    /// Values of the draws of each chain, `[draw, width]`.
    pub(super) values: Vec<Vec<f64>>,
    /// The length of the chains in the draws that were asked for.
    pub(super) lengthened: usize,
}

/// How far chains agree.
struct Agreement {
    /// The largest split R-hat.
    rhat: f64,
    /// The smallest effective number of draws of a mean.
    bulk: f64,
    /// The smallest one of a share in the tails.
    tails: f64,
}

/// What chains are drawn from: chain `k` has its own white coordinates.
pub(super) trait Charts {
    /// The density of chain `k`.
    fn density(&mut self, k: usize) -> impl LnDensity;

    /// The values at white coordinates of chain `k`.
    fn values(&mut self, k: usize, white: &[f64], out: &mut [f64]);
}

impl Walkers {
    /// Starts chains at points in their white coordinates; `None` where one can't start.
    pub(super) fn start(
        charts: &mut impl Charts,
        starts: Vec<(Vec<f64>, PhiloxRng)>,
        options: &NutsOptions,
    ) -> Option<Self> {
        let dim = starts.first().map_or(0, |(q, _)| q.len());
        let mut walkers = Vec::with_capacity(starts.len());
        for (k, (q, rng)) in starts.into_iter().enumerate() {
            let point = Point::at(&mut charts.density(k), &q)?;
            walkers.push(Walker { point, step: StepSize::new(), rng, made: 0 });
        }
        let chains = walkers.len();
        Some(Self {
            walkers,
            orbit: Orbit::new(dim, options.max_depth),
            turns: false,
            traces: vec![Trace { gradients: 1, ..Trace::default() }; chains],
            values: vec![Vec::new(); chains],
            lengthened: 1,
        })
    }

    /// Tunes and draws until the chains agree.
    ///
    /// `products` says of which values the products are looked at instead: the first of the
    /// three of every axis.
    pub(super) fn run(
        &mut self,
        charts: &mut impl Charts,
        width: usize,
        products: &[usize],
        options: &NutsOptions,
    ) {
        self.tune(charts, options);
        let mut wanted = options.draws;
        for doubling in 0..=options.doublings {
            let made = self.traces.first().map_or(0, |t| t.draws.len());
            for k in 0..self.walkers.len() {
                self.draw(charts, k, wanted - made, width, options);
            }
            if doubling == options.doublings || self.walkers.len() < 2 {
                break;
            }
            let found = self.judge(width, products);
            // Few draws are asked for by those who want no more.
            let enough = ESS_A_CHAIN.min(FEW * wanted as f64) * self.walkers.len() as f64;
            let is_late = doubling >= EARLY_DOUBLINGS;
            let is_done = found.rhat <= AGREED && found.bulk >= enough;
            let is_far = found.rhat > REACH || found.bulk < 0.5 * enough;
            if (is_done && (is_late || found.tails >= enough)) || (is_late && is_far) {
                break;
            }
            if found.rhat > APART {
                // They had not arrived.
                for (trace, values) in self.traces.iter_mut().zip(&mut self.values) {
                    trace.draws.clear();
                    values.clear();
                }
            } else {
                wanted *= 2;
                self.lengthened *= 2;
            }
        }
    }

    /// How far the chains agree in the values and in their distances from the mean, and in
    /// being in the tails; of an axis, in the products of its parts.
    fn judge(&self, width: usize, products: &[usize]) -> Agreement {
        let chains = self.values.len();
        let draws = self.values.first().map_or(0, |c| c.len() / width.max(1));
        let mut column = vec![0.0; draws * chains];
        let mut scratch = column.clone();
        let mut workspace = Workspace::new();
        let mut out = Agreement { rhat: 0.0, bulk: f64::INFINITY, tails: f64::INFINITY };
        let mut look = |of: &dyn Fn(&[f64]) -> f64| {
            let rows = self.values.iter().flat_map(|c| c.chunks_exact(width));
            for (out, x) in column.iter_mut().zip(rows) {
                *out = of(x);
            }
            let count = column.len() as f64;
            let mean = column.iter().sum::<f64>() / count;
            let square = column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
            let edge = TAIL * square.sqrt();
            // Where nothing ever changes there is nothing to mix.
            let size = |least: &mut f64, ess: f64| {
                if ess.is_finite() {
                    *least = least.min(ess);
                }
            };
            for folded in [false, true] {
                let to = |v: f64| if folded { (v - mean).abs() } else { v - mean };
                scratch.iter_mut().zip(&column).for_each(|(s, v)| *s = to(*v));
                out.rhat = out.rhat.max(split_rhat(&scratch, chains));
                let of = Chains::new(&scratch, chains, draws);
                size(&mut out.bulk, of.map_or(f64::NAN, |c| ess_mean(c, &mut workspace)));
            }
            // Being above is as long as not being above.
            for at in [(mean - edge).next_down(), mean + edge] {
                let of = Chains::new(&column, chains, draws);
                size(&mut out.tails, of.map_or(f64::NAN, |c| ess_below(c, at, &mut workspace)));
            }
        };
        let is_part = |k: usize| products.iter().any(|at| (*at..at + 3).contains(&k));
        for k in (0..width).filter(|k| !is_part(*k)) {
            look(&|x| x[k]);
        }
        for &at in products {
            for i in 0..3 {
                for j in i..3 {
                    look(&|x| x[at + i] * x[at + j]);
                }
            }
        }
        out
    }

    fn tune(&mut self, charts: &mut impl Charts, options: &NutsOptions) {
        let mut accepted = 0.0;
        for (k, walker) in self.walkers.iter_mut().enumerate() {
            let mut watch = Watch::new(options.monitor);
            let mut density = charts.density(k);
            let trace = &mut self.traces[k];
            for _ in 0..options.tune {
                let flow = (Flow::Leapfrog, walker.step.now);
                let (point, rng) = (&mut walker.point, &mut walker.rng);
                let told = self.orbit.draw(&mut density, point, flow, options.max_depth, rng);
                walker.step.learn(told.acceptance, options.target_accept);
                trace.gradients += told.steps;
                watch.draw(false, told.steps, false, walker.step.now);
            }
            walker.step.settle();
            for _ in 0..TRIALS {
                let (point, rng) = (&mut walker.point, &mut walker.rng);
                let told = self.orbit.draw(&mut density, point, QUARTER, 1, rng);
                accepted += told.acceptance;
                trace.gradients += told.steps;
                watch.draw(false, told.steps, false, QUARTER.1);
            }
        }
        self.turns = accepted >= ACCEPTED * (TRIALS * self.walkers.len()) as f64;
    }

    fn draw(
        &mut self,
        charts: &mut impl Charts,
        k: usize,
        count: usize,
        width: usize,
        options: &NutsOptions,
    ) {
        let walker = &mut self.walkers[k];
        let trace = &mut self.traces[k];
        let values = &mut self.values[k];
        let mut watch = Watch::new(options.monitor);
        let from = values.len();
        values.resize(from + count * width, 0.0);
        let mut positions = Vec::with_capacity(count * walker.point.q.len());
        {
            let mut density = charts.density(k);
            trace.draws.reserve(count);
            for _ in 0..count {
                let is_turn = self.turns && !walker.made.is_multiple_of(PERIOD);
                walker.made += 1;
                let (flow, depth) = if is_turn {
                    (QUARTER, 1)
                } else {
                    ((Flow::Leapfrog, walker.step.now), options.max_depth)
                };
                let (point, rng) = (&mut walker.point, &mut walker.rng);
                let told = self.orbit.draw(&mut density, point, flow, depth, rng);
                trace.gradients += told.steps;
                watch.draw(true, told.steps, told.diverging, flow.1);
                trace.draws.push(record(&told, point.ln_density, flow.1, is_turn));
                positions.extend_from_slice(&point.q);
            }
        }
        let dim = walker.point.q.len().max(1);
        for (q, x) in positions.chunks_exact(dim).zip(values[from..].chunks_exact_mut(width.max(1)))
        {
            charts.values(k, q, x);
        }
    }
}

/// A quarter turn of the flow that is exact for the normal density.
const QUARTER: (Flow, f64) = (Flow::Rotation, std::f64::consts::FRAC_PI_2);

fn record(told: &Telling, ln_density: f64, step_size: f64, is_turn: bool) -> Draw {
    Draw {
        position: Box::default(),
        ln_density,
        energy: told.energy,
        tree_depth: told.depth,
        // A quarter turn is not cut short: it is all that was wanted.
        reached_max_depth: told.reached_max_depth && !is_turn,
        acceptance_rate: told.acceptance,
        diverging: told.diverging,
        n_steps: told.steps,
        step_size,
    }
}

/// $\hat R = \sqrt{(n-1)/n + B/W}$ of half chains, without ranks.
fn split_rhat(values: &[f64], chains: usize) -> f64 {
    let n = values.len() / (2 * chains).max(1);
    if n < 2 {
        return 1.0;
    }
    let length = values.len() / chains;
    // The middle draw of an odd chain is left out.
    let halves = values.chunks_exact(length).flat_map(|c| [&c[..n], &c[length - n..]]);
    let (mut means, mut within) = (Vec::with_capacity(2 * chains), 0.0);
    for half in halves {
        let mean = half.iter().sum::<f64>() / n as f64;
        within += half.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1) as f64;
        means.push(mean);
    }
    let m = means.len() as f64;
    let grand = means.iter().sum::<f64>() / m;
    let between = means.iter().map(|v| (v - grand) * (v - grand)).sum::<f64>() / (m - 1.0);
    within /= m;
    if within == 0.0 && between == 0.0 {
        return 1.0;
    }
    ((n - 1) as f64 / n as f64 + between / within).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::rhat;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn split_rhat_is_near_that_of_ranks() {
        for shift in [0.0, 0.3] {
            let mut rng = PhiloxRng::new(3, 0, 0);
            let values: Vec<f64> = (0..2000)
                .map(|i| {
                    let v: f64 = StandardNormal.sample(&mut rng);
                    v + shift * f64::from(u8::from(i < 500))
                })
                .collect();
            let ours = split_rhat(&values, 4);
            let Ok(chains) = Chains::new(&values, 4, 500) else { return };
            let ranked = rhat(chains, &mut Workspace::new());
            assert!(ours <= ranked + 1e-3 && (ours - ranked).abs() < 5e-3, "{ours} {ranked}");
            assert_eq!(ranked > 1.01, shift > 0.0);
        }
        assert_eq!(split_rhat(&[1.0; 40], 4), 1.0);
    }

    #[test]
    fn steps_settle_where_the_acceptance_is_wanted() {
        // Acceptance exp(-s²/4): 0.8 at s = 0.945.
        let mut step = StepSize::new();
        for _ in 0..300 {
            let s = step.now;
            step.learn((-s * s / 4.0).exp(), 0.8);
        }
        step.settle();
        assert!((step.now - 0.945).abs() < 0.05, "{}", step.now);
    }
}
