//! What all runs share: resumption, threads, rules of stopping, history, bounds, wrong input.

use super::*;
use arrow_array::Array;
use std::collections::HashMap;
use std::ops::ControlFlow;

#[test]
fn resumed_runs_give_the_same_bits() {
    let a = plane(16, 12);
    let y = narrow(&noisy(&a.apply(&phantom(&[16, 16])).unwrap(), 0.1));
    let y: Vec<f32> = y.iter().map(|v| v.max(0.0)).collect();
    let problem = Problem::new(&a, &y).unwrap();
    for algorithm in Algorithm::ALL {
        let settings = Settings::default();
        let (whole, history) = solve(algorithm, &problem, &settings, 9);
        let mut run = Reconstruction::new(algorithm, &problem, &settings).unwrap();
        let rule = StoppingRule::iterations(9);
        let ended = run
            .run(&rule, &mut |run| match run.history().len() {
                4 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .unwrap();
        assert_eq!(ended, Ended::Interrupted);
        let snapshot = run.snapshot();
        let mut next = Reconstruction::new(algorithm, &problem, &settings).unwrap();
        next.restore(snapshot.clone()).unwrap();
        next.run(&rule, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(next.image(), whole, "{algorithm:?}");
        for (a, b) in next.history().iter().zip(&history) {
            assert_eq!(a.iteration, b.iteration);
            let bits = |r: &HistoryRow| {
                r.numbers()[..4].to_vec().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(bits(a), bits(b), "{algorithm:?}");
        }
        // Another method's state is refused, and nothing is half taken.
        let other =
            if algorithm == Algorithm::PdhgTv { Algorithm::Lsqr } else { Algorithm::PdhgTv };
        let mut run = Reconstruction::new(other, &problem, &settings).unwrap();
        let found = run.restore(snapshot).unwrap_err().to_string();
        assert!(found.contains("checkpoint"), "{found}");
    }
}

#[test]
fn threads_change_no_bit() {
    let a = cone(20, 7);
    let y = narrow(&a.apply(&phantom(&[20, 20, 20])).unwrap());
    let problem = Problem::new(&a, &y).unwrap();
    for algorithm in Algorithm::ALL {
        let of = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| solve(algorithm, &problem, &Settings::default(), 3).0)
        };
        assert_eq!(of(1), of(3), "{algorithm:?}");
    }
}

#[test]
fn stopping_rules() {
    let a = plane(16, 20);
    let y = noisy(&a.apply(&phantom(&[16, 16])).unwrap(), 0.2);
    let w = vec![25.0; y.len()];
    let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
    let end = |rule: StoppingRule| {
        let mut run = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default()).unwrap();
        let ended = run.run(&rule, &mut |_| ControlFlow::Continue(())).unwrap();
        (ended, run.history().to_vec())
    };
    let enough = (problem.n_counted() as f64).sqrt();
    let rule = StoppingRule { residual_norm: Some(enough), ..StoppingRule::iterations(200) };
    let (ended, rows) = end(rule);
    assert_eq!(ended, Ended::Discrepancy);
    assert!(rows.last().unwrap().residual_norm <= enough);
    assert!(rows[rows.len() - 2].residual_norm > enough);
    let rule = StoppingRule { relative_change: Some(1e-3), ..StoppingRule::iterations(200) };
    let (ended, rows) = end(rule);
    assert_eq!(ended, Ended::RelativeChange);
    assert!(rows[rows.len() - 2].relative_change > 1e-3);
    let mut run = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default()).unwrap();
    let none = run.run(&StoppingRule::iterations(0), &mut |_| ControlFlow::Continue(()));
    assert!(none.unwrap_err().to_string().contains("iterations"));
}

#[test]
fn history_is_a_table() {
    let a = plane(8, 9);
    let y = a.apply(&phantom(&[8, 8])).unwrap();
    let problem = Problem::new(&a, &y).unwrap();
    let (_, rows) = solve(Algorithm::Sirt, &problem, &Settings::default(), 4);
    let table = history_table(&rows, HashMap::from([("k".into(), "v".into())])).unwrap();
    let names: Vec<String> = table.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(
        names,
        ["iteration", "residual_norm", "objective", "relative_change", "step", "seconds"]
    );
    assert_eq!(table.num_rows(), 4);
    assert!(table.columns().iter().all(|c| c.null_count() == 0));
    for row in &rows {
        assert_eq!(*row, HistoryRow::of(row.iteration, row.numbers()));
    }
}

