//! A log density written with Candle ops, for the sampler.
//!
//! $$x \mapsto \bigl(\ln p(x),\ \nabla\ln p(x)\bigr)$$
//!
//! of any `Fn(&Tensor) -> Result<Tensor>` that makes one number of the vector $x$
//! of $d$ unconstrained coordinates (any unit); the gradient is Candle's backward
//! pass, so our custom ops and yours count with their own derivatives. [`terms`] has
//! common densities with derivatives by hand, each one node of the graph, and
//! [`constraint`] the maps of parameters that live on a part of the line.
//!
//! A sum of such terms that is the whole density is sampled without building its one node
//! ([`terms::Fused::density`]).
//!
//! What it costs and what to avoid in Candle stands in `docs/graph_density.md`.
//!
//! Source: reverse accumulation, Griewank & Walther 2008, doi:10.1137/1.9780898717761,
//! ch. 3. Validated by `tests/suite/graph_density.rs` and the example `posteriordb`.
//!
//! # Example
//! ```
//! use candle_core::{Device, Tensor};
//! use microtome_inference::graph_density::GraphDensity;
//! use microtome_inference::sample::{NutsOptions, Start, sample_density};
//!
//! let y = Tensor::new(&[2.1f64, 1.4, 2.5, 1.9], &Device::Cpu)?;
//! // y ~ N(mu, 1), mu ~ N(0, 10)
//! let ln_density = |x: &Tensor| {
//!     let residual = y.broadcast_sub(x)?;
//!     residual.sqr()?.sum_all()? * -0.5 + (x.sqr()?.sum_all()? * -0.005)?
//! };
//! let posterior = sample_density(
//!     |_chain| GraphDensity::new(1, &Device::Cpu, &ln_density),
//!     &Start::default(),
//!     &NutsOptions::default(),
//!     42,
//! )?;
//! let mu = posterior.summary(0);
//! assert!((mu.mean - 7.9 / 4.01).abs() < 4.0 * mu.mcse_mean);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod constraint;
mod fused;
pub mod terms;

use crate::sample::{LnDensity, panic_text};
use candle_core::{
    CpuStorage, DType, Device, Error, InplaceOp1, Layout, Result, Storage, Tensor, Var,
};
use fused::Function;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A Candle graph as a density of the sampler.
///
/// One variable is made once and written in place; the graph itself is built anew at
/// every evaluation, as Candle does. Where the graph gives NaN or an infinite number,
/// returns an error or panics, [`LnDensity::ln_density`] returns NaN (a divergence to
/// the sampler) and [`LnDensity::reason`] says why.
pub struct GraphDensity<F> {
    ln_density: F,
    /// The function of the one node that the graph is known to be.
    node: Option<Arc<Function>>,
    x: Var,
    dim: usize,
    reason: Option<String>,
}

impl<F> std::fmt::Debug for GraphDensity<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphDensity")
            .field("dim", &self.dim)
            .field("dtype", &self.x.dtype())
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(&Tensor) -> Result<Tensor>> GraphDensity<F> {
    /// The density of `dim` coordinates in f64 on a device.
    ///
    /// # Shapes
    /// `ln_density` takes `[dim]` and returns one number.
    ///
    /// # Errors
    /// No coordinates; a device without f64 (take [`GraphDensity::with_dtype`]).
    pub fn new(dim: usize, device: &Device, ln_density: F) -> Result<Self> {
        Self::with_dtype(dim, DType::F64, device, ln_density)
    }

    /// The same with the tensors in `dtype`, f64 or f32. The sampler itself counts in
    /// f64; in f32 the energy error of long sums can reach the tenths that
    /// the acceptance sees.
    ///
    /// # Errors
    /// No coordinates, another type, a device without it.
    pub fn with_dtype(dim: usize, dtype: DType, device: &Device, ln_density: F) -> Result<Self> {
        if dim == 0 {
            return Err(Error::Msg(
                "GraphDensity: a density of 0 coordinates; give at least one".into(),
            ));
        }
        if !matches!(dtype, DType::F64 | DType::F32) {
            return Err(Error::Msg(format!(
                "GraphDensity: coordinates in {dtype:?}; take f64 or f32"
            )));
        }
        let x = Var::zeros(dim, dtype, device)?;
        Ok(Self { ln_density, node: None, x, dim, reason: None })
    }

    fn evaluate(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let value = match &self.node {
            Some(node) => {
                gradient.fill(0.0);
                finite(node(x, gradient))?
            }
            None => self.walk(x, gradient)?,
        };
        match gradient.iter().position(|g| !g.is_finite()) {
            Some(k) => Err(Error::Msg(format!(
                "the gradient is {} in coordinate {k} (the log density is {value})",
                gradient[k]
            ))),
            None => Ok(value),
        }
    }

    /// Builds the graph and walks it back.
    fn walk(&self, x: &[f64], gradient: &mut [f64]) -> Result<f64> {
        write(&self.x, x)?;
        fused::forget();
        let result = (self.ln_density)(&self.x)?;
        let value = finite(number(&result)?)?;
        if let Some(found) = fused::gradient_of(&result, &self.x).as_ref().and_then(|f| f.get()) {
            // The whole graph is one node that knows its gradient.
            gradient.copy_from_slice(found);
        } else {
            let result = if result.rank() == 0 { result } else { result.flatten_all()?.get(0)? };
            let gradients = result.backward()?;
            let Some(found) = gradients.get(&self.x) else {
                return Err(Error::Msg(
                    "no gradient reaches the coordinates: the log density does not use its argument, or only through floor, ceil, comparisons, integers or detach".into(),
                ));
            };
            read(found, gradient)?;
        }
        Ok(value)
    }
}

