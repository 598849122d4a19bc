//! The batch of zonal series on which text and Rust loops are compared.
//!
//! Inputs are numbers that f32 holds. Text and loops use different recurrences and
//! both round the cosine t, so the error of a polynomial is relative to |P| + |P'| (P
//! alone has zeros), that of a slope to |P'|, and that of a sum to the sum of the
//! magnitudes of its terms.

use super::Buffer::{self, Real, RealOut, U32};
use super::problem::{Acquisition, SETS, f32_value};
use super::{Batch, Program, Random};
use microtome_kernels::Plan;
use microtome_kernels::family::zonal;
use microtome_kernels::text::{SeriesArguments, Text};

/// Coefficients in a row: orders up to 62.
const STRIDE: usize = 32;

/// What every kernel of the text of series needs.
pub(crate) struct ZonalProblem {
    acquisition: Acquisition,
    arguments: [u32; 5],
    /// `[set, shell, stride]`, zero beyond the terms.
    c: Vec<f64>,
    /// `[set, shell]`
    terms: Vec<u32>,
    mu: Vec<f64>,
    /// `[set, slot]`, zero in padding.
    weight: Vec<f64>,
}

/// |P| and |P'| of the even polynomials at t, `[term]`.
fn sizes(t: f64) -> Vec<[f64; 2]> {
    let (mut last, mut now) = ([0.0; 2], [1.0, 0.0]);
    let mut out = Vec::new();
    for n in 0..2 * STRIDE {
        if n % 2 == 0 {
            out.push(now.map(f64::abs));
        }
        let (n, odd) = (n as f64, 2.0 * n as f64 + 1.0);
        let next = [(odd * t * now[0] - n * last[0]) / (n + 1.0), last[1] + odd * now[0]];
        (last, now) = (now, next);
    }
    out
}

impl ZonalProblem {
    fn row(&self, set: usize, shell: usize) -> (&[f64], usize) {
        let row = set * self.acquisition.plan.shells() + shell;
        (&self.c[row * STRIDE..(row + 1) * STRIDE], self.terms[row] as usize)
    }
}

impl Batch for ZonalProblem {
    const TEXT: Text = Text::Series;
    const SIGNALS: usize = 1;
    const NAMES: &[&str] = &["zonal signal", "zonal pullback: moments", "zonal pullback: axis"];

    fn new() -> Self {
        let mut random = Random(12);
        let acquisition = Acquisition::new(&mut random);
        let shells = acquisition.plan.shells();
        let [mut c, mut mu, mut weight] = [const { Vec::new() }; 3];
        let mut terms = Vec::new();
        for set in 0..SETS {
            for _ in 0..shells {
                let used = match set {
                    0 => 1,
                    1 => STRIDE,
                    _ => random.uniform(1.0, STRIDE as f64 + 1.0) as usize,
                };
                terms.push(used as u32);
                c.extend((0..STRIDE).map(|k| match set {
                    _ if k >= used => 0.0,
                    2 => 0.0,
                    _ => f32_value(random.uniform(-1.0, 1.0) / (1 + k) as f64),
                }));
            }
            // Set 3 has the axis along a measured direction: t near 1.
            let measured = acquisition.plan.direction().each_ref().map(|g| g[20]);
            let axis = match set {
                3 => measured,
                4 => [0.0, 0.0, 1.0],
                _ => random.direction(),
            };
            mu.extend(axis.map(f32_value));
            weight.extend(acquisition.weights(&mut random, set == 5));
        }
        let arguments = SeriesArguments::zonal(&acquisition.plan, SETS, STRIDE).unwrap().words();
        Self { acquisition, arguments, c, terms, mu, weight }
    }

    fn plan(&self) -> &Plan {
        &self.acquisition.plan
    }

    fn run(&self, program: &Program, grid: u32) -> Vec<Vec<f64>> {
        let (slots, shells) = (self.plan().slots(), self.plan().shells());
        let run = |kernel: &str, items: usize, buffers: &[Buffer<'_>]| {
            let grid = if grid == 0 { items as u32 } else { grid };
            program.run(kernel, grid, &self.arguments, buffers)
        };
        // What stands beyond the terms must not be read.
        let used = |i: usize| i % STRIDE < self.terms[i / STRIDE] as usize;
        let c: Vec<f64> =
            self.c.iter().enumerate().map(|(i, &c)| if used(i) { c } else { f64::NAN }).collect();
        let [c, mu, weight] = [&c, &self.mu, &self.weight].map(|v| Real(v));
        let direction = Real(&self.acquisition.direction);
        let terms = U32(&self.terms);
        let (of, block) = (U32(&self.acquisition.shell_of), U32(&self.acquisition.shell_slots));
        let (n, m) = (SETS * slots, SETS * shells * STRIDE);
        vec![
            run("zonal_signal", n, &[c, terms, mu, direction, of, RealOut(n)]),
            run("zonal_pullback", m, &[terms, mu, direction, weight, block, RealOut(m)]),
            run("zonal_axis", SETS, &[c, terms, mu, direction, weight, of, RealOut(3 * SETS)]),
        ]
    }

    fn reference(&self) -> Vec<Vec<[f64; 2]>> {
        let plan = self.plan();
        let (slots, shells) = (plan.slots(), plan.shells());
        let shell_of = &self.acquisition.shell_of;
        let g = plan.direction();
        let [mut signal, mut moments, mut axis] = [const { Vec::new() }; 3];
        for set in 0..SETS {
            let terms: Vec<usize> = (0..shells).map(|s| self.row(set, s).1).collect();
            let mu: [f64; 3] = std::array::from_fn(|i| self.mu[3 * set + i]);
            let c = &self.c[set * shells * STRIDE..(set + 1) * shells * STRIDE];
            let series = zonal::Series { c, stride: STRIDE, terms: &terms, mu };
            let weight = &self.weight[set * slots..(set + 1) * slots];
            let size: Vec<Vec<[f64; 2]>> = (0..slots)
                .map(|i| sizes(g[0][i] * mu[0] + g[1][i] * mu[1] + g[2][i] * mu[2]))
                .collect();

            let mut e = vec![0.0; slots];
            zonal::accumulate(plan, series, &[], None, &mut e, &mut []);
            for &i in plan.slot_of() {
                let (c, used) = self.row(set, shell_of[i] as usize);
                let terms = c[..used].iter().zip(&size[i]);
                signal.push([e[i], terms.map(|(c, p)| c.abs() * (p[0] + p[1])).sum()]);
            }

            let mut sums = vec![0.0; shells * STRIDE];
            let gradient = zonal::pullback(plan, series, weight, &mut sums);
            for (s, range) in plan.shell_slots().iter().enumerate() {
                for k in 0..STRIDE {
                    let p = |i: usize| weight[i].abs() * (size[i][k][0] + size[i][k][1]);
                    // The loops may leave a part of a moment that no one reads.
                    let used = k < terms[s];
                    let moment = if used { sums[s * STRIDE + k] } else { 0.0 };
                    moments.push([moment, if used { range.clone().map(p).sum() } else { 0.0 }]);
                }
            }
            for (x, g) in gradient.iter().zip(g) {
                let slope = |i: usize| -> f64 {
                    let (c, used) = self.row(set, shell_of[i] as usize);
                    let terms = c[..used].iter().zip(&size[i]);
                    let slope: f64 = terms.map(|(c, p)| c.abs() * p[1]).sum();
                    (weight[i] * g[i]).abs() * slope
                };
                axis.push([*x, (0..slots).map(slope).sum()]);
            }
        }
        vec![signal, moments, axis]
    }
}
