//! Gaussian posteriors of images against the joint Gaussian of image and projections, draws
//! against the exact moments, and coverage over images of the prior.
#![allow(clippy::unwrap_used)]

use microtome_inference::dense::{cholesky, cholesky_inverse};
use microtome_inference::reconstruct::posterior::{
    DensePosterior, DrawSettings, GaussianImage, SampledPosterior, above_of_draws, profile,
    profile_table, region_table, summary_table,
};
use microtome_inference::reconstruct::{ReconstructError, ViewOperator};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, StandardNormal};

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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The matrix of a linear map, `[output, input]`.
fn matrix(inputs: usize, map: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let columns: Vec<Vec<f64>> = (0..inputs)
        .map(|j| {
            let mut unit = vec![0.0; inputs];
            unit[j] = 1.0;
            map(&unit)
        })
        .collect();
    (0..columns[0].len()).map(|i| columns.iter().map(|c| c[i]).collect()).collect()
}

/// Inverse and log-determinant of a symmetric positive definite matrix.
fn inverse(a: &[Vec<f64>]) -> (Vec<f64>, f64) {
    let n = a.len();
    let mut flat = a.concat();
    assert!(cholesky(&mut flat, n, 0.0));
    let ln = (0..n).map(|i| 2.0 * flat[i * n + i].ln()).sum();
    (cholesky_inverse(&flat, n), ln)
}

/// $y \sim N(0, AQ^{-1}A^T + W^{-1})$, $\mathrm{E}\,x|y = Q^{-1}A^T S^{-1}y$ and so on: no
/// precision of the posterior is formed.
#[test]
fn evidence_and_moments_are_those_of_the_joint_gaussian() {
    let a = operator(5, 4);
    let m = a.n_rays();
    let field = GaussianField::new(&[5, 5], 3.0, 0.2).unwrap();
    let mut weights: Vec<f64> = (0..m).map(|i| 4.0 + (i % 7) as f64).collect();
    let y: Vec<f64> = normals(1, m);
    let image = GaussianImage::new(&a, &y, weights.clone(), field.clone()).unwrap();
    let exact = DensePosterior::new(&image).unwrap();

    let prior = matrix(25, |x| {
        let mut out = vec![0.0; 25];
        field.add_precision(x, &mut out);
        out
    });
    let (prior_covariance, _) = inverse(&prior);
    let rows = matrix(25, |x| a.apply(x).unwrap());
    let spread: Vec<Vec<f64>> = rows
        .iter()
        .map(|r| (0..25).map(|j| dot(r, &prior_covariance[j * 25..j * 25 + 25])).collect())
        .collect();
    let joint: Vec<Vec<f64>> = (0..m)
        .map(|i| {
            let noise = |k: usize| if i == k { 1.0 / weights[i] } else { 0.0 };
            (0..m).map(|k| dot(&spread[i], &rows[k]) + noise(k)).collect()
        })
        .collect();
    let (joint_inverse, ln) = inverse(&joint);
    let solved: Vec<f64> = (0..m).map(|i| dot(&joint_inverse[i * m..i * m + m], &y)).collect();
    let evidence = -0.5 * (m as f64 * (2.0 * std::f64::consts::PI).ln() + ln + dot(&y, &solved));
    assert!((exact.ln_evidence().unwrap() - evidence).abs() < 1e-9 * evidence.abs());
    for j in 0..25 {
        let cross: Vec<f64> = spread.iter().map(|r| r[j]).collect();
        let mean = dot(&cross, &solved);
        assert!((exact.mean()[j] - mean).abs() < 1e-10);
        let seen: Vec<f64> =
            (0..m).map(|i| dot(&joint_inverse[i * m..i * m + m], &cross)).collect();
        let variance = prior_covariance[j * 25 + j] - dot(&cross, &seen);
        assert!((exact.sd()[j].powi(2) - variance).abs() < 1e-10);
    }
    // Other projections with the same factor.
    let other: Vec<f64> = normals(9, m);
    let image = GaussianImage::new(&a, &other, weights.clone(), field.clone()).unwrap();
    let (mean, ln) = exact.given(&image).unwrap();
    let anew = DensePosterior::new(&image).unwrap();
    assert_eq!((mean.as_slice(), ln), (anew.mean(), anew.ln_evidence()));
    // A weight of zero is a projection that was not measured.
    weights[3] = 0.0;
    let mut wild = y.clone();
    wild[3] = 1e3;
    let with = |y: &[f64]| {
        let image = GaussianImage::new(&a, y, weights.clone(), field.clone()).unwrap();
        let found = DensePosterior::new(&image).unwrap();
        (found.mean().to_vec(), found.ln_evidence())
    };
    assert_eq!(with(&y), with(&wild));
}

