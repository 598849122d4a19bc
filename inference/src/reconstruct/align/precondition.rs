//! The curvature of the image, taken as diagonal in the DCT.
//!
//! $$A^TWA + \lambda\nabla^T\Omega\nabla \approx
//!   C^T\operatorname{diag}(d + \lambda\bar\omega\,q)\,C$$
//!
//! $d$ is estimated with one vector of random signs (`probe`) and averaged over bands of the
//! frequency across and along z: a scan about z sees low frequencies across z best. $q$ are the
//! eigenvalues of the Laplacian.
//!
//! Source: Fessler & Booth 1999, doi:10.1109/83.760336. Validated by `poses_and_volume_are_found` in
//! `inference/tests/suite/align.rs`.

use super::super::posterior::cosine::CosineTransform;
use super::super::posterior::probe::banded_diagonal;
use super::AlignError;
use microtome_kernels::difference::laplacian_eigenvalues;
use microtome_kernels::ray::Real;

/// Bands across and along z.
const BANDS: [usize; 2] = [40, 6];
/// The least eigenvalue, as a part of the largest.
const FLOOR: f64 = 1e-4;

/// An approximate inverse.
pub(super) struct Preconditioner {
    transform: CosineTransform,
    inverse: Vec<f64>,
}

fn bands(i: usize, shape: &[usize]) -> usize {
    let d = shape.len();
    let (mut rest, mut across, mut along) = (i, 0.0, 0.0);
    for (axis, n) in shape.iter().enumerate().rev() {
        let part = (rest % n) as f64 / *n as f64;
        if d == 3 && axis == 0 {
            along = part;
        } else {
            across += part * part;
        }
        rest /= n;
    }
    // Finer at low frequencies.
    let of = |part: f64, count: usize| ((part.sqrt() * count as f64) as usize).min(count - 1);
    of((0.5 * across).sqrt(), BANDS[0]) * BANDS[1] + of(along, BANDS[1])
}

impl Preconditioner {
    /// From a product with the data's part and the weight of the Laplacian.
    pub(super) fn new<T: Real>(
        shape: &[usize],
        multiply: impl Fn(&[T]) -> Result<Vec<T>, AlignError>,
        smoothing: f64,
    ) -> Result<Self, AlignError> {
        let n: usize = shape.iter().product();
        let transform = CosineTransform::new(shape);
        let of: Vec<usize> = (0..n).map(|i| bands(i, shape)).collect();
        let probed = banded_diagonal(&transform, 1, &of, BANDS[0] * BANDS[1], |x, out| {
            let narrow: Vec<T> = x.iter().map(|v| T::narrow(*v)).collect();
            out.iter_mut().zip(multiply(&narrow)?).for_each(|(o, m)| *o = m.wide());
            Ok::<(), AlignError>(())
        })?;
        let prior = laplacian_eigenvalues(shape);
        let mut values: Vec<f64> =
            prior.iter().zip(&of).map(|(q, band)| probed[*band] + smoothing * q).collect();
        let largest = values.iter().fold(1e-300_f64, |m, v| m.max(*v));
        values.iter_mut().for_each(|v| *v = 1.0 / v.max(FLOOR * largest));
        Ok(Self { transform, inverse: values })
    }

    /// $M^{-1}r$.
    pub(super) fn divide<T: Real>(&self, r: &[T]) -> Vec<T> {
        let mut z: Vec<f64> = r.iter().map(|v| v.wide()).collect();
        self.transform.forward(&mut z);
        z.iter_mut().zip(&self.inverse).for_each(|(z, v)| *z *= v);
        self.transform.inverse(&mut z);
        z.into_iter().map(T::narrow).collect()
    }
}
