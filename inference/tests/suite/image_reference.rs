//! Posteriors of the reference image of 64 x 64 voxels (45 views of 92 pixels): the Gaussian
//! one against its closed form, and smoothed total variation by two samplers that share neither
//! coordinates, nor arithmetic, nor the rule of a trajectory.

use microtome_inference::reconstruct::posterior::{
    ChainSettings, DensePosterior, EdgePosterior, EdgePrior, GaussianImage, ImageNoise,
};
use microtome_inference::sample::{LnDensity, NutsOptions, Start, sample_density};
use microtome_kernels::ray::Projector;
use microtome_models::GaussianField;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use std::path::{Path, PathBuf};

const SIGMA: f64 = 0.321_863_775_251_575_95;
const SIDE: usize = 64;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/bayes");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(folder)
}

/// The bytes of the values of a `.npy` file, `N` each.
fn npy<const N: usize>(folder: &Path, name: &str) -> Vec<[u8; N]> {
    let bytes = std::fs::read(folder.join(format!("ct_{name}.npy"))).unwrap();
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[begin..].as_chunks::<N>().0.to_vec()
}

fn doubles(folder: &Path, name: &str) -> Vec<f64> {
    npy::<8>(folder, name).into_iter().map(f64::from_le_bytes).collect()
}

fn integers(folder: &Path, name: &str) -> Vec<usize> {
    npy::<4>(folder, name).into_iter().map(|v| i32::from_le_bytes(v) as usize).collect()
}

fn operator() -> RayTransform {
    let volume = VolumeGrid::new(&[SIDE, SIDE], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(45, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, 92]).unwrap();
    RayTransform::new(geometry, volume, Projector::Siddon).unwrap()
}

#[test]
fn equals_the_reference() {
    let Some(folder) = folder() else { return };
    let a = operator();
    // The matrix is that of the reference.
    let (values, voxels) = (doubles(&folder, "A_data"), integers(&folder, "A_indices"));
    let begin = integers(&folder, "A_indptr");
    let x: Vec<f64> = (0..SIDE * SIDE).map(|j| (j as f64 * 0.7).sin()).collect();
    for (ray, t) in a.apply(&x).unwrap().iter().enumerate() {
        let row = begin[ray]..begin[ray + 1];
        let exact: f64 = row.map(|k| values[k] * x[voxels[k]]).sum();
        assert!((t - exact).abs() < 1e-9, "{ray}: {t} {exact}");
    }
    let y = doubles(&folder, "y");
    let weights = vec![1.0 / (SIGMA * SIGMA); y.len()];
    let field = GaussianField::new(&[SIDE, SIDE], 60.0, 0.01).unwrap();
    let image = GaussianImage::new(&a, &y, weights, field).unwrap();
    let exact = DensePosterior::new(&image).unwrap();
    let evidence = exact.ln_evidence().unwrap();
    assert!((evidence + 7_578.810_657_127_467).abs() < 1e-6, "{evidence}");
    for (found, name) in [
        (exact.mean().to_vec(), "gauss_mean"),
        (exact.sd().iter().map(|s| s * s).collect(), "gauss_var"),
        (exact.covariance(2080), "gauss_cov_col_2080"),
    ] {
        let wanted = doubles(&folder, name);
        let size = wanted.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        for (f, w) in found.iter().zip(&wanted) {
            assert!((f - w).abs() < 1e-9 * size, "{name}: {f} {w}");
        }
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

/// Trajectories in the DCT, sixteen chains in 32 bits, against NUTS in the voxels, 64 bits.
#[test]
fn two_samplers_agree() {
    let Some(folder) = folder() else { return };
    let a = operator();
    let projections = doubles(&folder, "y");
    let weights = vec![1.0 / (SIGMA * SIGMA); projections.len()];
    let noise = ImageNoise::Normal { projections, weights };
    let prior = EdgePrior { weight: 15.0, rounding: 0.02, ridge: 0.0 };
    let posterior = EdgePosterior::new(&a, noise, prior).unwrap();
    let settings = ChainSettings { chains: 16, tune: 200, draws: 800, thin: 1, seed: 1 };
    let own = posterior.sample(&settings).unwrap();
    assert_eq!(own.divergences, 0);
    let start = doubles(&folder, "gauss_mean");
    let options = NutsOptions { chains: 2, tune: 400, draws: 500, ..NutsOptions::default() };
    let make = |_| Ok::<_, String>(Density(&posterior));
    let nuts =
        sample_density(make, &Start::Around { centre: start, radius: 0.05 }, &options, 3).unwrap();
    let (mut squares, mut beyond, mut worst, mut rhat) = ([0.0; 2], [0; 2], [0.0_f64; 2], 0.0_f64);
    let rows = own.rows();
    for row in &rows {
        let (own, other) = (row.summary, nuts.summary(row.voxel as usize));
        rhat = rhat.max(own.rhat);
        let z = [
            (own.mean - other.mean) / own.mcse_mean.hypot(other.mcse_mean),
            (own.sd - other.sd) / own.mcse_sd.hypot(other.mcse_sd),
        ];
        for k in 0..2 {
            squares[k] += z[k] * z[k] / rows.len() as f64;
            beyond[k] += usize::from(z[k].abs() > 4.0);
            worst[k] = worst[k].max(z[k].abs());
        }
    }
    eprintln!(
        "means, sds: mean z^2 {squares:.2?}, largest |z| {worst:.2?}, beyond 4 {beyond:?} of {}; \
         worst R-hat {rhat:.4}",
        rows.len()
    );
    assert!(rhat < 1.012, "{rhat}");
    // Of 4096 normal numbers 0.26 are beyond 4.
    assert!(beyond.iter().all(|b| *b <= 3), "{beyond:?}");
    assert!(squares.iter().all(|s| *s < 1.5), "{squares:?}");
}
