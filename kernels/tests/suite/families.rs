//! The loops of the signal families against plain formulas, measurement by
//! measurement, on shells that have blocks of their own and on packed ones.

#![allow(clippy::unwrap_used)]

use microtome_kernels::Plan;
use microtome_kernels::family::{isotropic, orthotropic, quadratic, tensor, zonal};
use microtome_kernels::harmonic::{pairs, row};
use microtome_kernels::simd::SimdLevel;
use std::process::Command;

const SHELLS: usize = 4;
const MEASUREMENTS: usize = 29;
const MU: [f64; 3] = [0.48, -0.6, 0.64];
const D: [f64; 6] = [1.7, 0.6, 0.4, 0.2, -0.1, 0.3];
/// Amplitude and the value that signal and Jacobian start from: loops must add.
const AMPLITUDE: f64 = 1.3;
const BEFORE: f64 = 0.25;

fn wave(i: usize, k: f64) -> f64 {
    (k * i as f64 + 0.3 * k).sin()
}

/// Shells 0 and 2 fill more than a block, 1 and 3 are packed.
fn shell_of(i: usize) -> usize {
    [0, 2, 0, 2, 1, 0, 2, 0, 3, 2][i % 10]
}

fn b_value(i: usize) -> f64 {
    [0.7, 1.0, 2.0, 3.0][shell_of(i)]
}

fn direction(i: usize) -> [f64; 3] {
    let v = [wave(i, 1.1), wave(i, 2.3) + 0.1, wave(i, 0.7)];
    let norm = v.iter().map(|c| c * c).sum::<f64>().sqrt();
    v.map(|c| c / norm)
}

fn plan() -> Plan {
    let shells: Vec<usize> = (0..MEASUREMENTS).map(shell_of).collect();
    let directions: Vec<[f64; 3]> = (0..MEASUREMENTS).map(direction).collect();
    let b: Vec<f64> = (0..MEASUREMENTS).map(b_value).collect();
    Plan::new(SHELLS, &shells, &directions, &b)
}

fn table(k: f64) -> [f64; SHELLS] {
    std::array::from_fn(|s| 0.6 + 0.4 * wave(s, k))
}

fn t(i: usize) -> f64 {
    let g = direction(i);
    g[0] * MU[0] + g[1] * MU[1] + g[2] * MU[2]
}

/// B : epsilon of a measurement.
fn contraction(i: usize, e: &[f64; 6]) -> f64 {
    let (g, b) = (direction(i), b_value(i));
    let m = [[e[0], e[3], e[4]], [e[3], e[1], e[5]], [e[4], e[5], e[2]]];
    (0..3).map(|j| (0..3).map(|k| b * g[j] * m[j][k] * g[k]).sum::<f64>()).sum()
}

/// Compares slots with a formula of the measurement: every term is below 10 and
/// has a few roundings.
fn compare(plan: &Plan, slots: &[f64], formula: impl Fn(usize) -> f64, what: &str) {
    for (i, &slot) in plan.slot_of().iter().enumerate() {
        let (got, truth) = (slots[slot], formula(i));
        assert!((got - truth).abs() < 1e-14, "{what} of measurement {i}: {got}, not {truth}");
    }
}

/// Weights in measurement order and in slots.
fn weights(plan: &Plan) -> (Vec<f64>, Vec<f64>) {
    let values: Vec<f64> = (0..MEASUREMENTS).map(|i| wave(i, 1.9)).collect();
    let mut slots = vec![0.0; plan.slots()];
    plan.scatter(&values, &mut slots);
    (values, slots)
}

fn close(got: f64, truth: f64, what: &str) {
    assert!((got - truth).abs() < 1e-13, "{what}: {got}, not {truth}");
}

fn of_shell(s: usize, f: impl Fn(usize) -> f64) -> f64 {
    (0..MEASUREMENTS).filter(|&i| shell_of(i) == s).map(f).sum()
}

