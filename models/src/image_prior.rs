//! A Gaussian Markov random field over the voxels of an image.
//!
//! $$p(x) = (2\pi)^{-n/2}\,|Q|^{1/2}\, e^{-\frac12 x^TQx},\qquad
//! Q = \lambda\Bigl(\sum_a D_a^TD_a + \kappa^2 I\Bigr)$$
//!
//! with the forward differences $D_a$ of neighbours in units of the index (in the plane
//! there is no z term). $Q$ is diagonal in the DCT-II, so its determinant is exact.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | image `[y, x]` or `[z, y, x]` |
//! | $\lambda$ | mm^2 | weight: 1/variance of a difference |
//! | $\kappa^2$ | 1 | inverse square of the length of correlation, in voxels; 0 is improper |
//!
//! Source: Rue & Held 2005, *Gaussian Markov Random Fields*, section 3.3; Lindgren, Rue &
//! Lindstrom 2011, doi:10.1111/j.1467-9868.2011.00777.x, eq. (9) for the meaning of kappa.
//! Validated by `tests` below.

use microtome_kernels::difference::{
    add_difference_transpose, add_laplacian, laplacian_eigenvalues,
};

/// Why a prior of images can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImagePriorError {
    /// A shape that is no image.
    #[error("an image has the axes [y, x] or [z, y, x], all with voxels; found {shape:?}")]
    Shape {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A number out of its range.
    #[error("the prior's {name} is {value}; {range}")]
    Range {
        /// Weight or kappa².
        name: &'static str,
        /// The number.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
}

/// A Gaussian prior of neighbouring voxels.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianField {
    shape: Vec<usize>,
    weight: f64,
    kappa2: f64,
}

impl GaussianField {
    /// A field of this precision.
    ///
    /// # Errors
    /// Another number of axes than two or three, an axis without voxels, a weight that is
    /// not positive, a negative `kappa2`.
    ///
    /// # Example
    /// ```
    /// # use microtome_models::GaussianField;
    /// let field = GaussianField::new(&[2, 1], 3.0, 0.5)?;
    /// let mut out = [0.0; 2];
    /// field.add_precision(&[1.0, 3.0], &mut out);
    /// assert_eq!(out, [3.0 * (-2.0 + 0.5), 3.0 * (2.0 + 1.5)]);
    /// # Ok::<(), microtome_models::ImagePriorError>(())
    /// ```
    pub fn new(shape: &[usize], weight: f64, kappa2: f64) -> Result<Self, ImagePriorError> {
        if !(2..=3).contains(&shape.len()) || shape.contains(&0) {
            return Err(ImagePriorError::Shape { shape: shape.to_vec() });
        }
        if !(weight > 0.0 && weight.is_finite()) {
            let range = "a positive number is needed";
            return Err(ImagePriorError::Range { name: "weight", value: weight, range });
        }
        if !(kappa2 >= 0.0 && kappa2.is_finite()) {
            let range = "0 or a positive number is needed";
            return Err(ImagePriorError::Range { name: "kappa2", value: kappa2, range });
        }
        Ok(Self { shape: shape.to_vec(), weight, kappa2 })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// One over the variance of the difference of neighbours.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The part of the weight that pulls every voxel to 0.
    pub fn kappa2(&self) -> f64 {
        self.kappa2
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: an image has voxels.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the prior can be integrated.
    pub fn is_proper(&self) -> bool {
        self.kappa2 > 0.0
    }

    /// Adds $Qx$ to `out`.
    pub fn add_precision(&self, x: &[f64], out: &mut [f64]) {
        add_laplacian(&self.shape, self.weight, x, out);
        let diagonal = self.weight * self.kappa2;
        out.iter_mut().zip(x).for_each(|(o, x)| *o += diagonal * x);
    }

    /// Adds to `out` a draw of $N(0, Q)$: one standard normal for every difference and
    /// every voxel. `normals` fills a slice with them.
    pub fn add_precision_noise(&self, mut normals: impl FnMut(&mut [f64]), out: &mut [f64]) {
        let mut noise = vec![0.0; self.len()];
        for axis in 0..self.shape.len() {
            normals(&mut noise);
            add_difference_transpose(&self.shape, axis, self.weight.sqrt(), &noise, out);
        }
        normals(&mut noise);
        let root = (self.weight * self.kappa2).sqrt();
        out.iter_mut().zip(&noise).for_each(|(o, v)| *o += root * v);
    }

    /// Eigenvalues of $Q$ in the order of the coefficients of the DCT-II.
    pub fn eigenvalues(&self) -> Vec<f64> {
        let mut out = laplacian_eigenvalues(&self.shape);
        out.iter_mut().for_each(|v| *v = self.weight * (*v + self.kappa2));
        out
    }

    /// $\ln|Q|$; `None` for an improper prior.
    pub fn ln_determinant(&self) -> Option<f64> {
        self.is_proper().then(|| self.eigenvalues().iter().map(|v| v.ln()).sum())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_kernels::dense::cholesky;

    fn dense(field: &GaussianField) -> Vec<f64> {
        let n = field.len();
        let mut out = vec![0.0; n * n];
        for (j, column) in out.chunks_exact_mut(n).enumerate() {
            let mut unit = vec![0.0; n];
            unit[j] = 1.0;
            field.add_precision(&unit, column);
        }
        out
    }

    #[test]
    fn determinant_is_that_of_the_matrix() {
        for shape in [vec![3, 4], vec![2, 3, 2]] {
            let field = GaussianField::new(&shape, 2.5, 0.3).unwrap();
            let n = field.len();
            let mut a = dense(&field);
            assert!(cholesky(&mut a, n, 0.0));
            let exact: f64 = (0..n).map(|i| 2.0 * a[i * n + i].ln()).sum();
            assert!((field.ln_determinant().unwrap() - exact).abs() < 1e-11);
        }
        assert_eq!(GaussianField::new(&[3, 3], 1.0, 0.0).unwrap().ln_determinant(), None);
    }

    #[test]
    fn noise_has_the_precision_as_covariance() {
        // The map from unit normals to noise is linear: its columns times their transpose
        // are the covariance.
        let field = GaussianField::new(&[2, 3], 1.7, 0.4).unwrap();
        let n = field.len();
        let exact = dense(&field);
        let mut found = vec![0.0; n * n];
        for k in 0..3 * n {
            let (mut at, mut column) = (0, vec![0.0; n]);
            let unit = |out: &mut [f64]| {
                for v in out {
                    *v = if at == k { 1.0 } else { 0.0 };
                    at += 1;
                }
            };
            field.add_precision_noise(unit, &mut column);
            for i in 0..n {
                for j in 0..n {
                    found[i * n + j] += column[i] * column[j];
                }
            }
        }
        for (f, e) in found.iter().zip(&exact) {
            assert!((f - e).abs() < 1e-13, "{f} {e}");
        }
    }

    #[test]
    fn wrong_priors_are_refused() {
        let says = |shape: &[usize], weight: f64, kappa2: f64, text: &str| {
            let found = GaussianField::new(shape, weight, kappa2).unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says(&[3], 1.0, 1.0, "[3]");
        says(&[3, 0], 1.0, 1.0, "[3, 0]");
        says(&[3, 3], 0.0, 1.0, "weight is 0");
        says(&[3, 3], f64::NAN, 1.0, "weight is NaN");
        says(&[3, 3], 1.0, -1.0, "kappa2 is -1");
    }
}
