//! Reconstruction by the gradient of any loss written with Candle ops.
//!
//! Adam with the gradient $g$ of the loss with respect to a variable $x$, elementwise:
//!
//! $$m \leftarrow \beta_1m + (1-\beta_1)g,\quad v \leftarrow \beta_2v + (1-\beta_2)g^2,\quad
//!   x \leftarrow \max\!\left(b,\ x - \eta_k\frac{m/(1-\beta_1^k)}{\sqrt{v/(1-\beta_2^k)}+\epsilon}\right)$$
//!
//! with $\beta_1 = 0.9$, $\beta_2 = 0.999$, $\epsilon = 10^{-8}$ and an optional lower bound
//! $b$ (0 for volumes that are not negative). The step falls from $\eta$ to $\eta/100$ along
//! half a cosine, so that the last iterations settle.
//!
//! Variables are volumes, filters, poses or anything else that the loss depends on; the
//! projectors are the ops of `microtome_models::ct::graph`, and their gradients are exact.
//! Adam does not know that a loss is quadratic: for least squares CGLS is much faster.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | as the variable | variable |
//! | $\eta$ | as the variable | step of the first iteration, about the expected change over 100 |
//!
//! Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; the cosine: Loshchilov & Hutter
//! 2017, arXiv:1608.03983, eq. 5. Validated by `inference/tests/suite/reconstruct_graph.rs` and the
//! example `learned_filter`.

use candle_core::{Error, Result, Tensor, Var};
use std::ops::ControlFlow;

/// Weights of the running means.
const BETA: [f64; 2] = [0.9, 0.999];
/// Keeps the quotient finite.
const EPSILON: f64 = 1e-8;
/// The last step over the first.
const LAST: f64 = 0.01;

/// A variable of the loss with the rule of its steps.
#[derive(Clone, Debug)]
pub struct Variable {
    var: Var,
    step: f64,
    at_least: Option<f64>,
}

impl Variable {
    /// A variable that begins at a tensor of f64 or f32.
    ///
    /// # Errors
    /// A step that is not positive; whatever Candle refuses.
    pub fn new(start: &Tensor, step: f64) -> Result<Self> {
        // Also false for NaN.
        let possible = step > 0.0 && step.is_finite();
        if !possible {
            return Err(Error::Msg(format!("the step is {step}; a positive number is needed")));
        }
        Ok(Self { var: Var::from_tensor(start)?, step, at_least: None })
    }

    /// Keeps every value at or above a bound.
    pub fn at_least(mut self, bound: f64) -> Self {
        self.at_least = Some(bound);
        self
    }

    /// The tensor that the loss is made of.
    pub fn tensor(&self) -> &Tensor {
        self.var.as_tensor()
    }
}

/// A variable on its way.
struct State<'a> {
    variable: &'a Variable,
    mean: Tensor,
    square: Tensor,
}

impl State<'_> {
    fn step(&mut self, g: &Tensor, k: i32, share: f64) -> Result<()> {
        let [a, b] = BETA;
        // Detached: the running means are no part of a graph.
        let g = g.detach();
        self.mean = ((&self.mean * a)? + (&g * (1.0 - a))?)?;
        self.square = ((&self.square * b)? + (g.sqr()? * (1.0 - b))?)?;
        let mean = (&self.mean / (1.0 - a.powi(k)))?;
        let size = ((&self.square / (1.0 - b.powi(k)))?.sqrt()? + EPSILON)?;
        let change = ((mean / size)? * (self.variable.step * share))?;
        let mut next = (self.variable.tensor().detach() - change)?;
        if let Some(bound) = self.variable.at_least {
            next = next.maximum(bound)?;
        }
        self.variable.var.set(&next)
    }
}

/// Takes `iterations` steps of Adam down a loss of some variables; returns the loss before
/// every step and after the last. `each(iteration, loss)` may stop it.
///
/// # Errors
/// A loss that is not one number, not finite, or does not depend on a variable; errors of
/// the loss.
///
/// # Example
/// Least squares with a projector and no negative values:
/// ```
/// use candle_core::{Device, Tensor};
/// use microtome_inference::reconstruct::graph::{Variable, minimise};
/// use microtome_kernels::ray::Projector;
/// use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid, graph};
/// use std::{ops::ControlFlow, sync::Arc};
///
/// let volume = VolumeGrid::new(&[8, 8], &[1.0, 1.0], &[0.0, 0.0])?;
/// let path = TrajectorySpec::circular(12, &[1.0]);
/// let geometry = path.geometry(GeometryKind::Parallel2d, [1, 12])?;
/// let a = Arc::new(RayTransform::new(geometry, volume, Projector::Joseph)?);
/// let truth = Tensor::ones((8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// let y = graph::project(&a, &truth)?;
/// let x = Variable::new(&truth.zeros_like()?, 0.05)?.at_least(0.0);
/// let loss = || (graph::project(&a, x.tensor())? - &y)?.sqr()?.sum_all();
/// minimise(std::slice::from_ref(&x), 300, &loss, &mut |_, _| ControlFlow::Continue(()))?;
/// let gap = (x.tensor() - &truth)?.abs()?.max_all()?.to_scalar::<f64>()?;
/// assert!(gap < 0.02, "{gap}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn minimise(
    variables: &[Variable],
    iterations: usize,
    loss: &dyn Fn() -> Result<Tensor>,
    each: &mut dyn FnMut(usize, f64) -> ControlFlow<()>,
) -> Result<Vec<f64>> {
    let mut states = Vec::with_capacity(variables.len());
    for variable in variables {
        let zeros = variable.tensor().zeros_like()?;
        states.push(State { variable, mean: zeros.clone(), square: zeros });
    }
    let mut history = Vec::with_capacity(iterations + 1);
    for k in 0..=iterations {
        let value = loss()?;
        if value.elem_count() != 1 {
            let shape = value.shape();
            return Err(Error::Msg(format!("the loss has the shape {shape:?}, not one number")));
        }
        let number = value.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?[0];
        if !number.is_finite() {
            return Err(Error::Msg(format!(
                "the loss is {number} at iteration {k}; take smaller steps or check the data"
            )));
        }
        history.push(number);
        if each(k, number).is_break() || k == iterations {
            break;
        }
        let gradients = value.backward()?;
        let turn = std::f64::consts::PI * k as f64 / iterations as f64;
        let share = LAST + (1.0 - LAST) * 0.5 * (1.0 + turn.cos());
        let nth = i32::try_from(k + 1).unwrap_or(i32::MAX);
        for (at, state) in states.iter_mut().enumerate() {
            let Some(g) = gradients.get(state.variable.tensor()) else {
                return Err(Error::Msg(format!(
                    "the loss does not depend on variable {at} (counted from 0)"
                )));
            };
            state.step(g, nth, share)?;
        }
    }
    Ok(history)
}
