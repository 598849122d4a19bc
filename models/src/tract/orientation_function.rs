//! Orientation functions of the signals of one shell, and what resamples them.
//!
//! | name | terms of order l of the function |
//! |---|---|
//! | constant solid angle | $-\frac{l(l+1)P_l(0)}{8\pi}$ times those of ln(-ln E), $\frac{1}{2\sqrt\pi}$ for l = 0 |
//! | orientation probability | $4P_l(0)$ times those of $-E\ln E\,(3/2+\ln E)$ plus $l(l+1)P_l(0)$ times those of E |
//!
//! | symbol | |
//! |---|---|
//! | E | signal over the mean of the b = 0 signals |
//! | $P_l(0)$ | Legendre polynomial: the eigenvalue of the Funk-Radon transform over 2π |
//!
//! The harmonics of a function of the signals are those of regularised least squares,
//! $(B^\top B + \lambda L^2)^{-1}B^\top$ with $L = l(l+1)$.
//!
//! Source: Aganj et al. 2010, doi:10.1002/mrm.22365, eq. 14; Tristán-Vega, Westin & Aja-Fernández
//! 2010, doi:10.1016/j.neuroimage.2009.11.066, eq. 20; Descoteaux et al. 2007,
//! doi:10.1002/mrm.21277, eq. 9 (regularisation); Berman et al. 2008,
//! doi:10.1016/j.neuroimage.2007.08.021 (residuals). Validated by
//! `orientation_functions_peak_along_the_fibre` and `the_hat_matrix_projects` in
//! `models/tests/suite/tracking.rs`.

use super::{FieldError, OrientationField, Placement};
use crate::acquisition::Acquisition;
use crate::spherical_harmonics::{SphericalHarmonics, harmonic_count, harmonic_index, orders};
use microtome_kernels::dense::{cholesky, cholesky_solve};
use microtome_kernels::streamline::{Lattice, Resampling};
use std::f64::consts::PI;

/// Which function of the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrientationModel {
    /// Constant solid angle (CSA).
    SolidAngle,
    /// Orientation probability density transform (OPDT).
    Probability,
}

/// What is wrong with a scheme or an order.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OrientationError {
    /// No b = 0.
    #[error("the acquisition has no b = 0 measurement, by which signals are divided")]
    NoB0,
    /// More than one weighted shell, or none.
    #[error(
        "orientation functions take one weighted shell, the acquisition has {shells}; leave the others out, or use FODs"
    )]
    Shells {
        /// Number of weighted shells.
        shells: usize,
    },
    /// Too few directions for the order.
    #[error(
        "order {order} has {coefficients} coefficients, but there are only {directions} directions"
    )]
    Directions {
        /// The order.
        order: usize,
        /// Coefficients of the order.
        coefficients: usize,
        /// Weighted measurements.
        directions: usize,
    },
    /// An order that is odd or too high.
    #[error("order {order}: an even number from 2 to 16 is needed")]
    Order {
        /// The order.
        order: usize,
    },
    /// The directions do not determine the coefficients.
    #[error(
        "the directions do not determine the coefficients of order {order}; a lower order or more directions are needed"
    )]
    Singular {
        /// The order.
        order: usize,
    },
}

/// From signals to orientation functions.
#[derive(Clone, Debug)]
pub struct OrientationFunctions {
    order: usize,
    b0: Vec<usize>,
    weighted: Vec<usize>,
    resampling: Resampling,
}

/// $P_l(0)$ of even l.
fn at_equator(l: usize) -> f64 {
    (1..=l / 2).fold(1.0, |p, k| -p * (2 * k - 1) as f64 / (2 * k) as f64)
}

impl OrientationFunctions {
    /// Functions of an order from an acquisition; `lambda` regularises, signals are at least
    /// `lowest`.
    ///
    /// # Errors
    /// No b = 0, other than one weighted shell, too few directions, a wrong order.
    pub fn new(
        acquisition: &Acquisition,
        model: OrientationModel,
        order: usize,
        lambda: f64,
        lowest: f64,
    ) -> Result<Self, OrientationError> {
        let harmonics = SphericalHarmonics::new(order)
            .filter(|_| order >= 2)
            .ok_or(OrientationError::Order { order })?;
        let b0: Vec<usize> = acquisition.b0_measurements().collect();
        if b0.is_empty() {
            return Err(OrientationError::NoB0);
        }
        let n_all = acquisition.len();
        let weighted: Vec<usize> = (0..n_all).filter(|m| !b0.contains(m)).collect();
        let mut shells: Vec<usize> = weighted.iter().map(|m| acquisition.shell_of()[*m]).collect();
        shells.sort_unstable();
        shells.dedup();
        if shells.len() != 1 {
            return Err(OrientationError::Shells { shells: shells.len() });
        }
        let (n, count) = (weighted.len(), harmonic_count(order));
        if n < count {
            return Err(OrientationError::Directions { order, coefficients: count, directions: n });
        }
        let singular = || OrientationError::Singular { order };
        let mut basis = vec![0.0; n * count];
        for (row, m) in basis.chunks_exact_mut(count).zip(&weighted) {
            harmonics.evaluate(acquisition.directions()[*m], row);
        }
        let fit = pseudo_inverse(&basis, count, order, lambda).ok_or_else(singular)?;
        let plain = pseudo_inverse(&basis, count, order, 0.0).ok_or_else(singular)?;
        let rows = n.next_multiple_of(8);
        // Hat matrix by columns, and residuals over sqrt(1 - leverage) less their mean.
        let mut hat = vec![0.0; n * rows];
        for j in 0..n {
            for i in 0..n {
                hat[j * rows + i] =
                    (0..count).map(|k| basis[i * count + k] * plain[k * n + j]).sum();
            }
        }
        let mut residual = vec![0.0; n * rows];
        for j in 0..n {
            let column = &mut residual[j * rows..j * rows + n];
            for (i, r) in column.iter_mut().enumerate() {
                let leverage = hat[i * rows + i].min(1.0 - 1e-6);
                *r = (f64::from(u8::from(i == j)) - hat[j * rows + i]) / (1.0 - leverage).sqrt();
            }
            let mean = column.iter().sum::<f64>() / n as f64;
            column.iter_mut().for_each(|r| *r -= mean);
        }
        let terms = count.next_multiple_of(8);
        let collect = |scale: &dyn Fn(usize) -> f64| {
            let mut out = vec![0.0; n * terms];
            let mut own = vec![0.0; count];
            for (j, out) in out.chunks_exact_mut(terms).enumerate() {
                for (k, (l, _)) in orders(count).enumerate() {
                    own[k] = scale(l) * fit[k * n + j];
                }
                harmonics.collect_terms(&own, out);
            }
            out
        };
        let laplace = |l: usize| (l * (l + 1)) as f64 * at_equator(l);
        let mut constant = vec![0.0; terms];
        let (outer, linear) = match model {
            OrientationModel::SolidAngle => {
                let mut own = vec![0.0; count];
                own[harmonic_index(0, 0)] = 0.5 / PI.sqrt();
                harmonics.collect_terms(&own, &mut constant);
                (collect(&|l| -laplace(l) / (8.0 * PI)), Vec::new())
            }
            // minus delta_b, whose Laplacian is -l(l+1).
            OrientationModel::Probability => (collect(&|l| 4.0 * at_equator(l)), collect(&laplace)),
        };
        let solid_angle = model == OrientationModel::SolidAngle;
        let resampling = Resampling {
            measurements: n,
            hat,
            residual,
            outer,
            linear,
            constant,
            solid_angle,
            lowest,
        };
        Ok(Self { order, b0, weighted, resampling })
    }

