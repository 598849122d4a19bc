//! Streamlines against closed-form curves, and their derivatives against differences; rules and marches
//! in files of their own.

#![allow(clippy::needless_range_loop)]

mod marches;
mod rules;

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::simd::{self, SimdLevel};
use microtome_kernels::sphere_series::{count, pull_back};
use microtome_kernels::streamline::{
    AxisTable, Chance, Cotangent, Differentiable, EndDerivatives, Functions, Heading, Integrator,
    Lattice, Limits, Linear, PeakRule, Peaks, Rule, Scratch, State, Stop, Survival, Vec3, path,
    reverse, tangent,
};

fn level() -> SimdLevel {
    simd::level()
}

fn norm(a: Vec3) -> f64 {
    a.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn apart(a: Vec3, b: Vec3) -> f64 {
    norm([a[0] - b[0], a[1] - b[1], a[2] - b[2]])
}

/// v = (-w y, w x, c) / sqrt(w² r² + c²): circles for c = 0, helices otherwise.
struct Flow {
    w: f64,
    c: f64,
}

impl Flow {
    fn at(&self, x: Vec3) -> Vec3 {
        let v = [-self.w * x[1], self.w * x[0], self.c];
        let k = norm(v);
        v.map(|v| v / k)
    }
}

impl Rule for Flow {
    fn starts<const FMA: bool>(&self, x: Vec3, _: &mut Scratch, out: &mut Vec<Heading>) {
        *out = vec![Heading { direction: self.at(x), amplitude: 1.0 }];
    }

    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        _: &mut Chance,
        _: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let v = self.at(x);
        let sign =
            if v.iter().zip(previous).map(|(a, b)| a * b).sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
        Ok(Heading { direction: v.map(|v| sign * v), amplitude: 1.0 })
    }
}

impl Differentiable for Flow {
    fn linearise(&self, x: Vec3, _: Vec3, heading: &Heading) -> Option<Linear> {
        // d(v/k) = (I - dd') dv / k, with dv = (-w dy, w dx, 0).
        let d = heading.direction;
        let k = norm([-self.w * x[1], self.w * x[0], self.c]);
        let mut out = Linear::default();
        for (axis, dv) in [[0.0, self.w, 0.0], [-self.w, 0.0, 0.0], [0.0; 3]].iter().enumerate() {
            let along: f64 = d.iter().zip(dv).map(|(a, b)| a * b).sum();
            for r in 0..3 {
                out.direction[r][axis] = (dv[r] - along * d[r]) / k;
            }
        }
        Some(out)
    }
}

fn limits(step: f64, integrator: Integrator) -> Limits {
    Limits { step, integrator, cos_angle: -1.0, steps: 100_000, fewest: 0, both: true }
}

const METHODS: [Integrator; 3] = [Integrator::Euler, Integrator::Midpoint, Integrator::RungeKutta];

fn end_error(
    flow: &Flow,
    from: Vec3,
    exact: Vec3,
    length: f64,
    steps: u32,
    method: Integrator,
) -> f64 {
    let limits = limits(length / f64::from(steps), method);
    let states = path(level(), flow, &limits, from, flow.at(from), steps);
    assert_eq!(states.len(), steps as usize + 1);
    apart(states.last().unwrap().x, exact)
}

