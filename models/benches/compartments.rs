//! Coefficients and slopes of every compartment: one call of `lower`.
//!
//! `cargo bench -p microtome-models --bench compartments` (three shells of one
//! timing; eight shells of four).
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use microtome_models::{Shell, register};
use std::hint::black_box;

fn shells(timings: &[(f64, f64)], b: &[f64]) -> Vec<Shell> {
    let pulses = timings.iter().flat_map(|t| b.iter().map(move |b| (*t, *b)));
    pulses.map(|((delta, big_delta), b)| Shell::pulsed(b, delta, big_delta)).collect()
}

fn lower(c: &mut Criterion) {
    let one = shells(&[(10.6, 43.1)], &[0.0, 1.0, 2.0, 3.0]);
    let four = shells(&[(12.9, 21.8), (20.0, 40.0), (8.0, 49.0), (5.0, 80.0)], &[1.0, 3.0]);
    for kind in register() {
        let scalars: Vec<f64> = kind
            .parameters()
            .iter()
            .map(|p| match p.name {
                "diameter" => 3.0,
                "separation" | "length" => 6.0,
                _ => p.default.unwrap_or(p.scale),
            })
            .collect();
        for (name, shells) in [("one timing", &one), ("four timings", &four)] {
            let mut out = kind.coefficients(shells);
            c.bench_function(&format!("{}, {name}", kind.kind()), |b| {
                b.iter(|| {
                    let mu = [0.0, 0.0, 1.0];
                    kind.lower(black_box(shells), black_box(&scalars), mu, &mut out);
                    black_box(&out);
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(200)).measurement_time(std::time::Duration::from_millis(500));
    targets = lower
}
criterion_main!(benches);