#[test]
fn isotropic_loops_equal_the_formula() {
    let (plan, value, alpha) = (plan(), table(1.0), table(2.0));
    let n = plan.slots();
    let (mut signal, mut jacobian) = (vec![BEFORE; n], vec![BEFORE; 2 * n]);
    let columns = [isotropic::Column { index: 1, alpha: &alpha }];
    isotropic::accumulate(&plan, AMPLITUDE, &value, &columns, &mut signal, &mut jacobian);
    compare(&plan, &signal, |i| BEFORE + AMPLITUDE * value[shell_of(i)], "signal");
    compare(&plan, &jacobian[n..], |i| BEFORE + alpha[shell_of(i)], "column");
    assert!(jacobian[..n].iter().all(|v| *v == BEFORE));
    let (w, w_slots) = weights(&plan);
    let mut sums = [9.0; SHELLS];
    isotropic::pullback(&plan, &w_slots, &mut sums);
    for (s, sum) in sums.into_iter().enumerate() {
        close(sum, of_shell(s, |i| w[i]), "sum of weights");
    }
    let sets = 35;
    let values: Vec<f64> = (0..sets).flat_map(|set| table(set as f64)).collect();
    let mut out = vec![0.0; sets * MEASUREMENTS];
    isotropic::signal_batch(&plan, sets, &values, &mut out);
    for (set, row) in out.chunks(MEASUREMENTS).enumerate() {
        for (i, v) in row.iter().enumerate() {
            close(*v, table(set as f64)[shell_of(i)], "batch");
        }
    }
}

#[test]
fn quadratic_loops_equal_the_formula() {
    let (plan, a, c) = (plan(), table(1.0), table(2.0));
    let (alpha, beta, gamma) = (table(3.0), table(4.0), table(5.0));
    let n = plan.slots();
    let e = |i: usize| (-a[shell_of(i)] - c[shell_of(i)] * t(i) * t(i)).exp();
    let k = quadratic::Coefficients { a: &a, c: &c, mu: MU };
    let (mut signal, mut jacobian) = (vec![BEFORE; n], vec![BEFORE; 4 * n]);
    let columns = [quadratic::Column { index: 0, alpha: &alpha, beta: &beta }];
    let axis = Some(quadratic::AxisColumns { index: 1, gamma: &gamma });
    quadratic::accumulate(&plan, k, AMPLITUDE, &columns, axis, &mut signal, &mut jacobian);
    compare(&plan, &signal, |i| BEFORE + AMPLITUDE * e(i), "signal");
    let scalar = |i: usize| e(i) * (alpha[shell_of(i)] + beta[shell_of(i)] * t(i) * t(i));
    compare(&plan, &jacobian[..n], |i| BEFORE + scalar(i), "column");
    for part in 0..3 {
        let column = &jacobian[(1 + part) * n..(2 + part) * n];
        let formula = |i| BEFORE + e(i) * gamma[shell_of(i)] * t(i) * direction(i)[part];
        compare(&plan, column, formula, "axis column");
    }
    let (mut t_slots, mut e_slots, mut total) = (vec![9.0; n], vec![9.0; n], vec![BEFORE; n]);
    quadratic::signal(&plan, k, AMPLITUDE, &mut t_slots, &mut e_slots, &mut total);
    compare(&plan, &t_slots, t, "t");
    compare(&plan, &e_slots, e, "E");
    compare(&plan, &total, |i| BEFORE + AMPLITUDE * e(i), "total");
    let (w, w_slots) = weights(&plan);
    let mut sums = [9.0; 2 * SHELLS];
    let d_mu = quadratic::pullback(&plan, &c, &t_slots, &e_slots, &w_slots, &mut sums);
    for s in 0..SHELLS {
        close(sums[s], of_shell(s, |i| w[i] * e(i)), "sum of w E");
        close(sums[SHELLS + s], of_shell(s, |i| w[i] * e(i) * t(i) * t(i)), "sum of w E t²");
    }
    for (part, d) in d_mu.into_iter().enumerate() {
        let slope = |i: usize| -2.0 * c[shell_of(i)] * w[i] * e(i) * t(i) * direction(i)[part];
        close(d, (0..MEASUREMENTS).map(slope).sum(), "slope of the axis");
    }
    let mut out = vec![0.0; MEASUREMENTS];
    quadratic::signal_batch(&plan, 1, &a, &c, &MU, &mut out);
    for (i, v) in out.into_iter().enumerate() {
        close(v, e(i), "batch");
    }
}

/// $P_l$ and $dP_l/dt$ at the cosine of an angle by the Fourier series of Legendre,
/// all of whose coefficients are positive (NIST DLMF 18.5.11).
fn textbook_legendre(t: f64, l: usize) -> [f64; 2] {
    let angle = t.acos();
    let half = |n: usize| (1..=n).fold(1.0, |a, i| a * (2 * i - 1) as f64 / (2 * i) as f64);
    (0..=l).fold([0.0; 2], |[p, d], n| {
        let (weight, m) = (half(n) * half(l - n), l as f64 - 2.0 * n as f64);
        [p + weight * (m * angle).cos(), d + weight * m * (m * angle).sin() / angle.sin()]
    })
}

