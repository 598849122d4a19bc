#![allow(clippy::unwrap_used, clippy::needless_range_loop)]
use super::functions::{exp2, log_bessel};
use super::lanes::{Narrow, Singles, WIDTH};
use super::*;
use crate::family::quadratic;
use crate::lanes::{Lanes, dispatch};
use crate::rician::rician;
use crate::simd::SimdLevel;
use crate::special::{bessel_ratio, ln_i0e};

#[inline(always)]
fn functions_body<L: Lanes>(x: &mut Narrow, out: &mut [Narrow; 4]) {
    let v = L::Single::load(x);
    exp2(v).store(&mut out[0]);
    let bessel = log_bessel::<L::Single, true>(v);
    bessel.factor.store(&mut out[1]);
    bessel.offset.store(&mut out[2]);
    bessel.ratio.store(&mut out[3]);
}

dispatch! {
    fn functions_at / functions_body(x: &mut Narrow, out: &mut [Narrow; 4])
}

/// Within a few roundings of $2^{-24}$, 6e-8, whatever the neighbours are.
#[test]
fn functions_are_those_of_double_precision() {
    let mut x: Vec<f32> = (-2000..2000).map(|i| i as f32 * 0.0137).collect();
    x.extend((0..600).map(|i| (i as f32 * 0.03).exp() * if i % 7 == 0 { -1.0 } else { 1.0 }));
    x.extend([0.0, -0.0, 6.0, 5.999_999_5, 1e-30, 1e12]);
    x.resize(x.len().next_multiple_of(WIDTH), 1.0);
    for level in SimdLevel::available() {
        for chunk in x.as_chunks::<WIDTH>().0 {
            let mut out = [[0.0; WIDTH]; 4];
            functions_at(level, &mut { *chunk }, &mut out);
            for (l, &x) in chunk.iter().enumerate() {
                let power = f64::from(x).clamp(-125.0, 127.0).exp2();
                let error = f64::from(out[0][l]) / power - 1.0;
                assert!(error.abs() < 2.5e-7, "2^{x}: {error:e}");
                let ln = f64::from(out[2][l]) - 0.5 * f64::from(out[1][l]).ln();
                let truth = ln_i0e(f64::from(x));
                assert!((ln - truth).abs() < 5e-7 * truth.abs().max(1.0), "ln i0e({x}) = {ln}");
                let (r, truth) = (f64::from(out[3][l]), bessel_ratio(f64::from(x)));
                assert!((r - truth).abs() <= 4e-7 * truth.abs(), "r({x}) = {r}, not {truth}");
            }
        }
    }
    let mut out = [[0.0; WIDTH]; 4];
    functions_at(level(), &mut [f32::NAN; WIDTH], &mut out);
    assert!(out[0][3].is_nan() && out[2][3].is_nan() && out[3][3].is_nan());
}

/// Shells of 18, 90 and 90 measurements and two small ones, a signal of so many compartments
/// at an SNR.
struct Case {
    plan: Plan,
    y: Vec<f64>,
    floor: Vec<f64>,
    a: [Vec<f64>; MOST],
    c: [Vec<f64>; MOST],
    mu: [[f64; 3]; MOST],
    amplitude: [f64; MOST],
}

