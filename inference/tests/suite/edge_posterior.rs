//! Posteriors of images under smoothed total variation: the density against differences,
//! chains against NUTS, with and without the bound at 0, ranks of images of the prior, threads.

use microtome_inference::dense::{cholesky, cholesky_inverse};
use microtome_inference::diagnostics::{Chains, Workspace, summarize};
use microtome_inference::reconstruct::posterior::{
    ChainSettings, EdgePosterior, EdgePrior, ImageChains, ImageNoise, LaplaceSettings, chain_table,
};
use microtome_inference::sample::{LnDensity, NutsOptions, Start, sample_density};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, Poisson, StandardNormal};

const PRIOR: EdgePrior = EdgePrior { weight: 8.0, rounding: 0.05, ridge: 2.0 };

fn operator(n: usize, views: usize) -> RayTransform {
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(views, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, n + 4]).unwrap();
    RayTransform::new(geometry, volume, Projector::Siddon).unwrap()
}

fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(seed, 0, 7);
    (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// Projections of a square on a ground, with noise.
fn noisy(a: &RayTransform, n: usize, sigma: f64) -> Vec<f64> {
    let inside = |i: usize| (n / 4..n / 2).contains(&(i / n)) && (n / 4..n / 2).contains(&(i % n));
    let x: Vec<f64> = (0..n * n).map(|i| if inside(i) { 1.0 } else { 0.2 }).collect();
    let mut projections = a.apply(&x).unwrap();
    let noise = normals(3, projections.len());
    projections.iter_mut().zip(&noise).for_each(|(y, e)| *y += sigma * e);
    projections
}

fn normal_data(a: &RayTransform, n: usize, sigma: f64) -> ImageNoise {
    let projections = noisy(a, n, sigma);
    let weights = vec![1.0 / (sigma * sigma); projections.len()];
    ImageNoise::Normal { projections, weights }
}

/// Counts of some hundred photons: the expected ones with some rounding.
fn count_data(a: &RayTransform, n: usize) -> ImageNoise {
    let projections = noisy(a, n, 0.01);
    let noise = normals(5, projections.len());
    let count = |(y, e): (&f64, &f64)| {
        let expected = 400.0 * (-0.3 * y).exp();
        (expected + e * expected.sqrt()).round().max(0.0)
    };
    ImageNoise::Poisson { counts: projections.iter().zip(&noise).map(count).collect(), i0: 400.0 }
}

#[test]
fn gradient_is_the_difference() {
    let n = 6;
    let a = operator(n, 5);
    for noise in [normal_data(&a, n, 0.3), count_data(&a, n)] {
        let posterior = EdgePosterior::new(&a, noise, PRIOR).unwrap();
        let x: Vec<f64> = normals(1, n * n).iter().map(|v| 0.1 * v).collect();
        let (mut gradient, mut spare) = (vec![0.0; n * n], vec![0.0; n * n]);
        posterior.ln_density(&x, &mut gradient).unwrap();
        for j in 0..n * n {
            let mut at = |h: f64| {
                let mut moved = x.clone();
                moved[j] += h;
                posterior.ln_density(&moved, &mut spare).unwrap()
            };
            let h = 1e-5;
            let difference = (at(h) - at(-h)) / (2.0 * h);
            let error = (gradient[j] - difference).abs();
            assert!(error < 1e-6 * (1.0 + difference.abs()), "{j}: {} {difference}", gradient[j]);
        }
    }
}

/// The gradient vanishes at the mode, and the standard deviations are the roots of the diagonal
/// of the inverse of second differences of the density.
#[test]
fn the_normal_density_is_that_of_the_mode() {
    let n = 7;
    let a = operator(n, 6);
    // Separable footprints have no matrix that could be stored.
    let (geometry, volume) = (a.geometry().clone(), a.volume().clone());
    let wide = RayTransform::new(geometry, volume, Projector::SeparableFootprint).unwrap();
    let of =
        [(&a, normal_data(&a, n, 0.3)), (&a, count_data(&a, n)), (&wide, count_data(&wide, n))];
    for (a, noise) in of {
        let posterior = EdgePosterior::new(a, noise, PRIOR).unwrap();
        let settings = LaplaceSettings { probes: 1000, ..LaplaceSettings::default() };
        let found = posterior.laplace(&settings).unwrap();
        assert!(found.mean_residual <= 1e-6 && found.mean_iterations < 300);
        assert!(found.draw_residual <= 1e-3 && found.draws.len() == 1000);
        let size = n * n;
        let mut precision = vec![0.0; size * size];
        let (mut up, mut down) = (vec![0.0; size], vec![0.0; size]);
        for j in 0..size {
            let h = 1e-4;
            let moved = |h: f64| {
                let mut x = found.mean.clone();
                x[j] += h;
                x
            };
            posterior.ln_density(&moved(h), &mut up).unwrap();
            posterior.ln_density(&moved(-h), &mut down).unwrap();
            for i in 0..size {
                precision[i * size + j] = (down[i] - up[i]) / (2.0 * h);
            }
        }
        assert!(cholesky(&mut precision, size, 0.0));
        let covariance = cholesky_inverse(&precision, size);
        let mut squares = 0.0;
        for j in 0..size {
            let z = (found.sd[j] - covariance[j * size + j].sqrt()) / found.sd_mcse[j];
            assert!(z.abs() < 4.5, "{j}: {z}");
            squares += z * z / size as f64;
        }
        assert!((0.3..2.0).contains(&squares), "{squares}");
        let short = LaplaceSettings { steps: 1, ..settings };
        assert!(posterior.laplace(&short).unwrap_err().to_string().contains("gradient"));
        assert!(posterior.laplace(&LaplaceSettings { probes: 1, ..settings }).is_err());
        let bounded = posterior.nonneg().laplace(&settings);
        assert!(bounded.unwrap_err().to_string().contains("bound"));
    }
}

struct Density<'a>(&'a EdgePosterior<'a>);

impl LnDensity for Density<'_> {
    fn dim(&self) -> usize {
        self.0.n_voxels()
    }

    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        self.0.ln_density(x, gradient).unwrap_or(f64::NAN)
    }
}

