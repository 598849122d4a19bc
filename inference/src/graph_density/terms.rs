//! Common parts of a log density with derivatives by hand, many in one graph node.
//!
//! $$\ln p(x) = \sum_t \ln p_t\bigl(v(x)\bigr) + \ln\left|\frac{\partial v}{\partial x}\right|$$
//!
//! with values $v$ of coordinates $x$ by [`Parameters`]. A node of a Candle graph costs
//! about a microsecond, forward and back, which is more than the arithmetic of a small
//! model: a [`Fused`] sum is one node however many terms it has. A function with its
//! gradient, `Fn(&[f64], &mut [f64]) -> f64`, is a [`Term`], too; further Candle
//! ops can be added to the node's result.
//!
//! | term | density |
//! |---|---|
//! | [`Independent`] | a density of its own a value: [`Univariate`] |
//! | [`LinearNormal`] | $y\sim\mathcal N(X\beta, s^2)$, reduced to $k\times k$ by QR beforehand |
//!
//! Source: the densities of Gelman et al. 2013, *Bayesian Data Analysis*, appendix A; QR of
//! the normal linear model, Golub & Van Loan 2013, *Matrix Computations*, section 5.3.
//! Validated by `derivatives_equal_differences` and `linear_normal_is_the_sum_over_rows` in
//! `tests/suite/graph_density.rs`.

use super::GraphDensity;
use super::constraint::Parameters;
use super::fused::{self, Function};
use candle_core::{Device, Error, Result, Tensor};
use statrs::function::gamma::ln_gamma;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// A part of a log density.
pub trait Term: Send + Sync + 'static {
    /// The value; its gradient is added to `gradient`.
    ///
    /// # Shapes
    /// `values`, `gradient` `[values]`.
    fn add(&self, values: &[f64], gradient: &mut [f64]) -> f64;

    /// The smallest number of values that the term can be used with.
    fn needs(&self) -> usize {
        0
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync + 'static> Term for F {
    fn add(&self, values: &[f64], gradient: &mut [f64]) -> f64 {
        self(values, gradient)
    }
}

/// A term as one node: `values` `[n]` to one number.
///
/// # Errors
/// Fewer values than the term needs, not a vector, a type other than f64 and f32.
pub fn apply(values: &Tensor, term: &Arc<impl Term>) -> Result<Tensor> {
    enough(term.as_ref(), values.dims1()?)?;
    let term = term.clone();
    fused::scalar(values, Arc::new(move |v: &[f64], g: &mut [f64]| term.add(v, g)))
}

fn enough(term: &impl Term, values: usize) -> Result<()> {
    if term.needs() > values {
        return Err(Error::Msg(format!(
            "a term that uses value {} of a vector of {values}",
            term.needs() - 1
        )));
    }
    Ok(())
}

thread_local! {
    /// Values and their slopes, kept between evaluations.
    static SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// Constrained parameters and a sum of terms in one node.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use microtome_inference::graph_density::constraint::{Constraint, Parameters};
/// use microtome_inference::graph_density::terms::{Fused, Independent, LinearNormal, Univariate};
/// let parameters = Parameters::new()
///     .vector("beta", 2, Constraint::Real)?
///     .scalar("sigma", Constraint::Above(0.0))?;
/// let x = [1.0, 0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 3.0]; // intercept and time
/// let y = [1.1, 2.9, 5.2, 6.8];
/// let model = Fused::new(parameters)
///     .with(LinearNormal::new(&x, &y, 0..2, 2)?)?
///     .with(Independent { at: 0..2, density: Univariate::Normal { mean: 0.0, sd: 10.0 } })?
///     .with(Independent { at: 2..3, density: Univariate::Cauchy { location: 0.0, scale: 1.0 } })?;
/// let at = Tensor::new(&[1.0f64, 2.0, -1.0], &Device::Cpu)?;
/// let ln_density = model.ln_density(&at)?; // one number, one node
/// assert!((ln_density.to_scalar::<f64>()? + 1.1971).abs() < 1e-4);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Fused {
    parameters: Parameters,
    terms: Vec<Arc<dyn Term>>,
    function: Arc<Function>,
}

impl std::fmt::Debug for Fused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fused")
            .field("parameters", &self.parameters)
            .field("terms", &self.terms.len())
            .finish_non_exhaustive()
    }
}

impl Fused {
    /// The flat density in the values.
    pub fn new(parameters: Parameters) -> Self {
        let function = function(&parameters, &[]);
        Self { parameters, terms: Vec::new(), function }
    }

