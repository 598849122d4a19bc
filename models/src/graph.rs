//! A model as a differentiable Candle graph.
//!
//! Links, fractions and the scale are Candle ops; the coefficients of each
//! compartment and each signal family are one custom op whose `bwd` is the
//! analytic derivative, the same functions that the fused density calls.
//!
//! Validated by `graph_equals_fused` in `tests/suite/graph.rs`.

use crate::acquisition::{Acquisition, Shell};
use crate::compartment::{Coefficients, Compartment, Family};
use crate::evaluate::Lowered;
use crate::model::{AxisSource, Model, Source};
use candle_core::{CpuStorage, CustomOp1, DType, Error, Layout, Result, Shape, Tensor};
use microtome_kernels::graph as family;
use std::sync::Arc;

impl Model {
    /// The signal as a Candle graph of the free values.
    ///
    /// # Shapes
    /// `values` `[set, value]` in the order of [`Model::value_names`]; result
    /// `[set, measurement]`.
    ///
    /// # Units
    /// As the columns of the model.
    ///
    /// # Errors
    /// Shapes that do not fit, types other than f64 and f32, an acquisition that
    /// lacks what a compartment needs, parameters fixed to one value a voxel.
    ///
    /// # Gradient
    /// First derivatives with respect to `values`; axes are three independent
    /// components.
    ///
    /// # Example
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use microtome_models::{Acquisition, compose_models};
    /// let model = compose_models(["ball"])?;
    /// let acquisition = Acquisition::from_b(&[0.0, 1.0], &[[0.0; 3], [1.0, 0.0, 0.0]], None, None)?;
    /// let values = Var::new(&[[2.0f64, 1.0]], &Device::Cpu)?; // lambda_iso, s0
    /// let signal = model.signal(&values, &acquisition)?;
    /// let gradient = signal.sum_all()?.backward()?;
    /// let g = gradient.get(&values).unwrap().to_vec2::<f64>()?;
    /// assert!((g[0][0] + (-2.0f64).exp()).abs() < 1e-15); // d exp(-b l)/dl = -b exp(-b l)
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn signal(&self, values: &Tensor, acquisition: &Acquisition) -> Result<Tensor> {
        let lowered = Lowered::new(Arc::new(self.clone()), acquisition).map_err(Error::wrap)?;
        lowered.signal(values)
    }
}

impl Lowered {
    /// As [`Model::signal`], for an acquisition that was prepared once.
    ///
    /// # Errors
    /// As [`Model::signal`].
    pub fn signal(&self, values: &Tensor) -> Result<Tensor> {
        let (sets, columns) = values.dims2()?;
        if columns != self.model.values() {
            return Err(Error::Msg(format!(
                "model.signal: {columns} columns, but the model has {} values: {}",
                self.model.values(),
                self.model.value_names().join(", ")
            )));
        }
        let scale = scalar(self.model.scale(), values)?;
        let mut total: Option<Tensor> = None;
        for component in self.model.components() {
            let fraction = scalar(&component.fraction, values)?;
            let mut inputs = Vec::new();
            for source in &component.scalars {
                inputs.push(scalar(source, values)?);
            }
            let mu = match component.axis {
                Some(AxisSource::Value(k)) => Some(values.narrow(1, k, 3)?),
                Some(AxisSource::Fixed(v)) => Some(
                    Tensor::new(&[v], values.device())?
                        .to_dtype(values.dtype())?
                        .repeat((sets, 1))?,
                ),
                None => None,
            };
            let kind = component.kind.clone();
            let shells = self.shells().len();
            let e = match kind.family() {
                Family::Isotropic => {
                    family::isotropic(&self.plan, &self.coefficients(kind, &inputs, values)?)?
                }
                Family::Quadratic => {
                    let both = self.coefficients(kind, &inputs, values)?;
                    let mu = mu.ok_or_else(|| {
                        Error::Msg("a quadratic compartment without an axis".into())
                    })?;
                    family::quadratic(
                        &self.plan,
                        &both.narrow(1, 0, shells)?,
                        &both.narrow(1, shells, shells)?,
                        &mu,
                    )?
                }
                Family::Tensor => {
                    inputs.extend(mu);
                    family::tensor(&self.plan, &self.coefficients(kind, &inputs, values)?)?
                }
                Family::Zonal => {
                    let mu =
                        mu.ok_or_else(|| Error::Msg("a zonal compartment without an axis".into()))?;
                    family::zonal(&self.plan, &self.coefficients(kind, &inputs, values)?, &mu)?
                }
                Family::Orthotropic => {
                    inputs.extend(mu);
                    let both = self.coefficients(kind, &inputs, values)?;
                    let n = both.dim(1)? - 9;
                    family::orthotropic(&self.plan, &both.narrow(1, 0, n)?, &both.narrow(1, n, 9)?)?
                }
            };
            let part = e.broadcast_mul(&fraction)?;
            total = Some(match total {
                None => part,
                Some(t) => (t + part)?,
            });
        }
        total
            .ok_or_else(|| Error::Msg("a model without compartments".into()))?
            .broadcast_mul(&scale)
    }

    fn coefficients(
        &self,
        kind: Arc<dyn Compartment>,
        inputs: &[Tensor],
        like: &Tensor,
    ) -> Result<Tensor> {
        let op = Lowering { kind, shells: self.shells().to_vec() };
        let joined = if inputs.is_empty() {
            Tensor::zeros((like.dim(0)?, 0), like.dtype(), like.device())?
        } else {
            Tensor::cat(inputs, 1)?
        };
        joined.contiguous()?.apply_op1(op)
    }
}

