//! CPU seconds of a Gaussian posterior of an image: `cargo bench -p microtome-inference --bench
//! gaussian_image [-- N VIEWS DRAWS]` (256, 60 and 80 where left out).
//!
//! Parallel beams, Joseph's rule, noise of 1 % of the largest projection of some ellipses; the
//! prior's differences have the standard deviation 0.1, the part of the level is 1e-3. Seconds
//! are of one thread and hold everything: rows of the matrix, preconditioner, mean and draws.
//! Then the first 16 draws are solved to 1e-9, to see what their tolerance costs.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_inference::reconstruct::posterior::{DrawSettings, GaussianImage, SampledPosterior};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, StandardNormal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let at = |k: usize, default: usize| numbers.get(k).copied().unwrap_or(default);
    let (n, views, draws) = (at(0, 256), at(1, 60), at(2, 80));
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec::circular(views, &[1.0]);
    let bins = (1.44 * n as f64) as usize;
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, bins])?;
    let a = RayTransform::new(geometry, volume, Projector::Joseph)?;
    let value = |i: usize| {
        let p = [i / n, i % n].map(|k| (k as f64 + 0.5) / (n as f64 / 2.0) - 1.0);
        let inside = |a: f64, b: f64, y: f64| (p[0] / a).hypot((p[1] - y) / b) <= 1.0;
        f64::from(u8::from(inside(0.86, 0.66, 0.0)))
            - 0.8 * f64::from(u8::from(inside(0.8, 0.6, 0.0)))
            + 0.3 * f64::from(u8::from(inside(0.3, 0.15, 0.25)))
    };
    let truth: Vec<f64> = (0..n * n).map(value).collect();
    let mut y = a.apply(&truth)?;
    let sigma = 0.01 * y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut rng = PhiloxRng::new(1, 0, 0);
    for y in &mut y {
        let e: f64 = StandardNormal.sample(&mut rng);
        *y += sigma * e;
    }
    let field = GaussianField::new(&[n, n], 100.0, 1e-3)?;
    let image = GaussianImage::new(&a, &y, vec![1.0 / (sigma * sigma); y.len()], field)?;
    let started = ProcessTime::now();
    let settings = DrawSettings { draws, ..DrawSettings::default() };
    let found = SampledPosterior::new(&image, &settings)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{n} x {n}, {views} views, {draws} draws: {seconds:.2} CPU s; mean to {:.1e} in {} steps, \
         draws to {:.1e} in {:.1}; relative sd-MCSE {:.3}",
        found.mean_residual,
        found.mean_iterations,
        found.draw_residual,
        found.draw_iterations,
        (2.0 * draws as f64).sqrt().recip()
    );
    let some = DrawSettings { draws: 16, draw_tolerance: 1e-9, ..settings };
    let exact = SampledPosterior::new(&image, &some)?;
    let (mut worst, mut sum) = (0.0_f64, 0.0);
    for (a, b) in found.draws.iter().zip(&exact.draws) {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let error = (a - b).abs() / found.sd[i];
            worst = worst.max(error);
            sum += error * error;
        }
    }
    let rms = (sum / (16 * n * n) as f64).sqrt();
    println!("error of the draws by their tolerance, in sd: rms {rms:.1e}, worst {worst:.1e}");
    Ok(())
}