    /// Order of the functions.
    pub fn order(&self) -> usize {
        self.order
    }

    /// What resamples the signals.
    pub fn resampling(&self) -> &Resampling {
        &self.resampling
    }

    /// Mean of b = 0 of a voxel.
    fn scale(&self, signals: &[f64]) -> f64 {
        self.b0.iter().map(|m| signals[*m]).sum::<f64>() / self.b0.len() as f64
    }

    /// The terms of the function of a voxel; zeros where its signals are of no use.
    pub fn terms(&self, signals: &[f64], out: &mut Vec<f64>) {
        let b0 = self.scale(signals);
        let mut v: Vec<f64> =
            self.weighted.iter().map(|m| signals[*m].max(self.resampling.lowest) / b0).collect();
        self.resampling.function(&mut v, out);
        if !(b0.is_finite() && b0 > 0.0 && out.iter().all(|t| t.is_finite())) {
            out.fill(0.0);
        }
    }

    /// The functions of all voxels, from their terms one voxel after the other (i fastest).
    ///
    /// # Errors
    /// A number of terms that does not fit, an affine without inverse.
    pub fn field(
        &self,
        shape: [usize; 3],
        terms: Vec<f32>,
        placement: Placement,
    ) -> Result<OrientationField, FieldError> {
        OrientationField::from_terms(shape, self.order, terms, placement)
    }

    /// Numbers a voxel of [`OrientationFunctions::signals`].
    pub fn signal_width(&self) -> usize {
        (self.weighted.len() + 1).next_multiple_of(8)
    }

    /// The weighted signals of a voxel and its mean of b = 0, as resampling reads them; zeros
    /// where they are of no use.
    pub fn signals(&self, signals: &[f64], out: &mut [f32]) {
        out.fill(0.0);
        let b0 = self.scale(signals);
        if b0.is_finite() && b0 > 0.0 && self.weighted.iter().all(|m| signals[*m].is_finite()) {
            for (o, m) in out.iter_mut().zip(&self.weighted) {
                *o = signals[*m] as f32;
            }
            out[self.weighted.len()] = b0 as f32;
        }
    }

    /// The lattice of such signals.
    ///
    /// # Errors
    /// A number of signals that does not fit, an affine without inverse.
    pub fn signal_lattice(
        &self,
        shape: [usize; 3],
        signals: Vec<f32>,
        placement: &Placement,
    ) -> Result<Lattice<f32>, FieldError> {
        let rows = placement.voxel_from_field().ok_or(FieldError::Affine)?;
        let (found, width) = (signals.len(), self.signal_width());
        Lattice::new(shape, width, signals, rows).ok_or(FieldError::Shape { found, shape, width })
    }
}

/// $(B^\top B + \lambda L^2)^{-1}B^\top$, `[coefficient][direction]`.
fn pseudo_inverse(basis: &[f64], count: usize, order: usize, lambda: f64) -> Option<Vec<f64>> {
    let n = basis.len() / count;
    let mut normal = vec![0.0; count * count];
    for row in basis.chunks_exact(count) {
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                normal[i * count + j] += a * b;
            }
        }
    }
    for (k, (l, _)) in orders(harmonic_count(order)).enumerate() {
        normal[k * count + k] += lambda * ((l * (l + 1)) as f64).powi(2);
    }
    if !cholesky(&mut normal, count, 1e-10) {
        return None;
    }
    let mut out = vec![0.0; count * n];
    let mut column = vec![0.0; count];
    for (j, row) in basis.chunks_exact(count).enumerate() {
        column.copy_from_slice(row);
        cholesky_solve(&normal, count, &mut column);
        for (k, c) in column.iter().enumerate() {
            out[k * n + j] = *c;
        }
    }
    Some(out)
}