#[test]
fn draws_have_the_exact_moments() {
    let a = operator(10, 6);
    let truth = normals(2, 100);
    let noise = normals(3, a.n_rays());
    let y: Vec<f64> =
        a.apply(&truth).unwrap().iter().zip(&noise).map(|(p, e)| p + 0.5 * e).collect();
    let field = GaussianField::new(&[10, 10], 1.0, 0.05).unwrap();
    let image = GaussianImage::new(&a, &y, vec![4.0; y.len()], field).unwrap();
    let exact = DensePosterior::new(&image).unwrap();
    let n = 4000;
    let settings = DrawSettings { draws: n, seed: 5, ..DrawSettings::default() };
    let sampled = SampledPosterior::new(&image, &settings).unwrap();
    for (s, e) in sampled.mean.iter().zip(exact.mean()) {
        assert!((s - e).abs() < 1e-6);
    }
    assert!(sampled.mean_residual <= 1e-7 && sampled.draw_residual <= 1e-4);
    // Standardised errors of means and standard deviations: none above 4.5 of 100, and a
    // mean square near one, which holds only if the stated errors are right.
    let check = |draws: &[Vec<f64>], what: &str| {
        let (mut of_mean, mut of_sd) = (0.0, 0.0);
        for (i, sd) in exact.sd().iter().enumerate() {
            let count = draws.len() as f64;
            let mean = draws.iter().map(|d| d[i]).sum::<f64>() / count;
            let square = draws.iter().map(|d| (d[i] - exact.mean()[i]).powi(2)).sum::<f64>();
            let z_mean = (mean - exact.mean()[i]) / (sd / count.sqrt());
            let z_sd = ((square / count).sqrt() - sd) / (sd / (2.0 * count).sqrt());
            assert!(z_mean.abs() < 4.5 && z_sd.abs() < 4.5, "{what} {i}: {z_mean} {z_sd}");
            of_mean += z_mean * z_mean / 100.0;
            of_sd += z_sd * z_sd / 100.0;
        }
        assert!((0.5..1.6).contains(&of_mean) && (0.5..1.6).contains(&of_sd), "{what}");
    };
    check(&sampled.draws, "solved");
    let dense: Vec<Vec<f64>> = (0..n).map(|k| exact.draw(5, k as u32)).collect();
    check(&dense, "factored");
    // Covariances with a voxel in the middle.
    let covariance = exact.covariance(45);
    for (i, c) in covariance.iter().enumerate() {
        let centred = |d: &Vec<f64>, i: usize| d[i] - exact.mean()[i];
        let found =
            sampled.draws.iter().map(|d| centred(d, i) * centred(d, 45)).sum::<f64>() / n as f64;
        let sd = exact.sd();
        let error = ((c * c + (sd[i] * sd[45]).powi(2)) / n as f64).sqrt();
        assert!((found - c).abs() < 4.5 * error, "{i}: {found} {c}");
    }
    // The mean of a region.
    let region: Vec<f64> = (0..100).map(|i| if i % 10 < 4 { 0.025 } else { 0.0 }).collect();
    let [mean, sd] = exact.functional(&region);
    let of: Vec<f64> = sampled.draws.iter().map(|d| dot(d, &region)).collect();
    let average = of.iter().sum::<f64>() / n as f64;
    let spread = (of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
    assert!((average - mean).abs() < 4.5 * sd / (n as f64).sqrt());
    assert!((spread / sd - 1.0).abs() < 4.5 / (2.0 * n as f64).sqrt());
}

#[test]
fn regions_and_exceedance_are_of_the_normal() {
    let a = operator(8, 6);
    let y = normals(8, a.n_rays());
    let field = GaussianField::new(&[8, 8], 2.0, 0.2).unwrap();
    let image = GaussianImage::new(&a, &y, vec![2.0; y.len()], field).unwrap();
    let exact = DensePosterior::new(&image).unwrap();
    let labels: Vec<f64> = (0..64).map(|i| f64::from(i % 3)).collect();
    let regions = exact.regions(&labels);
    assert_eq!(regions.iter().map(|r| (r.label, r.voxels)).collect::<Vec<_>>(), [(1, 21), (2, 21)]);
    // The variance of a mean is the mean of the covariances.
    let of_one: Vec<usize> = (0..64).filter(|i| i % 3 == 1).collect();
    let sum: f64 =
        of_one.iter().map(|i| of_one.iter().map(|j| exact.covariance(*i)[*j]).sum::<f64>()).sum();
    assert!((regions[0].sd - sum.sqrt() / 21.0).abs() < 1e-12);
    let settings = DrawSettings { draws: 2000, ..DrawSettings::default() };
    let sampled = SampledPosterior::new(&image, &settings).unwrap();
    for (s, e) in sampled.regions(&labels).iter().zip(&regions) {
        assert!((s.mean - e.mean).abs() < 1e-6);
        assert!((s.sd - e.sd).abs() < 4.0 * s.sd_mcse && s.sd_mcse > 0.0);
    }
    let above = exact.summary().exceedance(0.1);
    for i in 0..64 {
        let share = sampled.draws.iter().filter(|d| d[i] > 0.1).count() as f64 / 2000.0;
        let error = (above[i] * (1.0 - above[i]) / 2000.0).sqrt();
        assert!((share - above[i]).abs() < 4.5 * error + 1e-3, "{i}: {share} {}", above[i]);
    }
    let table = summary_table(&exact.summary()).unwrap();
    assert_eq!((table.num_rows(), table.num_columns()), (64, 7));
    assert_eq!(region_table(&regions).unwrap().num_rows(), 2);
}

/// Points of a line: their variance by the covariance of the two voxels, and by draws.
#[test]
fn profiles_are_functionals() {
    let a = operator(8, 6);
    let y = normals(8, a.n_rays());
    let field = GaussianField::new(&[8, 8], 2.0, 0.2).unwrap();
    let image = GaussianImage::new(&a, &y, vec![2.0; y.len()], field).unwrap();
    let exact = DensePosterior::new(&image).unwrap();
    let points = profile(&[8, 8], &[1.0, 1.0], &[3.0, 0.0], &[3.0, 3.5]).unwrap();
    let rows = exact.profile(&points);
    assert_eq!(rows.len(), 5);
    for (k, row) in rows.iter().enumerate() {
        let place = k as f64 * 0.875;
        let (i, t) = (24 + place as usize, place.fract());
        let mean = (1.0 - t) * exact.mean()[i] + t * exact.mean()[i + 1];
        let near = exact.covariance(i);
        let variance = (1.0 - t).powi(2) * near[i]
            + t * t * exact.covariance(i + 1)[i + 1]
            + 2.0 * t * (1.0 - t) * near[i + 1];
        assert!((row.mean - mean).abs() < 1e-12 && (row.sd - variance.sqrt()).abs() < 1e-12);
    }
    let settings = DrawSettings { draws: 2000, ..DrawSettings::default() };
    let sampled = SampledPosterior::new(&image, &settings).unwrap();
    for (s, e) in sampled.profile(&points).iter().zip(&rows) {
        assert!((s.mean - e.mean).abs() < 1e-6 && (s.sd - e.sd).abs() < 4.0 * s.sd_mcse);
    }
    // The mean of how much is above a limit is the sum of the probabilities.
    let [mean, sd, low, _, high] = above_of_draws(&sampled.draws, 0.1);
    let expected: f64 = exact.summary().exceedance(0.1).iter().sum();
    assert!((mean - expected).abs() < 4.5 * sd / 2000.0_f64.sqrt(), "{mean} {expected}");
    assert!(low < mean && mean < high);
    let table = profile_table(&points, &rows).unwrap();
    assert_eq!((table.num_rows(), table.num_columns()), (5, 8));
}

#[test]
fn threads_and_the_number_of_draws_change_no_bit() {
    let a = operator(9, 5);
    let y = normals(4, a.n_rays());
    let field = GaussianField::new(&[9, 9], 2.0, 0.1).unwrap();
    let image = GaussianImage::new(&a, &y, vec![1.0; y.len()], field).unwrap();
    let of = |threads: usize, draws: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let settings = DrawSettings { draws, ..DrawSettings::default() };
        pool.install(|| SampledPosterior::new(&image, &settings).unwrap())
    };
    let one = of(1, 6);
    assert_eq!(one, of(3, 6));
    assert_eq!(one.draws[..3], of(2, 3).draws);
    assert_ne!(one.draws[0], one.draws[1]);
}

