//! Derivatives of a whole streamline: forward as a 6 x 6 tangent map, backward as one pass
//! that needs positions and directions alone.
//!
//! $$\delta(x', d') = M_k\,\delta(x, d),\qquad
//!   \frac{\partial\mathcal L}{\partial c} = \sum_k \Big(\frac{\partial D_k}{\partial c}\Big)^{\!\top}\lambda_k$$
//!
//! The steps are differentiated as they are (discretise, then differentiate). The reverse pass
//! recomputes the inner directions of a step from its stored position and direction (48 bytes a
//! step), and asks the rule for their derivatives. The log survival
//!
//! $$\ln S_n = \sum_{k=0}^{n}\ln\sigma\!\Big(\frac{a_k-\tau}{w}\Big)$$
//!
//! of the amplitudes a makes where a streamline ends visible to a loss.
//!
//! Source: Griewank & Walther 2008, Evaluating Derivatives, section 3.2 (reverse mode);
//! Giles 2000, doi:10.1023/A:1011430410075 (discrete adjoint). Validated by
//! `derivatives_of_streamlines_are_those_of_differences` and
//! `jacobians_of_exact_flows` in `kernels/tests/suite/streamlines.rs`.

use super::functions::Functions;
use super::lattice::Number;
use super::march::Limits;
use super::peak::PeakRule;
use super::{Chance, Heading, Rule, Scratch, State, Vec3};
use crate::lanes::{Task, at_level};
use crate::simd::SimdLevel;
use crate::sphere_peak::bend;
use crate::sphere_series::{jet, jet_of, pull_back};
use crate::vector::{along, dot, plus};

/// Derivatives of a direction and its amplitude, rows of the direction first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Linear {
    /// With respect to the position.
    pub direction: [Vec3; 3],
    /// With respect to the last direction.
    pub previous: [Vec3; 3],
    /// Of the amplitude with respect to the position.
    pub amplitude: Vec3,
}

/// A rule whose directions have derivatives.
pub trait Differentiable: Rule {
    /// The derivatives at a point where the rule gave `heading`; `None` where there are none.
    fn linearise(&self, x: Vec3, previous: Vec3, heading: &Heading) -> Option<Linear>;

    /// Given the cotangents of direction and amplitude: adds to the gradient with respect to the
    /// numbers of the field, and returns those of position and last direction; `None` where there are
    /// none. By default by [`Differentiable::linearise`], of a field without numbers.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn pull<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        heading: &Heading,
        direction: Vec3,
        amplitude: f64,
        _scratch: &mut Scratch,
        _gradient: &mut [f64],
    ) -> Option<(Vec3, Vec3)> {
        let linear = self.linearise(x, previous, heading)?;
        let place = along(transposed(&linear.direction, direction), amplitude, linear.amplitude);
        Some((place, transposed(&linear.previous, direction)))
    }
}

impl<T: Number> Differentiable for PeakRule<'_, T> {
    fn linearise(&self, x: Vec3, _previous: Vec3, heading: &Heading) -> Option<Linear> {
        let Functions { field, .. } = self.functions;
        let (order, width) = (self.functions.order(), field.width());
        let mut terms = Vec::new();
        let taps = self.functions.sample::<false>(x, &mut terms)?;
        let mut slopes = vec![0.0; 3 * width];
        field.slopes::<false>(&taps, &mut slopes);
        let u = heading.direction;
        let bend = bend(&jet(order, &terms, u), u);
        let mut out = Linear::default();
        for axis in 0..3 {
            let change = jet(order, &slopes[axis * width..], u);
            let g = change.gradient;
            let s = bend.newton([dot(bend.normals[0], g), dot(bend.normals[1], g)])?;
            for (row, out) in out.direction.iter_mut().enumerate() {
                out[axis] = s[0] * bend.normals[0][row] + s[1] * bend.normals[1][row];
            }
            out.amplitude[axis] = change.value;
        }
        Some(out)
    }

    #[inline(always)]
    fn pull<const FMA: bool>(
        &self,
        x: Vec3,
        _previous: Vec3,
        heading: &Heading,
        direction: Vec3,
        amplitude: f64,
        scratch: &mut Scratch,
        gradient: &mut [f64],
    ) -> Option<(Vec3, Vec3)> {
        let order = self.functions.order();
        let terms = &mut scratch.terms;
        let taps = self.functions.sample::<FMA>(x, terms)?;
        let u = heading.direction;
        let bend = bend(&jet_of::<FMA>(order, terms, u), u);
        // The inverse Hessian is symmetric.
        let s = bend.newton([dot(bend.normals[0], direction), dot(bend.normals[1], direction)])?;
        let v = along(along([0.0; 3], s[0], bend.normals[0]), s[1], bend.normals[1]);
        terms.fill(0.0);
        pull_back(order, u, amplitude, v, terms);
        Some((self.functions.field.pull::<FMA>(&taps, terms, gradient), [0.0; 3]))
    }
}

