//! The posterior of an image under a smoothed total variation prior, as a density.
//!
//! $$-\ln p(x\,|\,y) = \sum_r\phi_r\bigl((Ax)_r\bigr)
//! + \lambda\sum_j\sqrt{|(\nabla x)_j|^2+\epsilon^2} + \tfrac m2|x|^2 + \mathrm{const}$$
//!
//! | likelihood | $\phi_r(t)$ |
//! |---|---|
//! | normal | $\tfrac w2(t-y)^2$ |
//! | Poisson | $I_0e^{-t} + ct$ |
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | image; no bound |
//! | $y, w$ | 1 | projections and their inverse variances |
//! | $c, I_0$ | 1 | counts and counts without object |
//! | $\lambda, \epsilon, m$ | mm, 1/mm, mm^2 | weight, rounding of edges, ridge |
//!
//! Without the ridge the prior does not know the level of the image: it is improper. The
//! matrix $A$ is stored.
//!
//! Source: Rudin, Osher & Fatemi 1992, doi:10.1016/0167-2789(92)90242-F; Elbakri & Fessler
//! 2002, doi:10.1109/42.993128. Validated by `gradient_is_the_difference` in
//! `inference/tests/suite/edge_posterior.rs`.

use super::super::ReconstructError;
use super::GaussianImage;
use microtome_kernels::abreast::{Stored, Variation};
use microtome_models::GaussianField;
use microtome_models::ct::RayTransform;

/// Most entries of the matrix, which is stored by rows and by columns: 4 GiB.
const MOST_ENTRIES: usize = 1 << 28;

/// The numbers of the prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdgePrior {
    /// $\lambda$, mm.
    pub weight: f64,
    /// $\epsilon$, 1/mm.
    pub rounding: f64,
    /// $m$, mm^2; 0 is improper.
    pub ridge: f64,
}

/// What the data are.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageNoise {
    /// Projections with inverse variances.
    Normal {
        /// $y$.
        projections: Vec<f64>,
        /// $w$.
        weights: Vec<f64>,
    },
    /// Counts with the count without object.
    Poisson {
        /// $c$.
        counts: Vec<f64>,
        /// $I_0$.
        i0: f64,
    },
}

impl ImageNoise {
    /// Line integrals and weights that stand for the data near their maximum; of counts
    /// $\ln(I_0/c)$ with the weight $c$.
    fn as_normal(&self) -> (Vec<f64>, Vec<f64>) {
        match self {
            Self::Normal { projections, weights } => (projections.clone(), weights.clone()),
            Self::Poisson { counts, i0 } => {
                counts.iter().map(|c| ((i0 / c.max(1.0)).ln(), *c)).unzip()
            }
        }
    }
}

/// A posterior of an image that keeps edges.
pub struct EdgePosterior<'a> {
    operator: &'a RayTransform,
    matrix: Stored,
    noise: ImageNoise,
    prior: EdgePrior,
    shape: Vec<usize>,
}

fn wrong(name: &'static str, value: f64, needed: &str) -> ReconstructError {
    ReconstructError::setting(name, format!("{value}; {needed}"))
}

