//! Gaussian image posteriors with an unknown weight of the prior and unknown noise: the
//! likelihood of both against the dense evidence, the integral, and ranks of draws of the prior.

use microtome_inference::reconstruct::posterior::{
    DensePosterior, GaussianImage, ScaleSettings, UnknownScales,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, Gamma, StandardNormal};

const WEIGHT: f64 = 3.0;
const KAPPA2: f64 = 0.2;

fn operator(n: usize, views: usize) -> RayTransform {
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(views, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, n + 4]).unwrap();
    RayTransform::new(geometry, volume, Projector::Siddon).unwrap()
}

fn normal(rng: &mut PhiloxRng) -> f64 {
    StandardNormal.sample(rng)
}

fn field(n: usize, weight: f64) -> GaussianField {
    GaussianField::new(&[n, n], weight, KAPPA2).unwrap()
}

fn weights(m: usize) -> Vec<f64> {
    (0..m).map(|i| if i == 3 { 0.0 } else { 4.0 + (i % 7) as f64 }).collect()
}

#[test]
fn unknown_scales_are_integrated() {
    let n = 5;
    let a = operator(n, 4);
    let mut rng = PhiloxRng::new(4, 0, 7);
    let y: Vec<f64> = (0..a.n_rays()).map(|_| normal(&mut rng)).collect();
    let image = GaussianImage::new(&a, &y, weights(y.len()), field(n, WEIGHT)).unwrap();
    let scales = UnknownScales::new(&image).unwrap();
    let dense = |kappa: f64, tau: f64| {
        let w = weights(y.len()).iter().map(|w| tau * w).collect();
        let image = GaussianImage::new(&a, &y, w, field(n, WEIGHT * kappa * tau)).unwrap();
        DensePosterior::new(&image).unwrap()
    };
    for (kappa, tau) in [(1.0, 1.0), (0.2, 1.0), (5.0, 0.3), (0.05, 4.0)] {
        let exact = dense(kappa, tau).ln_evidence().unwrap();
        assert!((scales.ln_likelihood(kappa, tau) - exact).abs() < 1e-9 * exact.abs());
    }
    // Sums over a grid of both; of the mean, too.
    let (s, shape) = (0.7_f64, 3.0_f64);
    let gamma = |tau: f64| {
        shape * shape.ln() - statrs::function::gamma::ln_gamma(shape) + shape * tau.ln()
            - shape * tau
    };
    let (mut whole, mut mean) = (0.0, vec![0.0; n * n]);
    for i in -60..=60 {
        let u = f64::from(i) * 0.1 * s;
        let at = dense(u.exp(), 1.0).mean().to_vec();
        let prior = (-0.5 * (u / s).powi(2)).exp() / (s * std::f64::consts::TAU.sqrt());
        for j in -120..=80 {
            // Of ln tau, whose density is tau times that of tau.
            let ln_tau = f64::from(j) * 0.05;
            let tau = ln_tau.exp();
            let ln = scales.ln_likelihood(u.exp(), tau) + gamma(tau);
            let part = 0.1 * s * 0.05 * prior * (ln + 200.0).exp();
            whole += part;
            mean.iter_mut().zip(&at).for_each(|(m, a)| *m += part * a);
        }
    }
    let settings = ScaleSettings { weight_sd: s, noise_shape: Some(shape), draws: 4000, seed: 1 };
    let found = scales.sample(&settings).unwrap();
    assert!((found.ln_evidence - (whole.ln() - 200.0)).abs() < 1e-6, "{}", found.ln_evidence);
    for (j, m) in mean.iter().enumerate() {
        assert!((found.images.mean[j] - m / whole).abs() < 1e-6, "{j}");
        let sum: f64 = found.images.draws.iter().map(|d| d[j]).sum();
        let z = (sum / 4000.0 - found.images.mean[j]) / (found.images.sd[j] / 4000_f64.sqrt());
        assert!(z.abs() < 4.5, "{j} {z}");
    }
    let wrong = [
        ScaleSettings { weight_sd: 0.0, ..settings },
        ScaleSettings { noise_shape: Some(-1.0), ..settings },
        ScaleSettings { draws: 1, ..settings },
    ];
    assert!(wrong.iter().all(|s| scales.sample(s).is_err()));
    let improper = GaussianField::new(&[n, n], WEIGHT, 0.0).unwrap();
    let image = GaussianImage::new(&a, &y, weights(y.len()), improper).unwrap();
    assert!(UnknownScales::new(&image).is_err());
}

/// Scales, image and projections of the prior, and the ranks of the truth among draws: weight,
/// noise, level and a voxel.
#[test]
fn ranks_of_scales_are_uniform() {
    const DRAWS: usize = 63;
    const PAIRS: u64 = 400;
    let n = 8;
    let a = operator(n, 6);
    let (s, shape) = (0.8, 4.0);
    let gamma = Gamma::new(shape, 1.0 / shape).unwrap();
    let mut bins = [[0_usize; 8]; 4];
    for pair in 0..PAIRS {
        let mut rng = PhiloxRng::new(50 + pair, 0, 7);
        let tau: f64 = gamma.sample(&mut rng);
        let weight = (s * normal(&mut rng)).exp() * tau * WEIGHT;
        // A draw of the prior by its precision.
        let zero = vec![0.0; a.n_rays()];
        let mut blind = zero.clone();
        blind[0] = 1e-30;
        let prior = GaussianImage::new(&a, &zero, blind, field(n, weight)).unwrap();
        let x = DensePosterior::new(&prior).unwrap().draw(900 + pair, 0);
        let mut y = a.apply(&x).unwrap();
        let weights = weights(y.len());
        for (y, w) in y.iter_mut().zip(&weights) {
            *y += if *w > 0.0 { normal(&mut rng) / (tau * w).sqrt() } else { 0.0 };
        }
        let image = GaussianImage::new(&a, &y, weights, field(n, WEIGHT)).unwrap();
        let settings =
            ScaleSettings { weight_sd: s, noise_shape: Some(shape), draws: DRAWS, seed: pair };
        let found = UnknownScales::new(&image).unwrap().sample(&settings).unwrap();
        let level = |x: &[f64]| x.iter().sum::<f64>();
        let draws = |f: &dyn Fn(&[f64]) -> f64| found.images.draws.iter().map(|d| f(d)).collect();
        let all: [(Vec<f64>, f64); 4] = [
            (found.weight.clone(), weight),
            (found.noise.clone(), tau.sqrt().recip()),
            (draws(&level), level(&x)),
            (draws(&|x| x[27]), x[27]),
        ];
        for (bins, (draws, truth)) in bins.iter_mut().zip(&all) {
            bins[draws.iter().filter(|d| *d < truth).count() * 8 / (DRAWS + 1)] += 1;
        }
    }
    for bins in bins {
        let expected = PAIRS as f64 / 8.0;
        let chi: f64 = bins.iter().map(|b| (*b as f64 - expected).powi(2) / expected).sum();
        // 99.97 % point of chi squared with 7 degrees of freedom.
        assert!(chi < 27.0, "{bins:?} {chi}");
    }
}
