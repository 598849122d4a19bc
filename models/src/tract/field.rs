//! Functions on the sphere in every voxel: FODs, orientation functions, tensors; and draws
//! of sticks.
//!
//! Coefficients of spherical harmonics are turned into the terms that the kernel reads. A
//! tensor D is the function $u^\top Du$, of order 2, whose largest peak is its first
//! eigenvector. Validated by `models/tests/suite/tracking.rs`.

use super::Placement;
use crate::spherical_harmonics::{
    HarmonicBasis, LMAX_MAX, SphericalHarmonics, harmonic_count, harmonic_order,
};
use microtome_kernels::streamline::{Interpolation, Lattice};

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FieldError {
    /// No even order has this number of coefficients.
    #[error(
        "{count} coefficients a voxel are those of no even order (6 are of order 2, 15 of 4, 28 of 6, 45 of 8, ...)"
    )]
    Coefficients {
        /// The number found.
        count: usize,
    },
    /// The order is above the largest.
    #[error("spherical harmonics of order {order} are above the largest order, {LMAX_MAX}")]
    Order {
        /// The order found.
        order: usize,
    },
    /// Fewer or more numbers than voxels need.
    #[error("{found} numbers do not fill {shape:?} voxels of {width}")]
    Shape {
        /// Numbers found.
        found: usize,
        /// Voxels along i, j, k.
        shape: [usize; 3],
        /// Numbers a voxel.
        width: usize,
    },
    /// The affine of the image has no inverse.
    #[error("the affine of the image has no inverse")]
    Affine,
}

/// The largest number by its absolute value.
fn greatest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |m, v| f64::max(m, f64::from(v.abs())))
}

/// A function on the sphere in every voxel.
#[derive(Clone, Debug)]
pub struct OrientationField {
    pub(super) lattice: Lattice<f32>,
    pub(super) order: usize,
    pub(super) placement: Placement,
    invalid: usize,
    largest: f64,
}

impl OrientationField {
    /// From harmonic coefficients.
    ///
    /// Voxels with a number that is not finite become zero and are counted.
    ///
    /// # Shapes
    /// `coefficients` is `[k][j][i][coefficient]` (i before the coefficient).
    ///
    /// # Errors
    /// A number of coefficients without an even order, an affine without inverse.
    pub fn from_harmonics(
        shape: [usize; 3],
        coefficients: &[f32],
        basis: HarmonicBasis,
        placement: Placement,
        interpolation: Interpolation,
    ) -> Result<Self, FieldError> {
        let voxels: usize = shape.iter().product();
        let count = coefficients.len() / voxels.max(1);
        if voxels == 0 || count * voxels != coefficients.len() {
            let found = coefficients.len();
            return Err(FieldError::Shape { found, shape, width: count });
        }
        let order = harmonic_order(count).ok_or(FieldError::Coefficients { count })?;
        let harmonics = SphericalHarmonics::new(order).ok_or(FieldError::Order { order })?;
        let width = count.next_multiple_of(8);
        let mut values = vec![0.0_f32; voxels * width];
        let mut terms = vec![0.0; count];
        let (mut invalid, mut largest) = (0, 0.0_f64);
        for (source, out) in coefficients.chunks_exact(count).zip(values.chunks_exact_mut(width)) {
            if source.iter().all(|c| *c == 0.0) {
                continue;
            }
            if !source.iter().all(|c| c.is_finite()) {
                invalid += 1;
                continue;
            }
            let own: Vec<f64> = source.iter().map(|c| f64::from(*c)).collect();
            let own = basis.convert(HarmonicBasis::Mrtrix3, &own);
            largest = largest.max(own[0].abs());
            harmonics.collect_terms(&own, &mut terms);
            for (o, t) in out.iter_mut().zip(&terms) {
                *o = *t as f32;
            }
        }
        Self::new(shape, order, values, placement, interpolation, invalid, largest)
    }

    /// From tensors xx, yy, zz, xy, xz, yz in every voxel.
    ///
    /// # Errors
    /// A number of values that does not fit, an affine without inverse.
    pub fn from_tensors(
        shape: [usize; 3],
        tensors: &[[f32; 6]],
        placement: Placement,
        interpolation: Interpolation,
    ) -> Result<Self, FieldError> {
        // u'Du = z² (zz - (xx+yy)/2) + (xx+yy)/2 + (xx-yy)/2 Re(x+iy)² + xy Im(x+iy)²
        //      + 2 xz zx + 2 yz zy, with x² + y² = 1 - z².
        let terms = |d: &[f32; 6]| {
            let mean = 0.5 * (d[0] + d[1]);
            [mean, d[2] - mean, 2.0 * d[4], 2.0 * d[5], 0.5 * (d[0] - d[1]), d[3], 0.0, 0.0]
        };
        let mut invalid = 0;
        let mut values = Vec::with_capacity(8 * tensors.len());
        for d in tensors {
            if d.iter().all(|v| v.is_finite()) {
                values.extend(terms(d));
            } else {
                invalid += 1;
                values.extend([0.0; 8]);
            }
        }
        let largest = greatest(&values);
        Self::new(shape, 2, values, placement, interpolation, invalid, largest)
    }

    /// From the terms that the kernel reads, filled up to a multiple of 8 a voxel.
    pub(super) fn from_terms(
        shape: [usize; 3],
        order: usize,
        values: Vec<f32>,
        placement: Placement,
    ) -> Result<Self, FieldError> {
        let largest = greatest(&values);
        Self::new(shape, order, values, placement, Interpolation::Linear, 0, largest)
    }

    fn new(
        shape: [usize; 3],
        order: usize,
        values: Vec<f32>,
        placement: Placement,
        interpolation: Interpolation,
        invalid: usize,
        largest: f64,
    ) -> Result<Self, FieldError> {
        let width = harmonic_count(order).next_multiple_of(8);
        let rows = placement.voxel_from_field().ok_or(FieldError::Affine)?;
        let found = values.len();
        let lattice = Lattice::new(shape, width, values, rows);
        let lattice = lattice.ok_or(FieldError::Shape { found, shape, width })?;
        let lattice = match interpolation {
            Interpolation::Linear => lattice,
            Interpolation::Cubic => lattice.cubic(|v| v as f32),
        };
        Ok(Self { lattice, order, placement, invalid, largest })
    }

    /// The highest order of the harmonics.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Number of harmonic coefficients a voxel.
    pub fn coefficients(&self) -> usize {
        harmonic_count(self.order)
    }

    /// Voxels with a number that was not finite.
    pub fn invalid(&self) -> usize {
        self.invalid
    }

    /// Whether no voxel holds anything.
    pub fn is_empty(&self) -> bool {
        self.largest == 0.0
    }

    /// Where it lies.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The numbers that the kernel reads.
    pub fn lattice(&self) -> &Lattice<f32> {
        &self.lattice
    }
}

/// Posterior draws of sticks in voxels.
#[derive(Clone, Debug)]
pub struct StickField {
    /// Voxels along i, j, k.
    pub shape: [usize; 3],
    /// Where the field lies.
    pub placement: Placement,
    /// Row of every voxel (i fastest), `u32::MAX` where there are no draws.
    pub row: Vec<u32>,
    /// Direction and fraction, `[row][draw][stick]`.
    pub sticks: Vec<[f32; 4]>,
    /// Draws a voxel.
    pub draws: usize,
    /// Sticks a draw.
    pub count: usize,
}
