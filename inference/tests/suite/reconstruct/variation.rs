//! Total variation: its minima, its weight, the noise that sets it.

use super::*;
use microtome_inference::reconstruct::quality::psnr;
use microtome_kernels::variation::{Lattice, total_variation};

#[test]
fn pdhg_and_fista_reach_the_same_minimum() {
    for (a, shape) in [(plane(12, 10), vec![12, 12]), (cone(6, 8), vec![6, 6, 6])] {
        let y = noisy(&a.apply(&phantom(&shape)).unwrap(), 0.3);
        let w: Vec<f64> = (0..y.len()).map(|i| 0.5 + (i % 3) as f64).collect();
        let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
        let problem = problem.with_bounds(0.0, f64::INFINITY).unwrap();
        let settings = Settings { tv_weight: Some(2.0), ..Settings::default() };
        let (other, rows) = solve(Algorithm::PdhgTv, &problem, &settings, 3000);
        let (x, history) = solve(Algorithm::FistaTv, &problem, &settings, 3000);
        let (p, f) = (history.last().unwrap().objective, rows.last().unwrap().objective);
        let gaps = [(p - f).abs() / p, distance(&x, &other) / size(&x)];
        println!("PDHG to FISTA: objective {:.1e}, image {:.1e}", gaps[0], gaps[1]);
        assert!(gaps[0] < 1e-7 && gaps[1] < 1e-3, "{gaps:?}");
        // The objective is what it says.
        let lattice = Lattice::new(&shape).unwrap();
        let means = a.apply(&x).unwrap();
        let square: f64 = (0..y.len()).map(|i| w[i] * (y[i] - means[i]).powi(2)).sum();
        let value = 0.5 * square + 2.0 * total_variation(&lattice, &x);
        assert!((value - p).abs() < 1e-10 * p);
        // Other points are not better.
        for (k, scale) in [(1, 1e-3), (5, -1e-3), (20, 1e-2)] {
            let moved: Vec<f64> = x
                .iter()
                .enumerate()
                .map(|(i, v)| (v + scale * ((i * k) as f64).sin()).max(0.0))
                .collect();
            let means = a.apply(&moved).unwrap();
            let square: f64 = (0..y.len()).map(|i| w[i] * (y[i] - means[i]).powi(2)).sum();
            assert!(0.5 * square + 2.0 * total_variation(&lattice, &moved) > p);
        }
    }
}

/// x is a volume of one row, so that total variation is that of a line and a dual
/// certificate is a sum: q_k = sum of the gradient up to k, |q| <= c, and q = c sign at jumps.
#[test]
fn the_duality_gap_closes() {
    let a = signed(12, 4, &[1, 20]);
    let truth: Vec<f64> = (0..20)
        .map(|i| {
            if i < 8 {
                1.0
            } else if i < 13 {
                3.0
            } else {
                2.0
            }
        })
        .collect();
    let all: Vec<usize> = (0..12).collect();
    let mut y = vec![0.0; 48];
    a.forward(&all, &truth, &mut y).unwrap();
    let y = noisy(&y, 0.3);
    let problem = Problem::new(&a, &y).unwrap();
    let weight = 4.0;
    let settings = Settings { tv_weight: Some(weight), ..Settings::default() };
    for (algorithm, iterations) in [(Algorithm::PdhgTv, 30_000), (Algorithm::FistaTv, 3000)] {
        let (x, history) = solve(algorithm, &problem, &settings, iterations);
        let mut r = vec![0.0; 48];
        a.forward(&all, &x, &mut r).unwrap();
        r.iter_mut().zip(&y).for_each(|(r, y)| *r -= y);
        let mut g = vec![0.0; 20];
        a.add_transpose(&all, &r, &mut g).unwrap();
        // D'q = -g and (D'q)_i = q_{i-1} - q_i, so that q_i is the sum of g up to i.
        let mut q = 0.0;
        let mut longest = 0.0_f64;
        for g in &g[..19] {
            q += g;
            longest = longest.max(q.abs());
        }
        assert!((q + g[19]).abs() < 1e-5, "{algorithm:?} {q}");
        assert!(longest < weight * (1.0 + 1e-6), "{algorithm:?} {longest}");
        // The dual value -<p,y> - |p|^2/2 of p = r, shrunk into the feasible set.
        let scale = (weight / longest).min(1.0);
        let dual: f64 = r
            .iter()
            .zip(&y)
            .map(|(r, y)| {
                let p = scale * r;
                -p * y - 0.5 * p * p
            })
            .sum();
        let primal = history.last().unwrap().objective;
        assert!((primal - dual).abs() < 1e-6 * primal, "{algorithm:?} {primal} {dual}");
    }
}

