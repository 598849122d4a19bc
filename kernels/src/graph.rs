//! The signal families as Candle custom ops.
//!
//! Each op evaluates many parameter sets with the same loops as the fused
//! density and its `bwd` is the vector-Jacobian product of the family, so a
//! user's graph differentiates through them.
//!
//! | op | inputs | output |
//! |---|---|---|
//! | [`isotropic`] | `value [set, shell]` | `[set, measurement]` |
//! | [`quadratic`] | `a [set, shell]`, `c [set, shell]`, `mu [set, 3]` | `[set, measurement]` |
//! | [`tensor`] | `d [set, 6]` | `[set, measurement]` |
//! | [`zonal`] | `c [set, shell * stride]`, `mu [set, 3]` | `[set, measurement]` |
//! | [`orthotropic`] | `c [set, shell * pairs]`, `frame [set, 9]` | `[set, measurement]` |
//!
//! Tensors are `f64` or `f32`; the arithmetic is f64 on the CPU. Second
//! derivatives are not available (Candle detaches them).
//!
//! Validated by `graph_equals_fused` of the models crate.

use crate::family;
use crate::harmonic::pairs;
use crate::legendre::{LONG_TERMS, MAX_TERMS};
use crate::plan::Plan;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Error, Layout, Result, Shape, Tensor,
};
use std::sync::Arc;

/// The numbers of a contiguous CPU storage, as f64.
pub fn numbers(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f64>> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| {
        Error::Msg("microtome op: inputs must be contiguous; call .contiguous() first".into())
    })?;
    match storage {
        CpuStorage::F64(v) => Ok(v[start..end].to_vec()),
        CpuStorage::F32(v) => Ok(v[start..end].iter().map(|&x| f64::from(x)).collect()),
        _ => Err(Error::Msg("microtome op: inputs must be f64 or f32".into())),
    }
}

/// A storage of the type of `like`.
pub fn storage_like(like: &CpuStorage, values: Vec<f64>) -> CpuStorage {
    match like {
        CpuStorage::F32(_) => CpuStorage::F32(values.into_iter().map(|x| x as f32).collect()),
        _ => CpuStorage::F64(values),
    }
}

/// The numbers of a tensor as f64, row-major.
fn flat(t: &Tensor) -> Result<Vec<f64>> {
    t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()
}

fn tensor_like(like: &Tensor, values: Vec<f64>) -> Result<Option<Tensor>> {
    let t = Tensor::from_vec(values, like.shape(), like.device())?.to_dtype(like.dtype())?;
    Ok(Some(t))
}

fn expect_columns(what: &str, layout: &Layout, columns: usize) -> Result<usize> {
    let (sets, got) = layout.shape().dims2()?;
    if got != columns {
        return Err(Error::Msg(format!("microtome op: {what} has {got} columns, not {columns}")));
    }
    Ok(sets)
}

fn expect_sets(what: &str, got: usize, sets: usize) -> Result<()> {
    if got != sets {
        return Err(Error::Msg(format!("microtome op: {what} has {got} sets, but a has {sets}")));
    }
    Ok(())
}

/// Weights of one set in slot order.
fn scatter_row(plan: &Plan, rows: &[f64], set: usize, slots: &mut [f64]) {
    let n = plan.measurements();
    plan.scatter(&rows[set * n..(set + 1) * n], slots);
}

struct Isotropic(Arc<Plan>);

impl CustomOp1 for Isotropic {
    fn name(&self) -> &'static str {
        "microtome-isotropic"
    }

    fn cpu_fwd(&self, value: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let plan = &self.0;
        let sets = expect_columns("value", layout, plan.shells())?;
        let mut out = vec![0.0; sets * plan.measurements()];
        family::isotropic::signal_batch(plan, sets, &numbers(value, layout)?, &mut out);
        Ok((storage_like(value, out), Shape::from((sets, plan.measurements()))))
    }

    fn bwd(&self, value: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let plan = &self.0;
        let (sets, shells) = value.dims2()?;
        let weights = flat(grad)?;
        let mut slots = vec![0.0; plan.slots()];
        let mut d_value = vec![0.0; sets * shells];
        for (set, row) in d_value.chunks_mut(shells.max(1)).enumerate() {
            scatter_row(plan, &weights, set, &mut slots);
            family::isotropic::pullback(plan, &slots, row);
        }
        tensor_like(value, d_value)
    }
}

/// $E_i = v_s$ of many sets.
///
/// # Errors
/// Shapes that do not fit the plan, types other than f64 and f32.
pub fn isotropic(plan: &Arc<Plan>, value: &Tensor) -> Result<Tensor> {
    value.contiguous()?.apply_op1(Isotropic(plan.clone()))
}

struct Quadratic(Arc<Plan>);

