//! Streamlines as a Candle op, differentiable with respect to the field and the seeds.
//!
//! $$(c, x_0) \mapsto (x_0, \dots, x_n;\ \ln S_0, \dots, \ln S_n)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | c | | coefficients of spherical harmonics in every voxel |
//! | $x_k$ | mm, world | points of the streamline that follows the nearest peak |
//! | $\ln S_k$ | | log survival $\sum_{j\le k}\ln\sigma((a_j-\tau)/w)$ of the amplitudes a |
//!
//! The gradient is one reverse pass over the whole streamline
//! ([`microtome_kernels::streamline::reverse`]), whose states are followed again, so that nothing
//! but the points is kept. A streamline that ends early stays at its last point; that it does so
//! shows in its log survival, which falls where the amplitude nears τ.
//!
//! Source: Griewank & Walther 2008, Evaluating Derivatives, section 3.2. Validated by
//! `models/tests/suite/tract_graph.rs`.

use super::{Integrator, Placement};
use crate::spherical_harmonics::{SphericalHarmonics, harmonic_order};
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};
use microtome_kernels::simd;
use microtome_kernels::streamline::{
    AxisTable, Cotangent, Functions, Lattice, Limits, PeakRule, Peaks, State, Survival, path,
    reverse,
};
use std::sync::Arc;

/// Numbers of a point: x, y, z, log survival.
const WIDTH: usize = 4;
/// Axes of the half-sphere; they matter for peaks at seeds alone, which are given here.
const AXES: usize = 64;

/// How streamlines are followed.
#[derive(Clone, Debug)]
pub struct StreamlineGraph {
    /// Voxels along i, j, k.
    pub shape: [usize; 3],
    /// Where the field lies.
    pub placement: Placement,
    /// Step, mm.
    pub step_mm: f64,
    /// Number of steps.
    pub steps: u32,
    /// The method of a step.
    pub integrator: Integrator,
    /// Largest angle between directions one step apart, degrees.
    pub max_angle_deg: f64,
    /// The log survival.
    pub survival: Survival,
    /// World directions in which the streamlines begin, one a seed.
    pub directions: Vec<[f64; 3]>,
}

struct Op(Arc<StreamlineGraph>);

fn message(what: String) -> Error {
    Error::Msg(format!("microtome op: {what}"))
}

fn numbers(what: &str, storage: &CpuStorage, layout: &Layout) -> Result<Vec<f64>> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| message(format!("{what} must be contiguous; call .contiguous() first")))?;
    match storage {
        CpuStorage::F64(v) => Ok(v[start..end].to_vec()),
        CpuStorage::F32(v) => Ok(v[start..end].iter().map(|v| f64::from(*v)).collect()),
        _ => Err(message("tensors must be f64 or f32 on the CPU".into())),
    }
}

/// A field that is ready, and the numbers of a voxel in it.
struct Ready {
    harmonics: SphericalHarmonics,
    lattice: Lattice<f64>,
    axes: AxisTable,
    limits: Limits,
}

impl StreamlineGraph {
    fn ready(&self, coefficients: &[f64], dims: &[usize]) -> Result<Ready> {
        let [i, j, k] = self.shape;
        let count = dims.last().copied().unwrap_or(0);
        let order = harmonic_order(count).filter(|_| dims == [k, j, i, count]).ok_or_else(|| {
            message(format!(
                "coefficients have the shape {dims:?}, not [{k}, {j}, {i}, coefficient] with the 6, 15, 28, ... of an even order"
            ))
        })?;
        let harmonics = SphericalHarmonics::new(order)
            .ok_or_else(|| message(format!("harmonics of order {order} are too many")))?;
        let width = count.next_multiple_of(8);
        let mut values = vec![0.0; coefficients.len() / count * width];
        for (row, out) in coefficients.chunks_exact(count).zip(values.chunks_exact_mut(width)) {
            harmonics.collect_terms(row, out);
        }
        let lattice = self
            .placement
            .voxel_from_field()
            .and_then(|rows| Lattice::new(self.shape, width, values, rows))
            .ok_or_else(|| message("the affine of the field has no inverse".into()))?;
        let limits = Limits {
            step: self.step_mm,
            integrator: self.integrator,
            cos_angle: self.max_angle_deg.to_radians().cos(),
            steps: self.steps,
            fewest: 0,
            both: false,
        };
        let axes = AxisTable::new(order, AXES);
        Ok(Ready { harmonics, lattice, axes, limits })
    }

    fn seeds(&self, seeds: &[f64], dims: &[usize]) -> Result<Vec<[f64; 3]>> {
        let n = self.directions.len();
        if dims != [n, 3] {
            return Err(message(format!(
                "seeds have the shape {dims:?}, not [{n}, 3] as the directions"
            )));
        }
        Ok(seeds.as_chunks::<3>().0.to_vec())
    }
}

