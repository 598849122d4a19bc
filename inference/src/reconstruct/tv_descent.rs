//! Steepest descent of the total variation by steps of a given length.
//!
//! $$x \leftarrow x - h\,\frac{v}{\|v\|},\qquad
//!   v = \nabla^T\frac{w\,\nabla x}{(\sum_k w_k(\nabla x)_k^2+\epsilon^2)^{1/2}}$$
//!
//! with $w = 1$, or $w_k = e^{-((\nabla x)_k/\delta)^2}$ held fixed (adaptive weights). The
//! smoothing $\epsilon$ is 1e-6 of the greatest value of the image, as far as rounding of
//! float32. Source: Sidky, Kao & Pan 2006, doi:10.3233/XST-2006-00155; for the weights Liu
//! et al. 2012, doi:10.1088/0031-9155/57/23/7923. Validated by
//! `transposed_directions_are_the_derivative` in `kernels/src/variation.rs` and
//! `pocs_methods_lower_the_variation` in `inference/tests/suite/reconstruct/`.

use super::vector::{each2, norm};
use super::{Problem, ReconstructError};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{Field, Lattice, add_transpose, directions};

/// Smoothing of the corner of the total variation, of the greatest value.
const SMOOTHING: f64 = 1e-6;

/// Buffers of the descent.
pub(super) struct Descent<T> {
    lattice: Lattice,
    field: Field<T>,
    slope: Vec<T>,
}

/// The lattice of a problem.
pub(super) fn lattice<T: Real>(problem: &Problem<'_, T>) -> Result<Lattice, ReconstructError> {
    Lattice::new(&problem.volume_shape).ok_or_else(|| ReconstructError::Operator {
        reason: format!("its volume has the shape {:?}", problem.volume_shape),
    })
}

impl<T: Real> Descent<T> {
    pub(super) fn new(problem: &Problem<'_, T>) -> Result<Self, ReconstructError> {
        let lattice = lattice(problem)?;
        let slope = vec![T::default(); lattice.len()];
        Ok(Self { field: lattice.field(), lattice, slope })
    }

    pub(super) fn lattice(&self) -> &Lattice {
        &self.lattice
    }

    /// Takes `count` steps of length `h`.
    pub(super) fn descend(&mut self, x: &mut [T], count: usize, h: f64, edge: Option<f64>) {
        let greatest = x.iter().fold(0.0_f64, |m, v| m.max(v.wide().abs()));
        if greatest == 0.0 || h == 0.0 {
            return;
        }
        for _ in 0..count {
            directions(&self.lattice, x, &mut self.field, SMOOTHING * greatest, edge);
            self.slope.fill(T::default());
            add_transpose(&self.lattice, &self.field, &mut self.slope, 1.0);
            let size = norm(&self.slope);
            if size == 0.0 {
                return;
            }
            let factor = h / size;
            each2(x, &self.slope, |x, v| x - factor * v);
        }
    }

    /// The 90th percentile of the differences of an image that are not 0.
    pub(super) fn edge(&mut self, x: &[T]) -> f64 {
        microtome_kernels::variation::gradient(&self.lattice, x, &mut self.field);
        let mut sizes: Vec<f64> =
            self.field.iter().flatten().map(|v| v.wide().abs()).filter(|v| *v > 0.0).collect();
        if sizes.is_empty() {
            return 1.0;
        }
        let at = sizes.len() * 9 / 10;
        let (_, value, _) = sizes.select_nth_unstable_by(at, f64::total_cmp);
        *value
    }
}