impl CustomOp3 for Quadratic {
    fn name(&self) -> &'static str {
        "microtome-quadratic"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        c: &CpuStorage,
        lc: &Layout,
        mu: &CpuStorage,
        lm: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = &self.0;
        let sets = expect_columns("a", la, plan.shells())?;
        expect_sets("c", expect_columns("c", lc, plan.shells())?, sets)?;
        expect_sets("mu", expect_columns("mu", lm, 3)?, sets)?;
        let mut out = vec![0.0; sets * plan.measurements()];
        let (av, cv, mv) = (numbers(a, la)?, numbers(c, lc)?, numbers(mu, lm)?);
        family::quadratic::signal_batch(plan, sets, &av, &cv, &mv, &mut out);
        Ok((storage_like(a, out), Shape::from((sets, plan.measurements()))))
    }

    fn bwd(
        &self,
        a: &Tensor,
        c: &Tensor,
        mu: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let plan = &self.0;
        let (sets, n) = a.dims2()?;
        let (av, cv, mv, weights) = (flat(a)?, flat(c)?, flat(mu)?, flat(grad)?);
        let mut slots = vec![0.0; plan.slots()];
        let (mut t, mut e, mut total) = (slots.clone(), slots.clone(), slots.clone());
        let mut sums = vec![0.0; 2 * n];
        let (mut da, mut dc, mut dmu) = (Vec::new(), Vec::new(), Vec::new());
        for set in 0..sets {
            let rows = set * n..(set + 1) * n;
            let k = family::quadratic::Coefficients {
                a: &av[rows.clone()],
                c: &cv[rows],
                mu: [mv[3 * set], mv[3 * set + 1], mv[3 * set + 2]],
            };
            family::quadratic::signal(plan, k, 0.0, &mut t, &mut e, &mut total);
            scatter_row(plan, &weights, set, &mut slots);
            dmu.extend(family::quadratic::pullback(plan, k.c, &t, &e, &slots, &mut sums));
            da.extend(sums[..n].iter().map(|x| -x));
            dc.extend(sums[n..].iter().map(|x| -x));
        }
        Ok((tensor_like(a, da)?, tensor_like(c, dc)?, tensor_like(mu, dmu)?))
    }
}

/// $E_i = e^{-a_s - c_s (g_i\cdot\mu)^2}$ of many sets.
///
/// # Errors
/// Shapes that do not fit the plan, types other than f64 and f32.
pub fn quadratic(plan: &Arc<Plan>, a: &Tensor, c: &Tensor, mu: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op3(&c.contiguous()?, &mu.contiguous()?, Quadratic(plan.clone()))
}

struct DiffusionTensor(Arc<Plan>);

impl CustomOp1 for DiffusionTensor {
    fn name(&self) -> &'static str {
        "microtome-tensor"
    }

    fn cpu_fwd(&self, d: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let plan = &self.0;
        let sets = expect_columns("d", layout, 6)?;
        let mut out = vec![0.0; sets * plan.measurements()];
        family::tensor::signal_batch(plan, sets, &numbers(d, layout)?, &mut out);
        Ok((storage_like(d, out), Shape::from((sets, plan.measurements()))))
    }

    fn bwd(&self, d: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let plan = &self.0;
        let sets = d.dim(0)?;
        let (dv, weights) = (flat(d)?, flat(grad)?);
        let mut slots = vec![0.0; plan.slots()];
        let (mut e, mut total) = (slots.clone(), slots.clone());
        let mut out = Vec::with_capacity(6 * sets);
        for set in 0..sets {
            let one: [f64; 6] = std::array::from_fn(|k| dv[6 * set + k]);
            family::tensor::signal(plan, &one, 0.0, &mut e, &mut total);
            scatter_row(plan, &weights, set, &mut slots);
            out.extend(family::tensor::pullback(plan, &e, &slots).1);
        }
        tensor_like(d, out)
    }
}

/// $E_i = e^{-B_i:D}$ of many sets, D as (xx, yy, zz, xy, xz, yz).
///
/// # Errors
/// Shapes that do not fit the plan, types other than f64 and f32.
pub fn tensor(plan: &Arc<Plan>, d: &Tensor) -> Result<Tensor> {
    d.contiguous()?.apply_op1(DiffusionTensor(plan.clone()))
}

struct Zonal(Arc<Plan>);

/// Length of the rows of `c`, of which there is one a shell.
fn zonal_stride(plan: &Plan, columns: usize) -> Result<usize> {
    let stride = columns / plan.shells().max(1);
    if stride == 0 || stride > LONG_TERMS || stride * plan.shells() != columns {
        return Err(Error::Msg(format!(
            "microtome op: c has {columns} columns, not 1 to {LONG_TERMS} for each of {} shells",
            plan.shells()
        )));
    }
    Ok(stride)
}

