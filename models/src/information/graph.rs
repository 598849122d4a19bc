//! A criterion of designs as a Candle custom op.
//!
//! The op takes the acquisition as a tensor `[measurement, 8]` with the columns
//! [`ENCODING_COLUMNS`] and gives the criterion as a scalar; its `bwd` is the gradient of
//! [`Criterion::value_and_gradient`], so a user's graph that makes acquisitions (from
//! gradient strengths, from a network) differentiates through it once. Second
//! derivatives are not available.
//!
//! Validated by `graph_gradient_equals_difference` of `tests/suite/information.rs`.

use super::{Criterion, Encoding};
use crate::acquisition::PulseTiming;
use candle_core::{CpuStorage, CustomOp1, DType, Error, Layout, Result, Shape, Tensor};
use microtome_kernels::graph::{numbers, storage_like};
use std::sync::Arc;

/// The columns of an acquisition in a graph: ms/µm², ms, and numbers. Directions may have
/// any positive length and become unit vectors.
pub const ENCODING_COLUMNS: [&str; 8] =
    ["b", "delta_ms", "big_delta_ms", "te_ms", "gx", "gy", "gz", "weight"];

struct Op(Arc<Criterion>);

/// The encoding of rows, and the lengths of the directions.
fn encoding(rows: &[f64]) -> (Encoding, Vec<f64>) {
    let rows: &[[f64; 8]] = rows.as_chunks().0;
    let length = |r: &[f64; 8]| (r[4] * r[4] + r[5] * r[5] + r[6] * r[6]).sqrt();
    let lengths: Vec<f64> = rows.iter().map(length).collect();
    let column = |k: usize| rows.iter().map(|r| r[k]).collect::<Vec<f64>>();
    let unit = |(r, n): (&[f64; 8], &f64)| [r[4] / n, r[5] / n, r[6] / n];
    let encoding = Encoding {
        b: column(0),
        directions: rows.iter().zip(&lengths).map(unit).collect(),
        timing: Some(PulseTiming { delta_ms: column(1), big_delta_ms: column(2) }),
        te_ms: Some(column(3)),
        weight: column(7),
    };
    (encoding, lengths)
}

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "microtome-design-criterion"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (encoding, _) = encoding(&numbers(storage, layout)?);
        let value = self.0.value(&encoding).map_err(Error::wrap)?;
        Ok((storage_like(storage, vec![value]), Shape::from(())))
    }

    fn bwd(&self, input: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let rows = input.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let factor = grad.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let (encoding, lengths) = encoding(&rows);
        let (_, g) = self.0.value_and_gradient(&encoding, true).map_err(Error::wrap)?;
        let mut out = Vec::with_capacity(rows.len());
        for (i, length) in lengths.iter().enumerate() {
            let turn = g.directions[i].map(|d| if *length > 0.0 { d / length } else { 0.0 });
            let row = [g.b[i], g.delta_ms[i], g.big_delta_ms[i], g.te_ms[i]];
            out.extend(row.into_iter().chain(turn).chain([g.weight[i]]).map(|v| factor * v));
        }
        let t = Tensor::from_vec(out, input.shape(), input.device())?.to_dtype(input.dtype())?;
        Ok(Some(t))
    }
}

impl Criterion {
    /// The criterion of an acquisition in a graph.
    ///
    /// # Shapes
    /// `acquisition` `[measurement, 8]` with [`ENCODING_COLUMNS`], f64 or f32, on the CPU;
    /// the result is a scalar.
    ///
    /// # Errors
    /// Another shape; what [`Criterion::value`] refuses.
    ///
    /// # Gradient
    /// First derivatives with respect to all columns. Those of `b`, the times and the
    /// directions contain central differences of analytic Jacobians, the rest is
    /// analytic; see [`Criterion`].
    pub fn graph(self: &Arc<Self>, acquisition: &Tensor) -> Result<Tensor> {
        let (_, columns) = acquisition.dims2()?;
        if columns != ENCODING_COLUMNS.len() {
            return Err(Error::Msg(format!(
                "design criterion: {columns} columns, but an acquisition has {}: {}",
                ENCODING_COLUMNS.len(),
                ENCODING_COLUMNS.join(", ")
            )));
        }
        acquisition.contiguous()?.apply_op1(Op(self.clone()))
    }
}