impl Case {
    fn new(snr: f64, count: usize) -> Self {
        let b = [0.0, 1.0, 3.0, 0.7, 2.0];
        let counts = [18, 90, 90, 3, 6];
        let shell_of: Vec<usize> =
            counts.iter().enumerate().flat_map(|(s, &n)| std::iter::repeat_n(s, n)).collect();
        let directions: Vec<[f64; 3]> = (0..shell_of.len())
            .map(|i| {
                let z = ((i as f64 * 0.618) % 1.0) * 2.0 - 1.0;
                let (sine, cosine) = (i as f64 * 2.4).sin_cos();
                let r = (1.0 - z * z).sqrt();
                [r * cosine, r * sine, z]
            })
            .collect();
        let b_of: Vec<f64> = shell_of.iter().map(|&s| b[s]).collect();
        let plan = Plan::new(b.len(), &shell_of, &directions, &b_of);
        let row = |d: f64| b.map(|b| b * d).to_vec();
        let unit = |v: [f64; 3]| v.map(|x| x / (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt());
        let mut case = Self {
            plan,
            y: Vec::new(),
            floor: b.map(|b| 0.3 * snr * (-1.3 * b).exp()).to_vec(),
            a: [row(0.0), row(0.4), row(0.1)],
            c: [row(1.9), row(1.2), row(2.5)],
            mu: [unit([0.3, -0.5, 0.8]), unit([1.0, 0.2, 0.0]), unit([-0.1, 0.9, 0.3])],
            amplitude: [0.4 * snr, 0.2 * snr, 0.1 * snr],
        };
        let signal = case.signal(count);
        // Noise of about one σ that no generator is needed for.
        let noise = |i: usize| 1.4 * (i as f64 * 12.9898).sin();
        case.y = signal.iter().enumerate().map(|(i, s)| (s + noise(i)).abs()).collect();
        for (y, m) in case.y.iter_mut().zip(case.plan.mask()) {
            *y *= m;
        }
        case
    }

    fn compartments(&self, count: usize) -> Vec<Compartment<'_>> {
        let one = |q: usize| Compartment {
            amplitude: self.amplitude[q],
            a: &self.a[q],
            c: &self.c[q],
            mu: self.mu[q],
        };
        (0..count).map(one).collect()
    }

    fn coefficients(&self, q: usize) -> quadratic::Coefficients<'_> {
        quadratic::Coefficients { a: &self.a[q], c: &self.c[q], mu: self.mu[q] }
    }

    fn signal(&self, count: usize) -> Vec<f64> {
        let mut signal = vec![0.0; self.plan.slots()];
        crate::family::isotropic::accumulate(
            &self.plan,
            1.0,
            &self.floor,
            &[],
            &mut signal,
            &mut [],
        );
        for q in 0..count {
            let (k, a) = (self.coefficients(q), self.amplitude[q]);
            quadratic::accumulate(&self.plan, k, a, &[], None, &mut signal, &mut []);
        }
        signal
    }

    /// Value, score sums, as in double precision.
    fn truth(&self, noise: Noise, count: usize) -> (f64, Sums, f64) {
        let signal = self.signal(count);
        let n = signal.len();
        let mut score = vec![0.0; n];
        let mask = self.plan.mask();
        let value = match noise {
            Noise::Rician => rician(&self.y, &signal, mask, 1.0, &mut score),
            Noise::Gaussian => crate::gaussian::gaussian(&self.y, &signal, mask, 1.0, &mut score),
        };
        let shells = self.plan.shells();
        let mut sums = Sums::new(shells);
        crate::family::isotropic::pullback(&self.plan, &score, &mut sums.weight);
        for q in 0..count {
            let (mut t, mut e, mut total) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            quadratic::signal(&self.plan, self.coefficients(q), 1.0, &mut t, &mut e, &mut total);
            let mut both = vec![0.0; 2 * shells];
            sums.axis[q] = quadratic::pullback(&self.plan, &self.c[q], &t, &e, &score, &mut both);
            sums.zeroth[q].copy_from_slice(&both[..shells]);
            sums.second[q].copy_from_slice(&both[shells..]);
        }
        let size = score.iter().map(|s| s.abs()).sum();
        (value, sums, size)
    }
}

