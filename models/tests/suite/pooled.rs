//! The density of pooled voxels: gradients, agreement with the posterior, the moments
//! of its independent priors.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::composed;

use composed::{Case, Uniform, cases, lowered};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Evaluator, FreeKind, Model, ModelSpec, NoiseKind, PooledDensity, PooledError, PooledSpace,
    PooledVoxel, Posterior, Prior, PriorSpec, Sigma,
};
use rand::RngExt;

/// A case whose compartments keep their identity, with Rician noise.
fn model(case: &Case) -> Option<Model> {
    let mut spec = case.spec();
    spec.noise.kind = NoiseKind::Rician;
    let model = Model::new(spec).unwrap();
    match PooledSpace::new(&model, true, &[1.0]) {
        Ok(_) => Some(model),
        Err(PooledError::Exchangeable { .. }) => None,
        Err(e) => panic!("{}: {e}", case.name()),
    }
}

struct Voxel {
    name: String,
    lowered: microtome_models::Lowered,
    per_voxel: Vec<f64>,
    space: PooledSpace,
    signals: Vec<f64>,
    sigma: Option<f64>,
    centre: Vec<f64>,
    z: Vec<f64>,
}

fn voxels() -> Vec<Voxel> {
    let mut out = Vec::new();
    for (i, case) in cases().iter().enumerate() {
        let Some(model) = model(case) else { continue };
        for sigma in [Some(0.07), None] {
            let mut uniform = Uniform(40 + i as u64);
            let lowered = lowered(&model, &uniform.acquisition());
            let mut ahead = || {
                let mut x = uniform.values(&model, 0.2);
                for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
                    x[free.at] = x[free.at].abs();
                }
                x
            };
            let (truth, centre) = (ahead(), ahead());
            let mut evaluator = Evaluator::new(&lowered);
            evaluator.set_per_voxel(case.per_voxel);
            let signals = evaluator.predict(&truth).iter().map(|s| (s + 0.03).abs()).collect();
            let space = PooledSpace::new(&model, sigma.is_none(), &[1.0]).unwrap();
            let mut z: Vec<f64> = (0..space.dim()).map(|_| uniform.within(-1.2, 1.2)).collect();
            if sigma.is_none() {
                *z.last_mut().unwrap() = uniform.within(-3.0, -2.0);
            }
            let per_voxel = case.per_voxel.to_vec();
            let name = case.name().to_string();
            out.push(Voxel { name, lowered, per_voxel, space, signals, sigma, centre, z });
        }
    }
    assert!(out.len() > 20, "{}", out.len());
    out
}

impl Voxel {
    fn pooled(&self) -> (PooledVoxel, PooledDensity) {
        let voxel = PooledVoxel::new(
            &self.space,
            &self.lowered,
            &self.signals,
            &self.per_voxel,
            self.sigma,
            &self.centre,
        );
        (voxel, PooledDensity::new(&self.space, &self.lowered))
    }

    fn at(&self, z: &[f64]) -> (f64, Vec<f64>) {
        let (voxel, mut density) = self.pooled();
        let mut gradient = vec![0.0; z.len()];
        (density.ln_density(&self.space, &voxel, z, &mut gradient), gradient)
    }
}

#[test]
fn gradient_equals_difference() {
    for v in voxels() {
        let (_, gradient) = v.at(&v.z);
        for k in 0..v.z.len() {
            let shifted = |h: f64| {
                let mut z = v.z.clone();
                z[k] += h;
                v.at(&z).0
            };
            let h = 1e-4;
            let difference = (8.0 * (shifted(h) - shifted(-h)) - shifted(2.0 * h)
                + shifted(-2.0 * h))
                / (12.0 * h);
            let scale = gradient.iter().fold(1.0_f64, |m, g| m.max(g.abs()));
            assert!(
                (gradient[k] - difference).abs() < 1e-6 * scale,
                "{} {k}: {} {difference}",
                v.name,
                gradient[k]
            );
        }
    }
}

/// Where coordinates of axes and angles move alone, the density differs from that of the
/// posterior under independent priors by a constant; where pooled ones move, by the
/// independent prior and the Jacobian, which add the slopes of the difference.
#[test]
fn agrees_with_the_posterior() {
    for v in voxels() {
        let sigma = match v.sigma {
            Some(s) => Sigma::Known(s),
            None => Sigma::Free(Model::default_sigma_prior(1.0).unwrap()),
        };
        let mut evaluator = Evaluator::new(&v.lowered);
        evaluator.set_per_voxel(&v.per_voxel);
        let mut posterior =
            Posterior::new(&mut evaluator, &v.signals, sigma, 1.0, &v.centre).unwrap();
        assert_eq!(posterior.dim(), v.space.dim());
        assert_eq!(
            posterior.chart().uncentred(),
            v.space.coordinates().iter().map(|c| c.at).collect::<Vec<_>>()
        );
        let mut gz = vec![0.0; v.z.len()];
        let mut difference = |z: &[f64]| posterior.ln_density(z, &mut gz) - v.at(z).0;
        let here = difference(&v.z);
        let mut z = v.z.clone();
        for (k, z) in z.iter_mut().enumerate() {
            if v.space.coordinates().iter().all(|c| c.at != k) {
                *z = 0.4 - 0.7 * *z;
            }
        }
        let there = difference(&z);
        assert!((here - there).abs() < 1e-9 * here.abs().max(1.0), "{}: {here} {there}", v.name);
        // The values are those of the posterior's chart.
        let (voxel, _) = v.pooled();
        let (mut x, mut y) = (vec![0.0; v.space.values()], vec![0.0; v.space.values()]);
        voxel.chart().to_values(&z, &mut x);
        posterior.chart().to_values(&z, &mut y);
        assert_eq!(x, y, "{}", v.name);
    }
}

