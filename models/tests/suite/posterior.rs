//! The log posterior: gradients, curvature, and the normalisation of its priors.
#![allow(clippy::unwrap_used)]

use crate::composed;

use composed::{Case, Uniform, cases, lowered};
use microtome_models::{
    Acquisition, Evaluator, FreeKind, Lowered, Model, ModelSpec, NoiseKind, PointwiseLikelihood,
    Posterior, Prior, PriorSpec, Sigma,
};

/// The model of a case with every kind of prior on its free blocks in turn.
fn with_priors(case: &Case, noise: NoiseKind) -> Model {
    let mut spec = case.spec();
    spec.noise.kind = noise;
    for (i, free) in case.model().free().iter().enumerate() {
        let prior = match &free.kind {
            FreeKind::Axis => Some(PriorSpec::Isotropic),
            FreeKind::Fractions { .. } => {
                Some(PriorSpec::Dirichlet((0..free.len).map(|k| 0.8 + 0.9 * k as f64).collect()))
            }
            FreeKind::Scale => Some(PriorSpec::Lognormal([0.1, 0.4])),
            FreeKind::Scalar { .. } => match i % 5 {
                0 => Some(PriorSpec::Normal([1.2, 0.5])),
                1 => Some(PriorSpec::Lognormal([0.2, 0.6])),
                2 => Some(PriorSpec::HalfNormal(1.5)),
                3 => Some(PriorSpec::Uniform([0.0, 3.5])),
                _ => None,
            },
        };
        if let Some(prior) = prior {
            spec.prior.insert(free.name.clone(), prior);
        }
    }
    Model::new(spec).unwrap()
}

/// What a posterior is made of.
struct Voxel {
    name: String,
    lowered: Lowered,
    per_voxel: Vec<f64>,
    signals: Vec<f64>,
    centre: Vec<f64>,
    sigma: Sigma,
    z: Vec<f64>,
}

impl Voxel {
    /// Signals at some values with bounded noise; the chart elsewhere; a point `z`.
    fn new(case: &Case, seed: u64, noise: NoiseKind, sigma: Sigma) -> Self {
        let model = with_priors(case, noise);
        let mut uniform = Uniform(seed);
        let lowered = lowered(&model, &uniform.acquisition());
        let axis_ahead = |uniform: &mut Uniform| {
            let mut x = uniform.values(&model, 0.2);
            for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
                x[free.at] = x[free.at].abs();
            }
            x
        };
        let (truth, centre) = (axis_ahead(&mut uniform), axis_ahead(&mut uniform));
        let mut evaluator = Evaluator::new(&lowered);
        evaluator.set_per_voxel(case.per_voxel);
        let signals: Vec<f64> = evaluator
            .predict(&truth)
            .iter()
            .map(|s| (s + uniform.within(-0.1, 0.1)).abs())
            .collect();
        let mut voxel = Self {
            name: format!("{}, {noise:?}, {sigma:?}", case.name()),
            lowered,
            per_voxel: case.per_voxel.to_vec(),
            signals,
            centre,
            sigma,
            z: Vec::new(),
        };
        let dim = voxel.with(|p| p.dim());
        voxel.z = (0..dim).map(|_| uniform.within(-1.2, 1.2)).collect();
        if let Sigma::Free(_) = voxel.sigma {
            voxel.z[dim - 1] = uniform.within(-3.0, -2.0);
        }
        voxel
    }

    fn with<T>(&self, f: impl FnOnce(&mut Posterior<'_>) -> T) -> T {
        let mut evaluator = Evaluator::new(&self.lowered);
        evaluator.set_per_voxel(&self.per_voxel);
        let posterior =
            Posterior::new(&mut evaluator, &self.signals, self.sigma.clone(), 1.0, &self.centre);
        f(&mut posterior.unwrap())
    }
}

fn voxels(seed: u64) -> Vec<Voxel> {
    let free = || {
        Sigma::Free(Prior::new(&PriorSpec::Lognormal([-2.5, 0.7]), [0.0, f64::INFINITY]).unwrap())
    };
    let mut out = Vec::new();
    for (i, case) in cases().iter().enumerate() {
        for noise in [
            NoiseKind::Gaussian,
            NoiseKind::Rician,
            NoiseKind::NcChi { coils: 4 },
            NoiseKind::StudentT { nu: 5.0 },
        ] {
            out.push(Voxel::new(case, seed + 10 * i as u64, noise, Sigma::Known(0.07)));
            out.push(Voxel::new(case, seed + 10 * i as u64 + 1, noise, free()));
        }
    }
    out
}

