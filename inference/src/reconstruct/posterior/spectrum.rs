//! The preconditioner: $H \approx C^T\,\mathrm{diag}(d + q)\,C$ with the DCT $C$.
//!
//! $q$ are the eigenvalues of $Q$, which is diagonal there exactly. $A^TWA$ is nearly so
//! (a blur that falls like one over the frequency); its diagonal is estimated by random
//! signs (`probe`) and averaged over coefficients of nearly equal frequency.
//!
//! Source: Fessler & Booth 1999, doi:10.1109/83.760336 (circulant preconditioners in tomography).
//! Validated by `preconditioner_saves_iterations` below.

use super::super::ReconstructError;
use super::cosine::CosineTransform;
use super::gaussian::GaussianImage;
use super::probe::banded_diagonal;

/// Random vectors of signs.
const PROBES: u32 = 6;
/// Bands of frequency.
const BANDS: usize = 48;
/// The least eigenvalue, as a part of the largest.
const FLOOR: f64 = 1e-9;

/// A matrix that is diagonal in the DCT.
pub(super) struct Spectrum {
    transform: CosineTransform,
    /// The part of the data.
    data: Vec<f64>,
    inverse: Vec<f64>,
}

impl Spectrum {
    /// The preconditioner of a posterior.
    pub(super) fn new(image: &GaussianImage<'_>) -> Result<Self, ReconstructError> {
        let field = image.field();
        let shape = field.shape();
        let n = field.len();
        let transform = CosineTransform::new(shape);
        let bands: Vec<usize> = (0..n).map(|i| band(i, shape)).collect();
        let probed = banded_diagonal(&transform, PROBES, &bands, BANDS, |x, out| {
            image.add_data_precision(x, out)
        })?;
        let data: Vec<f64> = bands.iter().map(|b| probed[*b]).collect();
        let inverse = inverse_of(&data, &field.eigenvalues());
        Ok(Self { transform, data, inverse })
    }

    /// What is diagonal in place of the inverse of $A^TWA$ and a prior of other eigenvalues.
    pub(super) fn inverse_with(&self, prior: &[f64]) -> Vec<f64> {
        inverse_of(&self.data, prior)
    }

    /// $M^{-1}$ in the DCT.
    pub(super) fn inverse(&self) -> &[f64] {
        &self.inverse
    }

    /// Writes $M^{-1}r$ over `z`.
    pub(super) fn divide(&self, r: &[f64], z: &mut [f64]) {
        z.copy_from_slice(r);
        self.transform.forward(z);
        z.iter_mut().zip(&self.inverse).for_each(|(z, v)| *z *= v);
        self.transform.inverse(z);
    }
}

fn inverse_of(data: &[f64], prior: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = data.iter().zip(prior).map(|(d, q)| d + q).collect();
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(*v));
    values.iter_mut().for_each(|v| *v = 1.0 / v.max(FLOOR * largest));
    values
}

/// The band of a coefficient: finer at low frequencies, where $A^TWA$ changes most.
fn band(mut i: usize, shape: &[usize]) -> usize {
    let mut square = 0.0;
    for n in shape.iter().rev() {
        square += ((i % n) as f64 / *n as f64).powi(2);
        i /= n;
    }
    let part = (square / shape.len() as f64).sqrt().sqrt();
    ((part * BANDS as f64) as usize).min(BANDS - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::conjugate::solve;
    use super::*;
    use microtome_kernels::ray::Projector;
    use microtome_models::GaussianField;
    use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};

    #[test]
    fn preconditioner_saves_iterations() {
        let n = 32;
        let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
        let path = TrajectorySpec::circular(40, &[1.0]);
        let geometry = path.geometry(GeometryKind::Parallel2d, [1, 48]).unwrap();
        let a = RayTransform::new(geometry, volume, Projector::Joseph).unwrap();
        let x: Vec<f64> = (0..n * n).map(|i| ((i * i % 101) as f64).sin()).collect();
        let y = a.apply(&x).unwrap();
        let field = GaussianField::new(&[n, n], 1.0, 1e-3).unwrap();
        let image = GaussianImage::new(&a, &y, vec![4.0; y.len()], field).unwrap();
        let spectrum = Spectrum::new(&image).unwrap();
        let multiply = |x: &[f64], out: &mut [f64]| image.precision(x, out);
        let b = image.right_side().unwrap();
        let steps = |precondition: &dyn Fn(&[f64], &mut [f64])| {
            let mut x = vec![0.0; n * n];
            let solved = solve(&multiply, precondition, &b, &mut x, 1e-8, 2000).unwrap();
            assert!(solved.residual < 2e-8);
            solved.iterations
        };
        let with = steps(&|r, z| spectrum.divide(r, z));
        let without = steps(&|r, z| z.copy_from_slice(r));
        assert!(2 * with < without, "{with} {without}");
    }
}
