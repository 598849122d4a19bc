//! The batch of orthotropic series on which text and Rust loops are compared.
//!
//! Inputs are numbers that f32 holds. Text and loops use different recurrences and
//! both round the cosines, so the error of a harmonic is relative to |H| + Σ|∂H/∂t|,
//! that of a slope to |∂H/∂t|, and that of a sum to the sum of the magnitudes of its
//! terms.

use super::Buffer::{self, Real, RealOut, U32};
use super::problem::{Acquisition, SETS, f32_value};
use super::{Batch, Program, Random};
use microtome_kernels::Plan;
use microtome_kernels::family::orthotropic;
use microtome_kernels::harmonic::{harmonics, pairs, row};
use microtome_kernels::text::{SeriesArguments, Text};

/// What the orthotropic kernels of the text of series need, for tables of `DEGREES`.
pub(crate) struct OrthotropicProblem<const DEGREES: usize> {
    acquisition: Acquisition,
    arguments: [u32; 5],
    /// `[set, shell, pair]`, zero beyond the lengths.
    c: Vec<f64>,
    /// `[set, shell, degree]`
    lengths: Vec<u32>,
    /// `[set, axis, 3]`
    frame: Vec<f64>,
    /// `[set, slot]`, zero in padding.
    weight: Vec<f64>,
}

/// Orthonormal axes.
fn axes(random: &mut Random) -> [[f64; 3]; 3] {
    let (a, b) = (random.direction(), random.direction());
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let c = cross(a, b);
    let norm = c.iter().map(|x| x * x).sum::<f64>().sqrt();
    let c = c.map(|x| x / norm);
    [a, c, cross(a, c)]
}

/// |H| and |∂H/∂t| of every pair, `[pair]`, the slopes by differences.
fn sizes(t: [f64; 3], degrees: usize) -> Vec<[f64; 4]> {
    let step = 1e-6;
    let at = |axis: usize, by: f64| {
        let mut t = t;
        t[axis] += by;
        let mut out = vec![0.0; pairs(degrees)];
        harmonics(t, degrees, &mut out);
        out
    };
    let here = at(0, 0.0);
    let moved: [[Vec<f64>; 2]; 3] = std::array::from_fn(|a| [at(a, step), at(a, -step)]);
    (0..here.len())
        .map(|i| {
            let slope = |[up, down]: &[Vec<f64>; 2]| ((up[i] - down[i]) / (2.0 * step)).abs();
            [here[i].abs(), slope(&moved[0]), slope(&moved[1]), slope(&moved[2])]
        })
        .collect()
}

/// Σ|c| times a magnitude of the harmonics.
fn sum_of_sizes(c: &[f64], sizes: &[[f64; 4]], size: impl Fn(&[f64; 4]) -> f64) -> f64 {
    c.iter().zip(sizes).map(|(c, s)| c.abs() * size(s)).sum()
}

impl<const DEGREES: usize> OrthotropicProblem<DEGREES> {
    const STRIDE: usize = pairs(DEGREES);
}

impl<const DEGREES: usize> Batch for OrthotropicProblem<DEGREES> {
    const TEXT: Text = Text::Series;
    const SIGNALS: usize = 1;
    const NAMES: &[&str] =
        &["orthotropic signal", "orthotropic pullback: moments", "orthotropic pullback: frame"];