/// The log survival of a streamline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survival {
    /// τ, the amplitude at which half survive.
    pub threshold: f64,
    /// w > 0, the width.
    pub width: f64,
}

impl Survival {
    /// ln σ((a - τ)/w).
    pub fn log(&self, amplitude: f64) -> f64 {
        let z = (amplitude - self.threshold) / self.width;
        if z > 0.0 { -(-z).exp().ln_1p() } else { z - z.exp().ln_1p() }
    }

    /// Its derivative with respect to the amplitude.
    pub fn slope(&self, amplitude: f64) -> f64 {
        let z = (amplitude - self.threshold) / self.width;
        1.0 / ((1.0 + z.exp()) * self.width)
    }
}

/// What a loss says of a point of a streamline.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cotangent {
    /// Derivative with respect to the point.
    pub point: Vec3,
    /// Derivative with respect to the log survival up to this point.
    pub survival: f64,
}

/// The inner evaluations of a step: places, last directions, headings; the last one is at
/// the new point.
struct Stages {
    list: Vec<(Vec3, Vec3, Heading)>,
}

#[inline(always)]
fn stages<R: Rule, const FMA: bool>(
    rule: &R,
    limits: &Limits,
    from: &State,
    to: &State,
    scratch: &mut Scratch,
) -> Option<Stages> {
    let h = limits.step;
    let (nodes, _) = limits.integrator.table();
    let mut chance = Chance::new(0, 0, 0, false);
    let mut k = from.direction;
    let mut list = Vec::with_capacity(4);
    for a in nodes {
        let place = along(from.x, h * a, k);
        let heading = rule.heading::<FMA>(place, k, &mut chance, scratch).ok()?;
        list.push((place, k, heading));
        k = heading.direction;
    }
    let last = Heading { direction: to.direction, amplitude: to.amplitude };
    list.push((to.x, k, last));
    Some(Stages { list })
}

fn times(m: &[Vec3; 3], v: Vec3) -> Vec3 {
    m.map(|row| dot(row, v))
}

fn transposed(m: &[Vec3; 3], v: Vec3) -> Vec3 {
    [0, 1, 2].map(|c| m[0][c] * v[0] + m[1][c] * v[1] + m[2][c] * v[2])
}