/// The published errors of fixed steps on a circle and a helix, within 10 %.
#[test]
fn integrators_have_their_order() {
    let circle = Flow { w: 1.0, c: 0.0 };
    let table = [
        (32, [9.66e-1, 2.98e-3, 5.41e-7]),
        (64, [4.87e-1, 7.66e-4, 3.47e-8]),
        (128, [2.44e-1, 1.94e-4, 2.20e-9]),
        (314, [9.98e-2, 3.26e-5, 6.1e-11]),
    ];
    for (steps, errors) in table {
        for (method, wanted) in METHODS.iter().zip(errors) {
            let length = 10.0 * std::f64::consts::PI;
            let found =
                end_error(&circle, [20.0, 0.0, 0.0], [0.0, 20.0, 0.0], length, steps, *method);
            assert!((found / wanted - 1.0).abs() < 0.1, "circle {steps} {method:?}: {found:e}");
        }
    }
    let helix = Flow { w: 1.0 / 15.0, c: std::f64::consts::FRAC_1_PI };
    let table = [
        (198, [28.2, 3.99e-2, 8.07e-6]),
        (396, [16.3, 1.09e-2, 5.73e-7]),
        (791, [8.66, 2.88e-3, 3.92e-8]),
        (1978, [3.57, 4.77e-4, 1.06e-9]),
    ];
    let from = [15.0, 0.0, -30.0];
    let k = (1.0 + helix.c * helix.c).sqrt();
    let length = 197.8072;
    let angle: f64 = helix.w * length / k;
    let exact = [15.0 * angle.cos(), 15.0 * angle.sin(), -30.0 + helix.c * length / k];
    for (steps, errors) in table {
        for (method, wanted) in METHODS.iter().zip(errors) {
            let found = end_error(&helix, from, exact, length, steps, *method);
            assert!((found / wanted - 1.0).abs() < 0.1, "helix {steps} {method:?}: {found:e}");
        }
    }
}

/// dx(s)/dp of the exact flows: ten published digits, and Runge-Kutta in many steps.
#[test]
fn jacobians_of_exact_flows() {
    let cases = [
        (
            Flow { w: 1.0, c: 0.0 },
            [12.0, 16.0, 3.0],
            25.0,
            [-11.399_885_56, 16.432_973_23, 3.0],
            [
                [0.931_558_86, -0.127_335_96, 0.0],
                [1.376_480_33, 0.885_316_64, 0.0],
                [0.0, 0.0, 1.0],
            ],
        ),
        (
            Flow { w: 1.0 / 15.0, c: std::f64::consts::FRAC_1_PI },
            [15.0, 0.0, -30.0],
            60.0,
            [-11.757_609_993, -9.314_430_055, -11.801_131_737],
            [
                [-2.932_927_8, 0.620_962, 0.0],
                [2.091_831_9, -0.783_840_7, 0.0],
                [-1.101_638_6, 0.0, 1.0],
            ],
        ),
    ];
    for (flow, from, length, end, jacobian) in cases {
        let steps = 4000;
        let limits = limits(length / f64::from(steps), Integrator::RungeKutta);
        let states = path(level(), &flow, &limits, from, flow.at(from), steps);
        assert!(apart(states.last().unwrap().x, end) < 1e-8);
        // The seed moves the first direction, too.
        let map = tangent(&flow, &limits, &states).unwrap();
        let start =
            flow.linearise(from, [0.0; 3], &Heading { direction: flow.at(from), amplitude: 1.0 });
        let start = start.unwrap().direction;
        for r in 0..3 {
            for c in 0..3 {
                let through: f64 = (0..3).map(|k| map[r][3 + k] * start[k][c]).sum();
                let found = map[r][c] + through;
                assert!((found - jacobian[r][c]).abs() < 1e-6, "{r}{c}: {found}");
            }
        }
    }
}

fn axes() -> Vec<Vec3> {
    let n = 362;
    (0..n)
        .map(|i| {
            let z = 1.0 - (f64::from(i) + 0.5) / f64::from(n);
            let r = (1.0 - z * z).sqrt();
            let (s, c) = (std::f64::consts::PI * (3.0 - 5.0_f64.sqrt()) * f64::from(i)).sin_cos();
            [r * c, r * s, z]
        })
        .collect()
}