    fn new() -> Self {
        let mut random = Random(13);
        let acquisition = Acquisition::new(&mut random);
        let shells = acquisition.plan.shells();
        let [mut c, mut frame, mut weight] = [const { Vec::new() }; 3];
        let mut lengths = Vec::new();
        for set in 0..SETS {
            for _ in 0..shells {
                let orders = match set {
                    0 => 1,
                    1 => DEGREES,
                    _ => random.uniform(1.0, DEGREES as f64 + 1.0) as usize,
                };
                for j in 0..DEGREES {
                    let most = DEGREES - j;
                    let used = match set {
                        _ if j >= orders => 0,
                        1 => most,
                        _ => random.uniform(1.0, most as f64 + 1.0) as usize,
                    };
                    lengths.push(used as u32);
                    c.extend((0..most).map(|k| match set {
                        _ if k >= used => 0.0,
                        2 => 0.0,
                        _ => f32_value(random.uniform(-1.0, 1.0) / (1 + j + k) as f64),
                    }));
                }
            }
            let mut axes = axes(&mut random);
            if set == 3 {
                axes = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
            }
            frame.extend(axes.iter().flatten().map(|&x| f32_value(x)));
            weight.extend(acquisition.weights(&mut random, set == 5));
        }
        let arguments =
            SeriesArguments::orthotropic(&acquisition.plan, SETS, DEGREES).unwrap().words();
        Self { acquisition, arguments, c, lengths, frame, weight }
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
        // What stands beyond the lengths must not be read.
        let mut c = vec![f64::NAN; self.c.len()];
        for (i, &used) in self.lengths.iter().enumerate() {
            let start = i / DEGREES * Self::STRIDE + row(DEGREES, i % DEGREES);
            let used = start..start + used as usize;
            c[used.clone()].copy_from_slice(&self.c[used]);
        }
        let [c, frame, weight] = [&c, &self.frame, &self.weight].map(|v| Real(v));
        let direction = Real(&self.acquisition.direction);
        let lengths = U32(&self.lengths);
        let (of, block) = (U32(&self.acquisition.shell_of), U32(&self.acquisition.shell_slots));
        let (n, m, f) = (SETS * slots, SETS * shells * Self::STRIDE, RealOut(9 * SETS));
        let buffers = [lengths, frame, direction, weight, block, RealOut(m)];
        vec![
            run("orthotropic_signal", n, &[c, lengths, frame, direction, of, RealOut(n)]),
            run("orthotropic_pullback", m, &buffers),
            run("orthotropic_frame", SETS, &[c, lengths, frame, direction, weight, of, f]),
        ]
    }

    fn reference(&self) -> Vec<Vec<[f64; 2]>> {
        let plan = self.plan();
        let (slots, shells) = (plan.slots(), plan.shells());
        let shell_of = &self.acquisition.shell_of;
        let g = plan.direction();
        let [mut signal, mut moments, mut by_frame] = [const { Vec::new() }; 3];
        for set in 0..SETS {
            let n = shells * DEGREES;
            let lengths: Vec<usize> =
                self.lengths[set * n..(set + 1) * n].iter().map(|&x| x as usize).collect();
            let at = |a: usize, i: usize| self.frame[9 * set + 3 * a + i];
            let frame: [[f64; 3]; 3] = std::array::from_fn(|a| std::array::from_fn(|i| at(a, i)));
            let c = &self.c[set * shells * Self::STRIDE..(set + 1) * shells * Self::STRIDE];
            let series = orthotropic::Series { c, terms: DEGREES, lengths: &lengths, frame };
            let weight = &self.weight[set * slots..(set + 1) * slots];
            let size: Vec<Vec<[f64; 4]>> = (0..slots)
                .map(|i| {
                    sizes(frame.map(|m| g[0][i] * m[0] + g[1][i] * m[1] + g[2][i] * m[2]), DEGREES)
                })
                .collect();
            let own = |i: usize| &c[shell_of[i] as usize * Self::STRIDE..][..Self::STRIDE];

            let mut e = vec![0.0; slots];
            orthotropic::accumulate(plan, series, &[], &[], &mut e, &mut []);
            for &i in plan.slot_of() {
                signal.push([e[i], sum_of_sizes(own(i), &size[i], |s| s.iter().sum())]);
            }

            let mut sums = vec![0.0; shells * Self::STRIDE];
            let gradient = orthotropic::pullback(plan, series, weight, &mut sums);
            for (s, range) in plan.shell_slots().iter().enumerate() {
                for j in 0..DEGREES {
                    for k in 0..DEGREES - j {
                        let pair = row(DEGREES, j) + k;
                        let p = |i: usize| weight[i].abs() * size[i][pair].iter().sum::<f64>();
                        // The loops may leave a part of a moment that no one reads.
                        moments.push(if k < lengths[s * DEGREES + j] {
                            [sums[s * Self::STRIDE + pair], range.clone().map(p).sum()]
                        } else {
                            [0.0; 2]
                        });
                    }
                }
            }
            for (a, row) in gradient.iter().enumerate() {
                for (x, g) in row.iter().zip(g) {
                    let slope = |i: usize| {
                        let size = sum_of_sizes(own(i), &size[i], |s| s[1 + a]);
                        (weight[i] * g[i]).abs() * size
                    };
                    by_frame.push([*x, (0..slots).map(slope).sum()]);
                }
            }
        }
        vec![signal, moments, by_frame]
    }
}
