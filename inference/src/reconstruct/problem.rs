//! Operator, projections, weights, bounds and start of a reconstruction, checked.
//!
//! $$f(x) = \tfrac12\,(y-Ax)^T W (y-Ax),\qquad \ell \le x \le u$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y$ | 1 | projections |
//! | $W$ | 1 | diagonal; inverse variances of the projections, 0 where one does not count |
//! | $\ell, u$ | 1/mm | bounds of every voxel |
//!
//! Validated by `bad_input_says_where` in `inference/tests/suite/reconstruct/`.

use super::operator::product;
use super::vector::{each, sum, sum2};
use super::{ReconstructError, ViewOperator};
use microtome_kernels::ray::Real;

/// What is to be solved.
pub struct Problem<'a, T: Real> {
    pub(super) operator: &'a dyn ViewOperator<T>,
    pub(super) projections: &'a [T],
    pub(super) weights: Option<&'a [T]>,
    pub(super) start: Option<&'a [T]>,
    pub(super) bounds: [f64; 2],
    pub(super) volume_shape: Vec<usize>,
    pub(super) all_views: Vec<usize>,
    /// Values of a view.
    pub(super) pixels: usize,
}

/// The index of a value along every axis.
fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut out = vec![0; shape.len()];
    for (i, n) in out.iter_mut().zip(shape).rev() {
        *i = at % n;
        at /= n;
    }
    out
}

pub(super) fn check<T: Real>(
    what: &'static str,
    values: &[T],
    shape: &[usize],
) -> Result<(), ReconstructError> {
    let expected = product(shape);
    if values.len() != expected {
        let (found, shape) = (values.len(), shape.to_vec());
        return Err(ReconstructError::Length { what, found, expected, shape });
    }
    let wrong = |v: &T| !v.wide().is_finite();
    match values.iter().position(wrong) {
        None => Ok(()),
        Some(at) => Err(ReconstructError::NotFinite {
            what,
            count: values.iter().filter(|v| wrong(v)).count(),
            value: values[at].wide(),
            index: index(at, shape),
        }),
    }
}

/// No value is below zero.
fn check_sign<T: Real>(
    what: &'static str,
    values: &[T],
    shape: &[usize],
    needs: &'static str,
) -> Result<(), ReconstructError> {
    let wrong = |v: &T| v.wide() < 0.0;
    match values.iter().position(wrong) {
        None => Ok(()),
        Some(at) => Err(ReconstructError::Negative {
            what,
            count: values.iter().filter(|v| wrong(v)).count(),
            value: values[at].wide(),
            index: index(at, shape),
            needs,
        }),
    }
}

impl<'a, T: Real> Problem<'a, T> {
    /// Projections of an operator: no weights, no bounds, a start at zero.
    ///
    /// # Shapes
    /// `projections` `[view, view_shape...]`.
    ///
    /// # Errors
    /// Another number of values; values that are not finite, with their number and the
    /// place of the first.
    pub fn new(
        operator: &'a dyn ViewOperator<T>,
        projections: &'a [T],
    ) -> Result<Self, ReconstructError> {
        let volume_shape = operator.volume_shape();
        let pixels = product(&operator.view_shape());
        let all_views: Vec<usize> = (0..operator.n_views()).collect();
        if !(2..=3).contains(&volume_shape.len()) || product(&volume_shape) == 0 {
            let reason = format!("its volume has the shape {volume_shape:?}; [y, x] or [z, y, x]");
            return Err(ReconstructError::Operator { reason });
        }
        let problem = Self {
            operator,
            projections,
            weights: None,
            start: None,
            bounds: [f64::NEG_INFINITY, f64::INFINITY],
            volume_shape,
            all_views,
            pixels,
        };
        check("projections", projections, &problem.projections_shape())?;
        Ok(problem)
    }