/// sum of weights times (axis . u)^power, by interpolation of the terms in many directions:
/// the terms of a power of a scalar product are those of its expansion.
fn lobes(order: usize, list: &[(f64, Vec3)]) -> Vec<f64> {
    // (a.u)^order on the sphere: a function of this order. Its terms solve a least-squares
    // problem over enough directions.
    let n = count(order);
    let directions = axes();
    let mut normal = vec![vec![0.0; n + 1]; n];
    for u in &directions {
        let mut row = vec![0.0; n];
        pull_back(order, *u, 1.0, [0.0; 3], &mut row);
        let f: f64 = list
            .iter()
            .map(|(w, a)| w * a.iter().zip(u).map(|(a, b)| a * b).sum::<f64>().powi(order as i32))
            .sum();
        for i in 0..n {
            for j in 0..n {
                normal[i][j] += row[i] * row[j];
            }
            normal[i][n] += row[i] * f;
        }
    }
    for p in 0..n {
        let best =
            (p..n).max_by(|a, b| normal[*a][p].abs().total_cmp(&normal[*b][p].abs())).unwrap();
        normal.swap(p, best);
        let pivot = normal[p].clone();
        for (r, row) in normal.iter_mut().enumerate() {
            if r != p {
                let f = row[p] / pivot[p];
                row.iter_mut().zip(&pivot).for_each(|(a, b)| *a -= f * b);
            }
        }
    }
    (0..n).map(|p| normal[p][n] / normal[p][p]).collect()
}

const SHAPE: [usize; 3] = [6, 5, 4];

/// Lobes that turn from voxel to voxel.
fn curved(order: usize) -> Vec<f64> {
    let width = count(order).next_multiple_of(8);
    let mut out = Vec::new();
    for k in 0..SHAPE[2] {
        for j in 0..SHAPE[1] {
            for i in 0..SHAPE[0] {
                let angle = 0.2 * i as f64 + 0.05 * j as f64 - 0.1 * k as f64;
                let tilt = 0.1 * k as f64 + 0.03 * j as f64;
                let a = [angle.cos() * tilt.cos(), angle.sin() * tilt.cos(), tilt.sin()];
                let weight = 1.0 + 0.1 * (i as f64).sin() - 0.05 * j as f64;
                let mut terms = lobes(order, &[(weight, a), (0.4, [0.0, 0.0, 1.0])]);
                terms.resize(width, 0.0);
                out.extend(terms);
            }
        }
    }
    out
}

const ROWS: [[f64; 4]; 3] = [[0.5, 0.02, 0.0, 0.4], [0.0, 0.48, -0.03, 1.3], [0.01, 0.0, 0.5, 1.2]];

fn lattice(values: Vec<f64>, cubic: bool) -> Lattice<f64> {
    let width = values.len() / SHAPE.iter().product::<usize>();
    let plain = Lattice::new(SHAPE, width, values, ROWS).unwrap();
    if cubic { plain.cubic(|v| v) } else { plain }
}

fn peaks(axes: &AxisTable, threshold: f64, relative: f64, cos_separation: f64) -> Peaks<'_> {
    Peaks { axes, threshold, relative, cos_separation }
}

fn peak<'a>(field: &'a Lattice<f64>, axes: &'a AxisTable) -> PeakRule<'a, f64> {
    PeakRule { functions: Functions { field, peaks: peaks(axes, 0.05, 0.1, 0.9) } }
}

/// A loss of points and log survival, and what it says of each point.
fn loss(states: &[State], survival: &Survival) -> (f64, Vec<Cotangent>) {
    let mut total = 0.0;
    let mut alive = 0.0;
    let mut out = Vec::new();
    for (n, s) in states.iter().enumerate() {
        let w = [0.3 + 0.1 * n as f64, -0.7, 0.2 * n as f64];
        let v = if n % 3 == 0 { 0.5 } else { -0.2 };
        alive += survival.log(s.amplitude);
        total += (0..3).map(|i| w[i] * s.x[i]).sum::<f64>() + v * alive;
        out.push(Cotangent { point: w, survival: v });
    }
    (total, out)
}