/// A projector that does not show its matrix.
struct Hidden<'a>(&'a RayTransform);

impl ViewOperator<f64> for Hidden<'_> {
    fn volume_shape(&self) -> Vec<usize> {
        ViewOperator::<f64>::volume_shape(self.0)
    }

    fn n_views(&self) -> usize {
        ViewOperator::<f64>::n_views(self.0)
    }

    fn view_shape(&self) -> Vec<usize> {
        ViewOperator::<f64>::view_shape(self.0)
    }

    fn forward(&self, views: &[usize], x: &[f64], y: &mut [f64]) -> Result<(), ReconstructError> {
        self.0.forward(views, x, y)
    }

    fn add_transpose(
        &self,
        views: &[usize],
        y: &[f64],
        x: &mut [f64],
    ) -> Result<(), ReconstructError> {
        self.0.add_transpose(views, y, x)
    }
}

/// Sixteen systems at once in 32 bits, refined, and one after the other in 64: the same draws.
#[test]
fn several_are_each() {
    let n = 24;
    let a = operator(n, 12);
    let y = normals(4, a.n_rays());
    let weights: Vec<f64> = (0..a.n_rays()).map(|i| (i % 5) as f64 * 10.0).collect();
    let field = GaussianField::new(&[n, n], 2.0, 0.01).unwrap();
    let stored = GaussianImage::new(&a, &y, weights.clone(), field.clone()).unwrap();
    let hidden = Hidden(&a);
    let hidden = GaussianImage::new(&hidden, &y, weights, field).unwrap();
    for tolerance in [1e-5, 1e-9] {
        let settings =
            DrawSettings { draws: 19, draw_tolerance: tolerance, ..DrawSettings::default() };
        let fast = SampledPosterior::new(&stored, &settings).unwrap();
        let slow = SampledPosterior::new(&hidden, &settings).unwrap();
        assert!(fast.draw_residual <= 2.0 * tolerance, "{}", fast.draw_residual);
        assert!(fast.draw_iterations < 3.0 * slow.draw_iterations);
        assert_eq!(fast.mean, slow.mean);
        for (f, s) in fast.draws.iter().zip(&slow.draws) {
            for (i, (f, s)) in f.iter().zip(s).enumerate() {
                // The residual of the softest direction counts most.
                assert!((f - s).abs() < 1e3 * tolerance * slow.sd[i], "{i}: {f} {s}");
            }
        }
    }
}