/// The same by the logarithm of the image.
struct ByLogarithms<'a>(&'a EdgePosterior<'a>);

impl LnDensity for ByLogarithms<'_> {
    fn dim(&self) -> usize {
        self.0.n_voxels()
    }

    fn ln_density(&mut self, ln: &[f64], gradient: &mut [f64]) -> f64 {
        let x: Vec<f64> = ln.iter().map(|v| v.exp()).collect();
        let value = self.0.ln_density(&x, gradient).unwrap_or(f64::NAN);
        gradient.iter_mut().zip(&x).for_each(|(g, x)| *g = *g * x + 1.0);
        value + ln.iter().sum::<f64>()
    }
}

#[test]
fn chains_agree_with_nuts() {
    let n = 8;
    let a = operator(n, 6);
    for noise in [normal_data(&a, n, 0.3), count_data(&a, n)] {
        let posterior = EdgePosterior::new(&a, noise, PRIOR).unwrap();
        let settings = ChainSettings { chains: 8, tune: 300, draws: 1500, thin: 1, seed: 11 };
        let own = posterior.sample(&settings).unwrap();
        assert_eq!(own.divergences, 0);
        assert!((0.5..0.95).contains(&own.acceptance), "{}", own.acceptance);
        let options = NutsOptions { chains: 4, tune: 500, draws: 1500, ..NutsOptions::default() };
        let make = |_| Ok::<_, String>(Density(&posterior));
        let nuts = sample_density(make, &Start::default(), &options, 5).unwrap();
        let (mut squares, mut worst) = (0.0, 0.0_f64);
        for row in own.rows() {
            let other = nuts.summary(row.voxel as usize);
            assert!(row.summary.rhat < 1.02, "{row:?}");
            let error = (row.summary.mcse_mean.powi(2) + other.mcse_mean.powi(2)).sqrt();
            let z = (row.summary.mean - other.mean) / error;
            squares += z * z;
            worst = worst.max(z.abs());
            let error = (row.summary.mcse_sd.powi(2) + other.mcse_sd.powi(2)).sqrt();
            let z = (row.summary.sd - other.sd) / error;
            assert!(z.abs() < 4.5, "{row:?} {other:?}");
        }
        // Neighbours are correlated: the sum has fewer degrees of freedom than voxels.
        assert!(worst < 4.0, "{worst}");
        assert!(squares / ((n * n) as f64) < 2.0, "{squares}");
    }
}

