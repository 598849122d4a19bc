//! Time of one exponential: `exp_in_place` at every level beside the library's.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use microtome_kernels::exp::exp_in_place_at;
use microtome_kernels::log::log_in_place_at;
use microtome_kernels::simd::SimdLevel;
use std::hint::black_box;

fn exponentials(c: &mut Criterion) {
    for n in [96, 288] {
        let x: Vec<f64> = (0..n).map(|i| -0.02 * i as f64).collect();
        let mut y = x.clone();
        let mut group = c.benchmark_group(format!("exp/{n}"));
        // The time of one is the reported time divided by n.
        group.throughput(Throughput::Elements(n as u64));
        for level in SimdLevel::available() {
            group.bench_function(level.name(), |b| {
                b.iter(|| {
                    y.copy_from_slice(black_box(&x));
                    exp_in_place_at(level, &mut y);
                    black_box(&mut y);
                });
            });
        }
        group.bench_function("library", |b| {
            b.iter(|| {
                y.iter_mut().zip(black_box(&x)).for_each(|(y, x)| *y = x.exp());
                black_box(&mut y);
            });
        });
        group.finish();
    }
}

fn logarithms(c: &mut Criterion) {
    let n = 288;
    let x: Vec<f64> = (0..n).map(|i| 1.0 + 3.1 * i as f64).collect();
    let mut y = x.clone();
    let mut group = c.benchmark_group(format!("log/{n}"));
    group.throughput(Throughput::Elements(n as u64));
    for level in SimdLevel::available() {
        group.bench_function(level.name(), |b| {
            b.iter(|| {
                y.copy_from_slice(black_box(&x));
                log_in_place_at(level, &mut y);
                black_box(&mut y);
            });
        });
    }
    group.bench_function("library", |b| {
        b.iter(|| {
            y.iter_mut().zip(black_box(&x)).for_each(|(y, x)| *y = x.ln());
            black_box(&mut y);
        });
    });
    group.finish();
}

criterion_group!(benches, exponentials, logarithms);
criterion_main!(benches);
