//! Time of signal and Jacobian of one exact pore on the reference acquisition (112
//! measurements, nine weighted shells, four timings), on one thread. CPU time, the median
//! of 51 batches, beside the Gaussian shapes that cost only the loops.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use cpu_time::ThreadTime;
use microtome_models::{Acquisition, Evaluator, Lowered, Model, ModelSpec, PulseTiming};
use std::hint::black_box;
use std::sync::Arc;

/// delta, Delta and the b-values beside 0.
const BLOCKS: [(f64, f64, &[f64]); 4] = [
    (12.9, 21.8, &[1.0, 3.0]),
    (8.0, 49.0, &[1.0, 2.5, 6.0]),
    (20.0, 40.0, &[2.0, 8.0]),
    (5.0, 80.0, &[0.5, 3.0]),
];

fn acquisition() -> Acquisition {
    let (mut b, mut g) = (vec![], vec![]);
    let mut timing = PulseTiming { delta_ms: vec![], big_delta_ms: vec![] };
    for (delta, big_delta, shells) in BLOCKS {
        for (value, count) in std::iter::once((0.0, 1)).chain(shells.iter().map(|&b| (b, 12))) {
            for i in 0..count {
                // A spiral over the sphere.
                let z = (f64::from(i) + 0.5) / 12.0;
                let (sin, cos) = (2.4 * f64::from(i)).sin_cos();
                let r = (1.0 - z * z).sqrt();
                b.push(value);
                g.push([r * cos, r * sin, z]);
                timing.delta_ms.push(delta);
                timing.big_delta_ms.push(big_delta);
            }
        }
    }
    Acquisition::from_b(&b, &g, Some(timing), None).unwrap()
}

fn main() {
    let acquisition = acquisition();
    println!("{} measurements", acquisition.len());
    let sizes = [1.0, 4.0, 8.0, 14.0, 20.0];
    for kind in ["ball", "sphere_exact", "plane_exact", "cylinder_exact"] {
        let model = Model::new(ModelSpec::parse(kind).unwrap()).unwrap();
        let names: Vec<String> = model.value_names().iter().map(|n| n.to_string()).collect();
        let lowered = Lowered::new(Arc::new(model), &acquisition).unwrap();
        let mut evaluator = Evaluator::new(&lowered);
        for size in sizes {
            let x: Vec<f64> = names
                .iter()
                .map(|name| match name.rsplit('.').next() {
                    Some("diameter" | "separation") => size,
                    Some("lambda_par" | "lambda_iso") => 1.7,
                    Some("mu_x" | "mu_y") => 0.6,
                    Some("mu_z") => (1.0_f64 - 0.72).sqrt(),
                    _ => 1.0,
                })
                .collect();
            let mut times: Vec<f64> = (0..51)
                .map(|_| {
                    let start = ThreadTime::now();
                    for _ in 0..20 {
                        black_box(evaluator.signal_and_jacobian(black_box(&x)));
                    }
                    start.elapsed().as_secs_f64() * 1e6 / 20.0
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{kind}, {size} um: {:.1} us", times[times.len() / 2]);
        }
    }
}
