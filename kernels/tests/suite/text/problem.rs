//! The batch on which text and Rust loops are compared.
//!
//! Inputs are numbers that f32 holds, so that the reference, the f64 Rust loops,
//! sees what the float build sees. Errors are relative: of a signal to itself, of a
//! sum to the sum of the magnitudes of its terms.

use super::Buffer::{self, Real, RealOut, U32};
use super::{Batch, Program, Random};
use microtome_kernels::Plan;
use microtome_kernels::family::{isotropic, quadratic, tensor};
use microtome_kernels::text::{SignalArguments, Text, shell_of, shell_slots};

pub(crate) const SETS: usize = 50;
/// b of the shells, ms/µm², and their measurements: b = 0, one alone, a whole
/// number of blocks, an empty shell.
const SHELLS: [(f64, usize); 6] = [(0.0, 5), (0.25, 1), (1.0, 30), (2.0, 32), (2.5, 0), (3.0, 45)];

/// The nearest number that f32 holds.
pub(crate) fn f32_value(x: f64) -> f64 {
    f64::from(x as f32)
}

/// The measurements of a batch, as the texts take them.
pub(crate) struct Acquisition {
    pub(crate) plan: Plan,
    pub(crate) shell_of: Vec<u32>,
    pub(crate) shell_slots: Vec<u32>,
    pub(crate) direction: Vec<f64>,
    weighting: Vec<f64>,
}

impl Acquisition {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut measured: Vec<usize> =
            SHELLS.iter().enumerate().flat_map(|(s, &(_, n))| vec![s; n]).collect();
        for i in (1..measured.len()).rev() {
            measured.swap(i, random.uniform(0.0, i as f64 + 1.0) as usize);
        }
        let b: Vec<f64> = measured.iter().map(|&s| SHELLS[s].0).collect();
        // Nine bits a component, so that f32 holds b g gᵀ.
        let directions: Vec<[f64; 3]> = b
            .iter()
            .map(|&b| {
                let g = random.direction();
                if b == 0.0 { [0.0; 3] } else { g.map(|x| (x * 256.0).round() / 256.0) }
            })
            .collect();
        let plan = Plan::new(SHELLS.len(), &measured, &directions, &b);
        assert!(plan.slots() > plan.measurements());
        let direction = plan.direction().concat();
        let weighting = plan.weighting().concat();
        assert!(direction.iter().chain(&weighting).all(|&x| x == f32_value(x)));
        Self {
            shell_of: shell_of(&plan),
            shell_slots: shell_slots(&plan),
            plan,
            direction,
            weighting,
        }
    }

    /// Weights of one set by slot, zero in padding; all zero if so asked.
    pub(crate) fn weights(&self, random: &mut Random, zero: bool) -> Vec<f64> {
        let w: Vec<f64> = (0..self.plan.measurements())
            .map(|_| if zero { 0.0 } else { f32_value(random.uniform(-1.0, 1.0)) })
            .collect();
        let mut slots = vec![0.0; self.plan.slots()];
        self.plan.scatter(&w, &mut slots);
        slots
    }
}

/// What every kernel of the signal text needs.
pub(crate) struct Problem {
    acquisition: Acquisition,
    arguments: [u32; 3],
    value: Vec<f64>,
    a: Vec<f64>,
    c: Vec<f64>,
    mu: Vec<f64>,
    d: Vec<f64>,
    /// `[set, slot]`, zero in padding.
    weight: Vec<f64>,
}

impl Batch for Problem {
    const TEXT: Text = Text::Signal;
    const SIGNALS: usize = 3;
    const NAMES: &[&str] = &[
        "isotropic signal",
        "quadratic signal",
        "tensor signal",
        "isotropic pullback",
        "quadratic pullback: sums",
        "quadratic pullback: axis",
        "tensor pullback",
    ];