#[test]
fn pocs_methods_lower_the_variation() {
    let a = plane(32, 12);
    let truth = phantom(&[32, 32]);
    let y = noisy(&a.apply(&truth).unwrap(), 0.1);
    let problem = Problem::new(&a, &y).unwrap().with_bounds(0.0, f64::INFINITY).unwrap();
    let lattice = Lattice::new(&[32, 32]).unwrap();
    let (sart, _) = solve(Algorithm::Sart, &problem, &Settings::default(), 30);
    let plain = total_variation(&lattice, &sart);
    let before = psnr(&sart, &truth, 1.0);
    for algorithm in [Algorithm::TvPocs, Algorithm::AsdPocs, Algorithm::AwtvPocs] {
        let (x, history) = solve(algorithm, &problem, &Settings::default(), 30);
        let tv = total_variation(&lattice, &x);
        assert!((history[29].objective - tv).abs() < 1e-12 * tv);
        assert!(tv < 0.95 * plain, "{algorithm:?} {tv} {plain}");
        let after = psnr(&x, &truth, 1.0);
        assert!(after > before - 0.5, "{algorithm:?} {before} {after}");
        assert!(x.iter().all(|v| *v >= 0.0));
    }
}

#[test]
fn noise_is_found() {
    let a = plane(64, 40);
    let y = a.apply(&phantom(&[64, 64])).unwrap();
    // Edges of the projections are taken for noise where there is little of it.
    for (sigma, most) in [(0.3, 1.3), (1.0, 1.1), (3.0, 1.05)] {
        let y = noisy(&y, sigma);
        let problem = Problem::new(&a, &y).unwrap();
        let found = noise_level(&problem);
        assert!(found > 0.95 * sigma && found < most * sigma, "{sigma} {found}");
        let w = vec![1.0 / (sigma * sigma); y.len()];
        let problem = problem.with_weights(&w).unwrap();
        assert!((noise_level(&problem) * sigma / found - 1.0).abs() < 1e-12);
    }
    let zeros = vec![0.0; y.len()];
    assert_eq!(noise_level(&Problem::new(&a, &zeros).unwrap()), 0.0);
}

/// At the default weight noise alone leaves no speckles; at a quarter of it it does.
/// Errors of one more variance are told from noise that the weights know.
#[test]
fn the_model_variance_is_found() {
    let a = plane(24, 40);
    let exact = a.apply(&phantom(&[24, 24])).unwrap();
    let mut random = PhiloxRng::new(7, 0, 0);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let sigma = |i: usize| 0.02 * (1 + i % 5) as f64;
    let noise: Vec<f64> = (0..exact.len()).map(|_| normal.sample(&mut random)).collect();
    let more: Vec<f64> = (0..exact.len()).map(|_| normal.sample(&mut random)).collect();
    let mut w: Vec<f64> = (0..exact.len()).map(|i| sigma(i).powi(-2)).collect();
    w[100] = 0.0;
    for s in [0.0, 0.3, 1.0] {
        let mut y: Vec<f64> =
            (0..exact.len()).map(|i| exact[i] + sigma(i) * noise[i] + s * more[i]).collect();
        y[100] = 1e3;
        let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
        let found = model_deviation(&problem).unwrap();
        println!("s {s}: {found:.3}");
        // The image takes a part of the noise along, and what it misses is added.
        // Without an error of the model, what the image takes from the noise (0.066 rms) is
        // taken for one.
        assert!((found - s).abs() < 0.066 + 0.2 * s, "{s} {found}");
        let soft = with_model_deviation(&w, found);
        assert_eq!(soft[100], 0.0);
        assert!((1.0 / soft[7] - sigma(7).powi(2) - found * found).abs() < 1e-12);
    }
    assert_eq!(model_deviation(&Problem::new(&a, &exact).unwrap()).unwrap(), 0.0);
}

#[test]
fn the_default_weight_is_the_threshold_of_its_noise() {
    let a = plane(48, 40);
    let y = noisy(&vec![0.0; a.n_rays()], 0.5);
    let w = vec![4.0; y.len()];
    let problem = Problem::new(&a, &y).unwrap().with_weights(&w).unwrap();
    let weight = default_tv_weight(&problem).unwrap();
    let lattice = Lattice::new(&[48, 48]).unwrap();
    let tv = |factor: f64| {
        let settings = Settings { tv_weight: Some(factor * weight), ..Settings::default() };
        total_variation(&lattice, &solve(Algorithm::PdhgTv, &problem, &settings, 600).0)
    };
    let none = {
        let (x, _) = solve(Algorithm::Cgls, &problem, &Settings::default(), 30);
        total_variation(&lattice, &x)
    };
    assert!(tv(1.0) < 0.01 * none, "{} {none}", tv(1.0));
    assert!(tv(0.25) > 5.0 * tv(1.0), "{} {}", tv(0.25), tv(1.0));
    // Without weights the noise is found, and the weight scales with its variance.
    let problem = Problem::new(&a, &y).unwrap();
    let found = default_tv_weight(&problem).unwrap();
    assert!((found / (0.25 * weight) - 1.0).abs() < 0.1, "{found} {weight}");
}
