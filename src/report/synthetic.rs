//! A made-up run for the tests of the report: a ring and a disc with a stick and
//! a ball, 4 chains, 2 shells, 200 voxels with truth.

use crate::report::{
    DirectionMap, MapPair, ParameterRow, Population, Predictive, QualityKind, QualityMap,
    ReportData, StatusMap, TruthComparison, Verdict, VoxelParameter, VoxelPosterior,
};

/// Uniform and normal numbers from a linear congruential generator.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let r = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        r * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

const NX: usize = 48;
const NY: usize = 40;

fn radius(i: usize) -> (f64, f64) {
    let (x, y) = ((i % NX) as f64 - 23.5, (i / NX) as f64 - 19.5);
    (x.hypot(y), y.atan2(x))
}

fn slice(mut value: impl FnMut(f64, f64) -> f64) -> Vec<f32> {
    (0..NX * NY)
        .map(radius)
        .map(|(r, a)| if r < 18.5 { value(r, a) as f32 } else { f32::NAN })
        .collect()
}

fn pair(
    rng: &mut Numbers,
    name: &str,
    unit: &str,
    slice_name: &str,
    centre: f64,
    scale: f64,
) -> MapPair {
    let ring = |r: f64| (-(r - 11.0f64).powi(2) / 14.0).exp();
    MapPair {
        name: name.into(),
        unit: unit.into(),
        slice: slice_name.into(),
        nx: NX,
        ny: NY,
        mean: slice(|r, a| {
            centre + scale * (ring(r) * (1.0 + 0.2 * a.cos()) + 0.06 * rng.normal())
        }),
        sd: slice(|r, _| scale * (0.06 + 0.10 * (1.0 - ring(r)) + 0.01 * rng.normal().abs())),
    }
}

fn chains(rng: &mut Numbers, count: usize, mean: f64, sd: f64) -> Vec<Vec<f64>> {
    (0..count)
        .map(|_| {
            let mut z = rng.normal();
            (0..1000)
                .map(|_| {
                    z = 0.5 * z + 0.75f64.sqrt() * rng.normal();
                    mean + sd * z
                })
                .collect()
        })
        .collect()
}

fn parameter(
    name: &str,
    unit: &str,
    draws: Vec<Vec<f64>>,
    truth: f64,
    prior: (f64, f64),
) -> VoxelParameter {
    let mut all: Vec<f64> = draws.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let n = all.len();
    let mean = all.iter().sum::<f64>() / n as f64;
    let prior_x: Vec<f64> =
        (0..200).map(|i| prior.0 + prior.1 * (f64::from(i) / 33.0 - 3.0)).collect();
    VoxelParameter {
        name: name.into(),
        unit: unit.into(),
        prior_density: prior_x
            .iter()
            .map(|x| {
                (-0.5 * ((x - prior.0) / prior.1).powi(2)).exp()
                    / (prior.1 * std::f64::consts::TAU.sqrt())
            })
            .collect(),
        prior_x,
        truth: Some(truth),
        mean,
        sd: (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64).sqrt(),
        q05: all[n / 20],
        q95: all[n * 19 / 20],
        rhat: 1.0021,
        ess_bulk: 1312.0,
        chains: draws,
    }
}

fn predictive(rng: &mut Numbers) -> Predictive {
    let mut p = Predictive {
        label: "voxel 118 (i 21, j 12, k 1)".into(),
        shell_labels: vec!["b = 0".into(), "b = 1000 s/mm²".into(), "b = 2500 s/mm²".into()],
        ..Predictive::default()
    };
    for (shell, count, b) in [(0usize, 6, 0.0), (1, 30, 1.0), (2, 60, 2.5)] {
        for _ in 0..count {
            let t = rng.uniform();
            let signal = 1000.0 * (0.6 * f64::exp(-1.7 * b * t * t) + 0.4 * f64::exp(-0.9 * b));
            let (sd, z) = (28.0, rng.normal());
            p.shell.push(shell);
            p.cosine.push(if shell == 0 { f64::NAN } else { t });
            p.measured.push(signal + sd * z);
            p.median.push(signal);
            p.q05.push(signal - 1.645 * sd);
            p.q95.push(signal + 1.645 * sd);
            p.residual.push(z);
        }
    }
    p
}

fn comparison(
    rng: &mut Numbers,
    name: &str,
    unit: &str,
    low: f64,
    high: f64,
    sd: f64,
) -> TruthComparison {
    let mut c =
        TruthComparison { name: name.into(), unit: unit.into(), ..TruthComparison::default() };
    for _ in 0..200 {
        let truth = low + (high - low) * rng.uniform();
        let estimate = truth + sd * rng.normal();
        c.truth.push(truth);
        c.estimate.push(estimate);
        c.q05.push(estimate - 1.645 * sd);
        c.q95.push(estimate + 1.645 * sd);
    }
    c
}

fn row(name: &str, unit: &str, numbers: [f64; 5]) -> ParameterRow {
    let [mean, sd, shrinkage, worst_rhat, smallest_ess] = numbers;
    ParameterRow {
        name: name.into(),
        unit: unit.into(),
        mean,
        sd,
        shrinkage,
        worst_rhat,
        smallest_ess,
    }
}

fn diagnostic(kind: QualityKind, name: &str, value: impl FnMut(f64, f64) -> f64) -> QualityMap {
    QualityMap {
        kind,
        name: name.into(),
        unit: String::new(),
        nx: NX,
        ny: NY,
        values: slice(value),
    }
}