/// The derivatives of the last point and direction with respect to the first, six rows of six;
/// the first direction is taken as free. `None` where a derivative does not exist.
pub fn tangent<R: Differentiable>(
    rule: &R,
    limits: &Limits,
    states: &[State],
) -> Option<[[f64; 6]; 6]> {
    let h = limits.step;
    let (nodes, weights) = limits.integrator.table();
    let mut scratch = Scratch::default();
    let mut out = [[0.0; 6]; 6];
    for (i, row) in out.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    for pair in states.windows(2) {
        let stages = stages::<R, false>(rule, limits, &pair[0], &pair[1], &mut scratch)?;
        let linear = stages
            .list
            .iter()
            .map(|(x, p, heading)| rule.linearise(*x, *p, heading))
            .collect::<Option<Vec<_>>>()?;
        let columns: [[f64; 6]; 6] =
            std::array::from_fn(|c| out.map(|row| row[c])).map(|column: [f64; 6]| {
                let [x0, x1, x2, d0, d1, d2] = column;
                let dx = [x0, x1, x2];
                let mut dk = [d0, d1, d2];
                let mut end = along(dx, h * weights[0], dk);
                for (i, a) in nodes.iter().enumerate() {
                    let place = along(dx, h * a, dk);
                    dk = plus(times(&linear[i].direction, place), times(&linear[i].previous, dk));
                    end = along(end, h * weights[i + 1], dk);
                }
                let last = &linear[nodes.len()];
                let turned = plus(times(&last.direction, end), times(&last.previous, dk));
                [end[0], end[1], end[2], turned[0], turned[1], turned[2]]
            });
        out = std::array::from_fn(|r| columns.map(|column| column[r]));
    }
    Some(out)
}

/// The reverse pass: adds to the gradient with respect to the numbers of the field, and
/// returns the derivative with respect to the seed. The direction that chose the first peak has no
/// derivative where the rule has none with respect to the last direction; it is returned second.
/// `None` where a derivative does not exist.
///
/// # Shapes
/// `cotangents` has one entry a state; `gradient` as the numbers of the field.
#[allow(clippy::too_many_arguments)]
pub fn reverse<R: Differentiable>(
    level: SimdLevel,
    rule: &R,
    limits: &Limits,
    states: &[State],
    cotangents: &[Cotangent],
    survival: &Survival,
    start: Vec3,
    gradient: &mut [f64],
) -> Option<(Vec3, Vec3)> {
    let reverse = Reverse { rule, limits, states, cotangents, survival, start, gradient };
    at_level(level, reverse)
}

struct Reverse<'a, R> {
    rule: &'a R,
    limits: &'a Limits,
    states: &'a [State],
    cotangents: &'a [Cotangent],
    survival: &'a Survival,
    start: Vec3,
    gradient: &'a mut [f64],
}

impl<R: Differentiable> Task for Reverse<'_, R> {
    type Output = Option<(Vec3, Vec3)>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Self { rule, limits, states, cotangents, survival, start, gradient } = self;
        let h = limits.step;
        let (nodes, weights) = limits.integrator.table();
        let mut scratch = Scratch::default();
        let (mut x, mut d) = ([0.0; 3], [0.0; 3]);
        // The survival up to a point holds all amplitudes before it.
        let mut alive = 0.0;
        for k in (0..states.len()).rev() {
            x = plus(x, cotangents[k].point);
            alive += cotangents[k].survival;
            let amplitude = alive * survival.slope(states[k].amplitude);
            let inner = match k.checked_sub(1) {
                Some(before) => {
                    stages::<R, FMA>(rule, limits, &states[before], &states[k], &mut scratch)?
                }
                None => {
                    let State { x, direction, amplitude } = states[0];
                    Stages { list: vec![(x, start, Heading { direction, amplitude })] }
                }
            };
            let (place, previous, heading) = inner.list.last()?;
            let (there, mut dk) =
                rule.pull::<FMA>(*place, *previous, heading, d, amplitude, &mut scratch, gradient)?;
            x = plus(x, there);
            if k == 0 {
                return Some((x, dk));
            }
            // x' = x + h sum b k: what the new point hands to the inner directions.
            let end = x;
            for (i, a) in nodes.iter().enumerate().rev() {
                let (place, previous, heading) = &inner.list[i];
                dk = along(dk, h * weights[i + 1], end);
                let (there, before) =
                    rule.pull::<FMA>(*place, *previous, heading, dk, 0.0, &mut scratch, gradient)?;
                dk = along(before, h * a, there);
                x = plus(x, there);
            }
            d = along(dk, h * weights[0], end);
        }
        Some((x, d))
    }
}