/// Truths from the prior, projections from the truths: intervals hold what they say.
#[test]
fn intervals_cover_images_of_the_prior() {
    let n = 8;
    let a = operator(n, 5);
    let field = GaussianField::new(&[n, n], 1.5, 0.3).unwrap();
    let sigma = 0.7;
    let weights = vec![1.0 / (sigma * sigma); a.n_rays()];
    let zero = vec![0.0; a.n_rays()];
    let blank = GaussianImage::new(&a, &zero, weights.clone(), field.clone()).unwrap();
    let sd = DensePosterior::new(&blank).unwrap().sd();
    // The prior's draws: the posterior of projections that do not count.
    let mut ignored = vec![0.0; a.n_rays()];
    ignored[0] = 1e-30;
    let prior = GaussianImage::new(&a, &zero, ignored, field.clone()).unwrap();
    let prior = DensePosterior::new(&prior).unwrap();
    let pairs = 500;
    let (mut inside, mut shares) = (0, Vec::new());
    for pair in 0..pairs {
        let x = prior.draw(11, pair);
        let noise = normals(1000 + u64::from(pair), a.n_rays());
        let y: Vec<f64> =
            a.apply(&x).unwrap().iter().zip(&noise).map(|(p, e)| p + sigma * e).collect();
        let image = GaussianImage::new(&a, &y, weights.clone(), field.clone()).unwrap();
        let found = DensePosterior::new(&image).unwrap();
        let here = (0..n * n)
            .filter(|i| ((found.mean()[*i] - x[*i]) / sd[*i]).abs() < 1.644_853_626_951)
            .count();
        inside += here;
        shares.push(here as f64 / (n * n) as f64);
    }
    let coverage = inside as f64 / (n * n) as f64 / f64::from(pairs);
    let spread = shares.iter().map(|s| (s - coverage).powi(2)).sum::<f64>();
    // Pixels of an image are correlated: the error is that of means over images.
    let error = spread.sqrt() / f64::from(pairs);
    assert!((coverage - 0.9).abs() < 4.0 * error && error < 0.01, "{coverage} +- {error}");
}

