//! Time of one pass of the series families over an acquisition, on one thread, beside
//! its floor: `cargo bench -p microtome-kernels --bench families`. CPU time, the median
//! of 51 batches.
//!
//! The floor is the number of multiply-adds, at one block of eight a cycle (two pipes
//! of 256 bits, or one of 512). The clock is that of a chain of integer products, three
//! cycles each, in the same run.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ThreadTime;
use microtome_kernels::Plan;
use microtome_kernels::family::{orthotropic, zonal};
use microtome_kernels::harmonic::pairs;
use microtome_kernels::simd::LANES;
use std::hint::black_box;

const MU: [f64; 3] = [0.48, -0.6, 0.64];
const SHELLS: usize = 3;

/// Shells of `n` measurements each.
fn plan(n: usize) -> Plan {
    let shells: Vec<usize> = (0..SHELLS * n).map(|i| i / n).collect();
    let directions: Vec<[f64; 3]> = (0..SHELLS * n)
        .map(|i| {
            let z = (i as f64 * 0.618_034).fract();
            let (s, c) = (i as f64 * 2.4).sin_cos();
            let r = (1.0 - z * z).sqrt();
            [r * c, r * s, z]
        })
        .collect();
    let b: Vec<f64> = shells.iter().map(|&s| 1.0 + s as f64).collect();
    Plan::new(SHELLS, &shells, &directions, &b)
}

/// Nanoseconds of one call.
fn cost(calls: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..51)
        .map(|_| {
            let start = ThreadTime::now();
            for _ in 0..calls {
                run();
            }
            start.elapsed().as_secs_f64() * 1e9 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Cycles a nanosecond. The chain is of squares, which no compiler can shorten.
fn clock() -> f64 {
    let steps = 10_000;
    let chain = cost(20, || {
        let first = black_box(3_u64);
        black_box((0..steps).fold(first, |x, _| x.wrapping_mul(x)));
    });
    3.0 * f64::from(steps) / chain
}

fn row(what: &str, nanoseconds: f64, blocks: usize, multiply_adds: usize, clock: f64) {
    let floor = (blocks * multiply_adds) as f64 / clock;
    println!("{what}: {nanoseconds:.0} ns; floor {floor:.0} ns, ratio {:.1}", nanoseconds / floor);
}

fn zonal_rows(plan: &Plan, terms: usize, clock: f64) {
    let slots = plan.slots();
    let c: Vec<f64> = (0..SHELLS * terms).map(|i| 0.9_f64.powi((i % terms) as i32)).collect();
    let used = [terms; SHELLS];
    let series = zonal::Series { c: &c, stride: terms, terms: &used, mu: MU };
    let columns = [0, 1].map(|index| zonal::Column { index, c: &c });
    let (mut signal, mut jacobian) = (vec![0.0; slots], vec![0.0; 5 * slots]);
    let (weight, mut moments) = (vec![0.5; slots], vec![0.0; SHELLS * terms]);
    // The cosine and its square; the recurrence of a polynomial and of its slope with the
    // sum of the slope; one sum.
    let (point, step, slope, sum) = (4, 3 * (terms - 1), 4 * (terms - 1), terms);
    let what = |part: &str| format!("zonal, {slots} slots, {terms} terms, {part}");
    let blocks = slots / LANES;
    let time = cost(2000, || {
        zonal::accumulate(plan, black_box(series), &[], None, &mut signal, &mut []);
    });
    row(&what("signal"), time, blocks, point + step + sum, clock);
    let time = cost(1000, || {
        let series = black_box(series);
        zonal::accumulate(plan, series, &columns, Some(2), &mut signal, &mut jacobian);
    });
    let all = point + step + 3 * sum + slope + 4;
    row(&what("2 columns and the axis"), time, blocks, all, clock);
    let time = cost(1000, || {
        black_box(zonal::pullback(plan, black_box(series), &weight, &mut moments));
    });
    row(&what("pullback"), time, blocks, point + step + sum + slope + 5, clock);
}

fn orthotropic_rows(plan: &Plan, terms: usize, clock: f64) {
    let (slots, pairs) = (plan.slots(), pairs(terms));
    let c: Vec<f64> = (0..SHELLS * pairs).map(|i| 0.9_f64.powi((i % pairs) as i32)).collect();
    let lengths = orthotropic::full_lengths(SHELLS, terms);
    // MU and two axes across it.
    let frame =
        [MU, [0.780_868_809, 0.624_695_048, 0.0], [-0.399_804_831, 0.499_756_038, 0.768_375]];
    let series = orthotropic::Series { c: &c, terms, lengths: &lengths, frame };
    let columns = [0, 1].map(|index| orthotropic::Column { index, c: &c });
    let turns = [2, 3, 4].map(|index| orthotropic::FrameColumn { index, slope: frame });
    let (mut signal, mut jacobian) = (vec![0.0; slots], vec![0.0; 5 * slots]);
    let (weight, mut moments) = (vec![0.5; slots], vec![0.0; SHELLS * pairs]);
    // The cosines and what follows; recurrences of Q and its slope, sums; the angle with
    // its slopes and what it multiplies.
    let (point, step, slope, angle) = (12, 3 * (pairs - terms), 3 * (pairs - terms), 3 * terms);
    let what = |part: &str| format!("orthotropic, {slots} slots, {terms} degrees, {part}");
    let blocks = slots / LANES;
    let time = cost(200, || {
        let series = black_box(series);
        orthotropic::accumulate(plan, series, &[], &[], &mut signal, &mut []);
    });
    row(&what("signal"), time, blocks, point + step + pairs + angle, clock);
    let time = cost(100, || {
        let series = black_box(series);
        orthotropic::accumulate(plan, series, &columns, &turns, &mut signal, &mut jacobian);
    });
    let all = point + step + slope + 4 * pairs + 4 * angle + 36;
    row(&what("2 columns and 3 turns"), time, blocks, all, clock);
    let time = cost(100, || {
        black_box(orthotropic::pullback(plan, black_box(series), &weight, &mut moments));
    });
    let all = point + step + slope + 3 * pairs + 4 * angle + 12;
    row(&what("pullback"), time, blocks, all, clock);
}

fn main() {
    let clock = clock();
    println!("level {}, {clock:.2} GHz", microtome_kernels::simd::level().name());
    for n in [32, 96] {
        let plan = plan(n);
        for terms in [6, 12, 24] {
            zonal_rows(&plan, terms, clock);
            orthotropic_rows(&plan, terms, clock);
        }
    }
}
