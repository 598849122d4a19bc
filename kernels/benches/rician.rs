//! Time of one measurement of the likelihoods, with as many exponentials for scale.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use microtome_kernels::Plan;
use microtome_kernels::exp::exp_in_place;
use microtome_kernels::nc_chi::nc_chi;
use microtome_kernels::rician::{rician, rician_at, rician_value, rician_with_curvature};
use microtome_kernels::simd::SimdLevel;
use microtome_kernels::single::{Compartment, Measurements, Noise, Sums};
use microtome_kernels::student_t::student_t;
use std::hint::black_box;

/// Signals with x = S² in a range, in an order that mixes it.
fn signals(n: usize, low: f64, high: f64) -> Vec<f64> {
    (0..n).map(|i| (low + (high - low) * (i as f64 * 0.618_034).fract()).sqrt()).collect()
}

/// A stick and ball at four b-values (0, 1, 2, 3 ms/µm²) and SNR 30, by shells.
fn voxel(n: usize) -> Vec<f64> {
    let signal = |i: usize| {
        let (b, cosine) = ((i * 4 / n) as f64, (i as f64 * 0.618_034).fract());
        30.0 * (0.6 * (-1.7 * b * cosine * cosine).exp() + 0.4 * (-0.9 * b).exp())
    };
    (0..n).map(signal).collect()
}

fn likelihood(c: &mut Criterion) {
    for n in [96, 288] {
        let mask = vec![1.0; n];
        let (mut score, mut curvature) = (vec![0.0; n], vec![0.0; n]);
        let mut group = c.benchmark_group(format!("rician/{n}"));
        // The time of one measurement is the reported time divided by n.
        group.throughput(Throughput::Elements(n as u64));
        let cases = [
            ("large", signals(n, 25.0, 900.0)),
            ("middle", signals(n, 9.0, 19.0)),
            ("small", signals(n, 0.0, 7.5)),
            ("mixed", signals(n, 0.0, 100.0)),
            ("voxel", voxel(n)),
        ];
        for (name, s) in &cases {
            group.bench_function(format!("{name}/value"), |b| {
                b.iter(|| rician_value(black_box(s), s, &mask, 1.0));
            });
            group.bench_function(format!("{name}/score"), |b| {
                b.iter(|| rician(black_box(s), s, &mask, 1.0, &mut score));
            });
            group.bench_function(format!("{name}/curvature"), |b| {
                b.iter(|| {
                    rician_with_curvature(black_box(s), s, &mask, 1.0, &mut score, &mut curvature)
                });
            });
        }
        let voxel = &cases[4].1;
        for coils in [4, 32] {
            group.bench_function(format!("voxel/nc_chi_{coils}/score"), |b| {
                b.iter(|| nc_chi(black_box(voxel), voxel, &mask, 1.0, coils, &mut score));
            });
        }
        let zeros = vec![0.0; n];
        group.bench_function("voxel/student_t/score", |b| {
            b.iter(|| student_t(black_box(voxel), &zeros, &mask, 1.0, 5.0, &mut score));
        });
        let large = &cases[0].1;
        for level in SimdLevel::available() {
            group.bench_function(format!("large/score/{}", level.name()), |b| {
                b.iter(|| rician_at(level, black_box(large), large, &mask, 1.0, &mut score));
            });
        }
        let mut x = vec![0.0; n];
        group.bench_function("exp", |b| {
            b.iter(|| {
                x.fill(black_box(-1.3));
                exp_in_place(&mut x);
                black_box(&mut x);
            });
        });
        group.finish();
    }
}

/// The whole likelihood of a stick and a ball, 18 and 3 x 90 measurements at SNR 30.
fn stick_and_ball(c: &mut Criterion) {
    let shell_of: Vec<usize> =
        (0..288).map(|i| if i < 18 { 0 } else { (i - 18) / 90 + 1 }).collect();
    let directions: Vec<[f64; 3]> = (0..288)
        .map(|i| {
            let z = (f64::from(i) * 0.618_034).fract() * 2.0 - 1.0;
            let (sine, cosine) = (f64::from(i) * 2.4).sin_cos();
            [(1.0 - z * z).sqrt() * cosine, (1.0 - z * z).sqrt() * sine, z]
        })
        .collect();
    let b: Vec<f64> = shell_of.iter().map(|s| *s as f64).collect();
    let plan = Plan::new(4, &shell_of, &directions, &b);
    let (a, slope) = ([0.0; 4], [0.0, 1.7, 3.4, 5.1]);
    let mu = [0.48, -0.6, 0.64];
    let floor: Vec<f64> = (0..4).map(|s| 12.0 * (-0.9 * f64::from(s)).exp()).collect();
    let stick = Compartment { amplitude: 18.0, a: &a, c: &slope, mu };
    let mut y = vec![0.0; plan.slots()];
    for (s, slots) in plan.shell_slots().iter().enumerate() {
        for slot in slots.clone() {
            let t: f64 = (0..3).map(|i| plan.direction()[i][slot] * mu[i]).sum();
            let noise = 1.4 * (slot as f64 * 12.9898).sin();
            y[slot] = (floor[s] + 18.0 * (-slope[s] * t * t).exp() + noise).abs();
        }
    }
    let Some(m) = Measurements::new(&plan, &y, 1.0) else { return };
    let mut sums = Sums::new(4);
    let mut group = c.benchmark_group("single");
    group.bench_function("value", |b| {
        b.iter(|| m.value(Noise::Rician, black_box(&floor), &[stick]));
    });
    group.bench_function("gradient", |b| {
        b.iter(|| m.gradient(Noise::Rician, black_box(&floor), &[stick], &mut sums));
    });
    group.bench_function("gaussian/gradient", |b| {
        b.iter(|| m.gradient(Noise::Gaussian, black_box(&floor), &[stick], &mut sums));
    });
    group.bench_function("prepare", |b| b.iter(|| Measurements::new(&plan, black_box(&y), 1.0)));
}

criterion_group!(benches, likelihood, stick_and_ball);
criterion_main!(benches);
