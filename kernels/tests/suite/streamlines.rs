//! Streamlines against closed-form curves, and their derivatives against differences.

#![allow(clippy::unwrap_used, clippy::needless_range_loop)]

use microtome_kernels::simd::{self, SimdLevel};
use microtome_kernels::sphere_series::{count, pull_back, value};
use microtome_kernels::streamline::{
    ArcMean, ArcRule, AxisTable, BootstrapRule, Chance, ClosestRule, Cotangent, Differentiable,
    Flag, Functions, Heading, Integrator, Lattice, Limits, Linear, MassRule, PeakRule, Peaks,
    Redraw, Region, Regions, Resampling, Rule, Scratch, Seed, Starts, State, StickRule, Stop,
    Survival, Vec3, path, reverse, tangent, track,
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

#[test]
fn the_closest_peak_is_taken() {
    let terms = lobes(8, &[(1.0, A), (0.7, B)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    let rule = ClosestRule {
        functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.25, 0.9) },
    };
    let mut scratch = Scratch::default();
    let mut chance = Chance::new(0, 0, 0, false);
    // Both maxima, by steepest ascent on a fine grid about them: here their gradient vanishes.
    let mut found = Vec::new();
    rule.starts::<false>([1.0, 0.5, 0.5], &mut scratch, &mut found);
    assert_eq!(found.len(), 2);
    for (peak, axis) in found.iter().zip([A, B]) {
        assert!(peak.direction.iter().zip(axis).map(|(a, b)| a * b).sum::<f64>().abs() > 0.99);
        assert!((peak.amplitude - value(8, &terms, peak.direction)).abs() < 1e-12);
    }
    for (from, wanted) in [([0.5, 0.2, 0.84], 0), ([-0.6, -0.75, 0.1], 1)] {
        let from = {
            let n = norm(from);
            from.map(|v| v / n)
        };
        let d = rule.heading::<false>([1.0, 0.5, 0.5], from, &mut chance, &mut scratch).unwrap();
        let cosine: f64 = d.direction.iter().zip(found[wanted].direction).map(|(a, b)| a * b).sum();
        let forward: f64 = d.direction.iter().zip(from).map(|(a, b)| a * b).sum();
        assert!((cosine.abs() - 1.0).abs() < 1e-12 && forward > 0.0);
    }
    let outside = rule.heading::<false>([1e3, 0.0, 0.0], A, &mut chance, &mut scratch);
    assert_eq!(outside.unwrap_err(), Stop::Outside);
}

#[test]
fn draws_follow_the_values_in_the_cone() {
    let terms = lobes(8, &[(1.0, A), (0.7, B)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    let list = table.axes();
    for angular_weight in [0.0, 0.8] {
        let cos_cone = 50_f64.to_radians().cos();
        let rule = MassRule {
            functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.25, 0.9) },
            part: 0.05,
            cos_cone,
            angular_weight,
        };
        let previous = {
            let v = [0.9, 0.3, 0.4];
            let n = norm(v);
            v.map(|v| v / n)
        };
        let values: Vec<f64> = list.iter().map(|n| value(8, &terms, *n)).collect();
        let largest = values.iter().fold(0.0_f64, |m, v| m.max(*v));
        let exact: Vec<f64> = list
            .iter()
            .zip(&values)
            .map(|(n, v)| {
                let c = n.iter().zip(previous).map(|(a, b)| a * b).sum::<f64>().abs();
                if *v >= 0.05 * largest && c >= cos_cone {
                    v * (1.0 - angular_weight + angular_weight * c)
                } else {
                    0.0
                }
            })
            .collect();
        let total: f64 = exact.iter().sum();
        let draws = 40_000;
        let mut counts = vec![0.0; list.len()];
        let mut scratch = Scratch::default();
        for i in 0..draws {
            let mut chance = Chance::new(3, 0, i, false);
            let d = rule
                .heading::<false>([1.0, 0.5, 0.5], previous, &mut chance, &mut scratch)
                .unwrap();
            let at = list
                .iter()
                .position(|n| {
                    n.iter().zip(d.direction).map(|(a, b)| a * b).sum::<f64>().abs() > 1.0 - 1e-12
                })
                .unwrap();
            counts[at] += 1.0;
        }
        let (mut chi, mut cells) = (0.0, 0.0);
        for (c, e) in counts.iter().zip(&exact) {
            let e = e / total * draws as f64;
            if e == 0.0 {
                assert_eq!(*c, 0.0);
            } else if e > 5.0 {
                chi += (c - e) * (c - e) / e;
                cells += 1.0;
            }
        }
        // Chi-square over its mean within 4 standard deviations.
        let z: f64 = (chi - cells) / (2.0_f64 * cells).sqrt();
        assert!(cells > 30.0 && z.abs() < 4.0, "{angular_weight}: {chi} of {cells}");
    }
}

#[test]
fn arcs_follow_a_straight_field_and_are_drawn_by_weight() {
    let terms = lobes(8, &[(1.0, A)]);
    let field = constant(&terms);
    let table = AxisTable::new(8, 362);
    for (mean, probe) in [(ArcMean::Geometric, 0.5), (ArcMean::Arithmetic, 1.5)] {
        let rule = ArcRule {
            functions: Functions { field: &field, peaks: peaks(&table, 0.05, 0.25, 0.9) },
            probe,
            samples: 4,
            mean,
            candidates: 64,
            curvature: 1.0,
        };
        let limits = limits(0.5, Integrator::Euler);
        let mut scratch = Scratch::default();
        let mut sums = [0.0; 3];
        let n = 4000;
        for i in 0..n {
            let mut chance = Chance::new(5, 0, i, false);
            let mut state = State { x: [2.0, 0.5, 0.5], direction: A, amplitude: 1.0 };
            rule.advance::<false>(&mut state, &limits, &mut chance, &mut scratch).unwrap();
            assert!((norm(state.direction) - 1.0).abs() < 1e-12);
            // A step of an arc: its chord is 2 sin(kappa h/2)/kappa long, kappa at most 1.
            let chord = apart(state.x, [2.0, 0.5, 0.5]);
            assert!(chord <= 0.5 && chord >= 2.0 * 0.25_f64.sin() - 1e-12, "{chord}");
            for k in 0..3 {
                sums[k] += state.direction[k];
            }
        }
        // Symmetric about the lobe: the mean points along it.
        let mean = {
            let r = norm(sums);
            sums.map(|v| v / r)
        };
        assert!(apart(mean, A) < 0.01, "{mean:?}");
        assert!(norm(sums) / (n as f64) < 0.9999);
    }
}

#[test]
fn regions_stop_and_exclude() {
    let terms = lobes(4, &[(1.0, [1.0, 0.0, 0.0])]);
    let row: Vec<f64> = {
        let mut t = terms;
        t.resize(16, 0.0);
        t
    };
    let values = (0..40).flat_map(|_| row.clone()).collect();
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let field = Lattice::new([40, 1, 1], 16, values, identity).unwrap();
    let table = AxisTable::new(4, 362);
    let rule =
        PeakRule { functions: Functions { field: &field, peaks: peaks(&table, 0.1, 0.1, 0.9) } };
    let mask = |range: std::ops::Range<usize>, flag| Region {
        shape: [40, 1, 1],
        inside: (0..40).map(|i| range.contains(&i)).collect(),
        voxel_from_field: identity,
        flag,
    };
    let seeds = [Seed { x: [20.0, 0.0, 0.0], number: 7, direction: None }];
    let run = |list: Vec<Region>, limits: Limits| {
        track(level(), &rule, &limits, &Regions { list }, &seeds, Starts::All(4), 1, 0)
    };
    let mut plain = limits(1.0, Integrator::Euler);
    let all = run(vec![], plain);
    assert_eq!((all.lines.len(), all.tried, all.steps), (1, 1, 39));
    let line = &all.lines[0];
    assert_eq!(line.stops, [Stop::Outside; 2]);
    assert_eq!((line.points.len(), line.points[line.seed][0], line.number), (40, 20.0, 7));
    assert!((line.amplitudes[3] - 1.0).abs() < 1e-6);
    let domain = run(vec![mask(15..28, Flag::Domain)], plain);
    assert_eq!(domain.lines[0].points.len(), 13);
    assert_eq!(domain.lines[0].stops, [Stop::Mask; 2]);
    // The point inside a mask that stops is the last one.
    let stop = run(vec![mask(25..27, Flag::Stop)], plain);
    assert_eq!(stop.lines[0].points.len(), 26);
    let excluded = run(vec![mask(25..27, Flag::Exclude)], plain);
    assert_eq!((excluded.lines.len(), excluded.rejected), (0, 1));
    let through =
        |range| run(vec![mask(range, Flag::Include(0)), mask(10..12, Flag::Include(1))], plain);
    assert_eq!(through(30..32).lines.len(), 1);
    let missed = run(vec![mask(30..32, Flag::Include(0)), mask(15..30, Flag::Domain)], plain);
    assert_eq!((missed.lines.len(), missed.rejected), (0, 1));
    assert_eq!(run(vec![mask(0..5, Flag::Domain)], plain).tried, 0);
    plain.steps = 7;
    let short = run(vec![], plain);
    assert_eq!((short.lines[0].points.len(), short.lines[0].stops[1]), (8, Stop::Length));
    plain.fewest = 8;
    assert_eq!((run(vec![], plain).lines.len(), run(vec![], plain).short), (0, 1));
}

#[test]
fn sticks_of_one_draw_stay_together() {
    // Draw 0 has sticks along x, draw 1 along y.
    let sticks: Vec<[f32; 4]> = (0..125)
        .flat_map(|_| {
            [
                [1.0, 0.0, 0.0, 0.6],
                [0.0, 0.0, 1.0, 0.01],
                [0.0, 1.0, 0.0, 0.5],
                [0.0, 0.0, 1.0, 0.01],
            ]
        })
        .collect();
    let row: Vec<u32> = (0..125).collect();
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let rule = |redraw| StickRule {
        shape: [5; 3],
        voxel_from_field: identity,
        row: &row,
        sticks: &sticks,
        draws: 2,
        count: 2,
        threshold: 0.05,
        redraw,
    };
    let seeds = [Seed { x: [2.0; 3], number: 0, direction: None }];
    for (draw, axis) in [(0, 0), (1, 1)] {
        let tracks = track(
            level(),
            &rule(Redraw::Line(draw)),
            &limits(0.5, Integrator::Euler),
            &Regions::default(),
            &seeds,
            Starts::All(4),
            1,
            draw,
        );
        assert_eq!(tracks.lines.len(), 1);
        let points = &tracks.lines[0].points;
        assert!(points.iter().all(|x| (0..3).all(|i| i == axis || x[i] == 2.0)));
        // From face to face of the grid.
        assert_eq!(points.len(), 11);
    }
    // Another draw at every step: both axes turn up, and turns by 90 degrees stop.
    let mut bounded = limits(0.5, Integrator::Euler);
    bounded.cos_angle = 0.5;
    let list: Vec<Seed> =
        (0..64).map(|number| Seed { x: [2.0; 3], number, direction: None }).collect();
    let tracks = track(
        level(),
        &rule(Redraw::Step),
        &bounded,
        &Regions::default(),
        &list,
        Starts::All(4),
        1,
        0,
    );
    assert!(tracks.lines.iter().any(|l| l.stops.contains(&Stop::Angle)));
}

#[test]
fn bootstrap_of_exact_signals_is_the_peak() {
    // Signals that the fit describes exactly have no residuals: H is the identity here, and
    // the function is linear in the signals.
    let terms = lobes(4, &[(1.0, A), (0.5, B)]);
    let n = terms.len();
    let mut voxel: Vec<f64> = terms.iter().map(|t| t + 20.0).collect();
    voxel.push(1.0);
    voxel.resize(16, 0.0);
    let values = (0..SHAPE.iter().product::<usize>()).flat_map(|_| voxel.clone()).collect();
    let field = lattice(values, false);
    let rows = n.next_multiple_of(8);
    let identity: Vec<f64> =
        (0..n * rows).map(|i| f64::from(u8::from(i / rows == i % rows))).collect();
    let mut constant = vec![-20.0; n];
    constant.resize(rows, 0.0);
    let resampling = Resampling {
        measurements: n,
        hat: identity.clone(),
        residual: vec![0.0; n * rows],
        outer: vec![0.0; n * rows],
        linear: identity,
        constant,
        solid_angle: false,
        lowest: 1e-3,
    };
    let table = AxisTable::new(4, 362);
    let rule = BootstrapRule {
        field: &field,
        resampling: &resampling,
        peaks: peaks(&table, 0.1, 0.25, 0.9),
        cos_angle: 0.5,
        attempts: 5,
    };
    let plain = constant_rule(&terms);
    let peaks =
        PeakRule { functions: Functions { field: &plain, peaks: peaks(&table, 0.1, 0.25, 0.9) } };
    let (mut scratch, mut chance) = (Scratch::default(), Chance::new(1, 0, 0, false));
    let x = [1.0, 0.5, 0.5];
    let a = rule.heading::<false>(x, A, &mut chance, &mut scratch).unwrap();
    let b = peaks.heading::<false>(x, A, &mut chance, &mut scratch).unwrap();
    assert!(apart(a.direction, b.direction) < 1e-9 && (a.amplitude - b.amplitude).abs() < 1e-9);
    let mut starts = Vec::new();
    rule.starts::<false>(x, &mut scratch, &mut starts);
    assert!(
        apart(starts[0].direction, b.direction) < 1e-9
            || apart(starts[0].direction.map(|v| -v), b.direction) < 1e-9
    );
}

fn constant_rule(terms: &[f64]) -> Lattice<f64> {
    constant(terms)
}

#[test]
fn levels_and_threads_agree() {
    let table = AxisTable::new(8, 362);
    let values: Vec<f64> = curved(8);
    let field = lattice(values, false);
    let rule = MassRule {
        functions: Functions { field: &field, peaks: peaks(&table, 0.05, 0.25, 0.9) },
        part: 0.05,
        cos_cone: 0.7,
        angular_weight: 0.0,
    };
    let seeds: Vec<Seed> = (0..100)
        .map(|n| Seed { x: [1.0 + 0.03 * n as f64, 0.2, 0.3], number: n, direction: None })
        .collect();
    let run = |level| {
        let limits = Limits { cos_angle: 0.7, ..limits(0.4, Integrator::Midpoint) };
        track(level, &rule, &limits, &Regions::default(), &seeds, Starts::All(3), 9, 0)
    };
    let all = run(level());
    assert!(all.lines.len() > 50);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| run(level())), all);
    // Levels with fused multiply-add do the same operations.
    for other in SimdLevel::available() {
        if other.name() != "scalar" {
            assert_eq!(run(other), all);
        }
    }
}