    /// One more term.
    ///
    /// # Errors
    /// A term that uses more values than there are.
    pub fn with(mut self, term: impl Term) -> Result<Self> {
        enough(&term, self.parameters.values())?;
        self.terms.push(Arc::new(term));
        self.function = function(&self.parameters, &self.terms);
        Ok(self)
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The log density in coordinates as one node of a graph.
    ///
    /// # Shapes
    /// `x` `[dim]`; one number.
    ///
    /// # Errors
    /// Another length, a type other than f64 and f32.
    pub fn ln_density(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims() != [self.parameters.dim()] {
            return Err(Error::Msg(format!(
                "density of {} coordinates: x has shape {:?}",
                self.parameters.dim(),
                x.dims()
            )));
        }
        fused::scalar(x, self.function.clone())
    }

    /// The sum as the whole density of a sampler, in f64 on the CPU: what
    /// [`GraphDensity::new`] of [`Fused::ln_density`] gives, to the bit, without building a
    /// graph of one node at every evaluation.
    ///
    /// # Errors
    /// No coordinates.
    pub fn density(&self) -> Result<GraphDensity<impl Fn(&Tensor) -> Result<Tensor> + use<>>> {
        let sum = self.clone();
        let ln_density = move |x: &Tensor| sum.ln_density(x);
        let density = GraphDensity::new(self.parameters.dim(), &Device::Cpu, ln_density)?;
        Ok(GraphDensity { node: Some(self.function.clone()), ..density })
    }
}

fn function(parameters: &Parameters, terms: &[Arc<dyn Term>]) -> Arc<Function> {
    let (parameters, terms) = (parameters.clone(), terms.to_vec());
    if parameters.is_real() {
        // Values are coordinates: no copies.
        return Arc::new(move |x: &[f64], gradient: &mut [f64]| {
            terms.iter().map(|term| term.add(x, gradient)).sum()
        });
    }
    Arc::new(move |x: &[f64], gradient: &mut [f64]| {
        let n = parameters.values();
        // Taken out, so that a term may evaluate another sum.
        let mut scratch = SCRATCH.with(RefCell::take);
        scratch.clear();
        scratch.resize(2 * n, 0.0);
        let (values, slopes) = scratch.split_at_mut(n);
        let mut total = parameters.constrain(x, values);
        for term in &terms {
            total += term.add(values, slopes);
        }
        parameters.pullback(x, values, slopes, 1.0, gradient);
        SCRATCH.with(|s| s.replace(scratch));
        total
    })
}

/// A density of one number. Densities of numbers that are cut by a constraint are not
/// normalised again (a half-normal is `Normal` of a positive parameter).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Univariate {
    /// $\mathcal N(\mathrm{mean}, \mathrm{sd}^2)$.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        sd: f64,
    },
    /// $\ln v\sim\mathcal N(\mathrm{mean}, \mathrm{sd}^2)$, v above 0.
    LogNormal {
        /// Mean of the logarithm.
        mean: f64,
        /// Standard deviation of the logarithm.
        sd: f64,
    },
    /// $1/(\pi s(1+((v-l)/s)^2))$.
    Cauchy {
        /// Median.
        location: f64,
        /// Half width at half maximum.
        scale: f64,
    },
    /// $\propto v^{\mathrm{shape}-1}e^{-\mathrm{rate}\,v}$, v above 0.
    Gamma {
        /// Shape.
        shape: f64,
        /// Inverse scale.
        rate: f64,
    },
    /// $\propto v^{a-1}(1-v)^{b-1}$, v between 0 and 1.
    Beta {
        /// First exponent and one.
        a: f64,
        /// Second exponent and one.
        b: f64,
    },
}

const HALF_LN_TAU: f64 = 0.918_938_533_204_672_7;

impl Univariate {
    /// $\ln p(v)$ without its constant, and its slope.
    #[inline]
    fn at(self, v: f64) -> (f64, f64) {
        match self {
            Self::Normal { mean, sd } => {
                let z = (v - mean) / sd;
                (-0.5 * z * z, -z / sd)
            }
            Self::LogNormal { mean, sd } => {
                let l = v.ln();
                let z = (l - mean) / sd;
                (-0.5 * z * z - l, -(z / sd + 1.0) / v)
            }
            Self::Cauchy { location, scale } => {
                let z = (v - location) / scale;
                let w = 1.0 + z * z;
                (-w.ln(), -2.0 * z / (scale * w))
            }
            Self::Gamma { shape, rate } => {
                ((shape - 1.0) * v.ln() - rate * v, (shape - 1.0) / v - rate)
            }
            Self::Beta { a, b } => (
                (a - 1.0) * v.ln() + (b - 1.0) * (-v).ln_1p(),
                (a - 1.0) / v - (b - 1.0) / (1.0 - v),
            ),
        }
    }

