//! Maps from the whole line to the places where parameters live, with ln |Jacobian|.
//!
//! | constraint | map of coordinates $x$ to values $v$ | $\ln\lvert\partial v/\partial x\rvert$ |
//! |---|---|---|
//! | real | $v = x$ | 0 |
//! | above $a$ | $v = a + e^x$ | $x$ |
//! | interval $(a, b)$ | $v = a + (b-a)\,\mathrm{expit}\,x$ | $\ln(b-a) + \ln\mathrm{expit}\,x + \ln\mathrm{expit}(-x)$ |
//! | ordered | $v_1 = x_1,\ v_k = v_{k-1} + e^{x_k}$ | $\sum_{k>1}x_k$ |
//! | simplex of $n$ | $v_i = e^{x_i}/\sum_j e^{x_j},\ x_n = 0$ | $\sum_{i=1}^n\ln v_i$ |
//!
//! Values have the unit of the parameter, coordinates none; a simplex of $n$ values
//! has $n-1$ coordinates. A density $p(v)$ becomes $\ln p(v(x)) + \ln|\partial v/\partial x|$.
//!
//! Source: Carpenter et al. 2017, doi:10.18637/jss.v076.i01, section 3; the simplex by
//! Aitchison 1982, doi:10.1111/j.2517-6161.1982.tb01195.x (additive log ratio).
//! Validated by `densities_keep_their_mass` and `derivatives_equal_differences` in
//! `tests/suite/graph_density.rs`.

use super::fused::{self, Map};
use candle_core::{Error, Result, Tensor};
use std::sync::Arc;

/// Where values live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constraint {
    /// The whole line.
    Real,
    /// Above a number.
    Above(f64),
    /// Between two numbers.
    Interval(f64, f64),
    /// Each value above the one before.
    Ordered,
    /// Positive values whose sum is 1.
    Simplex,
}

impl Constraint {
    fn coordinates(self, values: usize) -> usize {
        match self {
            Self::Simplex => values.saturating_sub(1),
            _ => values,
        }
    }

    /// Values of coordinates; returns ln |Jacobian|.
    fn forward(self, x: &[f64], v: &mut [f64]) -> f64 {
        match self {
            Self::Real => {
                v.copy_from_slice(x);
                0.0
            }
            Self::Above(a) => {
                for (v, x) in v.iter_mut().zip(x) {
                    *v = a + x.exp();
                }
                x.iter().sum()
            }
            Self::Interval(a, b) => {
                let mut total = x.len() as f64 * (b - a).ln();
                for (v, x) in v.iter_mut().zip(x) {
                    let e = (-x.abs()).exp();
                    *v = if *x < 0.0 {
                        a + (b - a) * e / (1.0 + e)
                    } else {
                        b - (b - a) * e / (1.0 + e)
                    };
                    total -= x.abs() + 2.0 * e.ln_1p();
                }
                total
            }
            Self::Ordered => {
                let mut last = 0.0;
                let mut total = 0.0;
                for (k, (v, x)) in v.iter_mut().zip(x).enumerate() {
                    last = if k == 0 { *x } else { last + x.exp() };
                    total += if k == 0 { 0.0 } else { *x };
                    *v = last;
                }
                total
            }
            Self::Simplex => {
                let most = x.iter().copied().fold(0.0, f64::max);
                let n = v.len() as f64;
                let mut sum = 0.0;
                for (k, v) in v.iter_mut().enumerate() {
                    *v = (x.get(k).copied().unwrap_or(0.0) - most).exp();
                    sum += *v;
                }
                v.iter_mut().for_each(|v| *v /= sum);
                x.iter().sum::<f64>() - n * (most + sum.ln())
            }
        }
    }

