//! One node of a Candle graph from a function that gives value and derivative.
//!
//! A map node computes $y = f(x)$ and keeps what its product with a cotangent,
//! $\bar x = J(x)^\mathsf T\bar y$, needs; a scalar node computes $f(x)$ and
//! $\nabla f(x)$ together in the forward pass and multiplies by $\bar y$ in the
//! backward pass. The arithmetic is f64 on the CPU; tensors of other devices and
//! of f32 are copied.
//!
//! Validated by `derivatives_equal_differences` in `tests/suite/graph_density.rs`.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor, TensorId};
use microtome_kernels::graph::{numbers, storage_like};
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// A function of a vector with its gradient: adds to `gradient`, returns the value.
pub(crate) type Function = dyn Fn(&[f64], &mut [f64]) -> f64 + Send + Sync;

/// The gradient that a scalar node found with its value.
type Found = Arc<OnceLock<Vec<f64>>>;

struct Scalar {
    function: Arc<Function>,
    gradient: Found,
}

thread_local! {
    /// Result, input and gradient of the last scalar node that this thread made.
    static LAST: RefCell<Option<(TensorId, TensorId, Found)>> = const { RefCell::new(None) };
}

/// Forgets the last scalar node.
pub(super) fn forget() {
    LAST.set(None);
}

/// The gradient of `result` in `x` when `result` is the last scalar node and `x` its
/// input, so that there is no graph between them to walk back.
pub(super) fn gradient_of(result: &Tensor, x: &Tensor) -> Option<Found> {
    LAST.take().filter(|(r, i, _)| *r == result.id() && *i == x.id()).map(|(_, _, found)| found)
}

impl CustomOp1 for Scalar {
    fn name(&self) -> &'static str {
        "microtome-scalar"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let copied;
        let x = match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F64(v), Some((start, end))) => &v[start..end],
            _ => {
                copied = numbers(storage, layout)?;
                &copied
            }
        };
        let mut gradient = vec![0.0; x.len()];
        let value = (self.function)(x, &mut gradient);
        // A node is evaluated once; a second evaluation has the same input.
        let _ = self.gradient.set(gradient);
        Ok((storage_like(storage, vec![value]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, cotangent: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self
            .gradient
            .get()
            .ok_or_else(|| Error::Msg("microtome op: backward without forward".into()))?;
        let c = super::number(cotangent)?;
        let scaled =
            if c == 1.0 { gradient.clone() } else { gradient.iter().map(|g| c * g).collect() };
        let out = Tensor::from_vec(scaled, x.shape(), &candle_core::Device::Cpu)?;
        Ok(Some(if x.dtype() == candle_core::DType::F64 && x.device().is_cpu() {
            out
        } else {
            out.to_dtype(x.dtype())?.to_device(x.device())?
        }))
    }
}

/// The number $f(x)$ as one node of the graph.
pub(crate) fn scalar(x: &Tensor, function: Arc<Function>) -> Result<Tensor> {
    let gradient = Found::default();
    let op = || Scalar { function, gradient: gradient.clone() };
    if x.device().is_cpu() {
        if !x.is_contiguous() {
            return x.contiguous()?.apply_op1(op());
        }
        let result = x.apply_op1(op())?;
        LAST.set(Some((result.id(), x.id(), gradient)));
        return Ok(result);
    }
    let home = x.device().clone();
    x.to_device(&candle_core::Device::Cpu)?.apply_op1(op())?.to_device(&home)
}

/// A map between vectors with the product of its transposed derivative.
pub(crate) trait Map: Send + Sync + 'static {
    /// Length of the result for `n` inputs.
    fn columns(&self, n: usize) -> Result<usize>;
    /// $y = f(x)$.
    fn forward(&self, x: &[f64], y: &mut [f64]);
    /// $\bar x = J^\mathsf T\bar y$, written.
    fn pullback(&self, x: &[f64], y: &[f64], cotangent: &[f64], out: &mut [f64]);
}

struct Mapped(Arc<dyn Map>);

impl CustomOp1 for Mapped {
    fn name(&self) -> &'static str {
        "microtome-map"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = layout.shape().dims1()?;
        let x = numbers(storage, layout)?;
        let mut y = vec![0.0; self.0.columns(n)?];
        self.0.forward(&x, &mut y);
        let columns = y.len();
        Ok((storage_like(storage, y), Shape::from(columns)))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, cotangent: &Tensor) -> Result<Option<Tensor>> {
        let vector = |t: &Tensor| {
            let mut v = vec![0.0; t.elem_count()];
            super::read(t, &mut v).map(|()| v)
        };
        let (xv, yv, cv) = (vector(x)?, vector(y)?, vector(cotangent)?);
        let mut out = vec![0.0; xv.len()];
        self.0.pullback(&xv, &yv, &cv, &mut out);
        let out = Tensor::from_vec(out, x.shape(), &candle_core::Device::Cpu)?;
        Ok(Some(out.to_dtype(x.dtype())?.to_device(x.device())?))
    }
}

/// $f(x)$ as one node of the graph.
pub(crate) fn map(x: &Tensor, map: Arc<dyn Map>) -> Result<Tensor> {
    let home = x.device().clone();
    let y = x.to_device(&candle_core::Device::Cpu)?.contiguous()?.apply_op1(Mapped(map))?;
    y.to_device(&home)
}