#[test]
fn derivatives_of_streamlines_are_those_of_differences() {
    let survival = Survival { threshold: 0.8, width: 0.3 };
    for order in [4, 8] {
        let table = AxisTable::new(order, 362);
        let values = curved(order);
        let width = count(order).next_multiple_of(8);
        for (cubic, method) in [(false, METHODS[0]), (false, METHODS[1]), (true, METHODS[2])] {
            let limits = limits(0.4, method);
            let from = [1.6, 0.3, 0.4];
            let start = [1.0, 0.1, 0.0];
            let run = |values: &[f64], from: Vec3| {
                let field = lattice(values.to_vec(), cubic);
                let states = path(level(), &peak(&field, &table), &limits, from, start, 9);
                assert_eq!(states.len(), 10);
                loss(&states, &survival).0
            };
            let field = lattice(values.clone(), cubic);
            let rule = peak(&field, &table);
            let states = path(level(), &rule, &limits, from, start, 9);
            let (_, cotangents) = loss(&states, &survival);
            let mut gradient = vec![0.0; values.len()];
            let (seed, _) = reverse(
                level(),
                &rule,
                &limits,
                &states,
                &cotangents,
                &survival,
                start,
                &mut gradient,
            )
            .unwrap();
            for axis in 0..3 {
                let at = |h: f64| {
                    let mut x = from;
                    x[axis] += h;
                    run(&values, x)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (slope - seed[axis]).abs() < 1e-6 * (1.0 + slope.abs()),
                    "{order} {method:?} seed {axis}: {slope} {}",
                    seed[axis]
                );
            }
            if cubic {
                // The gradient is with respect to spline coefficients, not to these numbers.
                continue;
            }
            // One direction through all numbers, and the largest entries alone.
            let mut list: Vec<usize> = (0..gradient.len()).collect();
            list.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
            let largest = gradient[list[0]].abs();
            for i in list.into_iter().take(12) {
                let at = |h: f64| {
                    let mut moved = values.clone();
                    moved[i] += h;
                    run(&moved, from)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (slope - gradient[i]).abs() < 1e-6 * largest,
                    "{order} {method:?} {i}: {slope} {}",
                    gradient[i]
                );
            }
            let along: Vec<f64> = (0..values.len())
                .map(|i| if i % width < count(order) { ((i * 7919) as f64).sin() } else { 0.0 })
                .collect();
            let at = |h: f64| {
                let moved: Vec<f64> = values.iter().zip(&along).map(|(v, a)| v + h * a).collect();
                run(&moved, from)
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            let found: f64 = gradient.iter().zip(&along).map(|(g, a)| g * a).sum();
            assert!((slope - found).abs() < 1e-5 * (1.0 + slope.abs()), "{slope} {found}");
        }
    }
}

#[test]
fn the_tangent_map_of_a_field_is_that_of_differences() {
    let table = AxisTable::new(8, 362);
    let field = lattice(curved(8), true);
    let rule = peak(&field, &table);
    for method in METHODS {
        let limits = limits(0.4, method);
        let (from, start) = ([1.6, 0.3, 0.4], [1.0, 0.1, 0.0]);
        let states = path(level(), &rule, &limits, from, start, 8);
        let map = tangent(&rule, &limits, &states).unwrap();
        let first = Heading { direction: states[0].direction, amplitude: states[0].amplitude };
        let seed = rule.linearise(from, start, &first).unwrap().direction;
        for axis in 0..3 {
            let at = |h: f64| {
                let mut x = from;
                x[axis] += h;
                *path(level(), &rule, &limits, x, start, 8).last().unwrap()
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            for r in 0..3 {
                for (row, slope) in [
                    (r, (up.x[r] - down.x[r]) / 2e-5),
                    (r + 3, (up.direction[r] - down.direction[r]) / 2e-5),
                ] {
                    let found = map[row][axis]
                        + (0..3).map(|k| map[row][3 + k] * seed[k][axis]).sum::<f64>();
                    assert!(
                        (slope - found).abs() < 1e-7,
                        "{method:?} {row} {axis}: {slope} {found}"
                    );
                }
            }
        }
    }
}

/// The covariance of the last point, first order, against streamlines from drawn seeds through drawn
/// fields; and its part of the seed against the tangent map.
#[test]
fn errors_of_seed_and_field_spread_as_drawn() {
    let table = AxisTable::new(4, 362);
    let values = curved(4);
    let (limits, from, start) =
        (limits(0.4, Integrator::Midpoint), [1.6, 0.3, 0.4], [1.0, 0.1, 0.0]);
    let end = |values: &[f64], x: Vec3| {
        let field = lattice(values.to_vec(), false);
        path(level(), &peak(&field, &table), &limits, x, start, 8)
    };
    let field = lattice(values.clone(), false);
    let rule = peak(&field, &table);
    let states = end(&values, from);
    assert_eq!(states.len(), 9);
    let found = EndDerivatives::new(level(), &rule, &limits, &states, start, values.len()).unwrap();
    let map = tangent(&rule, &limits, &states).unwrap();
    let first = Heading { direction: states[0].direction, amplitude: states[0].amplitude };
    let turn = rule.linearise(from, start, &first).unwrap().direction;
    for (r, row) in found.seed.iter().enumerate() {
        for c in 0..3 {
            let wanted = map[r][c] + (0..3).map(|k| map[r][3 + k] * turn[k][c]).sum::<f64>();
            assert!((row[c] - wanted).abs() < 1e-10, "{r} {c}: {} {wanted}", row[c]);
        }
    }
    // Numbers of a voxel are correlated: c = L n, with a unit diagonal of L and a part of the next.
    let (width, noise, place) = (16, 2e-3, 1e-3);
    let factor = |i: usize, j: usize| match i.checked_sub(j) {
        Some(0) => noise,
        Some(1) => 0.5 * noise,
        _ => 0.0,
    };
    let mut voxel = vec![0.0; width * width];
    for i in 0..width {
        for j in 0..width {
            voxel[i * width + j] = (0..width).map(|k| factor(i, k) * factor(j, k)).sum();
        }
    }
    let square = place * place;
    let seed = [[square, 0.0, 0.0], [0.0, 4.0 * square, 0.0], [0.0, 0.0, square]];
    let linear = found.covariance(&seed, width, |_| Some(&voxel));
    let both = [
        found.covariance(&seed, width, |_| None),
        found.covariance(&[[0.0; 3]; 3], width, |_| Some(&voxel)),
    ];
    for a in 0..3 {
        for b in 0..3 {
            assert!((linear[a][b] - both[0][a][b] - both[1][a][b]).abs() < 1e-18);
            assert!((linear[a][b] - linear[b][a]).abs() < 1e-18);
        }
        // Neither part is nothing.
        assert!(both.iter().all(|c| c[a][a] > 0.02 * linear[a][a]), "{both:?}");
    }
    const N: usize = 3000;
    let mut random = PhiloxRng::new(7, 0, 0);
    let exact = states[8].x;
    let mut sums = [[0.0; 3]; 3];
    for _ in 0..N {
        let mut drawn = values.clone();
        for voxel in drawn.chunks_exact_mut(width) {
            let mut n = [0.0; 16];
            random.normals(&mut n);
            for (i, v) in voxel.iter_mut().enumerate() {
                *v += noise * n[i] + if i > 0 { 0.5 * noise * n[i - 1] } else { 0.0 };
            }
        }
        let mut n = [0.0; 3];
        random.normals(&mut n);
        let x = [0, 1, 2].map(|i| from[i] + seed[i][i].sqrt() * n[i]);
        let last = end(&drawn, x)[8].x;
        let d = [0, 1, 2].map(|i| last[i] - exact[i]);
        for a in 0..3 {
            for b in 0..3 {
                sums[a][b] += d[a] * d[b] / N as f64;
            }
        }
    }
    // A sample covariance has the variance (s_aa s_bb + s_ab^2)/N.
    for a in 0..3 {
        for b in 0..3 {
            let error = ((linear[a][a] * linear[b][b] + linear[a][b].powi(2)) / N as f64).sqrt();
            let off = (sums[a][b] - linear[a][b]).abs();
            assert!(off < 4.5 * error, "{a} {b}: {} {} +- {error}", sums[a][b], linear[a][b]);
        }
    }
}

/// One function in every voxel.
fn constant(terms: &[f64]) -> Lattice<f64> {
    let mut row = terms.to_vec();
    row.resize(terms.len().next_multiple_of(8), 0.0);
    let n: usize = SHAPE.iter().product();
    let values = (0..n).flat_map(|_| row.clone()).collect();
    lattice(values, false)
}

const A: Vec3 = [0.6, 0.0, 0.8];
const B: Vec3 = [0.6, 0.8, 0.0];
