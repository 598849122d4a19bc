//! Deconvolution: against SciPy, on crossings, tissues, responses, and as a run.

#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_inference::deconvolution::{
    Deconvolver, NEIGHBOURS, PeakFinder, Peaks, ResponseEstimator, classify, lobe,
};
use microtome_inference::{InferenceError, Runner, record_batch};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, DeconvolutionSpec, Job, ModelSpec, Responses, RunSpec, SearchSpec, SigmaSpec,
    SphericalHarmonics, TissueResponse, VoxelBatch, half_sphere, neighbours, orders,
};
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::PI;
use std::sync::atomic::AtomicBool;

type Vector = [f64; 3];

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn degrees(a: Vector, b: Vector) -> f64 {
    dot(a, b).abs().min(1.0).acos().to_degrees()
}

/// The signal of a fibre: a zeppelin of 1.7 and 0.2 um^2/ms.
fn fibre(b: f64, t: f64) -> f64 {
    (-b * (0.2 + 1.5 * t * t)).exp()
}

/// Exact zonal coefficients of the fibre at b.
fn zonal(b: f64, lmax: usize) -> Vec<f64> {
    let n = 20_000;
    (0..=lmax)
        .step_by(2)
        .map(|l| {
            let term = |i: usize| {
                let t = (i as f64 + 0.5) / n as f64;
                let (mut below, mut here) = (0.0, 1.0);
                for k in 0..l {
                    let k = k as f64;
                    (below, here) = (here, ((2.0 * k + 1.0) * t * here - k * below) / (k + 1.0));
                }
                fibre(b, t) * here
            };
            let sum: f64 = (0..n).map(term).sum();
            4.0 * PI * sum / n as f64 * ((2 * l + 1) as f64 / (4.0 * PI)).sqrt()
        })
        .collect()
}

fn isotropic(b: &[f64], d: f64) -> Vec<Vec<f64>> {
    b.iter().map(|b| vec![(-b * d).exp() * (4.0 * PI).sqrt()]).collect()
}

fn tissues(b: &[f64], lmax: usize) -> Responses {
    let rows = |b: &f64| if *b == 0.0 { vec![zonal(0.0, 0)[0]] } else { zonal(*b, lmax) };
    let tissue = vec![
        TissueResponse { name: "wm".into(), zonal: b.iter().map(rows).collect() },
        TissueResponse { name: "gm".into(), zonal: isotropic(b, 0.8) },
        TissueResponse { name: "csf".into(), zonal: isotropic(b, 3.0) },
    ];
    Responses { b_ms_per_um2: b.to_vec(), tissue }
}

fn single(lmax: usize, side_lobes: f64) -> DeconvolutionSpec {
    let wm = TissueResponse { name: "wm".into(), zonal: vec![zonal(3.0, lmax)] };
    let responses = Responses { b_ms_per_um2: vec![3.0], tissue: vec![wm] };
    DeconvolutionSpec { lmax: Some(lmax), side_lobes, responses }
}

