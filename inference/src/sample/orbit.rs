//! No-U-turn transitions in white coordinates, by two flows.
//!
//! $$H(q,p) = -\ln\pi(q) + \tfrac12|p|^2$$
//!
//! | flow | one step of size $\varepsilon$ |
//! |---|---|
//! | leapfrog | $p \mathrel{+}= \tfrac\varepsilon2 g,\quad q \mathrel{+}= \varepsilon p,\quad p \mathrel{+}= \tfrac\varepsilon2 g$ |
//! | rotation | $p \mathrel{+}= \tfrac\varepsilon2(g+q),\quad (q,p)$ turns by the angle $\varepsilon$, $\quad p \mathrel{+}= \tfrac\varepsilon2(g+q)$ |
//!
//! with $g = \nabla\ln\pi$. The rotation is exact for the standard normal density, whose
//! $g$ is $-q$: only what a posterior differs by from its normal approximation kicks. A
//! quarter turn then leads from any point to an independent one by a single gradient.
//!
//! A trajectory is doubled, forward or backward by chance, until it or one of its halves
//! makes a U-turn ($p_\pm\cdot\rho \le 0$, $\rho$ the sum of its momenta), or as often as
//! allowed. The draw is one of its points with probability $\propto e^{-H}$, biased to the
//! newer half. Every depth that is fixed in advance leaves $\pi$ unchanged, so a single
//! doubling by a quarter turn does.
//!
//! Source: Hoffman & Gelman 2014, JMLR 15:1593; Betancourt 2017, arXiv:1701.02434, A.2 and
//! A.4 (multinomial, biased progressive); Shahbaba, Lan, Johnson & Neal 2014,
//! doi:10.1007/s11222-012-9373-1 (split flows). Validated by the tests below, `tests/suite/sample.rs` and
//! the calibration in `docs/validation.md`.

use super::nuts::LnDensity;
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// An error of the energy beyond this is a divergence.
const DIVERGENT: f64 = 1000.0;

/// How a trajectory is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Exact where there is no force.
    Leapfrog,
    /// Exact for the standard normal density.
    Rotation,
}

/// A position with momentum, gradient and log density.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    pub(super) q: Vec<f64>,
    p: Vec<f64>,
    g: Vec<f64>,
    pub(super) ln_density: f64,
}

impl Point {
    fn zero(dim: usize) -> Self {
        Self { q: vec![0.0; dim], p: vec![0.0; dim], g: vec![0.0; dim], ln_density: f64::NAN }
    }

    /// The point at `q`; `None` where the density can't be evaluated.
    pub(super) fn at(density: &mut impl LnDensity, q: &[f64]) -> Option<Self> {
        let mut out = Self::zero(q.len());
        out.q.copy_from_slice(q);
        out.ln_density = density.ln_density(&out.q, &mut out.g);
        out.is_finite().then_some(out)
    }

    fn is_finite(&self) -> bool {
        self.ln_density.is_finite() && self.g.iter().all(|g| g.is_finite())
    }

    fn copy(&mut self, other: &Self) {
        self.copy_state(other);
        self.p.copy_from_slice(&other.p);
    }

    /// All but the momentum.
    fn copy_state(&mut self, other: &Self) {
        self.q.copy_from_slice(&other.q);
        self.g.copy_from_slice(&other.g);
        self.ln_density = other.ln_density;
    }

    fn energy(&self) -> f64 {
        0.5 * self.p.iter().map(|p| p * p).sum::<f64>() - self.ln_density
    }
}

/// What a transition tells beside the draw.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Telling {
    /// Hamiltonian at the draw.
    pub(super) energy: f64,
    /// Doublings that were kept.
    pub(super) depth: u64,
    /// Whether no further doubling was allowed.
    pub(super) reached_max_depth: bool,
    /// Mean acceptance probability of the points.
    pub(super) acceptance: f64,
    /// Whether the energy ran away.
    pub(super) diverging: bool,
    /// Steps, each a gradient.
    pub(super) steps: u64,
}