fn finite(value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Msg(format!("the log density is {value}")))
}

impl<F: Fn(&Tensor) -> Result<Tensor>> LnDensity for GraphDensity<F> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let reason = match catch_unwind(AssertUnwindSafe(|| self.evaluate(x, gradient))) {
            Ok(Ok(value)) => {
                self.reason = None;
                return value;
            }
            Ok(Err(Error::Msg(text))) => text,
            Ok(Err(error)) => format!("Candle: {error}"),
            Err(payload) => panic_text(payload.as_ref()),
        };
        self.reason = Some(reason);
        gradient.fill(f64::NAN);
        f64::NAN
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// Coordinates into the storage of a variable.
struct Fill<'a>(&'a [f64]);

impl InplaceOp1 for Fill<'_> {
    fn name(&self) -> &'static str {
        "microtome-coordinates"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (start, end) = layout.contiguous_offsets().unwrap_or((0, 0));
        match storage {
            CpuStorage::F64(v) if end - start == self.0.len() => {
                v[start..end].copy_from_slice(self.0);
            }
            CpuStorage::F32(v) if end - start == self.0.len() => {
                for (v, x) in v[start..end].iter_mut().zip(self.0) {
                    *v = *x as f32;
                }
            }
            _ => {
                return Err(Error::Msg(format!(
                    "GraphDensity: {} coordinates given",
                    self.0.len()
                )));
            }
        }
        Ok(())
    }
}

fn write(variable: &Var, x: &[f64]) -> Result<()> {
    if variable.device().is_cpu() {
        return variable.inplace_op1(&Fill(x));
    }
    let host = Tensor::from_slice(x, x.len(), &Device::Cpu)?.to_dtype(variable.dtype())?;
    variable.set(&host.to_device(variable.device())?)
}

/// The one number of a tensor.
fn number(t: &Tensor) -> Result<f64> {
    if t.elem_count() != 1 {
        return Err(Error::Msg(format!(
            "the log density has shape {:?}; it must be one number (sum_all)",
            t.dims()
        )));
    }
    {
        let (storage, layout) = t.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F64(v)) => return Ok(v[layout.start_offset()]),
            Storage::Cpu(CpuStorage::F32(v)) => return Ok(f64::from(v[layout.start_offset()])),
            _ => {}
        }
    }
    t.to_dtype(DType::F64)?.flatten_all()?.get(0)?.to_scalar::<f64>()
}

/// The numbers of a vector.
fn read(t: &Tensor, out: &mut [f64]) -> Result<()> {
    if t.elem_count() != out.len() {
        return Err(Error::Msg(format!("a gradient of {} numbers", t.elem_count())));
    }
    {
        let (storage, layout) = t.storage_and_layout();
        if let Some((start, end)) = layout.contiguous_offsets() {
            match &*storage {
                Storage::Cpu(CpuStorage::F64(v)) => {
                    out.copy_from_slice(&v[start..end]);
                    return Ok(());
                }
                Storage::Cpu(CpuStorage::F32(v)) => {
                    for (o, v) in out.iter_mut().zip(&v[start..end]) {
                        *o = f64::from(*v);
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
    }
    let host = t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    out.copy_from_slice(&host.to_vec1::<f64>()?);
    Ok(())
}