#[test]
fn zonal_loops_equal_the_formula() {
    let plan = plan();
    let n = plan.slots();
    let stride = 9;
    // The packed shells 1 and 3 have unequal lengths; shell 0 an even one, 2 an odd one.
    let terms = [8, 2, 9, 5];
    let series = |seed: f64| -> Vec<f64> {
        let value = |s: usize, k: usize| wave(s + 5 * k, seed) / (1 + k) as f64;
        (0..SHELLS * stride)
            .map(|i| (i / stride, i % stride))
            .map(|(s, k)| if k < terms[s] { value(s, k) } else { 0.0 })
            .collect()
    };
    let sum = |i: usize, c: &[f64], part: usize| -> f64 {
        let row = &c[shell_of(i) * stride..][..stride];
        row.iter().enumerate().map(|(k, c)| c * textbook_legendre(t(i), 2 * k)[part]).sum()
    };
    let (c, first, second) = (series(1.0), series(2.0), series(3.0));
    let columns = [zonal::Column { index: 4, c: &first }, zonal::Column { index: 0, c: &second }];
    let k = zonal::Series { c: &c, stride, terms: &terms, mu: MU };
    let (mut signal, mut jacobian) = (vec![BEFORE; n], vec![BEFORE; 6 * n]);
    zonal::accumulate(&plan, k, &columns, Some(1), &mut signal, &mut jacobian);
    compare(&plan, &signal, |i| BEFORE + sum(i, &c, 0), "signal");
    compare(&plan, &jacobian[4 * n..], |i| BEFORE + sum(i, &first, 0), "column");
    compare(&plan, &jacobian[..n], |i| BEFORE + sum(i, &second, 0), "column");
    for part in 0..3 {
        let column = &jacobian[(1 + part) * n..(2 + part) * n];
        for (i, &slot) in plan.slot_of().iter().enumerate() {
            let truth = BEFORE + sum(i, &c, 1) * direction(i)[part];
            close(column[slot], truth, "axis column");
        }
    }
    assert!(jacobian[5 * n..].iter().all(|v| *v == BEFORE));
    let (w, w_slots) = weights(&plan);
    let mut moments = vec![9.0; SHELLS * stride];
    let d_mu = zonal::pullback(&plan, k, &w_slots, &mut moments);
    for s in 0..SHELLS {
        for k in 0..terms[s] {
            let truth = of_shell(s, |i| w[i] * textbook_legendre(t(i), 2 * k)[0]);
            close(moments[s * stride + k], truth, "moment");
        }
    }
    // The pullback is the transpose of the columns.
    let along = |column: &[f64]| -> f64 {
        column.iter().zip(&w_slots).map(|(j, w)| (j - BEFORE) * w).sum()
    };
    for column in columns {
        let slope: f64 = moments.iter().zip(column.c).map(|(m, c)| m * c).sum();
        close(slope, along(&jacobian[column.index * n..][..n]), "slope of a column");
    }
    for (part, d) in d_mu.into_iter().enumerate() {
        let slope = |i: usize| w[i] * sum(i, &c, 1) * direction(i)[part];
        close(d, (0..MEASUREMENTS).map(slope).sum(), "slope of the axis");
        close(d, along(&jacobian[(1 + part) * n..][..n]), "slope of the axis by columns");
    }
    // More sets than one task of a batch has.
    let sets = 35;
    let several: Vec<f64> = (0..sets).flat_map(|set| series(1.0 + 0.1 * set as f64)).collect();
    let mut out = vec![0.0; sets * MEASUREMENTS];
    zonal::signal_batch(&plan, sets, &several, stride, &MU.repeat(sets), &mut out);
    for (set, row) in out.chunks(MEASUREMENTS).enumerate() {
        let c = &several[set * SHELLS * stride..][..SHELLS * stride];
        for (i, v) in row.iter().enumerate() {
            close(*v, sum(i, c, 0), "batch");
        }
    }
}