    /// The constant of $\ln p$.
    fn constant(self) -> f64 {
        match self {
            Self::Normal { sd, .. } | Self::LogNormal { sd, .. } => -sd.ln() - HALF_LN_TAU,
            Self::Cauchy { scale, .. } => -(std::f64::consts::PI * scale).ln(),
            Self::Gamma { shape, rate } => shape * rate.ln() - ln_gamma(shape),
            Self::Beta { a, b } => ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b),
        }
    }

    /// $\ln p(v)$.
    pub fn ln_density(self, v: f64) -> f64 {
        self.at(v).0 + self.constant()
    }
}

/// The same density for each of some values, independent.
#[derive(Debug, Clone, PartialEq)]
pub struct Independent {
    /// Which values.
    pub at: Range<usize>,
    /// Their density (without its constant here).
    pub density: Univariate,
}

impl Term for Independent {
    fn add(&self, values: &[f64], gradient: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for (v, g) in values[self.at.clone()].iter().zip(&mut gradient[self.at.clone()]) {
            let (value, slope) = self.density.at(*v);
            total += value;
            *g += slope;
        }
        total
    }

    fn needs(&self) -> usize {
        self.at.end
    }
}

/// $y_i\sim\mathcal N\bigl((X\beta)_i, s^2\bigr)$ with β and s among the values.
///
/// $\sum_i(y_i-(X\beta)_i)^2 = |R\beta - Q^\mathsf Ty|^2 + \mathrm{rest}$ with $X = QR$
/// made once: an evaluation costs $k^2$, whatever the number of rows, and loses no
/// digits to badly scaled columns as normal equations would.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearNormal {
    /// Upper triangle, `[k, k]`.
    r: Vec<f64>,
    /// First `k` numbers of Qᵀy.
    q: Vec<f64>,
    rest: f64,
    rows: f64,
    beta: Range<usize>,
    sd: usize,
}

impl LinearNormal {
    /// The term of a design matrix and data.
    ///
    /// # Shapes
    /// `design` `[row, k]` row-major, `y` `[row]`; `beta` names k values, `sd` one.
    ///
    /// # Errors
    /// Shapes that do not fit, fewer rows than columns, numbers that are not finite.
    pub fn new(design: &[f64], y: &[f64], beta: Range<usize>, sd: usize) -> Result<Self> {
        let (rows, k) = (y.len(), beta.len());
        if k == 0 || design.len() != rows * k || rows < k {
            return Err(Error::Msg(format!(
                "LinearNormal: a design of {} numbers for {rows} rows and {k} coefficients; it needs rows x coefficients, and at least as many rows as coefficients",
                design.len()
            )));
        }
        if !design.iter().chain(y).all(|v| v.is_finite()) {
            return Err(Error::Msg("LinearNormal: design and data must be finite".into()));
        }
        let (mut a, mut b) = (design.to_vec(), y.to_vec());
        for j in 0..k {
            // Reflect column j below its diagonal on to the axis.
            let norm = (j..rows).map(|i| a[i * k + j] * a[i * k + j]).sum::<f64>().sqrt();
            if norm == 0.0 {
                continue;
            }
            let alpha = -norm.copysign(a[j * k + j]);
            let mut v: Vec<f64> = (j..rows).map(|i| a[i * k + j]).collect();
            v[0] -= alpha;
            let square: f64 = v.iter().map(|v| v * v).sum();
            for c in j..k {
                let dot: f64 = v.iter().enumerate().map(|(i, v)| v * a[(j + i) * k + c]).sum();
                for (i, v) in v.iter().enumerate() {
                    a[(j + i) * k + c] -= 2.0 * dot / square * v;
                }
            }
            let dot: f64 = v.iter().zip(&b[j..]).map(|(v, b)| v * b).sum();
            for (v, b) in v.iter().zip(&mut b[j..]) {
                *b -= 2.0 * dot / square * v;
            }
        }
        let rest = b[k..].iter().map(|v| v * v).sum();
        a.truncate(k * k);
        b.truncate(k);
        Ok(Self { r: a, q: b, rest, rows: rows as f64, beta, sd })
    }
}

impl Term for LinearNormal {
    fn add(&self, values: &[f64], gradient: &mut [f64]) -> f64 {
        let k = self.q.len();
        let (beta, s) = (&values[self.beta.clone()], values[self.sd]);
        let precision = 1.0 / (s * s);
        let mut squares = self.rest;
        for i in 0..k {
            let row = &self.r[i * k + i..(i + 1) * k];
            let d = row.iter().zip(&beta[i..]).map(|(r, b)| r * b).sum::<f64>() - self.q[i];
            squares += d * d;
            let g = &mut gradient[self.beta.start + i..self.beta.end];
            for (g, r) in g.iter_mut().zip(row) {
                *g -= precision * d * r;
            }
        }
        gradient[self.sd] += (squares * precision - self.rows) / s;
        -self.rows * (s.ln() + HALF_LN_TAU) - 0.5 * squares * precision
    }

    fn needs(&self) -> usize {
        self.beta.end.max(self.sd + 1)
    }
}