/// Momenta that a half trajectory leaves, and its draw.
#[derive(Debug, Clone)]
struct Half {
    sum: Vec<f64>,
    first: Vec<f64>,
    last: Vec<f64>,
    draw: Point,
    energy: f64,
    ln_weight: f64,
}

impl Half {
    fn zero(dim: usize) -> Self {
        let v = || vec![0.0; dim];
        let draw = Point::zero(dim);
        Self { sum: v(), first: v(), last: v(), draw, energy: 0.0, ln_weight: 0.0 }
    }
}

/// The memory of trajectories.
#[derive(Debug)]
pub(super) struct Orbit {
    /// Two halves a depth.
    halves: Vec<[Half; 2]>,
    ends: [Point; 2],
    moving: Point,
    sum: Vec<f64>,
    inner: Vec<f64>,
    start_energy: f64,
    acceptance: f64,
    steps: u64,
    diverging: bool,
}

impl Orbit {
    pub(super) fn new(dim: usize, max_depth: u64) -> Self {
        let half = || [Half::zero(dim), Half::zero(dim)];
        Self {
            halves: std::iter::repeat_with(half).take(max_depth as usize + 1).collect(),
            ends: [Point::zero(dim), Point::zero(dim)],
            moving: Point::zero(dim),
            sum: vec![0.0; dim],
            inner: vec![0.0; dim],
            start_energy: 0.0,
            acceptance: 0.0,
            steps: 0,
            diverging: false,
        }
    }

    /// One transition: `current` becomes the next draw.
    ///
    /// `max_depth` is at most that of [`Orbit::new`].
    pub(super) fn draw(
        &mut self,
        density: &mut impl LnDensity,
        current: &mut Point,
        (flow, step): (Flow, f64),
        max_depth: u64,
        rng: &mut PhiloxRng,
    ) -> Telling {
        current.p.iter_mut().for_each(|p| *p = StandardNormal.sample(rng));
        self.start_energy = current.energy();
        (self.acceptance, self.steps, self.diverging) = (0.0, 0, false);
        self.ends.iter_mut().for_each(|end| end.copy(current));
        self.sum.copy_from_slice(&current.p);
        let mut out = Telling { energy: self.start_energy, ..Telling::default() };
        let mut ln_weight = 0.0;
        out.reached_max_depth = true;
        for depth in 0..max_depth as usize {
            let forward = usize::from(rng.random::<bool>());
            std::mem::swap(&mut self.moving, &mut self.ends[forward]);
            self.inner.copy_from_slice(&self.moving.p);
            let signed = if forward == 1 { step } else { -step };
            let is_whole = self.extend(density, depth, 1, (flow, signed), rng);
            std::mem::swap(&mut self.moving, &mut self.ends[forward]);
            if !is_whole {
                out.reached_max_depth = false;
                break;
            }
            let [_, new] = &self.halves[depth];
            out.depth += 1;
            // Biased to the newer half.
            if ln_uniform(rng) < new.ln_weight - ln_weight {
                current.copy_state(&new.draw);
                out.energy = new.energy;
            }
            ln_weight = ln_add(ln_weight, new.ln_weight);
            let outer = &self.ends[1 - forward].p;
            let turned = depth > 0
                && (turns(outer, &new.first, &self.sum, Some(&new.first))
                    || turns(&self.inner, &new.last, &new.sum, Some(&self.inner)));
            for (sum, s) in self.sum.iter_mut().zip(&new.sum) {
                *sum += s;
            }
            if turned || turns(&self.ends[0].p, &self.ends[1].p, &self.sum, None) {
                out.reached_max_depth = depth + 1 == max_depth as usize;
                break;
            }
        }
        out.acceptance = self.acceptance / self.steps.max(1) as f64;
        (out.steps, out.diverging) = (self.steps, self.diverging);
        out
    }