#[test]
fn tensor_loops_equal_the_formula() {
    let plan = plan();
    let n = plan.slots();
    let epsilon = [0.3, -0.2, 0.5, 0.1, 0.4, -0.6];
    let e = |i: usize| (-contraction(i, &D)).exp();
    let (mut signal, mut jacobian) = (vec![BEFORE; n], vec![BEFORE; 2 * n]);
    let columns = [tensor::Column { index: 1, alpha: 0.7, epsilon }];
    tensor::accumulate(&plan, &D, AMPLITUDE, &columns, &mut signal, &mut jacobian);
    compare(&plan, &signal, |i| BEFORE + AMPLITUDE * e(i), "signal");
    let column = |i: usize| BEFORE + e(i) * (0.7 + contraction(i, &epsilon));
    compare(&plan, &jacobian[n..], column, "column");
    let (mut e_slots, mut total) = (vec![9.0; n], vec![BEFORE; n]);
    tensor::signal(&plan, &D, AMPLITUDE, &mut e_slots, &mut total);
    compare(&plan, &e_slots, e, "E");
    compare(&plan, &total, |i| BEFORE + AMPLITUDE * e(i), "total");
    let (w, w_slots) = weights(&plan);
    let (zeroth, slope) = tensor::pullback(&plan, &e_slots, &w_slots);
    close(zeroth, (0..MEASUREMENTS).map(|i| w[i] * e(i)).sum(), "sum of w E");
    for (k, d) in slope.into_iter().enumerate() {
        // D_xy stands twice in the tensor, and so does its unit.
        let unit: [f64; 6] = std::array::from_fn(|j| f64::from(u8::from(j == k)));
        let truth = (0..MEASUREMENTS).map(|i| -w[i] * e(i) * contraction(i, &unit)).sum();
        close(d, truth, "slope of D");
    }
    let mut out = vec![0.0; MEASUREMENTS];
    tensor::signal_batch(&plan, 1, &D, &mut out);
    for (i, v) in out.into_iter().enumerate() {
        close(v, e(i), "batch");
    }
}

/// A frame with MU as its first axis.
fn frame(psi: f64) -> [[f64; 3]; 3] {
    let norm = MU[0].hypot(MU[1]);
    let p = [-MU[1] / norm, MU[0] / norm, 0.0];
    let q = [MU[1] * p[2] - MU[2] * p[1], MU[2] * p[0] - MU[0] * p[2], MU[0] * p[1] - MU[1] * p[0]];
    let (s, c) = psi.sin_cos();
    [MU, std::array::from_fn(|i| c * p[i] + s * q[i]), std::array::from_fn(|i| c * q[i] - s * p[i])]
}

/// A real harmonic by the textbook: normalised associated Legendre function of
/// the polar angle (upward in the degree) times the cosine of m times the azimuth.
fn textbook_harmonic(t: [f64; 3], l: usize, m: usize) -> f64 {
    let azimuth = t[2].atan2(t[1]);
    let sine = (1.0 - t[0] * t[0]).max(0.0).sqrt();
    let mut now = (1..=m).fold(1.0, |p, i| p * (2 * i - 1) as f64 * sine);
    let mut last = 0.0;
    for n in m..l {
        let next = ((2 * n + 1) as f64 * t[0] * now - (n + m) as f64 * last) / (n - m + 1) as f64;
        (last, now) = (now, next);
    }
    let ratio = ((l - m + 1)..=(l + m)).fold(1.0, |p, i| p / i as f64);
    let double = if m == 0 { 1.0 } else { 2.0 };
    (double * ratio).sqrt() * now * (m as f64 * azimuth).cos()
}

