//! Time of the diagnostics of one scalar: 4 chains of 500 draws.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use microtome_inference::diagnostics::{Chains, Workspace, ess_bulk, ess_tail, rhat, summarize};
use std::hint::black_box;

const CHAINS: usize = 4;
const DRAWS: usize = 500;
/// Scalars that are visited in turn, so that no branch is learnt by heart.
const SCALARS: usize = 64;

/// Autoregressive draws, close to normal.
fn draws(memory: f64) -> Vec<Vec<f64>> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mut x = 0.0;
    (0..SCALARS)
        .map(|_| {
            (0..CHAINS * DRAWS)
                .map(|_| {
                    x = memory * x + (0..6).map(|_| uniform()).sum::<f64>();
                    x
                })
                .collect()
        })
        .collect()
}

fn bench(c: &mut Criterion) {
    for (name, memory) in [("independent", 0.0), ("nuts-like", 0.3), ("slow", 0.95)] {
        let scalars = draws(memory);
        let mut w = Workspace::new();
        let mut turn = 0;
        let mut next = || {
            turn = (turn + 1) % SCALARS;
            Chains::new(&scalars[turn], CHAINS, DRAWS).unwrap()
        };
        let mut group = c.benchmark_group(format!("4x500 {name}"));
        group.bench_function("summarize", |b| b.iter(|| black_box(summarize(next(), &mut w))));
        group.bench_function("rhat", |b| b.iter(|| black_box(rhat(next(), &mut w))));
        group.bench_function("ess_bulk", |b| b.iter(|| black_box(ess_bulk(next(), &mut w))));
        group.bench_function("ess_tail", |b| b.iter(|| black_box(ess_tail(next(), &mut w))));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