fn one_shell() -> Acquisition {
    let g: Vec<Vector> = [[0.0; 3]].into_iter().chain(half_sphere(64)).collect();
    let b: Vec<f64> = (0..65).map(|i| if i == 0 { 0.0 } else { 3.0 }).collect();
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

fn table(text: &str) -> Vec<Vec<f64>> {
    text.lines().map(|l| l.split(',').map(|w| w.parse().unwrap()).collect()).collect()
}

/// Two directions at an angle, turned by the case.
fn pair(case: usize, angle_deg: f64) -> [Vector; 2] {
    let u = half_sphere(97)[(case * 31) % 97];
    let other = half_sphere(89)[(case * 17 + 5) % 89];
    let along = dot(u, other);
    let v = [0, 1, 2].map(|i| other[i] - along * u[i]);
    let n = dot(v, v).sqrt();
    let (s, c) = angle_deg.to_radians().sin_cos();
    [u, [0, 1, 2].map(|i| c * u[i] + s * v[i] / n)]
}

#[test]
fn deconvolutions_equal_scipy() {
    let scheme = table(include_str!("../../../tests/golden/deconvolution_scheme.csv"));
    let b: Vec<f64> = scheme.iter().map(|r| r[0]).collect();
    let g: Vec<Vector> = scheme.iter().map(|r| [r[1], r[2], r[3]]).collect();
    let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
    let responses = tissues(&[0.0, 1.0, 3.0], 6);
    let spec = DeconvolutionSpec { lmax: Some(6), side_lobes: 0.02, responses };
    let deconvolver = Deconvolver::new(&spec, &acquisition).unwrap();
    let mut state = deconvolver.state();
    let expected = table(include_str!("../../../tests/golden/deconvolution.csv"));
    let signals = table(include_str!("../../../tests/golden/deconvolution_signals.csv"));
    for (y, row) in signals.iter().zip(&expected) {
        let fit = deconvolver.fit(y, &mut state);
        assert_eq!(fit.status.name(), "converged");
        let rss = fit.mse * y.len() as f64;
        // The ridge of 1e-8 and the lobe, known to 1e-5, are what differs.
        assert!((rss - row[1]).abs() < 1e-4 * row[1] + 1e-7, "{rss} {row:?}");
        for (volume, expected) in fit.volumes.iter().zip(&row[2..]) {
            assert!((volume - expected).abs() < 2e-4, "{:?} {row:?}", fit.volumes);
        }
        let predicted = deconvolver.predict(deconvolver.solution(&state));
        let again: f64 = y.iter().zip(&predicted).map(|(y, s)| (y - s).powi(2)).sum();
        assert!((again - rss).abs() < 1e-12 * (1.0 + rss));
    }
}

#[test]
fn crossings_are_found_to_a_degree() {
    let sh = SphericalHarmonics::new(8).unwrap();
    let axes = half_sphere(300);
    let finder = PeakFinder::new(sh.clone(), axes.clone(), neighbours::<NEIGHBOURS>(&axes));
    let lambda = lobe(8, 0.0);
    let mut row = vec![0.0; 45];
    for (case, angle) in (0..40).flat_map(|c| [(c, 90.0), (c, 60.0)]) {
        let truth = pair(case, angle);
        let mut c = vec![0.0; 45];
        for (u, weight) in truth.iter().zip([1.0, 0.8]) {
            sh.evaluate(*u, &mut row);
            let terms = row.iter().zip(orders(45)).zip(&mut c);
            terms.for_each(|((y, (l, _)), c)| *c += weight * lambda[l / 2] * y);
        }
        let series = sh.series(&c);
        let values: Vec<f64> = axes.iter().map(|n| series.value(*n)).collect();
        let mut peaks = Peaks::default();
        finder.find(&c, &values, &mut peaks);
        assert_eq!(peaks.count, 2, "{case} {angle}");
        for (found, u) in peaks.axis.iter().zip(&truth) {
            // Lobes at 60 degrees lean on each other by up to 0.9 degrees.
            assert!(degrees(*found, *u) < 1.0, "{case} {angle} {}", degrees(*found, *u));
            let jet = series.jet(*found);
            let along = dot(*found, jet.gradient);
            let across = [0, 1, 2].map(|i| jet.gradient[i] - along * found[i]);
            assert!(dot(across, across).sqrt() < 1e-6 * jet.value.abs(), "not a maximum: {case}");
        }
        assert!(peaks.value[0] > peaks.value[1]);
    }
}

#[test]
fn phantom_crossings_are_resolved() {
    let acquisition = one_shell();
    let deconvolver = Deconvolver::new(&single(8, 0.02), &acquisition).unwrap();
    let mut state = deconvolver.state();
    for (angle, noise, most) in
        [(90.0, 0.0, 2.0), (60.0, 0.0, 3.0), (90.0, 1.0 / 30.0, 8.0), (60.0, 1.0 / 30.0, 10.0)]
    {
        for case in 0..30 {
            let truth = pair(case, angle);
            let mut rng = PhiloxRng::new(7, case as u64, 0);
            let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
            let y: Vec<f64> = acquisition
                .b_ms_per_um2()
                .iter()
                .zip(acquisition.directions())
                .map(|(b, g)| {
                    let s = truth.iter().map(|u| 0.5 * fibre(*b, dot(*g, *u))).sum::<f64>();
                    (s + noise * normal()).hypot(noise * normal())
                })
                .collect();
            let fit = deconvolver.fit(&y, &mut state);
            assert!(fit.peaks.count >= 2, "{angle} {noise} {case}");
            for u in truth {
                let error = fit.peaks.axis[..2].iter().map(|p| degrees(*p, u)).fold(90.0, f64::min);
                assert!(error < most, "{angle} {noise} {case} {error}");
            }
            // A single lobe may fall to -2 % of its peak, two to about -4 % of the larger.
            let series = SphericalHarmonics::new(8).unwrap().series(&fit.fod);
            let least = half_sphere(3000).into_iter().map(|n| series.value(n)).fold(9.0, f64::min);
            assert!(least > -0.06 * fit.peaks.value[0], "{angle} {noise} {case} {least}");
        }
    }
}

#[test]
fn without_side_lobes_nothing_is_negative() {
    let acquisition = one_shell();
    let deconvolver = Deconvolver::new(&single(8, 0.0), &acquisition).unwrap();
    let mut state = deconvolver.state();
    for case in 0..20 {
        let mut rng = PhiloxRng::new(11, case, 0);
        let y: Vec<f64> = (0..65)
            .map(|_| {
                let e: f64 = StandardNormal.sample(&mut rng);
                (0.2 + 0.1 * e).abs()
            })
            .collect();
        let fit = deconvolver.fit(&y, &mut state);
        assert_eq!(fit.status.name(), "converged");
        let (_, c) = deconvolver.unknowns(&state);
        assert!(c.iter().all(|c| *c > 0.0));
        let series = SphericalHarmonics::new(8).unwrap().series(&fit.fod);
        let scale = fit.peaks.value[0];
        assert!(half_sphere(3000).into_iter().all(|n| series.value(n) > -1e-12 * scale));
        assert!((0.0..=1.0).contains(&fit.odi) && (0.0..1.0).contains(&fit.anisotropy));
    }
}

/// White, grey and fluid voxels; returns signals and the truth of fibres.
fn phantom(acquisition: &Acquisition, noise: f64) -> Vec<Vec<f64>> {
    (0..1200_usize)
        .map(|v| {
            let [u, w] = pair(v, 70.0);
            let share = match v % 4 {
                0 => [1.0, 0.0, 0.0, 0.0],
                1 => [0.5, 0.5, 0.0, 0.0],
                2 => [0.0, 0.0, 1.0, 0.0],
                _ => [0.0, 0.0, 0.0, 1.0],
            };
            let mut rng = PhiloxRng::new(5, v as u64, 0);
            let both = acquisition.b_ms_per_um2().iter().zip(acquisition.directions());
            both.map(|(b, g)| {
                let s = share[0] * fibre(*b, dot(*g, u))
                    + share[1] * fibre(*b, dot(*g, w))
                    + share[2] * (-b * 0.8).exp()
                    + share[3] * (-b * 3.0).exp();
                let (e, f): (f64, f64) =
                    (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
                1000.0 * (s + noise * e).hypot(noise * f)
            })
            .collect()
        })
        .collect()
}

#[test]
fn responses_of_a_phantom_return() {
    let b: Vec<f64> = [vec![0.0; 4], vec![1.0; 40], vec![3.0; 60]].concat();
    let g: Vec<Vector> = [half_sphere(4), half_sphere(40), half_sphere(60)].concat();
    let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
    let estimator = ResponseEstimator::new(&acquisition).unwrap();
    let voxels = phantom(&acquisition, 0.01);
    let screens: Vec<_> = voxels.iter().map(|y| estimator.screen(y)).collect();
    let found = classify(&screens);
    assert!(found.white.iter().all(|v| v % 4 < 2) && found.white.len() > 500);
    assert!(!found.grey.is_empty() && found.grey.iter().all(|v| v % 4 == 2));
    assert!(!found.fluid.is_empty() && found.fluid.iter().all(|v| v % 4 == 3));
    let pick = |rows: &[usize]| rows.iter().map(|r| voxels[*r].as_slice()).collect::<Vec<_>>();
    let axes: Vec<Vector> = found.white.iter().map(|r| screens[*r].unwrap().axis).collect();
    let (chosen, wm) = estimator.refine(&pick(&found.white), &axes, 8, 60).unwrap();
    assert!(
        chosen.iter().all(|k| found.white[*k].is_multiple_of(4)),
        "a crossing passed for a single fibre"
    );
    for (shell, b) in [(1, 1.0), (2, 3.0)] {
        let truth = zonal(b, 8);
        for (found, truth) in wm[shell].iter().zip(&truth) {
            // Axes wrong by about a degree take a few percent of the high orders.
            assert!(
                (found / 1000.0 - truth).abs() < 0.02 * truth.abs() + 0.01,
                "{b} {:?} {truth:?}",
                wm[shell]
            );
        }
    }
    let csf = estimator.isotropic(&pick(&found.fluid));
    for (row, b) in csf.iter().zip([0.0, 1.0_f64]) {
        assert!((row[0] / 1000.0 / (4.0 * PI).sqrt() - (-3.0 * b).exp()).abs() < 0.01);
    }
    assert!(ResponseEstimator::new(&acquisition.subset(&[4, 5, 6])).is_err());
}

fn specification(acquisition: &Acquisition, job: Job) -> RunSpec {
    RunSpec {
        job,
        model: ModelSpec { deconvolution: Some(single(8, 0.02)), ..ModelSpec::default() },
        acquisition: acquisition.clone(),
        sigma: SigmaSpec::Free,
        search: SearchSpec::default(),
        seed: 0,
    }
}

#[test]
fn runs_do_not_depend_on_batches() {
    let acquisition = one_shell();
    let runner = Runner::new(&specification(&acquisition, Job::Fit)).unwrap();
    let mut voxels = phantom(&acquisition, 0.03);
    voxels.truncate(40);
    voxels[7][3] = f64::NAN;
    voxels[9].fill(0.0);
    let batch = |range: std::ops::Range<usize>| {
        let batch = VoxelBatch {
            row: range.clone().map(|r| r as u64).collect(),
            voxel: range.clone().map(|r| r as i64).collect(),
            signals: voxels[range].concat(),
            measurements: 65,
            ..VoxelBatch::default()
        };
        record_batch(&batch).unwrap()
    };
    let stop = AtomicBool::new(false);
    let whole = runner.process(&batch(0..40), &stop).unwrap();
    assert_eq!((whole.counts.voxels, whole.counts.failed), (40, 2));
    assert_eq!(whole.counts.by_status["invalid_signal"], 2);
    for at in [0, 8, 39] {
        let one = runner.process(&batch(at..at + 1), &stop).unwrap();
        assert_eq!(one.main, whole.main.slice(at, 1));
        assert_eq!(one.fod.unwrap(), whole.fod.as_ref().unwrap().slice(at, 1));
    }
    assert!(whole.main.column_by_name("wm.fraction").is_some());
    assert_eq!(whole.fod.unwrap().num_columns(), 1 + 45);
    let sampled = Runner::new(&specification(&acquisition, Job::Sample));
    assert!(matches!(sampled, Err(InferenceError::Model(_))));
}

/// Responses are those of linear encoding; others have directions of another meaning.
#[test]
fn other_encodings_are_refused() {
    let linear = one_shell();
    let mut b_delta = vec![1.0; 65];
    b_delta[40] = -0.5;
    let (b, g) = (linear.b_ms_per_um2(), linear.directions());
    let planar = Acquisition::from_b_tensor(b, g, &b_delta, None, None).unwrap();
    for error in [
        Deconvolver::new(&single(8, 0.02), &planar).unwrap_err(),
        ResponseEstimator::new(&planar).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("measurement 40") && text.contains("linear"), "{text}");
    }
}

#[test]
fn deviations_of_gradients_are_refused() {
    let acquisition = one_shell();
    let runner = Runner::new(&specification(&acquisition, Job::Fit)).unwrap();
    let batch = VoxelBatch {
        row: vec![0],
        voxel: vec![0],
        signals: vec![1.0; 65],
        measurements: 65,
        grad_dev: Some(vec![0.01; 9]),
        ..VoxelBatch::default()
    };
    let result = runner.process(&record_batch(&batch).unwrap(), &AtomicBool::new(false));
    assert!(matches!(result, Err(InferenceError::Column { .. })));
}
