//! Least squares, relaxation and likelihood.

use super::*;
use microtome_inference::reconstruct::quality::psnr;

#[test]
fn cgls_and_lsqr_find_the_least_squares_solution() {
    let a = signed(6, 5, &[3, 4]);
    let y: Vec<f64> = (0..30).map(|i| ((i * i) as f64).sin()).collect();
    let w: Vec<f64> = (0..30).map(|i| 0.2 + (i % 7) as f64).collect();
    let start: Vec<f64> = (0..12).map(|i| i as f64 / 7.0).collect();
    for algorithm in [Algorithm::Cgls, Algorithm::Lsqr] {
        for weighted in [false, true] {
            let weights = if weighted { w.clone() } else { vec![1.0; 30] };
            let exact = normal_equations(&a, &y, &weights);
            let problem = Problem::new(&a, &y).unwrap().with_start(&start).unwrap();
            let problem = if weighted { problem.with_weights(&w).unwrap() } else { problem };
            let (x, history) = solve(algorithm, &problem, &Settings::default(), 16);
            assert!(distance(&x, &exact) < 1e-11 * size(&exact), "{algorithm:?}");
            // The recursions know the residual.
            let mut r = vec![0.0; 30];
            a.forward(&(0..6).collect::<Vec<_>>(), &x, &mut r).unwrap();
            let square: f64 =
                (0..30).map(|i| weights[i] * (y[i] - r[i]).powi(2)).sum::<f64>().sqrt();
            let last = history.last().unwrap();
            assert!((last.residual_norm - square).abs() < 1e-11 * square, "{algorithm:?}");
        }
    }
}

#[test]
fn curvature_is_the_largest_eigenvalue() {
    // diag(1, 2, ..., 12) as views of one pixel: eigenvalues w k^2.
    let mut entries = vec![0.0; 144];
    (0..12).for_each(|k| entries[13 * k] = k as f64 - 12.0);
    let a = Dense { shape: vec![3, 4], views: 12, pixels: 1, entries, nonnegative: false };
    let (y, mut w) = (vec![1.0; 12], vec![1.0; 12]);
    let problem = Problem::new(&a, &y).unwrap();
    assert!((curvature(&problem).unwrap() - 144.0).abs() < 0.01);
    w[0] = 0.25;
    let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
    assert!((curvature(&problem).unwrap() - 121.0).abs() < 0.05);
}

/// The same bits from a user's matrix would need the same order of sums; the same numbers
/// are asked for.
#[test]
fn every_method_on_a_users_operator() {
    let a = plane(10, 9);
    let dense = Dense::of(&a);
    let truth = phantom(&[10, 10]);
    let y = a.apply(&truth).unwrap();
    for algorithm in Algorithm::ALL {
        let settings = Settings { tv_weight: Some(0.05), ..Settings::default() };
        let of = |op: &dyn ViewOperator<f64>| {
            let problem = Problem::new(op, &y).unwrap();
            solve(algorithm, &problem, &settings, 7).0
        };
        let (ours, theirs) = (of(&a), of(&dense));
        // Where an image is flat the direction of the descent is that of its rounding, which
        // the smoothing of 1e-6 magnifies a million times, and steps are chosen by comparisons:
        // the methods that descend only have to fit as well.
        if DESCENDS.contains(&algorithm) {
            let misfit = |x: &[f64]| distance(&a.apply(x).unwrap(), &y) / size(&y);
            let (ours, theirs) = (misfit(&ours), misfit(&theirs));
            assert!((ours - theirs).abs() < 0.05 * ours, "{algorithm:?} {ours} {theirs}");
            continue;
        }
        let gap = distance(&ours, &theirs) / size(&ours);
        assert!(gap < 1e-9, "{algorithm:?} {gap:e}");
    }
}