/// Counts of an image whose ground is so low that the bound is met there.
fn low_counts(a: &RayTransform, n: usize, i0: f64) -> ImageNoise {
    let inside = |i: usize| (n / 4..n / 2).contains(&(i / n)) && (n / 4..n / 2).contains(&(i % n));
    let x: Vec<f64> = (0..n * n).map(|i| if inside(i) { 0.4 } else { 0.01 }).collect();
    poisson(&a.apply(&x).unwrap(), i0, 21)
}

/// Poisson numbers of expected counts $I_0e^{-t}$.
fn poisson(lines: &[f64], i0: f64, seed: u64) -> ImageNoise {
    let mut rng = PhiloxRng::new(seed, 0, 9);
    let draw = |t: &f64| Poisson::new(i0 * (-t).exp()).unwrap().sample(&mut rng);
    ImageNoise::Poisson { counts: lines.iter().map(draw).collect(), i0 }
}

#[test]
fn bounded_chains_agree_with_nuts() {
    let n = 8;
    let a = operator(n, 6);
    let posterior = EdgePosterior::new(&a, low_counts(&a, n, 500.0), PRIOR).unwrap().nonneg();
    let settings = ChainSettings { chains: 16, tune: 300, draws: 1500, thin: 1, seed: 13 };
    let own = posterior.sample(&settings).unwrap();
    assert_eq!(own.divergences, 0);
    assert!(own.values.iter().all(|v| *v >= 0.0));
    let options = NutsOptions { chains: 4, tune: 500, draws: 1500, ..NutsOptions::default() };
    let make = |_| Ok::<_, String>(ByLogarithms(&posterior));
    let nuts = sample_density(make, &Start::default(), &options, 6).unwrap();
    let mut low = 0;
    for (voxel, row) in own.rows().iter().enumerate() {
        let draws: Vec<f64> = (nuts.chains.iter())
            .flat_map(|c| c.trace.draws.iter().map(|d| d.position[voxel].exp()))
            .collect();
        let other = summarize(Chains::new(&draws, 4, 1500).unwrap(), &mut Workspace::new());
        // Voxels near the bound mix slowly: some hundred effective draws of 24,000, so that the R-hat of
        // sixteen chains is about 1 + 8 / ESS.
        assert!(row.summary.ess_bulk > 100.0 && row.summary.rhat < 1.1, "{row:?}");
        for (own, nuts, error) in [
            (row.summary.mean, other.mean, row.summary.mcse_mean.hypot(other.mcse_mean)),
            (row.summary.sd, other.sd, row.summary.mcse_sd.hypot(other.mcse_sd)),
        ] {
            assert!((own - nuts).abs() < 4.5 * error, "{row:?} {other:?}");
        }
        low += usize::from(row.summary.mean < 1.5 * row.summary.sd);
    }
    // The bound matters in a good part of the image.
    assert!(low > 10, "{low}");
}