#[test]
fn orthotropic_loops_equal_the_formula() {
    let plan = plan();
    let n = plan.slots();
    let terms = 9;
    let stride = pairs(terms);
    // Unequal lengths: shell s uses fewer orders and degrees.
    let lengths: Vec<usize> = (0..SHELLS * terms)
        .map(|i| {
            let (s, j) = (i / terms, i % terms);
            if j + s < terms { terms - j - s.min(terms - j - 1) } else { 0 }
        })
        .collect();
    let series = |seed: f64| -> Vec<f64> {
        let mut out = vec![0.0; SHELLS * stride];
        for s in 0..SHELLS {
            for j in 0..terms {
                for k in 0..lengths[s * terms + j] {
                    out[s * stride + row(terms, j) + k] = 0.3 * wave(s + 3 * j + 7 * k, seed);
                }
            }
        }
        out
    };
    let cosines = |i: usize, frame: &[[f64; 3]; 3]| {
        let g = direction(i);
        frame.map(|m| m[0] * g[0] + m[1] * g[1] + m[2] * g[2])
    };
    let formula = |i: usize, c: &[f64], frame: &[[f64; 3]; 3]| -> f64 {
        let t = cosines(i, frame);
        let mut sum = 0.0;
        for j in 0..terms {
            for k in 0..terms - j {
                let h = textbook_harmonic(t, 2 * (j + k), 2 * j);
                sum += c[shell_of(i) * stride + row(terms, j) + k] * h;
            }
        }
        sum
    };
    let psi = 0.7;
    let here = frame(psi);
    let c = series(1.0);
    let scalars: Vec<Vec<f64>> = (0..6).map(|k| series(2.0 + k as f64)).collect();
    let columns: Vec<orthotropic::Column<'_>> =
        scalars.iter().enumerate().map(|(k, c)| orthotropic::Column { index: k + 2, c }).collect();
    let slope = [[0.0; 3], here[2], here[1].map(|v| -v)];
    let turns = [orthotropic::FrameColumn { index: 1, slope }];
    let k = orthotropic::Series { c: &c, terms, lengths: &lengths, frame: here };
    let (mut signal, mut jacobian) = (vec![BEFORE; n], vec![BEFORE; 8 * n]);
    orthotropic::accumulate(&plan, k, &columns, &turns, &mut signal, &mut jacobian);
    compare(&plan, &signal, |i| BEFORE + formula(i, &c, &here), "signal");
    for (k, scalar) in scalars.iter().enumerate() {
        let column = &jacobian[(k + 2) * n..(k + 3) * n];
        compare(&plan, column, |i| BEFORE + formula(i, scalar, &here), "column");
    }
    assert!(jacobian[..n].iter().all(|v| *v == BEFORE));
    // The slope along psi by differences of sixth order.
    let turned = |i: usize| {
        let at = |x: f64| formula(i, &c, &frame(psi + 0.002 * x));
        let odd = |x: f64| at(x) - at(-x);
        (45.0 * odd(1.0) - 9.0 * odd(2.0) + odd(3.0)) / 0.12
    };
    for (i, &slot) in plan.slot_of().iter().enumerate() {
        let (got, truth) = (jacobian[n + slot] - BEFORE, turned(i));
        assert!((got - truth).abs() < 1e-9, "turn of measurement {i}: {got}, not {truth}");
    }
    let (w, w_slots) = weights(&plan);
    let mut moments = vec![9.0; SHELLS * stride];
    let d_frame = orthotropic::pullback(&plan, k, &w_slots, &mut moments);
    for s in 0..SHELLS {
        for j in 0..terms {
            for k in 0..lengths[s * terms + j] {
                let truth = of_shell(s, |i| {
                    w[i] * textbook_harmonic(cosines(i, &here), 2 * (j + k), 2 * j)
                });
                close(moments[s * stride + row(terms, j) + k], truth, "moment");
            }
        }
    }
    let along: f64 = d_frame.iter().flatten().zip(slope.iter().flatten()).map(|(d, s)| d * s).sum();
    let truth: f64 = (0..MEASUREMENTS).map(|i| w[i] * turned(i)).sum();
    assert!((along - truth).abs() < 1e-8, "slope of the frame: {along}, not {truth}");
    // Every axis by itself: the same weights as columns.
    let turns: Vec<_> = (0..9)
        .map(|k| {
            let mut slope = [[0.0; 3]; 3];
            slope[k / 3][k % 3] = 1.0;
            orthotropic::FrameColumn { index: k, slope }
        })
        .collect();
    let mut jacobian = vec![0.0; 9 * n];
    orthotropic::accumulate(&plan, k, &[], &turns, &mut signal, &mut jacobian);
    for (k, column) in jacobian.chunks(n).enumerate() {
        let sum: f64 = column.iter().zip(&w_slots).map(|(j, w)| j * w).sum();
        close(d_frame[k / 3][k % 3], sum, "slope of an axis");
    }
    let mut out = vec![0.0; 2 * MEASUREMENTS];
    let both = [c.clone(), scalars[0].clone()].concat();
    let frames = [frame(0.7), frame(1.9)];
    let flat: Vec<f64> = frames.iter().flatten().flatten().copied().collect();
    orthotropic::signal_batch(&plan, 2, &both, terms, &flat, &mut out);
    for i in 0..MEASUREMENTS {
        close(out[i], formula(i, &c, &frames[0]), "batch");
        close(out[MEASUREMENTS + i], formula(i, &scalars[0], &frames[1]), "batch");
    }
}

/// The level is fixed for a process, so the formulas run again in one process each.
#[test]
fn every_level_equals_the_formulas() {
    for level in SimdLevel::available() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--test-threads=1", "loops_equal_the_formula"])
            .env("MICROTOME_SIMD", level.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {text}", level.name());
        assert!(text.contains("zonal_loops_equal_the_formula ... ok"), "{text}");
    }
}

#[test]
fn a_plan_without_measurements_has_no_signals() {
    let plan = Plan::new(1, &[], &[], &[]);
    isotropic::signal_batch(&plan, 3, &[1.0; 3], &mut []);
}