impl CustomOp2 for Zonal {
    fn name(&self) -> &'static str {
        "microtome-zonal"
    }

    fn cpu_fwd(
        &self,
        c: &CpuStorage,
        lc: &Layout,
        mu: &CpuStorage,
        lm: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = &self.0;
        let (sets, columns) = lc.shape().dims2()?;
        let stride = zonal_stride(plan, columns)?;
        expect_sets("mu", expect_columns("mu", lm, 3)?, sets)?;
        let mut out = vec![0.0; sets * plan.measurements()];
        let (cv, mv) = (numbers(c, lc)?, numbers(mu, lm)?);
        family::zonal::signal_batch(plan, sets, &cv, stride, &mv, &mut out);
        Ok((storage_like(c, out), Shape::from((sets, plan.measurements()))))
    }

    fn bwd(
        &self,
        c: &Tensor,
        mu: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let plan = &self.0;
        let columns = c.dim(1)?;
        let stride = zonal_stride(plan, columns)?;
        let terms = vec![stride; plan.shells()];
        let (cv, mv, weights) = (flat(c)?, flat(mu)?, flat(grad)?);
        let mut slots = vec![0.0; plan.slots()];
        let (mut dc, mut dmu) = (vec![0.0; cv.len()], Vec::new());
        for (set, row) in dc.chunks_mut(columns).enumerate() {
            let series = family::zonal::Series {
                c: &cv[set * columns..(set + 1) * columns],
                stride,
                terms: &terms,
                mu: [mv[3 * set], mv[3 * set + 1], mv[3 * set + 2]],
            };
            scatter_row(plan, &weights, set, &mut slots);
            dmu.extend(family::zonal::pullback(plan, series, &slots, row));
        }
        Ok((tensor_like(c, dc)?, tensor_like(mu, dmu)?))
    }
}

/// $E_i = \sum_k c_{s,k}P_{2k}(g_i\cdot\mu)$ of many sets.
///
/// # Errors
/// Shapes that do not fit the plan, types other than f64 and f32.
pub fn zonal(plan: &Arc<Plan>, c: &Tensor, mu: &Tensor) -> Result<Tensor> {
    c.contiguous()?.apply_op2(&mu.contiguous()?, Zonal(plan.clone()))
}

struct Orthotropic(Arc<Plan>);

/// Degrees of the tables of `c`, of which there is one a shell.
fn orthotropic_terms(plan: &Plan, columns: usize) -> Result<usize> {
    let shells = plan.shells().max(1);
    (1..=MAX_TERMS).find(|&terms| pairs(terms) * shells == columns).ok_or_else(|| {
        Error::Msg(format!(
            "microtome op: c has {columns} columns, not n (n + 1) / 2 with n from 1 to {MAX_TERMS} for each of {shells} shells"
        ))
    })
}

impl CustomOp2 for Orthotropic {
    fn name(&self) -> &'static str {
        "microtome-orthotropic"
    }

    fn cpu_fwd(
        &self,
        c: &CpuStorage,
        lc: &Layout,
        frame: &CpuStorage,
        lf: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let plan = &self.0;
        let (sets, columns) = lc.shape().dims2()?;
        let terms = orthotropic_terms(plan, columns)?;
        expect_sets("frame", expect_columns("frame", lf, 9)?, sets)?;
        let mut out = vec![0.0; sets * plan.measurements()];
        let (cv, fv) = (numbers(c, lc)?, numbers(frame, lf)?);
        family::orthotropic::signal_batch(plan, sets, &cv, terms, &fv, &mut out);
        Ok((storage_like(c, out), Shape::from((sets, plan.measurements()))))
    }

    fn bwd(
        &self,
        c: &Tensor,
        frame: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let plan = &self.0;
        let columns = c.dim(1)?;
        let terms = orthotropic_terms(plan, columns)?;
        let lengths = family::orthotropic::full_lengths(plan.shells(), terms);
        let (cv, fv, weights) = (flat(c)?, flat(frame)?, flat(grad)?);
        let mut slots = vec![0.0; plan.slots()];
        let (mut dc, mut df) = (vec![0.0; cv.len()], Vec::new());
        for (set, row) in dc.chunks_mut(columns).enumerate() {
            let at = |a: usize, i: usize| fv[9 * set + 3 * a + i];
            let series = family::orthotropic::Series {
                c: &cv[set * columns..(set + 1) * columns],
                terms,
                lengths: &lengths,
                frame: std::array::from_fn(|a| std::array::from_fn(|i| at(a, i))),
            };
            scatter_row(plan, &weights, set, &mut slots);
            df.extend(family::orthotropic::pullback(plan, series, &slots, row).as_flattened());
        }
        Ok((tensor_like(c, dc)?, tensor_like(frame, df)?))
    }
}

/// $E_i = \sum_{l,m} c_{s,lm}H_{lm}$ of many sets; `frame` holds the three axes in
/// a row.
///
/// # Errors
/// Shapes that do not fit the plan, types other than f64 and f32.
pub fn orthotropic(plan: &Arc<Plan>, c: &Tensor, frame: &Tensor) -> Result<Tensor> {
    c.contiguous()?.apply_op2(&frame.contiguous()?, Orthotropic(plan.clone()))
}
