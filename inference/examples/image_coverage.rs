//! Whether intervals of images hold what they say:
//! `cargo run --release -p microtome-inference --example image_coverage -- [PRIOR] [N] [PAIRS]`
//! (gaussian or smoothed_tv, 16 and 512 where left out).
//!
//! Images are drawn from the stated proper prior and projections from them; 90 % intervals of
//! voxels and of means of four regions are counted over all pairs. Voxels of an image are
//! correlated, so errors are those of means over images. Then one phantom with edges, which no
//! draw of the prior looks like, with new noise every time: a map of the coverage, a digit a voxel
//! (9 is 90 to 100 %), and the share at edges and away from them.
#![allow(missing_docs, clippy::print_stdout)]

use microtome_inference::reconstruct::posterior::{
    ChainSettings, DensePosterior, EdgePosterior, EdgePrior, GaussianImage, ImageChains, ImageNoise,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, StandardNormal};
use std::error::Error;

type Any<T> = Result<T, Box<dyn Error>>;

/// The 95 % point of the standard normal density.
const Z95: f64 = 1.644_853_626_951_472_7;
const SIGMA: f64 = 0.5;
const EDGES: EdgePrior = EdgePrior { weight: 8.0, rounding: 0.05, ridge: 2.0 };

/// Draws of a prior, and intervals of voxels and regions from projections.
trait Model {
    fn images(&self, count: usize) -> Any<Vec<Vec<f64>>>;
    /// Lower and upper end of every voxel, then of every region.
    fn intervals(&self, y: &[f64], seed: u64) -> Any<Vec<[f64; 2]>>;
}

/// Quadrants of the image, each a label.
fn label(i: usize, n: usize) -> usize {
    2 * usize::from(i / n >= n / 2) + usize::from(i % n >= n / 2)
}

fn region_means(x: &[f64], n: usize) -> Vec<f64> {
    let mut sums = [0.0; 4];
    x.iter().enumerate().for_each(|(i, v)| sums[label(i, n)] += v);
    let size = |r: usize| (0..n * n).filter(|i| label(*i, n) == r).count() as f64;
    sums.iter().enumerate().map(|(r, s)| s / size(r)).collect()
}

struct Normal<'a> {
    a: &'a RayTransform,
    n: usize,
    field: GaussianField,
    exact: DensePosterior,
    spread: Vec<f64>,
}

impl<'a> Normal<'a> {
    fn new(a: &'a RayTransform, n: usize) -> Any<Self> {
        let field = GaussianField::new(&[n, n], 10.0, 0.1)?;
        let zero = vec![0.0; a.n_rays()];
        let weights = vec![1.0 / (SIGMA * SIGMA); zero.len()];
        let exact = DensePosterior::new(&GaussianImage::new(a, &zero, weights, field.clone())?)?;
        let mut spread = exact.sd();
        for r in 0..4 {
            let size = (0..n * n).filter(|i| label(*i, n) == r).count() as f64;
            let of = |i: usize| if label(i, n) == r { 1.0 / size } else { 0.0 };
            spread.push(exact.functional(&(0..n * n).map(of).collect::<Vec<f64>>())[1]);
        }
        Ok(Self { a, n, field, exact, spread })
    }
}

impl Model for Normal<'_> {
    fn images(&self, count: usize) -> Any<Vec<Vec<f64>>> {
        // The posterior of projections that do not count.
        let zero = vec![0.0; self.a.n_rays()];
        let mut weights = zero.clone();
        weights[0] = 1e-30;
        let prior = GaussianImage::new(self.a, &zero, weights, self.field.clone())?;
        let prior = DensePosterior::new(&prior)?;
        Ok((0..count).map(|k| prior.draw(11, k as u32)).collect())
    }

    fn intervals(&self, y: &[f64], _seed: u64) -> Any<Vec<[f64; 2]>> {
        let weights = vec![1.0 / (SIGMA * SIGMA); y.len()];
        let image = GaussianImage::new(self.a, y, weights, self.field.clone())?;
        let (mut middle, _) = self.exact.given(&image)?;
        middle.extend(region_means(&middle, self.n));
        let both = middle.iter().zip(&self.spread);
        Ok(both.map(|(m, s)| [m - Z95 * s, m + Z95 * s]).collect())
    }
}

struct Chains<'a> {
    a: &'a RayTransform,
    n: usize,
}

impl Chains<'_> {
    fn sample(&self, y: &[f64], weight: f64, settings: &ChainSettings) -> Any<ImageChains> {
        let noise = ImageNoise::Normal { projections: y.to_vec(), weights: vec![weight; y.len()] };
        Ok(EdgePosterior::new(self.a, noise, EDGES)?.sample(settings)?)
    }
}

impl Model for Chains<'_> {
    fn images(&self, count: usize) -> Any<Vec<Vec<f64>>> {
        let draws = 20 * count.div_ceil(16);
        let settings = ChainSettings { chains: 16, tune: 300, draws, thin: 20, seed: 5 };
        let chains = self.sample(&vec![0.0; self.a.n_rays()], 1e-12, &settings)?;
        let worst = chains.rows().iter().fold(0.0_f64, |m, r| m.max(r.summary.rhat));
        println!("the prior's images: worst R-hat {worst:.3}");
        let images = chains.values.chunks_exact(self.n * self.n).take(count);
        Ok(images.map(|x| x.iter().map(|v| f64::from(*v)).collect()).collect())
    }

    fn intervals(&self, y: &[f64], seed: u64) -> Any<Vec<[f64; 2]>> {
        let settings = ChainSettings { chains: 16, tune: 90, draws: 60, thin: 1, seed };
        let chains = self.sample(y, 1.0 / (SIGMA * SIGMA), &settings)?;
        let size = self.n * self.n;
        let draws: Vec<Vec<f64>> = chains
            .values
            .chunks_exact(size)
            .map(|x| {
                let mut x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
                x.extend(region_means(&x, self.n));
                x
            })
            .collect();
        let ends = |i: usize| {
            let mut values: Vec<f64> = draws.iter().map(|d| d[i]).collect();
            values.sort_by(f64::total_cmp);
            // Of m draws the truth is above the k-th smallest with the probability
            // 1 - k / (m + 1).
            let k = (0.05 * (values.len() + 1) as f64).round() as usize;
            [values[k - 1], values[values.len() - k]]
        };
        Ok((0..size + 4).map(ends).collect())
    }
}