    /// Weights the projections by their inverse variances; 0 leaves one out.
    ///
    /// # Errors
    /// Another number of values, values that are negative or not finite, all zero.
    pub fn with_weights(mut self, weights: &'a [T]) -> Result<Self, ReconstructError> {
        let shape = self.projections_shape();
        check("weights", weights, &shape)?;
        check_sign("weights", weights, &shape, "weights are inverse variances")?;
        if weights.iter().all(|w| w.wide() == 0.0) {
            return Err(ReconstructError::NoWeights);
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Starts from a volume.
    ///
    /// # Errors
    /// Another number of values, values that are not finite.
    pub fn with_start(mut self, start: &'a [T]) -> Result<Self, ReconstructError> {
        check("initial values", start, &self.volume_shape)?;
        self.start = Some(start);
        Ok(self)
    }

    /// Keeps every voxel between two bounds, where the method can (see
    /// [`Algorithm::takes_bounds`](super::Algorithm::takes_bounds)).
    ///
    /// # Errors
    /// Bounds that are NaN or leave nothing between them.
    pub fn with_bounds(mut self, lower: f64, upper: f64) -> Result<Self, ReconstructError> {
        // Also false for NaN.
        let holds = lower < upper;
        if !holds {
            let problem = format!("from {lower} to {upper}; the lower must be below the upper");
            return Err(ReconstructError::setting("bounds", problem));
        }
        self.bounds = [lower, upper];
        Ok(self)
    }

    /// Sizes of the axes of the projections.
    pub fn projections_shape(&self) -> Vec<usize> {
        let mut shape = vec![self.operator.n_views()];
        shape.extend(self.operator.view_shape());
        shape
    }

    /// Sizes of the axes of the volume.
    pub fn volume_shape(&self) -> &[usize] {
        &self.volume_shape
    }

    /// Number of voxels.
    pub(super) fn n_voxels(&self) -> usize {
        product(&self.volume_shape)
    }

    /// Whether there are bounds.
    pub(super) fn is_bounded(&self) -> bool {
        self.bounds != [f64::NEG_INFINITY, f64::INFINITY]
    }

    /// The projections may not be negative.
    pub(super) fn check_counts(&self) -> Result<(), ReconstructError> {
        const NEEDS: &str = "mlem and osem take means of counts; clip them to 0, or use sirt";
        check_sign("projections", self.projections, &self.projections_shape(), NEEDS)?;
        if let Some(start) = self.start {
            const START: &str = "mlem and osem multiply, so that the start must be positive";
            check_sign("initial values", start, &self.volume_shape, START)?;
        }
        Ok(())
    }

    /// The first image: the start, between the bounds, or zeros.
    pub(super) fn first(&self) -> Vec<T> {
        let mut x = match self.start {
            Some(start) => start.to_vec(),
            None => vec![T::default(); self.n_voxels()],
        };
        self.clip(&mut x);
        x
    }

    /// Moves every voxel between the bounds.
    pub(super) fn clip(&self, x: &mut [T]) {
        if self.is_bounded() {
            let [lower, upper] = self.bounds;
            each(x, |v| v.clamp(lower, upper));
        }
    }

    /// $Ax$ of all views.
    pub(super) fn forward(&self, x: &[T], out: &mut [T]) -> Result<(), ReconstructError> {
        self.operator.forward(&self.all_views, x, out)
    }

    /// $A^Ty$ of all views, written over `out`.
    pub(super) fn transpose(&self, y: &[T], out: &mut [T]) -> Result<(), ReconstructError> {
        out.fill(T::default());
        self.operator.add_transpose(&self.all_views, y, out)
    }

    /// $\|r\|_W$ of residuals.
    pub(super) fn residual_norm(&self, residual: &[T]) -> f64 {
        match self.weights {
            Some(w) => sum2(residual, w, |r, w| w * r * r).sqrt(),
            None => sum(residual, |r| r * r).sqrt(),
        }
    }

    /// Projections that count.
    pub fn n_counted(&self) -> usize {
        match self.weights {
            Some(w) => w.iter().filter(|w| w.wide() > 0.0).count(),
            None => self.projections.len(),
        }
    }
}