/// Every part of a report.
pub(crate) fn run() -> ReportData {
    let rng = &mut Numbers(7);
    let fraction = chains(rng, 4, 0.62, 0.031);
    let trade: Vec<Vec<f64>> = fraction
        .iter()
        .map(|c| c.iter().map(|f| 1.7 - 6.0 * (f - 0.62) + 0.09 * rng.normal()).collect())
        .collect();
    let codes: Vec<u8> = (0..NX * NY)
        .map(|i| match radius(i).0 {
            r if r >= 18.5 => StatusMap::OUTSIDE,
            _ if rng.uniform() < 0.02 => 1,
            r if r < 1.5 => 2,
            _ => 0,
        })
        .collect();
    let strings =
        |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    ReportData {
        calibration: Vec::new(),
        calibration_band: Vec::new(),
        images: Vec::new(),
        image_note: String::new(),
        bundles: None,
        title: "Ball and stick posterior of the embedded phantom".into(),
        command_line: "microtome sample --dwi dwi.nii.gz --mask mask.nii.gz --bval b.bval --bvec b.bvec --model ball_stick --out run".into(),
        verdict: Verdict::Caution,
        verdict_sentences: vec![
            "Worst R-hat is 1.021, above the limit of 1.01, in 5 of 1072 voxels; leave those out (status map).".into(),
            "90 % intervals hold the truth in 89 % of 200 voxels, as a calibrated posterior should.".into(),
        ],
        facts: strings(&[
            ("version", "0.1.0"),
            ("seed", "20240611"),
            ("SIMD level", "avx512"),
            ("wall time", "41.3 s on 2 threads"),
            ("voxels", "1072"),
            ("converged", "1041"),
            ("max_iterations", "22"),
            ("invalid_signal", "9"),
            ("chains × draws", "4 × 1000"),
            ("divergences", "3 of 4 288 000"),
            ("noise", "Rician, σ estimated"),
            ("measurements", "96 in 3 shells"),
        ]),
        map_note: "Axial slice; x points right to the patient's left, y up to anterior.".into(),
        maps: vec![
            pair(rng, "f_stick", "", "k = 1", 0.1, 0.6),
            pair(rng, "f_stick", "", "k = 2", 0.15, 0.5),
            pair(rng, "lambda_par", "µm²/ms", "", 1.0, 0.9),
        ],
        directions: Some(DirectionMap {
            name: "direction of the stick times f_stick".into(),
            nx: NX,
            ny: NY,
            rgb: (0..NX * NY)
                .map(radius)
                .map(|(r, a)| {
                    let w = if r < 18.5 { 255.0 * (-(r - 11.0f64).powi(2) / 30.0).exp() } else { 0.0 };
                    [(w * a.sin().abs()) as u8, (w * a.cos().abs()) as u8, (w * 0.2) as u8]
                })
                .collect(),
        }),
        quality: vec![
            diagnostic(QualityKind::RHat, "worst R-hat", |_, _| 1.0 + 0.004 * rng.normal().powi(2)),
            diagnostic(QualityKind::EssBulk, "smallest effective sample size", |r, _| 900.0 - 20.0 * r + 150.0 * rng.normal()),
            diagnostic(QualityKind::Shrinkage, "shrinkage of lambda_par", |r, _| (1.0 - r / 30.0).clamp(0.0, 1.0)),
        ],
        status: Some(StatusMap {
            nx: NX,
            ny: NY,
            codes,
            labels: vec!["converged".into(), "max_iterations".into(), "invalid_signal".into()],
        }),
        populations: vec![Population {
            name: "kappa".into(),
            unit: String::new(),
            mean: (0..900).map(|_| (0.5 * rng.normal() + 1.0).exp()).collect(),
            sd: (0..900).map(|_| 0.2 + 0.1 * rng.uniform()).collect(),
        }],
        voxel: Some(VoxelPosterior {
            label: "voxel 118 (i 21, j 12, k 1)".into(),
            parameters: vec![
                parameter("f_stick", "", fraction, 0.6, (0.5, 0.25)),
                parameter("lambda_par", "µm²/ms", trade, 1.7, (1.7, 0.6)),
                parameter("S0", "a.u.", chains(rng, 4, 1002.0, 11.0), 1000.0, (900.0, 400.0)),
            ],
            pair: Some((0, 1)),
        }),
        predictive: Some(predictive(rng)),
        truth: vec![
            comparison(rng, "f_stick", "", 0.2, 0.8, 0.03),
            comparison(rng, "lambda_par", "µm²/ms", 1.2, 2.2, 0.15),
            comparison(rng, "S0", "a.u.", 900.0, 1100.0, 12.0),
        ],
        parameters: vec![
            row("f_stick", "", [0.413, 0.0312, 0.96, 1.021, 212.0]),
            row("lambda_par", "µm²/ms", [1.62, 0.171, 0.44, 1.008, 640.0]),
            row("S0", "a.u.", [1001.4, 11.2, 0.99, 1.002, f64::NAN]),
        ],
        methods: strings(&[
            ("Model", "Signals are the sum of a stick and a ball with Rician noise; b < 50 s/mm² counts as b = 0."),
            ("Sampling", "Four chains of the no-U-turn sampler per voxel start at the least-squares fit and are whitened by its covariance."),
        ]),
        references: strings(&[
            ("Behrens et al. 2003.", "Characterization and propagation of uncertainty in diffusion-weighted MR imaging. doi:10.1002/mrm.10609"),
            ("Vehtari et al. 2021.", "Rank-normalization, folding, and localization: an improved R-hat. doi:10.1214/20-BA1221"),
        ]),
    }
}