    fn new() -> Self {
        let mut random = Random(11);
        let acquisition = Acquisition::new(&mut random);
        let [mut value, mut a, mut c, mut mu, mut d, mut weight] = [const { Vec::new() }; 6];
        for set in 0..SETS {
            let parallel = random.uniform(0.5, 3.0);
            let perpendicular = random.uniform(0.0, parallel);
            let (parallel, perpendicular) = match set {
                0 => (0.0, 0.0),          // no attenuation
                1 => (parallel, 0.0),     // stick
                2..=6 => (0.4, parallel), // oblate: c < 0
                7 => (1.0, 1.0),          // isotropic: c = 0
                8 => (300.0, 300.0),      // a signal that f32 can't hold
                9 => (-0.2, 0.5),         // grows along the axis
                _ => (parallel, perpendicular),
            };
            for (s, (b, _)) in SHELLS.iter().enumerate() {
                value.push(random.uniform(0.0, 1.0) / (1.0 + s as f64));
                a.push(b * perpendicular);
                c.push(b * (parallel - perpendicular));
            }
            let axis = if set == 10 { [0.0, 0.0, 1.0] } else { random.direction() };
            mu.extend(axis);
            let tilt = random.direction();
            let pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
            let extra = if set < 9 { 0.0 } else { random.uniform(0.0, 0.3) };
            d.extend(pairs.map(|(j, k)| {
                let identity = if j == k { perpendicular } else { 0.0 };
                identity
                    + (parallel - perpendicular) * axis[j] * axis[k]
                    + extra * tilt[j] * tilt[k]
            }));
            weight.extend(acquisition.weights(&mut random, set == 11));
        }
        for list in [&mut value, &mut a, &mut c, &mut mu, &mut d] {
            list.iter_mut().for_each(|x| *x = f32_value(*x));
        }
        let arguments = SignalArguments::for_plan(&acquisition.plan, SETS).unwrap().words();
        Self { acquisition, arguments, value, a, c, mu, d, weight }
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
        let [value, a, c, mu, d, weight, direction, weighting] = [
            &self.value,
            &self.a,
            &self.c,
            &self.mu,
            &self.d,
            &self.weight,
            &self.acquisition.direction,
            &self.acquisition.weighting,
        ]
        .map(|v| Real(v));
        let (of, block) = (U32(&self.acquisition.shell_of), U32(&self.acquisition.shell_slots));
        let (n, m) = (SETS * slots, SETS * shells);
        let mut sums = run(
            "quadratic_pullback",
            m,
            &[a, c, mu, direction, weight, block, RealOut(2 * m), RealOut(3 * m)],
        );
        let parts = sums.split_off(2 * m);
        vec![
            run("isotropic_signal", n, &[value, of, RealOut(n)]),
            run("quadratic_signal", n, &[a, c, mu, direction, of, RealOut(n)]),
            run("tensor_signal", n, &[d, weighting, RealOut(n)]),
            run("isotropic_pullback", m, &[weight, block, RealOut(m)]),
            sums,
            run("quadratic_axis", SETS, &[Real(&parts), RealOut(3 * SETS)]),
            run("tensor_pullback", SETS, &[d, weighting, weight, RealOut(7 * SETS)]),
        ]
    }

    fn reference(&self) -> Vec<Vec<[f64; 2]>> {
        let (plan, n) = (self.plan(), self.plan().measurements());
        let (slots, shells) = (plan.slots(), plan.shells());
        let mut signals = [const { Vec::new() }; 3].map(|_: Vec<f64>| vec![0.0; SETS * n]);
        isotropic::signal_batch(plan, SETS, &self.value, &mut signals[0]);
        quadratic::signal_batch(plan, SETS, &self.a, &self.c, &self.mu, &mut signals[1]);
        tensor::signal_batch(plan, SETS, &self.d, &mut signals[2]);
        let [isotropic, quadratic, tensor] =
            signals.map(|s| s.into_iter().map(|x| [x, x.abs()]).collect());

        let [mut value, mut sums, mut axis, mut full] = [const { Vec::new() }; 4];
        let (mut t, mut e, mut total) = (vec![0.0; slots], vec![0.0; slots], vec![0.0; slots]);
        for set in 0..SETS {
            let weight = &self.weight[set * slots..(set + 1) * slots];
            let size: Vec<f64> = weight.iter().map(|w| w.abs()).collect();
            let (mut sum, mut sum_size) = (vec![0.0; shells], vec![0.0; shells]);
            isotropic::pullback(plan, weight, &mut sum);
            isotropic::pullback(plan, &size, &mut sum_size);
            value.extend(sum.iter().zip(sum_size).map(|(x, s)| [*x, s]));

            let k = quadratic::Coefficients {
                a: &self.a[set * shells..(set + 1) * shells],
                c: &self.c[set * shells..(set + 1) * shells],
                mu: std::array::from_fn(|i| self.mu[3 * set + i]),
            };
            quadratic::signal(plan, k, 1.0, &mut t, &mut e, &mut total);
            let (mut sum, mut sum_size) = (vec![0.0; 2 * shells], vec![0.0; 2 * shells]);
            let gradient = quadratic::pullback(plan, k.c, &t, &e, weight, &mut sum);
            quadratic::pullback(plan, k.c, &t, &e, &size, &mut sum_size);
            sums.extend(sum.iter().zip(sum_size).map(|(x, s)| [*x, s]));
            for (x, g) in gradient.iter().zip(plan.direction()) {
                let terms = (0..slots).map(|i| {
                    (2.0 * k.c[self.acquisition.shell_of[i] as usize]
                        * size[i]
                        * e[i]
                        * t[i]
                        * g[i])
                        .abs()
                });
                axis.push([*x, terms.sum()]);
            }

            let d: [f64; 6] = std::array::from_fn(|i| self.d[6 * set + i]);
            tensor::signal(plan, &d, 1.0, &mut e, &mut total);
            let (zeroth, first) = tensor::pullback(plan, &e, weight);
            let (zeroth_size, _) = tensor::pullback(plan, &e, &size);
            full.push([zeroth, zeroth_size]);
            for (x, b) in first.iter().zip(plan.weighting()) {
                full.push([*x, (0..slots).map(|i| (size[i] * e[i] * b[i]).abs()).sum()]);
            }
        }
        vec![isotropic, quadratic, tensor, value, sums, axis, full]
    }
}