#[test]
fn warm_starts_and_bounds() {
    let a = plane(12, 20);
    let truth = phantom(&[12, 12]);
    let y = a.apply(&truth).unwrap();
    for algorithm in Algorithm::ALL {
        let settings = Settings { tv_weight: Some(0.0), tv_step: 0.0, ..Settings::default() };
        let problem = Problem::new(&a, &y).unwrap().with_start(&truth).unwrap();
        let (x, rows) = solve(algorithm, &problem, &settings, 2);
        assert!(distance(&x, &truth) < 1e-10 * size(&truth), "{algorithm:?}");
        assert!(rows[1].residual_norm < 1e-10 * size(&y), "{algorithm:?}");
        let bounded = Problem::new(&a, &y).unwrap().with_bounds(0.1, 0.3).unwrap();
        let begun = Reconstruction::new(algorithm, &bounded, &settings);
        if !algorithm.takes_bounds() {
            assert!(begun.err().unwrap().to_string().contains("bounds"));
            continue;
        }
        let (x, _) = solve(algorithm, &bounded, &settings, 3);
        assert!(x.iter().all(|v| (0.1..=0.3).contains(v)), "{algorithm:?}");
    }
}

#[test]
fn bad_input_says_where() {
    let a = plane(8, 5);
    let op: &dyn ViewOperator<f64> = &a;
    let good = vec![1.0; 60];
    let says = |found: Result<Problem<'_, f64>, ReconstructError>, texts: &[&str]| {
        let found = found.err().unwrap().to_string();
        assert!(texts.iter().all(|t| found.contains(t)), "{found}");
    };
    says(Problem::new(op, &good[..59]), &["59", "60", "[5, 12]"]);
    let mut bad = good.clone();
    (bad[13], bad[20]) = (f64::NAN, f64::INFINITY);
    says(Problem::new(op, &bad), &["2 of the projections", "NaN", "[1, 1]"]);
    let problem = || Problem::new(op, &good).unwrap();
    says(problem().with_weights(&bad), &["2 of the weights", "[1, 1]"]);
    let mut bad = good.clone();
    bad[30] = -2.0;
    says(problem().with_weights(&bad), &["1 of the weights", "-2", "[2, 6]", "inverse"]);
    says(problem().with_weights(&[0.0; 60]), &["all weights are 0"]);
    says(problem().with_start(&[0.0; 63]), &["63", "64"]);
    says(problem().with_bounds(1.0, 0.0), &["bounds"]);
    says(problem().with_bounds(f64::NAN, 0.0), &["bounds"]);
    let begin = |algorithm: Algorithm, problem: &Problem<'_, f64>, settings: &Settings| {
        Reconstruction::new(algorithm, problem, settings).err().unwrap().to_string()
    };
    let negative = Problem::new(op, &bad).unwrap();
    for algorithm in [Algorithm::Mlem, Algorithm::Osem] {
        let found = begin(algorithm, &negative, &Settings::default());
        assert!(found.contains("[2, 6]") && found.contains("clip"), "{found}");
    }
    let defaults = Settings::default();
    for (settings, word) in [
        (Settings { relaxation: 2.0, ..defaults.clone() }, "relaxation"),
        (Settings { relaxation: f64::NAN, ..defaults.clone() }, "relaxation"),
        (Settings { relaxation_factor: Some(1.5), ..defaults.clone() }, "relaxation_factor"),
        (Settings { subsets: Some(0), ..defaults.clone() }, "subsets"),
        (Settings { subsets: Some(6), ..defaults.clone() }, "number of views, 5"),
        (Settings { tv_weight: Some(-1.0), ..defaults.clone() }, "tv_weight"),
        (Settings { tv_step: f64::NAN, ..defaults.clone() }, "tv_step"),
        (Settings { tv_iterations: 0, ..defaults.clone() }, "tv_iterations"),
        (Settings { edge: Some(0.0), ..defaults.clone() }, "edge"),
        (Settings { data_tolerance: Some(-1.0), ..defaults.clone() }, "data_tolerance"),
    ] {
        let found = begin(Algorithm::OsSart, &problem(), &settings);
        assert!(found.contains(word), "{word}: {found}");
    }
    // No ray meets the volume.
    let away = VolumeGrid::new(&[8, 8], &[1.0, 1.0], &[500.0, 0.0]).unwrap();
    let away = RayTransform::new(a.geometry().clone(), away, Projector::Joseph).unwrap();
    // The parallel beams of a half turn meet a volume anywhere along some of them.
    let far = away.subset(&[0]).unwrap();
    let values = vec![1.0; far.n_rays()];
    let missed = far.row_sums::<f64>().unwrap().iter().all(|v| *v == 0.0);
    let volume = VolumeGrid::new(&[8, 8], &[1.0, 1.0], &[0.0, 500.0]).unwrap();
    let sideways = RayTransform::new(far.geometry().clone(), volume, Projector::Joseph).unwrap();
    let missing = if missed { far } else { sideways };
    for algorithm in Algorithm::ALL {
        let problem = Problem::new(&missing as &dyn ViewOperator<f64>, &values).unwrap();
        let found = begin(algorithm, &problem, &defaults);
        assert!(found.contains("no ray meets"), "{algorithm:?}: {found}");
    }
    // An operator with negative sums is not for SIRT.
    let signed = signed(5, 12, &[8, 8]);
    let problem = Problem::new(&signed as &dyn ViewOperator<f64>, &good).unwrap();
    assert!(begin(Algorithm::Sirt, &problem, &defaults).contains("cgls"));
}