/// A scalar parameter as a column `[set, 1]`.
fn scalar(source: &Source, values: &Tensor) -> Result<Tensor> {
    match source {
        Source::Value(k) => values.narrow(1, *k, 1),
        Source::Fixed(v) => Tensor::full(*v, (values.dim(0)?, 1), values.device())?.to_dtype(values.dtype()),
        Source::PerVoxel(_) => Err(Error::Msg(
            "model.signal: a parameter fixed to one value a voxel has no value here; fix it to a number".into(),
        )),
        Source::Fractional { ratio, of } => values.narrow(1, *ratio, 1)?.mul(&scalar(of, values)?),
        Source::Tortuosity(parts) => {
            let [par, intra, extra] = parts.as_ref();
            let (par, intra, extra) = (scalar(par, values)?, scalar(intra, values)?, scalar(extra, values)?);
            let total = (&intra + &extra)?;
            let empty = total.le(0.0)?;
            let safe = empty.where_cond(&total.ones_like()?, &total)?;
            let share = empty.where_cond(&total.ones_like()?, &(&extra / &safe)?)?;
            par.mul(&share)
        }
    }
}

/// The coefficients of a compartment as a custom op: `[set, scalar (+ axis)]` to
/// `[set, coefficient]`.
struct Lowering {
    kind: Arc<dyn Compartment>,
    shells: Vec<Shell>,
}

impl Lowering {
    fn columns(&self) -> usize {
        match self.scratch() {
            Coefficients::Isotropic { value, .. } => value.len(),
            Coefficients::Quadratic { a, c, .. } => a.len() + c.len(),
            Coefficients::Tensor { d, .. } => d.len(),
            Coefficients::Zonal(series) => series.c.len(),
            Coefficients::Orthotropic(series) => self.shells.len() * series.pairs() + 9,
        }
    }

    fn lower(&self, row: &[f64], out: &mut Coefficients) {
        let n = self.kind.parameters().len();
        let mu = match row.get(n..n + 3) {
            Some(m) => [m[0], m[1], m[2]],
            None => [0.0; 3],
        };
        self.kind.lower(&self.shells, &row[..n], mu, out);
    }

    fn scratch(&self) -> Coefficients {
        self.kind.coefficients(&self.shells)
    }
}

impl CustomOp1 for Lowering {
    fn name(&self) -> &'static str {
        "microtome-coefficients"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (sets, width) = layout.shape().dims2()?;
        let rows = family::numbers(storage, layout)?;
        let mut scratch = self.scratch();
        let mut out = Vec::with_capacity(sets * self.columns());
        for set in 0..sets {
            self.lower(&rows[set * width..(set + 1) * width], &mut scratch);
            match &scratch {
                Coefficients::Isotropic { value, .. } => out.extend_from_slice(value),
                Coefficients::Quadratic { a, c, .. } => {
                    out.extend_from_slice(a);
                    out.extend_from_slice(c);
                }
                Coefficients::Tensor { d, .. } => out.extend_from_slice(d),
                Coefficients::Zonal(series) => out.extend_from_slice(&series.c),
                Coefficients::Orthotropic(series) => {
                    let mut table = vec![0.0; self.shells.len() * series.pairs()];
                    series.add(series.whole(), 1.0, &mut table);
                    out.extend(table);
                    out.extend_from_slice(series.frame.axes.as_flattened());
                }
            }
        }
        Ok((family::storage_like(storage, out), Shape::from((sets, self.columns()))))
    }

    fn bwd(&self, inputs: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (sets, width) = inputs.dims2()?;
        let rows = inputs.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let grads = grad.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let (columns, n, shells) =
            (self.columns(), self.kind.parameters().len(), self.shells.len());
        let mut scratch = self.scratch();
        let mut out = vec![0.0; sets * width];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        for set in 0..sets {
            self.lower(&rows[set * width..(set + 1) * width], &mut scratch);
            let g = &grads[set * columns..(set + 1) * columns];
            let out = &mut out[set * width..(set + 1) * width];
            match &scratch {
                Coefficients::Isotropic { d_value, .. } => {
                    for (j, o) in out.iter_mut().enumerate().take(n) {
                        *o = dot(&d_value[j * shells..(j + 1) * shells], g);
                    }
                }
                Coefficients::Quadratic { d_a, d_c, .. } => {
                    for (j, o) in out.iter_mut().enumerate().take(n) {
                        let rows = j * shells..(j + 1) * shells;
                        *o = dot(&d_a[rows.clone()], &g[..shells]) + dot(&d_c[rows], &g[shells..]);
                    }
                }
                Coefficients::Tensor { d_scalar, d_axis, .. } => {
                    for (o, row) in out.iter_mut().zip(d_scalar.iter().chain(d_axis)) {
                        *o = dot(row, g);
                    }
                }
                Coefficients::Zonal(series) => {
                    for (o, row) in out.iter_mut().zip(series.d_c.chunks(series.c.len().max(1))) {
                        *o = dot(row, g);
                    }
                }
                Coefficients::Orthotropic(series) => {
                    let (table, frame) = g.split_at(columns - 9);
                    let turned = |i: usize| dot(series.frame.slopes[i].as_flattened(), frame);
                    for (j, o) in out.iter_mut().enumerate().take(n) {
                        *o = series.slope(j).map_or_else(|| turned(3), |p| series.along(p, table));
                    }
                    for (i, o) in out[n..].iter_mut().enumerate() {
                        *o = turned(i);
                    }
                }
            }
        }
        let t = Tensor::from_vec(out, (sets, width), inputs.device())?.to_dtype(inputs.dtype())?;
        Ok(Some(t))
    }
}