    /// $J^\mathsf T\bar v + w\,\nabla\ln|J|$, written.
    fn pullback(self, x: &[f64], v: &[f64], cotangent: &[f64], w: f64, out: &mut [f64]) {
        match self {
            Self::Real => out.copy_from_slice(cotangent),
            Self::Above(a) => {
                for ((o, v), c) in out.iter_mut().zip(v).zip(cotangent) {
                    *o = c * (v - a) + w;
                }
            }
            Self::Interval(a, b) => {
                for ((o, x), c) in out.iter_mut().zip(x).zip(cotangent) {
                    let e = (-x.abs()).exp();
                    let slope = e / ((1.0 + e) * (1.0 + e));
                    let lean = (1.0 - e) / (1.0 + e);
                    *o = c * (b - a) * slope - w * lean.copysign(*x);
                }
            }
            Self::Ordered => {
                let mut above = 0.0;
                for k in (0..out.len()).rev() {
                    above += cotangent[k];
                    out[k] = if k == 0 { above } else { above * x[k].exp() + w };
                }
            }
            Self::Simplex => {
                let mean: f64 = cotangent.iter().zip(v).map(|(c, v)| c * v).sum();
                let n = v.len() as f64;
                for ((o, v), c) in out.iter_mut().zip(v).zip(cotangent) {
                    *o = v * (c - mean) + w * (1.0 - n * v);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Block {
    name: String,
    constraint: Constraint,
    /// First coordinate and how many.
    x: (usize, usize),
    /// First value and how many.
    v: (usize, usize),
    scalar: bool,
}

/// Named parameters one after another: coordinates to values.
///
/// # Example
/// ```
/// use microtome_inference::graph_density::constraint::{Constraint, Parameters};
/// let parameters = Parameters::new()
///     .scalar("mu", Constraint::Real)?
///     .scalar("tau", Constraint::Above(0.0))?
///     .vector("share", 3, Constraint::Simplex)?;
/// assert_eq!((parameters.dim(), parameters.values()), (4, 5));
/// assert_eq!(parameters.names()[4], "share[3]");
/// let mut values = [0.0; 5];
/// let ln_jacobian = parameters.constrain(&[0.5, 0.0, 0.0, 0.0], &mut values);
/// assert_eq!(values, [0.5, 1.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
/// assert!((ln_jacobian - 3.0 * (1.0f64 / 3.0).ln()).abs() < 1e-15);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    blocks: Vec<Block>,
    dim: usize,
    values: usize,
}

impl Parameters {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more number.
    ///
    /// # Errors
    /// A simplex (take [`Parameters::vector`]); an interval without inside.
    pub fn scalar(self, name: &str, constraint: Constraint) -> Result<Self> {
        self.with(name, 1, constraint, true)
    }

    /// `n` more numbers, named `name[1]`, `name[2]`, ...
    ///
    /// # Errors
    /// No numbers; a simplex of fewer than two; an interval without inside.
    pub fn vector(self, name: &str, n: usize, constraint: Constraint) -> Result<Self> {
        self.with(name, n, constraint, false)
    }

    fn with(mut self, name: &str, n: usize, constraint: Constraint, scalar: bool) -> Result<Self> {
        let wrong = match constraint {
            _ if n == 0 => Some("has no values"),
            Constraint::Simplex if n < 2 => Some("is a simplex of fewer than two values"),
            Constraint::Interval(a, b) if !(a < b && a.is_finite() && b.is_finite()) => {
                Some("needs an interval with finite ends, the lower first")
            }
            Constraint::Above(a) if !a.is_finite() => Some("needs a finite lower end"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(Error::Msg(format!("parameter {name} {wrong}")));
        }
        let coordinates = constraint.coordinates(n);
        self.blocks.push(Block {
            name: name.into(),
            constraint,
            x: (self.dim, coordinates),
            v: (self.values, n),
            scalar,
        });
        self.dim += coordinates;
        self.values += n;
        Ok(self)
    }

    /// Number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Whether all values are their coordinates.
    pub(crate) fn is_real(&self) -> bool {
        self.blocks.iter().all(|b| b.constraint == Constraint::Real)
    }

    /// A name a value.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.values);
        for block in &self.blocks {
            for k in 1..=block.v.1 {
                names.push(if block.scalar {
                    block.name.clone()
                } else {
                    format!("{}[{k}]", block.name)
                });
            }
        }
        names
    }

    /// Values of coordinates; returns ln |Jacobian|.
    ///
    /// # Shapes
    /// `x` `[dim]`, `v` `[values]`.
    pub fn constrain(&self, x: &[f64], v: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for b in &self.blocks {
            total += b.constraint.forward(&x[b.x.0..b.x.0 + b.x.1], &mut v[b.v.0..b.v.0 + b.v.1]);
        }
        total
    }

    /// $J^\mathsf T\bar v + w\,\nabla\ln|J|$, written: the gradient in coordinates of
    /// $f(v(x)) + w\ln|J|$ from $\bar v = \nabla f$.
    ///
    /// # Shapes
    /// `x`, `out` `[dim]`; `v`, `cotangent` `[values]`.
    pub fn pullback(&self, x: &[f64], v: &[f64], cotangent: &[f64], w: f64, out: &mut [f64]) {
        for b in &self.blocks {
            let (xs, vs) = (b.x.0..b.x.0 + b.x.1, b.v.0..b.v.0 + b.v.1);
            b.constraint.pullback(&x[xs.clone()], &v[vs.clone()], &cotangent[vs], w, &mut out[xs]);
        }
    }

    /// Values and ln |Jacobian| of coordinates as nodes of a graph.
    ///
    /// # Shapes
    /// `x` `[dim]`; results `[values]` and one number.
    ///
    /// # Errors
    /// Another length, a type other than f64 and f32.
    pub fn graph(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        if x.dims() != [self.dim] {
            return Err(Error::Msg(format!(
                "parameters: coordinates of shape {:?}, not [{}]",
                x.dims(),
                self.dim
            )));
        }
        let both = fused::map(x, Arc::new(self.clone()))?;
        Ok((both.narrow(0, 0, self.values)?, both.get(self.values)?))
    }
}

impl Map for Parameters {
    fn columns(&self, _: usize) -> Result<usize> {
        Ok(self.values + 1)
    }

    fn forward(&self, x: &[f64], y: &mut [f64]) {
        let (v, ln_jacobian) = y.split_at_mut(self.values);
        ln_jacobian[0] = self.constrain(x, v);
    }

    fn pullback(&self, x: &[f64], y: &[f64], cotangent: &[f64], out: &mut [f64]) {
        let n = self.values;
        Self::pullback(self, x, &y[..n], &cotangent[..n], cotangent[n], out);
    }
}

fn all(x: &Tensor, values: impl Fn(usize) -> usize, c: Constraint) -> Result<(Tensor, Tensor)> {
    Parameters::new().vector("x", values(x.dims1()?), c)?.graph(x)
}

/// Positive values $e^x$ of `[n]` coordinates, and ln |Jacobian|.
///
/// # Errors
/// Not a vector, a type other than f64 and f32.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use microtome_inference::graph_density::constraint::positive;
/// let (sigma, ln_jacobian) = positive(&Tensor::new(&[0.0f64, 1.0], &Device::Cpu)?)?;
/// assert_eq!(sigma.to_vec1::<f64>()?, [1.0, 1.0f64.exp()]);
/// assert_eq!(ln_jacobian.to_scalar::<f64>()?, 1.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn positive(x: &Tensor) -> Result<(Tensor, Tensor)> {
    all(x, |n| n, Constraint::Above(0.0))
}

/// Values between `low` and `high` of `[n]` coordinates, and ln |Jacobian|.
///
/// # Errors
/// As [`positive`]; an interval without inside.
pub fn interval(x: &Tensor, low: f64, high: f64) -> Result<(Tensor, Tensor)> {
    all(x, |n| n, Constraint::Interval(low, high))
}

/// Increasing values of `[n]` coordinates, and ln |Jacobian|.
///
/// # Errors
/// As [`positive`].
pub fn ordered(x: &Tensor) -> Result<(Tensor, Tensor)> {
    all(x, |n| n, Constraint::Ordered)
}

/// `n + 1` shares with sum 1 of `[n]` coordinates, and ln |Jacobian|.
///
/// # Errors
/// As [`positive`].
pub fn simplex(x: &Tensor) -> Result<(Tensor, Tensor)> {
    all(x, |n| n + 1, Constraint::Simplex)
}