#[test]
fn every_method_reconstructs() {
    for a in [plane(24, 36), cone(10, 24)] {
        let shape = a.volume().shape();
        let truth = phantom(&shape);
        let y = a.apply(&truth).unwrap();
        let y32 = narrow(&y);
        for algorithm in Algorithm::ALL {
            let settings = Settings { tv_weight: Some(1e-3), ..Settings::default() };
            let problem = Problem::new(&a, &y).unwrap();
            let problem32 = Problem::new(&a, &y32).unwrap();
            let (x, history) = solve(algorithm, &problem, &settings, 60);
            let (x32, _) = solve(algorithm, &problem32, &settings, 60);
            let before = psnr(&vec![0.0; truth.len()], &truth, 1.0);
            let after = psnr(&x, &truth, 1.0);
            assert!(after > before + 10.0, "{algorithm:?} {shape:?} {before} {after}");
            assert!(psnr(&widen(&x32), &truth, 1.0) > before + 10.0, "{algorithm:?}");
            let (first, last) = (history[0].residual_norm, history[59].residual_norm);
            // The methods that descend trade the misfit for a smaller variation.
            let most = if DESCENDS.contains(&algorithm) { 1.0 } else { 0.2 };
            assert!(last < most * first, "{algorithm:?} {shape:?} {first} {last}");
        }
    }
}

#[test]
fn sart_solves_consistent_systems() {
    let a = plane(4, 16);
    let truth = phantom(&[4, 4]);
    let y = a.apply(&truth).unwrap();
    let problem = Problem::new(&a, &y).unwrap();
    let (x, _) = solve(Algorithm::Sart, &problem, &Settings::default(), 3000);
    assert!(distance(&x, &truth) < 1e-6 * size(&truth), "{}", distance(&x, &truth));
}

#[test]
fn sirt_lowers_its_objective_to_the_weighted_solution() {
    let a = plane(4, 14);
    let dense = Dense::of(&a);
    let y = noisy(&a.apply(&phantom(&[4, 4])).unwrap(), 0.1);
    let w: Vec<f64> = (0..y.len()).map(|i| 0.5 + (i % 5) as f64).collect();
    let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
    let settings = Settings { relaxation: 1.9, ..Settings::default() };
    let (x, history) = solve(Algorithm::Sirt, &problem, &settings, 20_000);
    assert!(history.windows(2).all(|h| h[1].objective <= h[0].objective * (1.0 + 1e-14)));
    let exact = normal_equations(&dense, &y, &w);
    assert!(distance(&x, &exact) < 1e-6 * size(&exact), "{}", distance(&x, &exact));
}

#[test]
fn mlem_raises_the_likelihood() {
    let a = plane(12, 15);
    let mut y = noisy(&a.apply(&phantom(&[12, 12])).unwrap(), 0.2);
    y.iter_mut().for_each(|v| *v = v.max(0.0));
    let w: Vec<f64> = (0..y.len()).map(|i| 0.5 + (i % 3) as f64).collect();
    for weights in [None, Some(&w)] {
        let mut problem = Problem::new(&a, &y).unwrap();
        if let Some(w) = weights {
            problem = problem.with_weights(w).unwrap();
        }
        let mut run = Reconstruction::new(Algorithm::Mlem, &problem, &Settings::default()).unwrap();
        let mut before = f64::INFINITY;
        let at = |i: usize| weights.map_or(1.0, |w| w[i]);
        // Rays that meet nothing have no mean.
        let rows = a.row_sums::<f64>().unwrap();
        let counts: f64 = (0..y.len()).filter(|i| rows[*i] > 0.0).map(|i| at(i) * y[i]).sum();
        for _ in 0..50 {
            let row = run.step().unwrap();
            assert!(row.objective <= before + 1e-9 * before.abs());
            before = row.objective;
            let means = a.apply(run.image()).unwrap();
            let found: f64 = means.iter().enumerate().map(|(i, m)| at(i) * m).sum();
            assert!((found - counts).abs() < 1e-10 * counts, "{found} {counts}");
        }
    }
}

#[test]
fn osem_of_one_subset_is_mlem() {
    let a = plane(12, 15);
    let y = a.apply(&phantom(&[12, 12])).unwrap();
    let problem = Problem::new(&a, &y).unwrap();
    let one = Settings { subsets: Some(1), ..Settings::default() };
    let (osem, _) = solve(Algorithm::Osem, &problem, &one, 5);
    let (mlem, _) = solve(Algorithm::Mlem, &problem, &one, 5);
    assert_eq!(osem, mlem);
    let of = |subsets| {
        let settings = Settings { subsets: Some(subsets), ..Settings::default() };
        distance(&solve(Algorithm::Osem, &problem, &settings, 5).0, &phantom(&[12, 12]))
    };
    assert!(of(5) < 0.7 * of(1), "{} {}", of(5), of(1));
}