    /// Moves on by $2^\mathrm{depth}$ steps, into half `which` of that depth; `false` where a
    /// part of them makes a U-turn or diverges.
    fn extend(
        &mut self,
        density: &mut impl LnDensity,
        depth: usize,
        which: usize,
        step: (Flow, f64),
        rng: &mut PhiloxRng,
    ) -> bool {
        if depth == 0 {
            return self.advance(density, step, which);
        }
        if !self.extend(density, depth - 1, 0, step, rng)
            || !self.extend(density, depth - 1, 1, step, rng)
        {
            return false;
        }
        let (below, here) = self.halves.split_at_mut(depth);
        let ([old, new], out) = (&mut below[depth - 1], &mut here[0][which]);
        let turned = depth > 1
            && (turns(&old.first, &new.first, &old.sum, Some(&new.first))
                || turns(&old.last, &new.last, &new.sum, Some(&old.last)));
        for ((sum, a), b) in out.sum.iter_mut().zip(&old.sum).zip(&new.sum) {
            *sum = a + b;
        }
        if turned || turns(&old.first, &new.last, &out.sum, None) {
            return false;
        }
        out.ln_weight = ln_add(old.ln_weight, new.ln_weight);
        let drawn = if ln_uniform(rng) < new.ln_weight - out.ln_weight { &*new } else { &*old };
        out.draw.copy_state(&drawn.draw);
        out.energy = drawn.energy;
        out.first.copy_from_slice(&old.first);
        out.last.copy_from_slice(&new.last);
        true
    }

    /// One step of the flow.
    fn advance(
        &mut self,
        density: &mut impl LnDensity,
        (flow, step): (Flow, f64),
        which: usize,
    ) -> bool {
        let Point { q, p, g, ln_density } = &mut self.moving;
        let half = 0.5 * step;
        match flow {
            Flow::Leapfrog => {
                for ((q, p), g) in q.iter_mut().zip(p.iter_mut()).zip(g.iter()) {
                    *p += half * g;
                    *q += step * *p;
                }
                *ln_density = density.ln_density(q, g);
                for (p, g) in p.iter_mut().zip(g.iter()) {
                    *p += half * g;
                }
            }
            Flow::Rotation => {
                let (sine, cosine) = step.sin_cos();
                for ((q, p), g) in q.iter_mut().zip(p.iter_mut()).zip(g.iter()) {
                    let kicked = *p + half * (g + *q);
                    *p = kicked * cosine - *q * sine;
                    *q = *q * cosine + kicked * sine;
                }
                *ln_density = density.ln_density(q, g);
                for ((p, q), g) in p.iter_mut().zip(q.iter()).zip(g.iter()) {
                    *p += half * (g + q);
                }
            }
        }
        self.steps += 1;
        let energy = self.moving.energy();
        let ln_weight = self.start_energy - energy;
        if !(ln_weight > -DIVERGENT && self.moving.is_finite()) {
            self.diverging = true;
            return false;
        }
        self.acceptance += ln_weight.min(0.0).exp();
        let out = &mut self.halves[0][which];
        for v in [&mut out.sum, &mut out.first, &mut out.last] {
            v.copy_from_slice(&self.moving.p);
        }
        out.draw.copy_state(&self.moving);
        (out.energy, out.ln_weight) = (energy, ln_weight);
        true
    }
}

/// Whether a trajectory with these momenta at its ends turns back; `more` is added to the sum.
fn turns(first: &[f64], last: &[f64], sum: &[f64], more: Option<&[f64]>) -> bool {
    let (mut a, mut b) = (0.0, 0.0);
    for i in 0..sum.len() {
        let s = sum[i] + more.map_or(0.0, |m| m[i]);
        a += first[i] * s;
        b += last[i] * s;
    }
    !(a > 0.0 && b > 0.0)
}

fn ln_uniform(rng: &mut PhiloxRng) -> f64 {
    rng.random::<f64>().ln()
}

