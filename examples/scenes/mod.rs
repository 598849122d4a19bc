//! What the examples of CT share: phantoms, an error number, a picture.
#![allow(dead_code)]

use microtome::datasets::{Array, Values, Window, write_preview};
use microtome::inference::reconstruct::quality::psnr;
use microtome::models::ct::{EllipsePhantom, VolumeGrid};
use std::path::PathBuf;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The head of Shepp and Logan (modified, values from 0 to 1) on voxels of 1 mm, `[y, x]`.
pub(crate) fn head(volume: &VolumeGrid) -> Result<Vec<f32>> {
    let phantom = EllipsePhantom::shepp_logan(volume.shape()[0] as f64 / 2.0);
    Ok(phantom.voxel_means(volume, 8)?.into_iter().map(|v| v as f32).collect())
}

/// An ellipsoid with three balls in it, at the centres of n x n x n voxels, `[z, y, x]`.
pub(crate) fn balls(n: usize) -> Vec<f32> {
    let at = |i: usize| (2 * i + 1) as f64 / n as f64 - 1.0;
    let value = |j: usize| {
        let p = [at(j % n), at(j / n % n), at(j / (n * n))];
        let within = |c: [f64; 3], r: [f64; 3]| {
            (0..3).map(|k| ((p[k] - c[k]) / r[k]).powi(2)).sum::<f64>() <= 1.0
        };
        let part = |inside: bool, v: f32| if inside { v } else { 0.0 };
        part(within([0.0; 3], [0.7, 0.8, 0.75]), 0.4)
            + part(within([0.3, 0.1, 0.2], [0.2; 3]), 0.6)
            + part(within([-0.3, 0.2, -0.3], [0.25; 3]), -0.3)
            + part(within([0.0, -0.4, 0.3], [0.15; 3]), 0.4)
    };
    (0..n * n * n).map(value).collect()
}

/// Prints how far an image is from the truth, and writes its middle slice as a PNG into the
/// folder of the first argument (the present one where there is none).
pub(crate) fn show(name: &str, shape: &[usize], image: &[f32], truth: &[f32]) -> Result<f64> {
    let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let (x, t) = (wide(image), wide(truth));
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let error = square(&mut x.iter().zip(&t).map(|(x, t)| x - t)) / square(&mut t.iter().copied());
    let folder = std::env::args().nth(1).map_or_else(PathBuf::new, PathBuf::from);
    let path = folder.join(format!("{name}.png"));
    let array = Array { shape: shape.to_vec(), values: Values::F32(image.to_vec()) };
    write_preview(&array, None, Window::Range(0.0, 1.0), &path)?;
    let psnr = psnr(&x, &t, 1.0);
    println!("{name:<24} relative error {error:.3}, PSNR {psnr:.1} dB, {}", path.display());
    Ok(error)
}
