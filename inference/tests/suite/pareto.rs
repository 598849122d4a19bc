//! Pareto smoothing against ArviZ.
//!
//! `tests/golden/make_pareto.py` wrote the table; every weight of every case is checked.

#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_inference::diagnostics::{ParetoWorkspace, khat_limit, smooth_weights};

/// Difference that rounding alone explains.
const TOLERANCE: f64 = 1e-10;

fn numbers(fields: &[&str]) -> Vec<f64> {
    fields.iter().map(|f| f.parse().unwrap()).collect()
}

fn close(got: f64, truth: f64) -> bool {
    got == truth || (got - truth).abs() <= TOLERANCE * truth.abs().max(1.0)
}

#[test]
fn smoothed_weights_are_those_of_arviz() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/pareto.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    let mut workspace = ParetoWorkspace::new();
    let (mut cases, mut faults) = (0, Vec::new());
    while let (Some(ratios), Some(weights)) = (lines.next(), lines.next()) {
        let ratios: Vec<&str> = ratios.split(',').collect();
        let weights: Vec<&str> = weights.split(',').collect();
        let case = ratios[0];
        assert_eq!((case, "weights"), (weights[0], weights[1]));
        let given = numbers(&ratios[1..]);
        let (mut x, mut truth) = (given[2..].to_vec(), numbers(&weights[2..]));
        let khat = smooth_weights(&mut x, given[0], &mut workspace);
        if !close(khat, given[1]) {
            faults.push(format!("{case}: k-hat {khat}, in ArviZ {}", given[1]));
        }
        if case == "ties" {
            // Equal ratios share their smoothed weights in either order.
            x.sort_by(f64::total_cmp);
            truth.sort_by(f64::total_cmp);
        }
        for (i, (x, truth)) in x.iter().zip(&truth).enumerate() {
            if !close(*x, *truth) {
                faults.push(format!("{case}: weight {i} is {x}, in ArviZ {truth}"));
            }
        }
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{case}: the weights sum to {sum}");
        cases += 1;
    }
    assert_eq!(cases, 23);
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults[..faults.len().min(20)].join("\n")
    );
}

#[test]
fn the_limit_of_khat_grows_with_the_draws() {
    assert!((khat_limit(100) - 0.5).abs() < 1e-15);
    assert_eq!(khat_limit(4000), 0.7);
}