/// $\ln(e^a + e^b)$.
fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A standard normal density, or one with a cubic bend in the first coordinate.
    struct Bent(f64);

    impl LnDensity for Bent {
        fn dim(&self) -> usize {
            2
        }

        fn ln_density(&mut self, x: &[f64], g: &mut [f64]) -> f64 {
            // y given x is normal about bend·(x² - 1); x is standard normal.
            let d = x[1] - self.0 * (x[0] * x[0] - 1.0);
            g[0] = -x[0] + 2.0 * self.0 * d * x[0];
            g[1] = -d;
            -0.5 * (x[0] * x[0] + d * d)
        }
    }

    #[test]
    fn a_rotation_is_exact_for_the_normal_density() {
        let mut rng = PhiloxRng::new(1, 0, 0);
        let mut density = Bent(0.0);
        let mut orbit = Orbit::new(2, 1);
        let Some(mut point) = Point::at(&mut density, &[0.3, -1.2]) else { return };
        for _ in 0..100 {
            let quarter = (Flow::Rotation, std::f64::consts::FRAC_PI_2);
            let told = orbit.draw(&mut density, &mut point, quarter, 1, &mut rng);
            assert!((told.acceptance - 1.0).abs() < 1e-12);
            assert_eq!((told.steps, told.depth, told.diverging), (1, 1, false));
        }
    }

    #[test]
    fn steps_of_both_flows_can_be_undone() {
        let mut density = Bent(0.4);
        for flow in [Flow::Leapfrog, Flow::Rotation] {
            let mut orbit = Orbit::new(2, 1);
            let Some(start) = Point::at(&mut density, &[0.7, -0.4]) else { return };
            orbit.moving = start;
            orbit.moving.p.copy_from_slice(&[0.5, 1.1]);
            orbit.start_energy = orbit.moving.energy();
            for step in [0.3, 0.3, -0.3, -0.3] {
                assert!(orbit.advance(&mut density, (flow, step), 0));
            }
            let Point { q, p, .. } = &orbit.moving;
            let error = (q[0] - 0.7).abs() + (q[1] + 0.4).abs() + (p[0] - 0.5).abs();
            assert!(error < 1e-12 && (p[1] - 1.1).abs() < 1e-12, "{flow:?} {error}");
        }
    }

    /// E x² = 1, E y = 0, E y² = 1 + 2 bend², E x²y = 2 bend, by any mixture of flows, within
    /// four standard errors of the means of batches.
    #[test]
    fn moments_of_a_bent_density() {
        const BATCHES: usize = 50;
        let bend = 0.4;
        let mut density = Bent(bend);
        let expected = [1.0, 0.0, 1.0 + 2.0 * bend * bend, 2.0 * bend];
        for flows in [
            &[(Flow::Leapfrog, 0.7, 8)][..],
            &[(Flow::Rotation, 1.0, 1)],
            &[(Flow::Rotation, 0.4, 8)],
            &[(Flow::Leapfrog, 0.9, 8), (Flow::Rotation, std::f64::consts::FRAC_PI_2, 1)],
        ] {
            let mut rng = PhiloxRng::new(7, 3, 0);
            let mut orbit = Orbit::new(2, 8);
            let Some(mut point) = Point::at(&mut density, &[0.0, 0.0]) else { return };
            let count = 4000;
            let mut batches = [[0.0; 4]; BATCHES];
            for i in 0..count * BATCHES {
                let (flow, step, depth) = flows[i % flows.len()];
                orbit.draw(&mut density, &mut point, (flow, step), depth, &mut rng);
                let (x, y) = (point.q[0], point.q[1]);
                for (s, v) in batches[i / count].iter_mut().zip([x * x, y, y * y, x * x * y]) {
                    *s += v / count as f64;
                }
            }
            for (k, e) in expected.iter().enumerate() {
                let n = BATCHES as f64;
                let mean = batches.iter().map(|b| b[k]).sum::<f64>() / n;
                let square = batches.iter().map(|b| (b[k] - mean).powi(2)).sum::<f64>();
                let error = (square / (n * (n - 1.0))).sqrt();
                assert!(
                    (mean - e).abs() < 4.0 * error && error < 0.05,
                    "{flows:?} {k}: {mean} +- {error}, not {e}"
                );
            }
        }
    }
}