fn noisy(a: &RayTransform, x: &[f64], seed: u64) -> Any<Vec<f64>> {
    let mut rng = PhiloxRng::new(seed, 0, 7);
    let mut y = a.apply(x)?;
    for y in &mut y {
        let e: f64 = StandardNormal.sample(&mut rng);
        *y += SIGMA * e;
    }
    Ok(y)
}

/// Whether the truth lies in each interval.
fn inside(truth: &[f64], n: usize, intervals: &[[f64; 2]]) -> Vec<bool> {
    let all = truth.iter().copied().chain(region_means(truth, n));
    all.zip(intervals).map(|(t, [low, high])| (*low..=*high).contains(&t)).collect()
}

/// Share of all, and its error from that of each image.
fn pooled(hits: &[Vec<bool>]) -> [f64; 2] {
    let share = |h: &Vec<bool>| h.iter().filter(|h| **h).count() as f64 / h.len() as f64;
    let shares: Vec<f64> = hits.iter().map(share).collect();
    let count = shares.len() as f64;
    let mean = shares.iter().sum::<f64>() / count;
    [mean, (shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>()).sqrt() / count]
}

fn main() -> Any<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |k: usize, default: usize| -> Any<usize> {
        Ok(arguments.get(k).map_or(Ok(default), |v| v.parse())?)
    };
    let (n, pairs) = (number(1, 16)?, number(2, 512)?);
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec::circular(n / 2, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, n + n / 2])?;
    let a = RayTransform::new(geometry, volume, Projector::Siddon)?;
    let prior = arguments.first().map_or("gaussian", String::as_str);
    let model: Box<dyn Model> = match prior {
        "gaussian" => Box::new(Normal::new(&a, n)?),
        "smoothed_tv" => Box::new(Chains { a: &a, n }),
        _ => return Err(format!("{prior}: unknown prior; use gaussian or smoothed_tv").into()),
    };
    let (mut voxels, mut regions) = (Vec::new(), Vec::new());
    for (k, x) in model.images(pairs)?.iter().enumerate() {
        let found = model.intervals(&noisy(&a, x, 1000 + k as u64)?, k as u64)?;
        let mut hits = inside(x, n, &found);
        regions.push(hits.split_off(n * n));
        voxels.push(hits);
    }
    for (what, hits) in [("voxels", &voxels), ("means of regions", &regions)] {
        let [share, error] = pooled(hits);
        println!(
            "{prior}, {n} x {n}, {} images of the prior: 90 % intervals of {what} hold {:.2} % +- \
             {:.2}",
            hits.len(),
            100.0 * share,
            100.0 * error
        );
    }
    // A disc and a square on nothing.
    let at = |i: usize| (i as f64 + 0.5) / n as f64 - 0.5;
    let phantom: Vec<f64> = (0..n * n)
        .map(|i| {
            let (y, x) = (at(i / n), at(i % n));
            let disc = (y + 0.08).hypot(x + 0.08) < 0.27;
            let square = (y - 0.27).abs().max((x - 0.27).abs()) < 0.12;
            if disc { 1.0 } else { 0.6 * f64::from(u8::from(square)) }
        })
        .collect();
    let repeats = (pairs / 4).max(50);
    let mut counts = vec![0_usize; n * n + 4];
    for k in 0..repeats {
        let found = model.intervals(&noisy(&a, &phantom, 9000 + k as u64)?, 5000 + k as u64)?;
        for (c, h) in counts.iter_mut().zip(inside(&phantom, n, &found)) {
            *c += usize::from(h);
        }
    }
    println!("a phantom with edges, {repeats} times:");
    let share = |i: usize| counts[i] as f64 / repeats as f64;
    for row in 0..n {
        let digit = |i: usize| char::from(b'0' + (10.0 * share(i)).min(9.0) as u8);
        println!("  {}", (row * n..(row + 1) * n).map(digit).collect::<String>());
    }
    let edge = |i: usize| {
        let near = |j: usize| phantom[j] != phantom[i];
        (i % n + 1 < n && near(i + 1))
            || (!i.is_multiple_of(n) && near(i - 1))
            || (i + n < n * n && near(i + n))
            || (i >= n && near(i - n))
    };
    for (what, wanted) in [("at edges", true), ("elsewhere", false)] {
        let of: Vec<usize> = (0..n * n).filter(|i| edge(*i) == wanted).collect();
        let mean = of.iter().map(|i| share(*i)).sum::<f64>() / of.len().max(1) as f64;
        println!("  {what}: {:.1} %", 100.0 * mean);
    }
    println!(
        "The prior has no such image: it pulls neighbours together, so the mean is biased at edges \
         by more than the noise spreads it, and intervals there miss. Away from them the spread of \
         the prior is wider than what the phantom does, and intervals hold too often."
    );
    Ok(())
}