/// Draws of the prior with the bound, counts of each, and the ranks of the truth among draws.
#[test]
fn ranks_of_bounded_images_are_uniform() {
    const IMAGES: usize = 64;
    let n = 16;
    let a = operator(n, 8);
    let rays = a.n_rays();
    let blind = ImageNoise::Normal { projections: vec![0.0; rays], weights: vec![1e-12; rays] };
    let prior = EdgePrior { weight: 40.0, rounding: 0.01, ridge: 50.0 };
    let all = EdgePosterior::new(&a, blind, prior).unwrap().nonneg();
    let options = NutsOptions { chains: 4, tune: 300, draws: 160, ..NutsOptions::default() };
    let make = |_| Ok::<_, String>(ByLogarithms(&all));
    let nuts = sample_density(make, &Start::default(), &options, 8).unwrap();
    let images: Vec<Vec<f64>> = (nuts.chains.iter())
        .flat_map(|c| c.trace.draws.chunks(10))
        .map(|d| d[9].position.iter().map(|v| v.exp()).collect())
        .collect();
    assert_eq!(images.len(), IMAGES);
    ranks(&images, n, |k, x| {
        let noise = poisson(&a.apply(x).unwrap(), 50.0, 200 + k);
        let posterior = EdgePosterior::new(&a, noise, prior).unwrap().nonneg();
        let settings = ChainSettings { chains: 4, tune: 120, draws: 64, thin: 4, seed: 1000 + k };
        posterior.sample(&settings).unwrap().values
    });
}

#[test]
fn threads_change_no_bit_and_rows_are_of_the_draws() {
    let n = 6;
    let a = operator(n, 5);
    let posterior = EdgePosterior::new(&a, normal_data(&a, n, 0.3), PRIOR).unwrap();
    let settings = ChainSettings { chains: 18, tune: 30, draws: 20, thin: 2, seed: 2 };
    let with = |threads: usize| -> ImageChains {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| posterior.sample(&settings).unwrap())
    };
    let one = with(1);
    assert_eq!(one, with(3));
    assert_eq!((one.chains, one.draws, one.values.len()), (18, 10, 18 * 10 * n * n));
    let rows = one.rows();
    let voxel = 17;
    let values: Vec<f64> =
        one.values.chunks_exact(n * n).map(|image| f64::from(image[voxel])).collect();
    let exact = summarize(Chains::new(&values, 18, 10).unwrap(), &mut Workspace::new());
    assert_eq!(rows[voxel].summary, exact);
    let limit = exact.q50;
    let above = values.iter().filter(|v| **v > limit).count() as f64 / values.len() as f64;
    assert_eq!(one.exceedance(limit)[voxel], above);
    let mut labels = vec![0.0; n * n];
    labels[voxel] = 3.0;
    let regions = one.regions(&labels);
    assert_eq!((regions.len(), regions[0].voxel, regions[0].summary), (1, 3, exact));
    assert_eq!(chain_table("voxel", &rows).unwrap().num_rows(), n * n);
    // Other draws with another seed.
    let other = posterior.sample(&ChainSettings { seed: 3, ..settings }).unwrap();
    assert_ne!(other.values, one.values);
}

/// Images of the prior (by NUTS, far apart), projections of each, and the ranks of the truth
/// among draws of the posterior: the level, a voxel, a difference.
#[test]
fn ranks_are_uniform() {
    const IMAGES: usize = 64;
    let n = 16;
    let a = operator(n, 8);
    let rays = a.n_rays();
    let blind = ImageNoise::Normal { projections: vec![0.0; rays], weights: vec![1e-12; rays] };
    let prior = EdgePosterior::new(&a, blind, PRIOR).unwrap();
    let options = NutsOptions { chains: 4, tune: 300, draws: 160, ..NutsOptions::default() };
    let make = |_| Ok::<_, String>(Density(&prior));
    let nuts = sample_density(make, &Start::default(), &options, 8).unwrap();
    let images: Vec<Vec<f64>> = nuts
        .chains
        .iter()
        .flat_map(|c| c.trace.draws.chunks(10).map(|d| d[9].position.to_vec()))
        .collect();
    assert_eq!(images.len(), IMAGES);
    let sigma = 0.5;
    ranks(&images, n, |k, x| {
        let mut projections = a.apply(x).unwrap();
        let noise = normals(100 + k, rays);
        projections.iter_mut().zip(&noise).for_each(|(y, e)| *y += sigma * e);
        let noise = ImageNoise::Normal { projections, weights: vec![1.0 / (sigma * sigma); rays] };
        let posterior = EdgePosterior::new(&a, noise, PRIOR).unwrap();
        let settings = ChainSettings { chains: 4, tune: 90, draws: 64, thin: 4, seed: 1000 + k };
        posterior.sample(&settings).unwrap().values
    });
}

