//! What images are worth when the axis is not known:
//! `cargo run --release -p microtome-inference --example pose_coverage -- [N] [PAIRS]` (16 and 512
//! where left out).
//!
//! Images are drawn from a Gaussian field, the offset of the detector from a normal density, and
//! projections from both. The posterior of image and offset together is exact: for every offset of
//! a grid the image is normal with a mean and a covariance, and the evidence of the projections
//! is the weight of that offset, so the image has a mixture of normal densities. Beside it
//! stands the posterior of an offset that is taken for zero, and one with the true offset. Shares of
//! 90 % intervals of voxels that hold the truth, with errors from image to image, and their widths.
#![allow(missing_docs, clippy::print_stdout)]

use microtome_inference::reconstruct::posterior::{DensePosterior, GaussianImage};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Normal};
use std::error::Error;

type Any<T> = Result<T, Box<dyn Error>>;

const SIGMA: f64 = 0.3;
/// Standard deviation of the offset, pixels.
const OFFSET: f64 = 0.3;
/// Steps of the grid to each side, and their length in standard deviations.
const STEPS: i32 = 40;
const STEP: f64 = 0.1;

/// Intervals of voxels.
type Ends = Vec<[f64; 2]>;

fn operator(n: usize, offset: f64) -> Any<RayTransform> {
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec {
        detector_offset_mm: Some(vec![offset]),
        ..TrajectorySpec::circular(n, &[1.0])
    };
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, n + n / 2])?;
    Ok(RayTransform::new(geometry, volume, Projector::Joseph)?)
}

/// The 5 and 95 % points of a mixture of normal densities.
fn ends(parts: &[(f64, f64, f64)]) -> [f64; 2] {
    let normal = Normal::standard();
    let below = |x: f64| parts.iter().map(|(w, m, s)| w * normal.cdf((x - m) / s)).sum::<f64>();
    let reach = |sign: f64| {
        parts.iter().map(|(_, m, s)| sign * m + 8.0 * s).fold(f64::NEG_INFINITY, f64::max) * sign
    };
    let (least, most) = (reach(-1.0), reach(1.0));
    [0.05, 0.95].map(|wanted| {
        let (mut low, mut high) = (least, most);
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if below(middle) < wanted { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    })
}

fn main() -> Any<()> {
    let number = |k: usize, default: usize| -> Any<usize> {
        Ok(std::env::args().nth(k).map_or(Ok(default), |v| v.parse())?)
    };
    let (n, pairs) = (number(1, 16)?, number(2, 512)?);
    let field = GaussianField::new(&[n, n], 10.0, 0.05)?;
    let zero = vec![0.0; operator(n, 0.0)?.n_rays()];
    let weights = vec![1.0 / (SIGMA * SIGMA); zero.len()];
    let offsets: Vec<f64> = (-STEPS..=STEPS).map(|k| f64::from(k) * STEP * OFFSET).collect();
    let mut grid = Vec::new();
    for offset in &offsets {
        let a = operator(n, *offset)?;
        let image = GaussianImage::new(&a, &zero, weights.clone(), field.clone())?;
        let exact = DensePosterior::new(&image)?;
        let sd = exact.sd();
        grid.push((a, exact, sd));
    }
    // The prior: projections that do not count.
    let mut ignored = vec![0.0; zero.len()];
    ignored[0] = 1e-30;
    let prior =
        DensePosterior::new(&GaussianImage::new(&grid[0].0, &zero, ignored, field.clone())?)?;
    let names = ["offset taken for zero", "offset unknown", "offset known"];
    let mut hits = vec![Vec::new(); 3];
    let mut widths = [0.0; 3];
    let mut rng = PhiloxRng::new(7, 0, 7);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let (mut error, mut spread) = (0.0, 0.0);
    for pair in 0..pairs {
        let x = prior.draw(11, pair as u32);
        let offset = OFFSET * normal();
        let a = operator(n, offset)?;
        let y: Vec<f64> = a.apply(&x)?.iter().map(|v| v + SIGMA * normal()).collect();
        let mut parts = Vec::new();
        for ((a, exact, _), s) in grid.iter().zip(&offsets) {
            let image = GaussianImage::new(a, &y, weights.clone(), field.clone())?;
            let (mean, ln) = exact.given(&image)?;
            parts.push((ln.unwrap_or(f64::NAN) - 0.5 * (s / OFFSET).powi(2), mean));
        }
        let most = parts.iter().fold(f64::NEG_INFINITY, |m, (ln, _)| m.max(*ln));
        let total: f64 = parts.iter().map(|(ln, _)| (ln - most).exp()).sum();
        let share: Vec<f64> = parts.iter().map(|(ln, _)| (ln - most).exp() / total).collect();
        let of_offset = |f: &dyn Fn(f64) -> f64| -> f64 {
            share.iter().zip(&offsets).map(|(w, s)| w * f(*s)).sum()
        };
        let mean = of_offset(&|s| s);
        error += (mean - offset).powi(2) / pairs as f64;
        spread += of_offset(&|s| (s - mean).powi(2)) / pairs as f64;
        let mixture: Ends = (0..n * n)
            .map(|j| {
                let of = |k: usize| (share[k], parts[k].1[j], grid[k].2[j]);
                let counted = (0..share.len()).filter(|k| share[*k] > 1e-9);
                ends(&counted.map(of).collect::<Vec<_>>())
            })
            .collect();
        let single = |mean: &[f64], sd: &[f64]| -> Ends {
            let both = mean.iter().zip(sd);
            both.map(|(m, s)| [m - 1.644_853_626_951 * s, m + 1.644_853_626_951 * s]).collect()
        };
        let middle = STEPS as usize;
        let fixed = single(&parts[middle].1, &grid[middle].2);
        let known =
            DensePosterior::new(&GaussianImage::new(&a, &y, weights.clone(), field.clone())?)?;
        let known = single(known.mean(), &known.sd());
        for (k, found) in [fixed, mixture, known].iter().enumerate() {
            let holds = |(ends, x): &(&[f64; 2], &f64)| (ends[0]..=ends[1]).contains(*x);
            let inside = found.iter().zip(&x).filter(holds);
            hits[k].push(inside.count() as f64 / x.len() as f64);
            widths[k] +=
                found.iter().map(|[low, high]| high - low).sum::<f64>() / (x.len() * pairs) as f64;
        }
    }
    println!("{n} x {n} voxels, {n} views, {pairs} images; 90 % intervals of voxels");
    for ((name, hits), width) in names.iter().zip(&hits).zip(widths) {
        let mean = hits.iter().sum::<f64>() / pairs as f64;
        let square: f64 = hits.iter().map(|h| (h - mean).powi(2)).sum();
        println!(
            "{name:<22} hold {:.2} % +- {:.2}, mean width {width:.4}",
            100.0 * mean,
            100.0 * square.sqrt() / pairs as f64
        );
    }
    println!(
        "offset: rms error {:.4} pixels, rms posterior sd {:.4}, prior {OFFSET}",
        error.sqrt(),
        spread.sqrt()
    );
    Ok(())
}
