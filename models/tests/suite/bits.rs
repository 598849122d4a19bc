//! Equality to the bit: a result depends on its own parameter set only, not on
//! what was computed before, beside or on which thread.
#![allow(clippy::unwrap_used)]

use crate::composed;

use composed::{Uniform, cases, lowered};
use microtome_models::{Evaluator, Posterior, Sigma};

fn bits(v: &[f64]) -> Vec<u64> {
    v.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn predictions_equal_to_the_bit() {
    const SETS: usize = 100;
    for (i, case) in cases().iter().enumerate() {
        let model = case.model();
        let mut uniform = Uniform(40 + i as u64);
        let lowered = lowered(&model, &uniform.acquisition());
        let (values, n) = (model.values(), lowered.plan.measurements());
        let x: Vec<f64> = (0..SETS).flat_map(|_| uniform.values(&model, 0.05)).collect();
        let evaluator = || {
            let mut e = Evaluator::new(&lowered);
            e.set_per_voxel(case.per_voxel);
            e
        };
        let together = bits(&evaluator().predict(&x));
        assert_eq!(together.len(), SETS * n);

        let one = |evaluator: &mut Evaluator, set: usize| {
            assert_eq!(
                bits(&evaluator.predict(&x[set * values..(set + 1) * values])),
                together[set * n..(set + 1) * n],
                "{}, set {set}",
                case.name()
            );
        };
        // One by one, each with its own scratch memory.
        (0..SETS).for_each(|set| one(&mut evaluator(), set));
        // In other orders with shared scratch memory, Jacobians and pullbacks in between.
        let mut shared = evaluator();
        for set in (0..SETS).rev().chain((0..SETS).map(|k| (37 * k) % SETS)) {
            one(&mut shared, set);
            shared.signal_and_jacobian(&x[(set / 2) * values..(set / 2 + 1) * values]);
        }
        // On threads.
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (one, evaluator) = (&one, &evaluator);
                scope.spawn(move || {
                    let mut mine = evaluator();
                    (thread..SETS).step_by(4).for_each(|set| one(&mut mine, set));
                });
            }
        });
    }
}

#[test]
fn densities_equal_to_the_bit() {
    for (i, case) in cases().iter().enumerate() {
        let model = case.model();
        let mut uniform = Uniform(900 + i as u64);
        let lowered = lowered(&model, &uniform.acquisition());
        let centre = uniform.values(&model, 0.3);
        let mut evaluator = Evaluator::new(&lowered);
        evaluator.set_per_voxel(case.per_voxel);
        let signals = evaluator.predict(&centre);
        let mut posterior =
            Posterior::new(&mut evaluator, &signals, Sigma::Known(0.05), 1.0, &centre).unwrap();
        let dim = posterior.dim();
        let points: Vec<Vec<f64>> =
            (0..20).map(|_| (0..dim).map(|_| uniform.within(-1.0, 1.0)).collect()).collect();
        let mut density = |z: &[f64]| {
            let mut out = vec![0.0; dim];
            out.push(posterior.ln_density(z, &mut out[..dim].to_vec()));
            let value = posterior.ln_density(z, &mut out[..dim]);
            assert_eq!(value.to_bits(), out[dim].to_bits());
            bits(&out)
        };
        let forward: Vec<_> = points.iter().map(|z| density(z)).collect();
        for (z, expected) in points.iter().zip(&forward).rev() {
            assert_eq!(&density(z), expected, "{}", case.name());
        }
    }
}