#[test]
fn curvature_is_positive_where_data_are() {
    for v in voxels() {
        let (voxel, mut density) = v.pooled();
        let n = v.z.len();
        let (mut gradient, mut h) = (vec![0.0; n], vec![0.0; n * n]);
        let value = density.curvature(&v.space, &voxel, &v.z, &mut gradient, &mut h);
        assert_eq!((value, gradient), v.at(&v.z), "{}", v.name);
        for i in 0..n {
            assert!(h[i * n + i] >= 0.0, "{} {i}", v.name);
            for j in 0..n {
                let (a, b) = (h[i * n + j], h[j * n + i]);
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1e-9), "{} {i} {j}", v.name);
            }
        }
    }
}

/// Mean and sd of coordinates under the independent priors, by drawing them.
#[test]
fn moments_by_draws() {
    let mut spec = ModelSpec::parse("stick + zeppelin + ball").unwrap();
    spec.prior.insert("fractions".into(), PriorSpec::Dirichlet(vec![1.5, 1.0, 2.5]));
    spec.prior.insert("stick.lambda_par".into(), PriorSpec::Normal([1.7, 0.4]));
    spec.prior.insert("ball.lambda_iso".into(), PriorSpec::Uniform([0.5, 3.0]));
    let model = Model::new(spec).unwrap();
    let b0 = [0.8, 1.0, 1.3];
    let space = PooledSpace::new(&model, true, &b0).unwrap();
    let n = 200_000;
    let mut rng = PhiloxRng::new(8, 0, 0);
    let values = model.values();
    let voxel = PooledVoxel::new(
        &space,
        &lowered(&model, &Uniform(3).acquisition()),
        &vec![1.0; Uniform(3).acquisition().len()],
        &[],
        None,
        &{
            let mut x = vec![0.5; values];
            for f in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
                x[f.at..f.at + 3].copy_from_slice(&[0.0, 0.0, 1.0]);
            }
            x
        },
    );
    let mut sums = vec![[0.0; 2]; space.coordinates().len()];
    let (mut x, mut z) = (vec![0.5; values + 1], vec![0.0; space.dim()]);
    for i in 0..n {
        let mean_b0 = b0[i % 3];
        for free in model.free() {
            match &free.kind {
                FreeKind::Axis => x[free.at..free.at + 3].copy_from_slice(&[0.0, 0.0, 1.0]),
                FreeKind::Fractions { concentration, .. } => {
                    let g: Vec<f64> = concentration
                        .iter()
                        .map(|a| rng.sample(rand_distr::Gamma::new(*a, 1.0).unwrap()))
                        .collect();
                    let sum: f64 = g.iter().sum();
                    for (k, g) in g.iter().enumerate() {
                        x[free.at + k] = g / sum;
                    }
                }
                _ => {
                    let prior = free.prior.clone().unwrap_or_else(|| {
                        Model::default_scale_prior(mean_b0, free.range).unwrap()
                    });
                    x[free.at] = prior.quantile(rng.random());
                }
            }
        }
        let prior: Prior = Model::default_sigma_prior(mean_b0).unwrap();
        x[values] = prior.quantile(rng.random());
        voxel.chart().to_coordinates(&x, &mut z);
        for (s, c) in sums.iter_mut().zip(space.coordinates()) {
            s[0] += z[c.at] / n as f64;
            s[1] += z[c.at] * z[c.at] / n as f64;
        }
    }
    assert_eq!(space.coordinates().len(), 8);
    for ([mean, square], c) in sums.into_iter().zip(space.coordinates()) {
        let sd = (square - mean * mean).sqrt();
        // Five standard errors of a mean, and 2 % of an sd: fractions below a part in a
        // thousand are lifted by the chart, 400 quantiles lack a part of a logit's tails.
        assert!(
            (mean - c.mean).abs() < 5.0 * sd / (n as f64).sqrt() + 2e-3,
            "{}: {mean} {}",
            c.name,
            c.mean
        );
        assert!((sd / c.sd - 1.0).abs() < 0.02, "{}: {sd} {}", c.name, c.sd);
    }
}

#[test]
fn exchangeable_compartments_have_no_population() {
    let space = |text: &str| {
        PooledSpace::new(&Model::new(ModelSpec::parse(text).unwrap()).unwrap(), false, &[1.0])
    };
    assert!(matches!(space("ball_sticks_2"), Err(PooledError::Exchangeable { .. })));
    assert!(matches!(space("ball + ball"), Err(PooledError::Exchangeable { .. })));
    assert!(space("stick + zeppelin + ball").is_ok());
    assert!(space("noddi").is_ok());
}