impl Ready {
    fn rule(&self) -> PeakRule<'_, f64> {
        let peaks = Peaks {
            axes: &self.axes,
            threshold: f64::NEG_INFINITY,
            relative: 0.0,
            cos_separation: 1.0,
        };
        PeakRule { functions: Functions { field: &self.lattice, peaks } }
    }

    /// The states of one streamline; the seed alone where there is no peak.
    fn states(&self, graph: &StreamlineGraph, seed: [f64; 3], n: usize) -> Vec<State> {
        let x = graph.placement.field_of_world(seed);
        let start = graph.placement.field_of_world(graph.directions[n]);
        path(simd::level(), &self.rule(), &self.limits, x, start, graph.steps)
    }
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "microtome-streamlines"
    }

    fn cpu_fwd(
        &self,
        coefficients: &CpuStorage,
        of_coefficients: &Layout,
        seeds: &CpuStorage,
        of_seeds: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let graph = &self.0;
        let values = numbers("coefficients", coefficients, of_coefficients)?;
        let ready = graph.ready(&values, of_coefficients.dims())?;
        let list = graph.seeds(&numbers("seeds", seeds, of_seeds)?, of_seeds.dims())?;
        let points = graph.steps as usize + 1;
        let mut out = Vec::with_capacity(list.len() * points * WIDTH);
        for (n, seed) in list.iter().enumerate() {
            let states = ready.states(graph, *seed, n);
            let mut last = [seed[0], seed[1], seed[2], 0.0];
            for k in 0..points {
                if let Some(state) = states.get(k) {
                    let [x, y, z] = graph.placement.world_of_field(state.x);
                    last = [x, y, z, last[3] + graph.survival.log(state.amplitude)];
                }
                out.extend(last);
            }
        }
        let shape = Shape::from((list.len(), points, WIDTH));
        let out = match coefficients {
            CpuStorage::F32(_) => CpuStorage::F32(out.into_iter().map(|v| v as f32).collect()),
            _ => CpuStorage::F64(out),
        };
        Ok((out, shape))
    }

    fn bwd(
        &self,
        coefficients: &Tensor,
        seeds: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let graph = &self.0;
        let wide = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let ready = graph.ready(&wide(coefficients)?, coefficients.dims())?;
        let list = graph.seeds(&wide(seeds)?, seeds.dims())?;
        let given = wide(grad)?;
        let points = graph.steps as usize + 1;
        let width = ready.lattice.width();
        let voxels: usize = graph.shape.iter().product();
        let mut of_terms = vec![0.0; voxels * width];
        let mut of_seeds = Vec::with_capacity(3 * list.len());
        for (n, seed) in list.iter().enumerate() {
            let states = ready.states(graph, *seed, n);
            let given = given[n * points * WIDTH..(n + 1) * points * WIDTH].as_chunks::<WIDTH>().0;
            // What follows the last state is a copy of it.
            let mut cotangents = vec![Cotangent::default(); states.len().max(1)];
            for (k, g) in given.iter().enumerate() {
                let c = &mut cotangents[k.min(states.len().max(1) - 1)];
                let own = graph.placement.field_of_world([g[0], g[1], g[2]]);
                (0..3).for_each(|i| c.point[i] += own[i]);
                c.survival += g[3];
            }
            let of_seed = if states.is_empty() {
                cotangents[0].point
            } else {
                let start = graph.placement.field_of_world(graph.directions[n]);
                let pulled = reverse(
                    simd::level(),
                    &ready.rule(),
                    &ready.limits,
                    &states,
                    &cotangents,
                    &graph.survival,
                    start,
                    &mut of_terms,
                );
                let none = || {
                    message(format!(
                        "the streamline of seed {n} has no derivative: a peak on it is flat"
                    ))
                };
                pulled.ok_or_else(none)?.0
            };
            of_seeds.extend(graph.placement.world_of_field(of_seed));
        }
        let count = ready.harmonics.count();
        let mut of_coefficients = vec![0.0; voxels * count];
        for (terms, out) in
            of_terms.chunks_exact(width).zip(of_coefficients.chunks_exact_mut(count))
        {
            ready.harmonics.spread_terms(terms, out);
        }
        let tensor = |values: Vec<f64>, like: &Tensor| {
            Tensor::from_vec(values, like.shape(), like.device())?.to_dtype(like.dtype())
        };
        Ok((Some(tensor(of_coefficients, coefficients)?), Some(tensor(of_seeds, seeds)?)))
    }
}

/// Points and log survival of the streamlines of some seeds.
///
/// # Shapes
/// `coefficients` `[k, j, i, coefficient]` (MRtrix's basis, in the axes of the field), `seeds`
/// `[seed, 3]` world mm; the result is `[seed, steps + 1, 4]`: x, y, z in world mm and the log
/// survival up to that point.
///
/// # Errors
/// Other shapes, a type other than f64 and f32; in the backward pass a streamline through a
/// peak that is flat.
pub fn streamlines(
    graph: &Arc<StreamlineGraph>,
    coefficients: &Tensor,
    seeds: &Tensor,
) -> Result<Tensor> {
    coefficients.contiguous()?.apply_op2(&seeds.contiguous()?, Op(graph.clone()))
}