/// Fourth-order central difference.
fn difference(f: impl Fn(f64) -> f64, h: f64) -> f64 {
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

#[test]
fn gradient_equals_difference() {
    for voxel in (0..10).flat_map(|repeat| voxels(1000 * repeat)) {
        voxel.with(|posterior| {
            let dim = posterior.dim();
            let mut gradient = vec![0.0; dim];
            posterior.ln_density(&voxel.z, &mut gradient);
            let scale = gradient.iter().map(|g| g.abs()).fold(1.0, f64::max);
            let posterior = std::cell::RefCell::new(posterior);
            for k in 0..dim {
                let moved = |step: f64| {
                    let mut z = voxel.z.clone();
                    z[k] += step;
                    posterior.borrow_mut().ln_density(&z, &mut vec![0.0; dim])
                };
                let expected = difference(moved, 3e-4);
                assert!(
                    (gradient[k] - expected).abs() < 1e-7 * scale,
                    "{}: coordinate {k}: {} by differences {expected}",
                    voxel.name,
                    gradient[k]
                );
            }
        });
    }
}

/// The lower Cholesky factor exists.
fn is_positive_definite(a: &[f64], n: usize) -> bool {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - sum;
            if i == j {
                if rest.is_nan() || rest <= 1e-12 * a[i * n + i] {
                    return false;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    true
}

#[test]
fn curvature_is_positive_definite() {
    for voxel in (0..10).flat_map(|repeat| voxels(1000 * repeat + 500)) {
        voxel.with(|posterior| {
            let n = posterior.dim();
            let (mut gradient, mut again, mut hessian) =
                (vec![0.0; n], vec![0.0; n], vec![f64::NAN; n * n]);
            let value = posterior.curvature(&voxel.z, &mut gradient, &mut hessian);
            assert_eq!(value, posterior.ln_density(&voxel.z, &mut again));
            assert_eq!(gradient, again);
            for i in 0..n {
                for j in 0..n {
                    let (a, b) = (hessian[i * n + j], hessian[j * n + i]);
                    let scale = (hessian[i * n + i] * hessian[j * n + j]).sqrt();
                    assert!((a - b).abs() <= 1e-12 * scale, "{}: [{i}, {j}] {a} {b}", voxel.name);
                }
            }
            assert!(is_positive_definite(&hessian, n), "{}: {hessian:?}", voxel.name);
        });
    }
}

#[test]
fn curvature_is_the_hessian_where_the_data_are_exact() {
    // With the signals equal to the model and a small sigma, minus the Hessian is
    // Z'J'JZ / sigma^2 but for terms of order sigma.
    for (i, case) in cases().iter().enumerate() {
        let sigma = 1e-5;
        let mut voxel = Voxel::new(case, 70 + i as u64, NoiseKind::Gaussian, Sigma::Known(sigma));
        let values = voxel.with(|p| {
            p.ln_density(&voxel.z, &mut vec![0.0; voxel.z.len()]);
            p.values().to_vec()
        });
        let mut evaluator = Evaluator::new(&voxel.lowered);
        evaluator.set_per_voxel(case.per_voxel);
        voxel.signals = evaluator.predict(&values);
        voxel.with(|posterior| {
            let n = posterior.dim();
            let (mut gradient, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
            posterior.curvature(&voxel.z, &mut gradient, &mut hessian);
            let posterior = std::cell::RefCell::new(posterior);
            for j in 0..n {
                for i in 0..n {
                    let slope = |step: f64| {
                        let mut z = voxel.z.clone();
                        z[j] += step;
                        let mut gradient = vec![0.0; n];
                        posterior.borrow_mut().ln_density(&z, &mut gradient);
                        -gradient[i]
                    };
                    let expected = difference(slope, 1e-4);
                    let scale = (hessian[i * n + i] * hessian[j * n + j]).sqrt();
                    let got = hessian[i * n + j];
                    // One part in 10^5 of the data's information, and the order-one
                    // terms of priors and charts.
                    assert!(
                        (got - expected).abs() < 1e-5 * scale + 20.0,
                        "{}: [{i}, {j}] {got} by differences {expected}",
                        voxel.name
                    );
                }
            }
        });
    }
}

/// ln p(y | s, sigma) of independent normal measurements, written out.
fn ln_normal(y: &[f64], s: impl Iterator<Item = f64>, sigma: f64) -> f64 {
    let norm = (sigma * std::f64::consts::TAU.sqrt()).ln();
    y.iter().zip(s).map(|(y, s)| -0.5 * ((y - s) / sigma).powi(2) - norm).sum()
}

fn model(text: &str) -> Model {
    Model::new(ModelSpec::from_toml(text).unwrap()).unwrap()
}

/// The integral of exp(ln density) over the coordinate of a model that has one, by
/// the midpoint rule.
fn evidence(
    model: &Model,
    acquisition: &Acquisition,
    y: &[f64],
    sigma: f64,
    centre: &[f64],
) -> f64 {
    let mut evaluator = Evaluator::new(&lowered(model, acquisition));
    let mut posterior =
        Posterior::new(&mut evaluator, y, Sigma::Known(sigma), 1.0, centre).unwrap();
    assert_eq!(posterior.dim(), 1);
    let (reach, n) = (40.0, 80_000);
    let h = 2.0 * reach / f64::from(n);
    let mut gradient = [0.0];
    (0..n)
        .map(|i| {
            posterior.ln_density(&[-reach + (f64::from(i) + 0.5) * h], &mut gradient).exp() * h
        })
        .sum()
}

fn shells() -> (Acquisition, Vec<f64>) {
    let b = [0.0, 0.5, 1.0, 2.0];
    (Acquisition::from_b(&b, &[[0.6, 0.0, 0.8]; 4], None, None).unwrap(), b.to_vec())
}

#[test]
fn evidence_of_a_ball_is_the_integral_over_its_diffusivity() {
    let (acquisition, b) = shells();
    let (y, sigma) = ([1.0, 0.42, 0.2, 0.1], 0.1);
    let half_normal =
        |x: f64| 2.0 / (1.4 * std::f64::consts::TAU.sqrt()) * (-0.5 * (x / 1.4).powi(2)).exp();
    let log_normal = |x: f64| {
        (-0.5 * ((x.ln() - 0.3) / 0.4).powi(2)).exp() / (x * 0.4 * std::f64::consts::TAU.sqrt())
    };
    type Density<'a> = &'a dyn Fn(f64) -> f64;
    let cases: [(&str, Density<'_>); 4] = [
        ("", &|x| if (0.05..=4.0).contains(&x) { 1.0 / 3.95 } else { 0.0 }),
        ("[prior]\n\"ball.lambda_iso\" = { uniform = [0.2, 2.7] }", &|x| {
            if (0.2..=2.7).contains(&x) { 1.0 / 2.5 } else { 0.0 }
        }),
        ("[prior]\n\"ball.lambda_iso\" = { half_normal = 1.4 }", &half_normal),
        ("[prior]\n\"ball.lambda_iso\" = { lognormal = [0.3, 0.4] }", &log_normal),
    ];
    for (prior, density) in cases {
        let model = model(&format!(
            "[[compartment]]\nkind = \"ball\"\n[link]\ns0 = {{ fixed = 1.0 }}\n{prior}\n"
        ));
        let ours = evidence(&model, &acquisition, &y, sigma, &[1.0]);
        let n = 2_000_000;
        let h = 40.0 / f64::from(n);
        let expected: f64 = (0..n)
            .map(|i| {
                let x = (f64::from(i) + 0.5) * h;
                ln_normal(&y, b.iter().map(|b| (-b * x).exp()), sigma).exp() * density(x) * h
            })
            .sum();
        assert!((ours / expected - 1.0).abs() < 1e-6, "{prior}: {ours} {expected}");
    }
}

#[test]
fn evidence_has_the_default_prior_of_the_scale() {
    // s0 is lognormal about the mean b = 0 signal, which is 1 here, with sd 0.5 of the logarithm.
    let model =
        model("[[compartment]]\nkind = \"ball\"\n[link]\n\"ball.lambda_iso\" = { fixed = 1.0 }\n");
    let (acquisition, b) = shells();
    let (y, sigma) = ([1.4, 0.8, 0.5, 0.2], 0.2);
    let ours = evidence(&model, &acquisition, &y, sigma, &[1.0]);
    let n = 1_000_000;
    let h = 12.0 / f64::from(n);
    let expected: f64 = (0..n)
        .map(|i| {
            let s0 = (f64::from(i) + 0.5) * h;
            let density =
                (-0.5 * (s0.ln() / 0.5).powi(2)).exp() / (s0 * 0.5 * std::f64::consts::TAU.sqrt());
            ln_normal(&y, b.iter().map(|b| s0 * (-b).exp()), sigma).exp() * density * h
        })
        .sum();
    assert!((ours / expected - 1.0).abs() < 1e-8, "{ours} {expected}");
}

#[test]
fn evidence_of_fractions_is_the_integral_over_the_simplex() {
    // Two fractions with a third fixed: Beta(2, 3.5) of the share f / 0.8.
    let text = "[[compartment]]\nkind = \"ball\"\n[[compartment]]\nkind = \"dot\"\n[[compartment]]\nname = \"fast\"\nkind = \"ball\"\n\
        [link]\n\"ball.lambda_iso\" = { fixed = 1.0 }\n\"fast.lambda_iso\" = { fixed = 3.0 }\n\
        \"fast.fraction\" = { fixed = 0.2 }\ns0 = { fixed = 1.0 }\n[prior]\nfractions = { dirichlet = [2.0, 3.5] }\n";
    let (acquisition, b) = shells();
    let (y, sigma) = ([1.0, 0.8, 0.6, 0.45], 0.1);
    let ours = evidence(&model(text), &acquisition, &y, sigma, &[0.4, 0.4]);
    let beta = 3.5 * 4.5; // 1 / B(2, a) = a (a + 1)
    let n = 1_000_000;
    let expected: f64 = (0..n)
        .map(|i| {
            let share = (f64::from(i) + 0.5) / f64::from(n);
            let signal =
                |b: &f64| 0.8 * (share * (-b).exp() + 1.0 - share) + 0.2 * (-3.0 * b).exp();
            let density = beta * share * (1.0 - share).powf(2.5);
            ln_normal(&y, b.iter().map(signal), sigma).exp() * density / f64::from(n)
        })
        .sum();
    assert!((ours / expected - 1.0).abs() < 1e-8, "{ours} {expected}");
}

#[test]
fn values_are_those_with_gradients() {
    let noises = [
        NoiseKind::Gaussian,
        NoiseKind::Rician,
        NoiseKind::NcChi { coils: 4 },
        NoiseKind::StudentT { nu: 4.0 },
    ];
    for (i, case) in cases().iter().enumerate() {
        let sigma = if i % 2 == 0 {
            Sigma::Known(0.1)
        } else {
            let prior = PriorSpec::Lognormal([-2.3, 0.5]);
            Sigma::Free(Prior::new(&prior, [0.0, f64::INFINITY]).unwrap())
        };
        let voxel = Voxel::new(case, 40 + i as u64, noises[i % 4], sigma);
        voxel.with(|posterior| {
            let whole = posterior.ln_density(&voxel.z, &mut vec![0.0; voxel.z.len()]);
            let value = posterior.ln_density_value(&voxel.z);
            assert!((value - whole).abs() < 1e-12 * whole.abs().max(1.0), "{}", voxel.name);
            let x = posterior.values().to_vec();
            let ln_prior = posterior.ln_prior(&voxel.z);
            let (plan, noise) = (posterior.plan(), noises[i % 4]);
            let likelihood = PointwiseLikelihood::new(noise, &voxel.signals, &plan);
            let mut terms = vec![0.0; plan.slots()];
            let (signal, sigma) = posterior.signal_at(&x);
            likelihood.evaluate(signal, plan.mask(), sigma, &mut terms);
            let sum: f64 = terms.iter().sum();
            assert!(
                (sum + ln_prior - whole).abs() < 1e-11 * whole.abs().max(1.0),
                "{}",
                voxel.name
            );
        });
    }
}

/// Every model that has a likelihood in single precision: log density and gradient beside
/// those of double precision, known σ of a tenth of the signal; the others have none.
#[test]
fn single_precision_is_enough() {
    let mut quick = 0;
    for (i, case) in cases().iter().enumerate() {
        for noise in [NoiseKind::Gaussian, NoiseKind::Rician, NoiseKind::StudentT { nu: 4.0 }] {
            let voxel = Voxel::new(case, 70 + i as u64, noise, Sigma::Known(0.1));
            let name = &voxel.name;
            voxel.with(|posterior| {
                let n = voxel.z.len();
                let (mut gradient, mut other) = (vec![0.0; n], vec![0.0; n]);
                let truth = posterior.ln_density(&voxel.z, &mut gradient);
                let x = posterior.values().to_vec();
                let is_quick = posterior.quicken();
                assert!(!is_quick || !matches!(noise, NoiseKind::StudentT { .. }), "{name}");
                quick += usize::from(is_quick);
                let value = posterior.quick_ln_density(&voxel.z, &mut other);
                assert_eq!(value, posterior.quick_ln_density_value(&voxel.z), "{name}");
                assert_eq!(x, posterior.values());
                // Far from the mode sums are large, and so are their roundings.
                let limit = if is_quick { 1e-4 + 2e-7 * truth.abs() } else { 1e-11 * truth.abs() };
                assert!((value - truth).abs() <= limit, "{name}: {value} {truth}");
                let size = gradient.iter().fold(1.0_f64, |m, g| m.max(g.abs()));
                for (a, b) in other.iter().zip(&gradient) {
                    let limit = if is_quick { 2e-6 * size } else { 0.0 };
                    assert!((a - b).abs() <= limit, "{name}: {other:?} {gradient:?}");
                }
            });
        }
    }
    assert!(quick > 4, "{quick}");
    let case = &cases()[0];
    let voxel = Voxel::new(case, 3, NoiseKind::Rician, Sigma::Known(1e-6));
    voxel.with(|posterior| assert!(!posterior.quicken()));
}

#[test]
fn evidence_of_an_axis_is_the_mean_over_the_sphere() {
    let text = "[[compartment]]\nkind = \"stick\"\n[link]\n\"stick.lambda_par\" = { fixed = 1.5 }\ns0 = { fixed = 1.0 }\n";
    let g = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8]];
    let acquisition = Acquisition::from_b(&[1.0, 1.0, 2.0], &g, None, None).unwrap();
    let (y, sigma) = ([0.4, 0.8, 0.9], 0.2);
    // The chart reaches the equator at infinity, where its density falls as r^-3:
    // integrate over r = tan(angle) instead of a square.
    let ours = {
        let mut evaluator = Evaluator::new(&lowered(&model(text), &acquisition));
        let centre = [0.48, 0.6, 0.64];
        let mut posterior =
            Posterior::new(&mut evaluator, &y, Sigma::Known(sigma), 1.0, &centre).unwrap();
        let n = 600;
        let (dt, dp) = (std::f64::consts::FRAC_PI_2 / n as f64, std::f64::consts::TAU / n as f64);
        let mut total = 0.0;
        for i in 0..n {
            let angle = (i as f64 + 0.5) * dt;
            let r = angle.tan();
            for j in 0..n {
                let p = (j as f64 + 0.5) * dp;
                let ln_density = posterior.ln_density(&[r * p.cos(), r * p.sin()], &mut [0.0; 2]);
                total += ln_density.exp() * r / angle.cos().powi(2) * dt * dp;
            }
        }
        total
    };
    let n = 1000;
    let mut expected = 0.0;
    for i in 0..n {
        let z = -1.0 + (f64::from(i) + 0.5) * 2.0 / f64::from(n);
        for j in 0..n {
            let p = (f64::from(j) + 0.5) * std::f64::consts::TAU / f64::from(n);
            let r = (1.0 - z * z).sqrt();
            let mu = [r * p.cos(), r * p.sin(), z];
            let signal = |(g, b): (&[f64; 3], f64)| {
                let t = g[0] * mu[0] + g[1] * mu[1] + g[2] * mu[2];
                (-b * 1.5 * t * t).exp()
            };
            expected += ln_normal(&y, g.iter().zip([1.0, 1.0, 2.0]).map(signal), sigma).exp();
        }
    }
    expected /= f64::from(n) * f64::from(n);
    assert!((ours / expected - 1.0).abs() < 1e-5, "{ours} {expected}");
}