impl<'a> EdgePosterior<'a> {
    /// Joins operator, data and prior.
    ///
    /// # Shapes
    /// Projections, weights and counts `[view, view_shape...]`.
    ///
    /// # Errors
    /// Numbers out of their range; arrays of another length or with values that are not
    /// finite; a projector whose matrix can't be stored.
    pub fn new(
        operator: &'a RayTransform,
        noise: ImageNoise,
        prior: EdgePrior,
    ) -> Result<Self, ReconstructError> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        if !positive(prior.weight) {
            return Err(wrong("tv weight", prior.weight, "a positive number is needed"));
        }
        if !positive(prior.rounding) {
            return Err(wrong("tv eps", prior.rounding, "a positive number is needed"));
        }
        if !(prior.ridge >= 0.0 && prior.ridge.is_finite()) {
            return Err(wrong("prior ridge", prior.ridge, "0 or a positive number is needed"));
        }
        if let ImageNoise::Poisson { counts, i0 } = &noise {
            if !positive(*i0) {
                return Err(wrong("i0", *i0, "a positive number of counts is needed"));
            }
            if let Some(c) = counts.iter().find(|c| !(**c >= 0.0 && c.is_finite())) {
                return Err(wrong("counts", *c, "no count; 0 and positive numbers are"));
            }
        }
        let shape = operator.volume().shape();
        let Some(rows) = operator.rows(MOST_ENTRIES) else {
            return Err(ReconstructError::setting(
                "projector",
                format!(
                    "{} with a volume of {shape:?}: this posterior stores the matrix of the \
                     projector, for siddon and joseph with at most {MOST_ENTRIES} entries and \
                     no mask; give --projector joseph or a smaller volume",
                    operator.projector().name()
                ),
            ));
        };
        let matrix = Stored::new(rows, &shape);
        let out = Self { operator, matrix, noise, prior, shape };
        // The checks of the data are those of the Gaussian posterior.
        let (y, w) = out.noise.as_normal();
        GaussianImage::new(operator, &y, w, out.field(1.0)?)?;
        Ok(out)
    }

    /// Number of voxels.
    pub fn n_voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Sizes of the axes of the image.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The prior.
    pub fn prior(&self) -> EdgePrior {
        self.prior
    }

    pub(super) fn operator(&self) -> &'a RayTransform {
        self.operator
    }

    pub(super) fn matrix(&self) -> &Stored {
        &self.matrix
    }

    pub(super) fn noise(&self) -> &ImageNoise {
        &self.noise
    }

    pub(super) fn as_normal(&self) -> (Vec<f64>, Vec<f64>) {
        self.noise.as_normal()
    }

    /// A Gaussian field whose differences have the precision $\lambda\kappa$.
    pub(super) fn field(&self, curvature: f64) -> Result<GaussianField, ReconstructError> {
        let weight = self.prior.weight * curvature;
        GaussianField::new(&self.shape, weight, self.prior.ridge / weight)
            .map_err(|e| ReconstructError::setting("prior", e.to_string()))
    }

    /// The prior for kernels.
    pub(super) fn variation(&self) -> Variation {
        let [z, y, x] = match *self.shape.as_slice() {
            [y, x] => [1, y, x],
            [z, y, x] => [z, y, x],
            _ => [1, 1, self.n_voxels()],
        };
        Variation {
            shape: [z, y, x],
            weight: self.prior.weight as f32,
            rounding: self.prior.rounding as f32,
            ridge: self.prior.ridge as f32,
        }
    }

    /// $Ax$ by the stored matrix.
    pub(super) fn project(&self, x: &[f64]) -> Vec<f64> {
        let sum = |ray: usize| {
            self.matrix.rows().row(ray).iter().map(|(j, a)| f64::from(*a) * x[*j as usize]).sum()
        };
        (0..self.matrix.rows().len()).map(sum).collect()
    }

    /// $\ln p(x|y)$ up to a constant, and its gradient: in 64 bits, one image, the
    /// definition as it stands.
    ///
    /// # Shapes
    /// `x` and `gradient` `[voxel]`.
    pub fn ln_density(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut sum = 0.0;
        for (ray, t) in self.project(x).into_iter().enumerate() {
            let (value, slope) = match &self.noise {
                ImageNoise::Normal { projections, weights } => {
                    let r = t - projections[ray];
                    (0.5 * weights[ray] * r * r, weights[ray] * r)
                }
                ImageNoise::Poisson { counts, i0 } => {
                    let expected = i0 * (-t).exp();
                    (expected + counts[ray] * t, counts[ray] - expected)
                }
            };
            // A ray past the volume says nothing.
            if !self.matrix.rows().row(ray).is_empty() {
                sum -= value;
            }
            for (j, a) in self.matrix.rows().row(ray) {
                gradient[*j as usize] -= f64::from(*a) * slope;
            }
        }
        let mut strides = vec![1; self.shape.len()];
        for a in (0..self.shape.len() - 1).rev() {
            strides[a] = strides[a + 1] * self.shape[a + 1];
        }
        let EdgePrior { weight, rounding, ridge } = self.prior;
        for j in 0..x.len() {
            let next = |a: usize| {
                let has = j / strides[a] % self.shape[a] + 1 < self.shape[a];
                has.then(|| j + strides[a])
            };
            let all = || (0..self.shape.len()).filter_map(next);
            let square: f64 = all().map(|k| (x[k] - x[j]).powi(2)).sum();
            let root = (square + rounding * rounding).sqrt();
            sum -= weight * root + 0.5 * ridge * x[j] * x[j];
            gradient[j] -= ridge * x[j];
            for k in all() {
                let pull = weight * (x[k] - x[j]) / root;
                gradient[j] += pull;
                gradient[k] -= pull;
            }
        }
        sum
    }
}
