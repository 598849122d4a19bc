//! The tomography of `microtome demo`: a head from few noisy projections, by filtered
//! backprojection and by least squares with total variation.
//!
//! Projections are exact (`EllipsePhantom`), averaged over pixels; photons are counted with
//! the normal approximation of Poisson's noise, $N = \mu + \sqrt\mu\,z$, of 10,000 and a few
//! hundred photons. Validated by `the_demonstration_finds_its_truth` in `tests/cli/verbs.rs`.

use super::record::write_text;
use super::say;
use microtome::report::ReconstructedImage;
use microtome_datasets::{Array, Values, read_set_up};
use microtome_inference::reconstruct::quality::{psnr, ssim};
use microtome_inference::reconstruct::{
    Algorithm, Filter, FilteredBackprojection, Problem, Reconstruction, Settings, Sharing,
    StoppingRule, default_tv_weight, model_deviation, with_model_deviation,
};
use microtome_kernels::philox::{Philox, normal_pair};
use microtome_models::ct::{Ellipse, EllipsePhantom};
use std::ops::ControlFlow;
use std::path::Path;

/// Voxels along an axis.
const SIZE: usize = 96;
/// Photons of an open pixel.
const PHOTONS: f64 = 1e4;
/// Attenuation where the phantom is 1, 1/mm.
const ATTENUATION: f64 = 0.05;
/// Stream of the noise.
const STREAM: u8 = 1;
const ITERATIONS: usize = 150;

const SET_UP: &str = r#"# A head of 192 mm in 60 views of a parallel beam.
kind = "parallel2d"
detector = [96]
projector = "joseph"
[volume]
shape = [96, 96]
voxel_mm = [2.0, 2.0]
[trajectory]
kind = "circular"
views = 60
pixel_mm = [2.0]
"#;

/// What the demonstration shows of it.
pub(super) struct Tomography {
    /// The truth first.
    pub(super) images: Vec<ReconstructedImage>,
    /// What the images are of.
    pub(super) note: String,
    /// The same by hand.
    pub(super) lines: Vec<String>,
}

fn image(name: &str, values: &[f32], truth: &[f64]) -> ReconstructedImage {
    let wide: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    let itself = name == "truth";
    let or_nan = |value: f64| if itself { f64::NAN } else { value };
    ReconstructedImage {
        name: name.into(),
        nx: SIZE,
        ny: SIZE,
        values: values.to_vec(),
        psnr: or_nan(psnr(&wide, truth, ATTENUATION)),
        ssim: or_nan(ssim(&wide, truth, SIZE, ATTENUATION)),
    }
}

/// Makes the data in a folder and reconstructs them.
pub(super) fn run(folder: &Path, seed: u64) -> anyhow::Result<Tomography> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("geometry.toml");
    write_text(&file, SET_UP)?;
    let set_up = read_set_up(&file, None)?;
    let scaled = |e: &Ellipse| Ellipse { value: ATTENUATION * e.value, ..*e };
    let head = EllipsePhantom::shepp_logan(SIZE as f64);
    let head = EllipsePhantom::new(head.ellipses().iter().map(scaled).collect());
    let truth = head.voxel_means(&set_up.volume, 8)?;
    let random = Philox::new(seed);
    let exact = head.pixel_means(&set_up.geometry)?;
    let counts = exact.iter().zip(0_u64..).map(|(line, ray)| {
        let mean = PHOTONS * (-line).exp();
        let [z, _] = normal_pair(random.block(0, 0, ray, STREAM));
        (mean + mean.sqrt() * z).round().max(1.0)
    });
    let weights: Vec<f32> = counts.map(|n| n as f32).collect();
    let projections: Vec<f32> =
        weights.iter().map(|n| -(f64::from(*n) / PHOTONS).ln() as f32).collect();
    let narrow: Vec<f32> = truth.iter().map(|v| *v as f32).collect();
    let put = |name: &str, shape: Vec<usize>, values: &[f32]| {
        Array { shape, values: Values::F32(values.to_vec()) }.write(&folder.join(name))
    };
    let (rays, voxels) = (set_up.geometry.shape(), set_up.volume.shape());
    put("projections.npy", rays.clone(), &projections)?;
    put("weights.npy", rays, &weights)?;
    put("truth.npy", voxels.clone(), &narrow)?;

    let (geometry, volume) = (&set_up.geometry, &set_up.volume);
    let fbp = FilteredBackprojection::new(geometry, volume, Filter::Hann, Sharing::Auto)?;
    let direct = fbp.reconstruct(&projections)?;
    put("fbp.npy", voxels.clone(), &direct)?;

    let operator = set_up.clone().transform()?;
    let problem = Problem::new(&operator, &projections)?.with_weights(&weights)?;
    let problem = problem.with_bounds(0.0, f64::INFINITY)?;
    let softened = with_model_deviation(&weights, model_deviation(&problem)?);
    let problem = problem.with_weights(&softened)?;
    let tv_weight = Some(default_tv_weight(&problem)?);
    let settings = Settings { tv_weight, ..Settings::default() };
    let mut tv = Reconstruction::new(Algorithm::PdhgTv, &problem, &settings)?;
    let rule = StoppingRule::iterations(ITERATIONS);
    tv.run(&rule, &mut |_| ControlFlow::Continue(()))?;
    put("tv.npy", voxels, tv.image())?;

    let path = |name: &str| say::quoted(&folder.join(name).to_string_lossy());
    let line = |more: &str, out: &str| {
        format!(
            "microtome reconstruct --projections {} --geometry {} {more} --out {}",
            path("projections.npy"),
            path("geometry.toml"),
            path(out)
        )
    };
    let weighted = format!(
        "--method pdhg_tv --iterations {ITERATIONS} --nonneg --weights {}",
        path("weights.npy")
    );
    Ok(Tomography {
        images: vec![
            image("truth", &narrow, &truth),
            image("fbp", &direct, &truth),
            image("tv", tv.image(), &truth),
        ],
        note: format!(
            "A simulated head of 192 mm (1/mm) from 60 projections with {PHOTONS} photons a pixel: \
             filtered backprojection with a Hann filter (fbp), and weighted least squares with \
             total variation, whose weight the noise decides (tv). x to the right, y upwards."
        ),
        lines: vec![line("--method fbp --filter hann", "my-fbp.npy"), line(&weighted, "my-tv.npy")],
    })
}