#[test]
fn what_cannot_be_is_refused() {
    let a = operator(6, 4);
    let y = vec![0.0; a.n_rays()];
    let field = |shape: &[usize], kappa2: f64| GaussianField::new(shape, 1.0, kappa2).unwrap();
    let says = |image: Result<GaussianImage<'_>, ReconstructError>, text: &str| {
        let found = image.err().unwrap();
        assert!(found.to_string().contains(text), "{found}");
    };
    let ones = vec![1.0; y.len()];
    says(GaussianImage::new(&a, &y, ones.clone(), field(&[6, 5], 0.1)), "prior");
    says(GaussianImage::new(&a, &y, vec![-1.0; y.len()], field(&[6, 6], 0.1)), "weights");
    says(GaussianImage::new(&a, &y[1..], ones.clone(), field(&[6, 6], 0.1)), "projections");
    let far = VolumeGrid::new(&[6, 6], &[1.0, 1.0], &[900.0, 300.0]).unwrap();
    let far = RayTransform::new(a.geometry().clone(), far, Projector::Joseph).unwrap();
    says(GaussianImage::new(&far, &y, ones.clone(), field(&[6, 6], 0.0)), "kappa2");
    let image = GaussianImage::new(&a, &y, ones, field(&[6, 6], 0.0)).unwrap();
    // An improper prior has no evidence, but with these projections a posterior.
    assert_eq!(DensePosterior::new(&image).unwrap().ln_evidence(), None);
    let none = DrawSettings { draws: 1, ..DrawSettings::default() };
    assert!(SampledPosterior::new(&image, &none).is_err());
    let short = DrawSettings { iterations: 1, ..DrawSettings::default() };
    let found = SampledPosterior::new(
        &GaussianImage::new(
            &a,
            &ViewOperator::<f64>::row_sums(&a, &[0, 1, 2, 3]).unwrap(),
            vec![1.0; a.n_rays()],
            field(&[6, 6], 0.0),
        )
        .unwrap(),
        &short,
    );
    assert!(found.unwrap_err().to_string().contains("residual"));
}