/// 207 measurements: the log likelihood within 2e-4 nats at an SNR of 30, the sums of scores
/// (which are of the size of 10) within 1e-4; both go as the SNR beyond that.
#[test]
fn the_sum_is_that_of_double_precision() {
    for (snr, limit) in [(10.0, 1e-4), (30.0, 2e-4), (100.0, 6e-4), (900.0, 6e-3)] {
        for count in 1..=MOST {
            let case = Case::new(snr, count);
            let m = Measurements::new(&case.plan, &case.y, 1.0).unwrap();
            for noise in [Noise::Gaussian, Noise::Rician] {
                let (truth, expected, size) = case.truth(noise, count);
                let mut sums = Sums::new(m.shells());
                let compartments = case.compartments(count);
                let value = m.gradient(noise, &case.floor, &compartments, &mut sums);
                assert!((value - truth).abs() < limit, "{snr} {noise:?} {count}: {value} {truth}");
                let near = |a: f64, b: f64, what: &str| {
                    let limit = 0.5 * limit + 1e-6 * size;
                    assert!((a - b).abs() < limit, "{snr} {noise:?} {count} {what}: {a} {b}");
                };
                for s in 0..m.shells() {
                    near(sums.weight[s], expected.weight[s], "weight");
                    for q in 0..count {
                        near(sums.zeroth[q][s], expected.zeroth[q][s], "zeroth");
                        near(sums.second[q][s], expected.second[q][s], "second");
                    }
                }
                for q in 0..count {
                    for i in 0..3 {
                        near(sums.axis[q][i], expected.axis[q][i], "axis");
                    }
                }
                assert_eq!(value, m.value(noise, &case.floor, &compartments));
            }
        }
    }
}

#[test]
fn weights_count() {
    let case = Case::new(20.0, 1);
    let weights: Vec<f64> = (0..case.plan.measurements()).map(|i| 1.0 + (i % 4) as f64).collect();
    let plan = case.plan.clone().weighted(&weights);
    let m = Measurements::new(&plan, &case.y, 1.0).unwrap();
    let case = Case { plan, ..case };
    let (truth, expected, _) = case.truth(Noise::Gaussian, 1);
    let mut sums = Sums::new(m.shells());
    let value = m.gradient(Noise::Gaussian, &case.floor, &case.compartments(1), &mut sums);
    assert!((value / truth - 1.0).abs() < 2e-6, "{value} {truth}");
    for (a, b) in sums.weight.iter().zip(&expected.weight) {
        assert!((a - b).abs() < 2e-6 * b.abs() + 1e-3, "{a} {b}");
    }
}

#[test]
fn what_single_precision_cannot_hold_is_refused() {
    let case = Case::new(30.0, 2);
    let is_there = |y: &[f64], sigma: f64| Measurements::new(&case.plan, y, sigma).is_some();
    assert!(is_there(&case.y, 1.0) && !is_there(&case.y, 0.01));
    let mut y = case.y.clone();
    y[7] = f64::NAN;
    assert!(!is_there(&y, 1.0) && !is_there(&case.y, 0.0) && !is_there(&case.y, f64::NAN));
    let m = Measurements::new(&case.plan, &case.y, 1.0).unwrap();
    assert!(m.value(Noise::Rician, &case.floor, &[]).is_nan());
    let mut compartments = case.compartments(1);
    compartments[0].amplitude = f64::NAN;
    assert!(m.value(Noise::Rician, &case.floor, &compartments).is_nan());
}

#[test]
fn levels_agree() {
    let case = Case::new(30.0, 2);
    let m = Measurements::new(&case.plan, &case.y, 1.0).unwrap();
    let all = |level: SimdLevel| {
        let mut sums = Sums::new(m.shells());
        let compartments = case.compartments(2);
        let value = likelihood::gradient_at(
            level,
            &m,
            Noise::Rician,
            &case.floor,
            &compartments,
            &mut sums,
        );
        let plain = likelihood::value_at(level, &m, Noise::Rician, &case.floor, &compartments);
        assert_eq!(value, plain);
        [vec![value], sums.weight, sums.zeroth.concat(), sums.second.concat(), sums.axis.concat()]
            .concat()
    };
    let with_fma: Vec<Vec<f64>> =
        SimdLevel::available().into_iter().filter(|l| l.name() != "scalar").map(all).collect();
    for pair in with_fma.windows(2) {
        assert_eq!(pair[0], pair[1]);
    }
    let scalar = all(SimdLevel::available()[0]);
    if let Some(truth) = with_fma.first() {
        assert!((scalar[0] - truth[0]).abs() < 3e-4, "{} {}", scalar[0], truth[0]);
    }
}