/// Ranks of the level, a voxel and a difference of images of 16 x 16 among 63 draws each.
fn ranks(images: &[Vec<f64>], n: usize, draws: impl Fn(u64, &[f64]) -> Vec<f32>) {
    const DRAWS: usize = 63;
    let of: [fn(&[f64]) -> f64; 3] =
        [|x| x.iter().sum(), |x| x[7 * 16 + 8], |x| x[3 * 16 + 4] - x[3 * 16 + 3]];
    let mut bins = [[0_usize; 8]; 3];
    for (k, x) in images.iter().enumerate() {
        let values = draws(k as u64, x);
        for (f, bins) in of.iter().zip(&mut bins) {
            let truth = f(x);
            let below = (values.chunks_exact(n * n).take(DRAWS))
                .filter(|d| f(&d.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>()) < truth)
                .count();
            bins[below * 8 / (DRAWS + 1)] += 1;
        }
    }
    for bins in bins {
        let expected = images.len() as f64 / 8.0;
        let chi: f64 = bins.iter().map(|b| (*b as f64 - expected).powi(2) / expected).sum();
        // 99.97 % point of chi squared with 7 degrees of freedom.
        assert!(chi < 27.0, "{bins:?} {chi}");
    }
}

#[test]
fn wrong_numbers_are_refused() {
    let a = operator(5, 3);
    let data = || normal_data(&a, 5, 0.3);
    let says = |noise: ImageNoise, prior: EdgePrior, text: &str| {
        let error = EdgePosterior::new(&a, noise, prior).err().unwrap().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(data(), EdgePrior { weight: 0.0, ..PRIOR }, "tv weight");
    says(data(), EdgePrior { rounding: 0.0, ..PRIOR }, "tv eps");
    says(data(), EdgePrior { ridge: -1.0, ..PRIOR }, "ridge");
    let counts = vec![1.0; a.n_rays()];
    says(ImageNoise::Poisson { counts: counts.clone(), i0: 0.0 }, PRIOR, "i0");
    let negative = counts.iter().map(|c| -c).collect();
    says(ImageNoise::Poisson { counts: negative, i0: 10.0 }, PRIOR, "counts");
    let short = ImageNoise::Poisson { counts: counts[1..].to_vec(), i0: 10.0 };
    assert!(EdgePosterior::new(&a, short, PRIOR).is_err());
    let (geometry, volume) = (a.geometry().clone(), a.volume().clone());
    let wide = RayTransform::new(geometry, volume, Projector::SeparableFootprint).unwrap();
    let posterior = EdgePosterior::new(&wide, data(), PRIOR).unwrap();
    let error = posterior.sample(&ChainSettings::default()).unwrap_err().to_string();
    assert!(error.contains("joseph"), "{error}");
    let bounded = EdgePosterior::new(&a, data(), PRIOR).unwrap().nonneg();
    let (mut below, mut gradient) = (vec![0.1; 25], vec![0.0; 25]);
    below[7] = -1e-9;
    assert_eq!(bounded.ln_density(&below, &mut gradient).unwrap(), f64::NEG_INFINITY);
    let posterior = EdgePosterior::new(&a, data(), PRIOR).unwrap();
    for settings in [
        ChainSettings { chains: 0, ..ChainSettings::default() },
        ChainSettings { tune: 3, ..ChainSettings::default() },
        ChainSettings { draws: 0, ..ChainSettings::default() },
        ChainSettings { thin: 0, ..ChainSettings::default() },
    ] {
        assert!(posterior.sample(&settings).is_err());
    }
}
