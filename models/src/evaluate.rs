//! The fused evaluation of a model at one set of values: signal, Jacobian in
//! one pass over the shells, and the reverse pass.
//!
//! With $A_c = S_0 f_c$ and free values $x$,
//! $$\frac{\partial S}{\partial x_k} = \sum_c E_c\frac{\partial A_c}{\partial x_k} +
//!   A_c\sum_j\frac{\partial E_c}{\partial p_{cj}}\frac{\partial p_{cj}}{\partial x_k}$$
//! where the links give $\partial p/\partial x$. The sum is folded into the
//! shell coefficients of each family before the loop over measurements.
//!
//! Validated by `jacobian_equals_dual_numbers` and `graph_equals_fused`.

mod axial;
mod fan;
pub(crate) mod single;

use crate::acquisition::{Acquisition, Shell};
use crate::compartment::Coefficients;
use crate::model::{AxisSource, Component, Model};
use axial::AxialGroup;
use fan::FanGroup;
use microtome_kernels::Plan;
use microtome_kernels::family::{isotropic, quadratic, tensor, zonal};
use std::sync::Arc;

/// A model on an acquisition, ready to be evaluated by many threads.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The model.
    pub model: Arc<Model>,
    /// The measurements in kernel order.
    pub plan: Arc<Plan>,
    shells: Vec<Shell>,
}

impl Lowered {
    /// Brings a model and an acquisition together.
    ///
    /// # Errors
    /// An acquisition that lacks what a compartment needs; an expansion, which has no
    /// signal of its own.
    pub fn new(model: Arc<Model>, acquisition: &Acquisition) -> Result<Self, crate::ModelError> {
        if !model.spec().expansion.is_gaussian() {
            return Err(crate::ModelError::ExpansionOnly);
        }
        model.check(acquisition)?;
        let weighting: Vec<[f64; 6]> = (0..acquisition.len())
            .map(|i| {
                let [xx, yy, zz, xy, xz, yz] = acquisition.b_tensor(i);
                [xx, yy, zz, 2.0 * xy, 2.0 * xz, 2.0 * yz]
            })
            .collect();
        let plan = Plan::with_weighting(
            acquisition.shells().len(),
            acquisition.shell_of(),
            acquisition.directions(),
            &weighting,
        );
        let plan = match acquisition.repeats() {
            Some(repeats) => plan.weighted(repeats),
            None => plan,
        };
        Ok(Self { model, plan: Arc::new(plan), shells: acquisition.shells().to_vec() })
    }

    /// The shells in the order of the plan.
    pub fn shells(&self) -> &[Shell] {
        &self.shells
    }
}

/// State of one compartment at the current values.
#[derive(Debug)]
struct State {
    coefficients: Coefficients,
    /// Derivatives of scalar j with respect to value k: (j, k, d).
    scalar_slopes: Vec<(usize, usize, f64)>,
    fraction_slopes: Vec<(usize, f64)>,
    fraction: f64,
    mu: [f64; 3],
    scalars: Vec<f64>,
    t: Vec<f64>,
    e: Vec<f64>,
}

/// Evaluates one model for one thread; allocates only when made.
#[derive(Debug)]
pub struct Evaluator {
    lowered: Lowered,
    states: Vec<State>,
    groups: Vec<AxialGroup>,
    fans: Vec<FanGroup>,
    scale: f64,
    scale_slopes: Vec<(usize, f64)>,
    per_voxel: Vec<f64>,
    signal: Vec<f64>,
    jacobian: Vec<f64>,
    sums: Vec<f64>,
    shell_weights: Vec<f64>,
    alpha: Vec<f64>,
    beta: Vec<f64>,
    gamma: Vec<f64>,
    active: Vec<usize>,
}

impl Evaluator {
    /// Scratch memory for a model on an acquisition.
    pub fn new(lowered: &Lowered) -> Self {
        let (slots, shells) = (lowered.plan.slots(), lowered.plan.shells());
        let states: Vec<State> = lowered
            .model
            .components()
            .iter()
            .map(|c| {
                let n = c.kind.parameters().len();
                State {
                    coefficients: c.kind.coefficients(&lowered.shells),
                    scalar_slopes: Vec::new(),
                    fraction_slopes: Vec::new(),
                    fraction: 0.0,
                    mu: [0.0; 3],
                    scalars: vec![0.0; n],
                    t: vec![0.0; slots],
                    e: vec![0.0; slots],
                }
            })
            .collect();
        let values = lowered.model.values();
        Self {
            lowered: lowered.clone(),
            groups: groups(&lowered.model, &states),
            fans: fan::groups(&lowered.model, &states),
            states,
            scale: 1.0,
            scale_slopes: Vec::new(),
            per_voxel: vec![0.0; lowered.model.per_voxel().len()],
            signal: vec![0.0; slots],
            jacobian: vec![0.0; slots * values],
            sums: vec![0.0; 2 * shells],
            shell_weights: vec![0.0; shells],
            alpha: vec![0.0; values * shells],
            beta: vec![0.0; values * shells],
            gamma: vec![0.0; shells],
            active: Vec::with_capacity(values),
        }
    }

    /// The model on its acquisition.
    pub fn lowered(&self) -> &Lowered {
        &self.lowered
    }

    /// Evaluates by another plan of the same measurements; returns the one so far.
    pub fn set_plan(&mut self, plan: Arc<Plan>) -> Arc<Plan> {
        debug_assert_eq!(plan.shell_slots(), self.lowered.plan.shell_slots());
        std::mem::replace(&mut self.lowered.plan, plan)
    }

    /// Sets the parameters that are fixed to one value a voxel.
    pub fn set_per_voxel(&mut self, values: &[f64]) {
        self.per_voxel.clear();
        self.per_voxel.extend_from_slice(values);
    }

    /// What [`Evaluator::set_per_voxel`] was given last.
    pub fn per_voxel(&self) -> &[f64] {
        &self.per_voxel
    }

    /// Follows the links and lowers every compartment.
    fn prepare(&mut self, x: &[f64]) {
        let model = &self.lowered.model;
        let per_voxel = &self.per_voxel;
        self.scale_slopes.clear();
        self.scale =
            model.scale().evaluate_into(x, per_voxel, &mut self.scale_slopes, |k, d| (k, d));
        for (state, component) in self.states.iter_mut().zip(model.components()) {
            state.scalar_slopes.clear();
            state.fraction_slopes.clear();
            let slopes = &mut state.scalar_slopes;
            for (j, (source, value)) in component.scalars.iter().zip(&mut state.scalars).enumerate()
            {
                *value = source.evaluate_into(x, per_voxel, slopes, |k, d| (j, k, d));
            }
            let slopes = &mut state.fraction_slopes;
            state.fraction = component.fraction.evaluate_into(x, per_voxel, slopes, |k, d| (k, d));
            state.mu = match component.axis {
                Some(AxisSource::Value(k)) => [x[k], x[k + 1], x[k + 2]],
                Some(AxisSource::Fixed(v)) => v,
                None => [0.0; 3],
            };
            component.kind.lower(
                &self.lowered.shells,
                &state.scalars,
                state.mu,
                &mut state.coefficients,
            );
        }
    }

    /// The signal at `x`, kept for [`Evaluator::pullback`].
    ///
    /// # Shapes
    /// `x` `[value]`; the result is in slots of the plan.
    pub fn signal(&mut self, x: &[f64]) -> &[f64] {
        self.prepare(x);
        let plan = &self.lowered.plan;
        self.signal.fill(0.0);
        for state in &mut self.states {
            let amplitude = self.scale * state.fraction;
            match &state.coefficients {
                Coefficients::Isotropic { value, .. } => {
                    isotropic::accumulate(plan, amplitude, value, &[], &mut self.signal, &mut []);
                }
                Coefficients::Quadratic { a, c, .. } => {
                    let k = quadratic::Coefficients { a, c, mu: state.mu };
                    quadratic::signal(
                        plan,
                        k,
                        amplitude,
                        &mut state.t,
                        &mut state.e,
                        &mut self.signal,
                    );
                }
                Coefficients::Tensor { d, .. } => {
                    tensor::signal(plan, d, amplitude, &mut state.e, &mut self.signal);
                }
                Coefficients::Zonal(_) | Coefficients::Orthotropic(_) => {}
            }
        }
        for group in &mut self.groups {
            group.signal(plan, &self.states, self.scale, &mut self.signal);
        }
        for fan in &mut self.fans {
            fan.signal(plan, &self.states, self.scale, &mut self.signal);
        }
        &self.signal
    }

    /// What [`Evaluator::signal`] gave last.
    pub fn last_signal(&self) -> &[f64] {
        &self.signal
    }

    /// The signal of each compartment alone, for amplitude 1.
    ///
    /// # Shapes
    /// `x` `[value]`, `out` `[compartment, slot]`.
    pub fn compartment_signals(&mut self, x: &[f64], out: &mut [f64]) {
        self.prepare(x);
        let plan = &self.lowered.plan;
        out.fill(0.0);
        for (state, row) in self.states.iter().zip(out.chunks_mut(plan.slots())) {
            match &state.coefficients {
                Coefficients::Isotropic { value, .. } => {
                    isotropic::accumulate(plan, 1.0, value, &[], row, &mut []);
                }
                Coefficients::Quadratic { a, c, .. } => {
                    let k = quadratic::Coefficients { a, c, mu: state.mu };
                    quadratic::accumulate(plan, k, 1.0, &[], None, row, &mut []);
                }
                Coefficients::Tensor { d, .. } => {
                    tensor::accumulate(plan, d, 1.0, &[], row, &mut [])
                }
                Coefficients::Zonal(z) => {
                    let (stride, terms) = (z.stride, z.terms.as_slice());
                    let series = zonal::Series { c: &z.c, stride, terms, mu: state.mu };
                    zonal::accumulate(plan, series, &[], None, row, &mut []);
                }
                Coefficients::Orthotropic(series) => fan::signal_alone(plan, series, row),
            }
        }
    }

    /// The mean of the signal over all directions on every shell.
    ///
    /// # Shapes
    /// `x` `[value]`, result `[shell]` in the order of [`Lowered::shells`].
    pub fn spherical_means(&mut self, x: &[f64]) -> Vec<f64> {
        self.prepare(x);
        let shells = &self.lowered.shells;
        let (mut total, mut mean) = (vec![0.0; shells.len()], vec![0.0; shells.len()]);
        for (state, component) in self.states.iter().zip(self.lowered.model.components()) {
            let mut slopes = vec![0.0; state.scalars.len() * shells.len()];
            let (kind, lowered) = (&component.kind, &state.coefficients);
            kind.spherical_mean(shells, &state.scalars, lowered, &mut mean, &mut slopes);
            for (t, m) in total.iter_mut().zip(&mean) {
                *t += self.scale * state.fraction * m;
            }
        }
        total
    }

    /// The vector-Jacobian product at the last [`Evaluator::signal`]: adds
    /// $\sum_i w_i\,\partial S_i/\partial x_k$ to `gradient`.
    ///
    /// # Shapes
    /// `weight` `[slot]` (zero in padding), `gradient` `[value]`.
    pub fn pullback(&mut self, weight: &[f64], gradient: &mut [f64]) {
        let plan = &self.lowered.plan;
        let shells = plan.shells();
        let mut have_shell_weights = false;
        let mut d_scale = 0.0;
        for (state, component) in self.states.iter().zip(self.lowered.model.components()) {
            let amplitude = self.scale * state.fraction;
            let d_amplitude = match &state.coefficients {
                Coefficients::Isotropic { .. } => {
                    if !have_shell_weights {
                        isotropic::pullback(plan, weight, &mut self.shell_weights);
                        have_shell_weights = true;
                    }
                    pull_isotropic(state, self.scale, &self.shell_weights, gradient)
                }
                Coefficients::Quadratic { c, .. } => {
                    let d_mu =
                        quadratic::pullback(plan, c, &state.t, &state.e, weight, &mut self.sums);
                    let (zeroth, second) = self.sums.split_at(shells);
                    let sums = (zeroth, second, d_mu);
                    pull_quadratic(state, component, self.scale, sums, gradient)
                }
                Coefficients::Tensor { d_scalar, d_axis, .. } => {
                    let (zeroth, d_tensor) = tensor::pullback(plan, &state.e, weight);
                    for &(j, k, d) in &state.scalar_slopes {
                        gradient[k] += d * amplitude * dot(&d_scalar[j], &d_tensor);
                    }
                    if let Some(AxisSource::Value(k)) = component.axis {
                        for (i, row) in d_axis.iter().enumerate() {
                            gradient[k + i] += amplitude * dot(row, &d_tensor);
                        }
                    }
                    zeroth
                }
                Coefficients::Zonal(_) | Coefficients::Orthotropic(_) => continue,
            };
            for &(k, d) in &state.fraction_slopes {
                gradient[k] += d * self.scale * d_amplitude;
            }
            d_scale += state.fraction * d_amplitude;
        }
        for group in &mut self.groups {
            d_scale += group.pullback(plan, &self.states, self.scale, weight, gradient);
        }
        for fan in &mut self.fans {
            d_scale += fan.pullback(plan, &self.states, self.scale, weight, gradient);
        }
        for &(k, d) in &self.scale_slopes {
            gradient[k] += d * d_scale;
        }
    }

    /// The signal and its Jacobian with respect to the values, in one pass.
    ///
    /// # Shapes
    /// `x` `[value]`; signal `[slot]`, Jacobian `[value, slot]`.
    pub fn signal_and_jacobian(&mut self, x: &[f64]) -> (&[f64], &[f64]) {
        self.prepare(x);
        let plan = &self.lowered.plan;
        let shells = plan.shells();
        self.signal.fill(0.0);
        self.jacobian.fill(0.0);
        for (state, component) in self.states.iter().zip(self.lowered.model.components()) {
            if matches!(state.coefficients, Coefficients::Zonal(_) | Coefficients::Orthotropic(_)) {
                continue;
            }
            let amplitude = self.scale * state.fraction;
            // dA/dx_k of every value that matters to this compartment.
            self.active.clear();
            let mut slot_of =
                |active: &mut Vec<usize>, k: usize| match active.iter().position(|&a| a == k) {
                    Some(i) => i,
                    None => {
                        active.push(k);
                        let i = active.len() - 1;
                        self.alpha[i * shells..(i + 1) * shells].fill(0.0);
                        self.beta[i * shells..(i + 1) * shells].fill(0.0);
                        i
                    }
                };
            let mut d_amplitude = [0.0; MAX_ACTIVE];
            for &(k, d) in &state.fraction_slopes {
                let i = slot_of(&mut self.active, k);
                d_amplitude[i] += d * self.scale;
            }
            for &(k, d) in &self.scale_slopes {
                let i = slot_of(&mut self.active, k);
                d_amplitude[i] += d * state.fraction;
            }
            for &(_, k, _) in &state.scalar_slopes {
                slot_of(&mut self.active, k);
            }
            let axis = match component.axis {
                Some(AxisSource::Value(k)) => Some(k),
                _ => None,
            };
            match &state.coefficients {
                Coefficients::Isotropic { value, d_value } => {
                    for (i, slope) in d_amplitude.iter().enumerate().take(self.active.len()) {
                        let row = &mut self.alpha[i * shells..(i + 1) * shells];
                        for (a, v) in row.iter_mut().zip(value) {
                            *a = slope * v;
                        }
                    }
                    for &(j, k, d) in &state.scalar_slopes {
                        let i = position(&self.active, k);
                        add_scaled(&mut self.alpha, i, shells, amplitude * d, d_value, j);
                    }
                    let mut columns = [isotropic::Column { index: 0, alpha: &[] }; MAX_ACTIVE];
                    for (i, &k) in self.active.iter().enumerate() {
                        columns[i] = isotropic::Column {
                            index: k,
                            alpha: &self.alpha[i * shells..(i + 1) * shells],
                        };
                    }
                    let columns = &columns[..self.active.len()];
                    let (s, j) = (&mut self.signal, &mut self.jacobian);
                    isotropic::accumulate(plan, amplitude, value, columns, s, j);
                }
                Coefficients::Quadratic { a, c, d_a, d_c } => {
                    for (i, slope) in d_amplitude.iter().enumerate().take(self.active.len()) {
                        self.alpha[i * shells..(i + 1) * shells].fill(*slope);
                    }
                    for &(j, k, d) in &state.scalar_slopes {
                        let i = position(&self.active, k);
                        add_scaled(&mut self.alpha, i, shells, -amplitude * d, d_a, j);
                        add_scaled(&mut self.beta, i, shells, -amplitude * d, d_c, j);
                    }
                    for (g, c) in self.gamma.iter_mut().zip(c) {
                        *g = -2.0 * amplitude * c;
                    }
                    let mut columns =
                        [quadratic::Column { index: 0, alpha: &[], beta: &[] }; MAX_ACTIVE];
                    for (i, &k) in self.active.iter().enumerate() {
                        let rows = i * shells..(i + 1) * shells;
                        columns[i] = quadratic::Column {
                            index: k,
                            alpha: &self.alpha[rows.clone()],
                            beta: &self.beta[rows],
                        };
                    }
                    let axis =
                        axis.map(|index| quadratic::AxisColumns { index, gamma: &self.gamma });
                    let k = quadratic::Coefficients { a, c, mu: state.mu };
                    let columns = &columns[..self.active.len()];
                    let (s, j) = (&mut self.signal, &mut self.jacobian);
                    quadratic::accumulate(plan, k, amplitude, columns, axis, s, j);
                }
                Coefficients::Tensor { d, d_scalar, d_axis } => {
                    let mut columns = [tensor::Column { index: 0, alpha: 0.0, epsilon: [0.0; 6] };
                        MAX_ACTIVE + 3];
                    let n = self.active.len();
                    for (i, &k) in self.active.iter().enumerate() {
                        columns[i].index = k;
                        columns[i].alpha = d_amplitude[i];
                    }
                    for &(j, k, slope) in &state.scalar_slopes {
                        let column = &mut columns[position(&self.active, k)];
                        for (e, v) in column.epsilon.iter_mut().zip(d_scalar[j]) {
                            *e -= amplitude * slope * v;
                        }
                    }
                    let mut total = n;
                    if let Some(k) = axis {
                        for (i, row) in d_axis.iter().enumerate() {
                            columns[n + i] = tensor::Column {
                                index: k + i,
                                alpha: 0.0,
                                epsilon: row.map(|v| -amplitude * v),
                            };
                        }
                        total += 3;
                    }
                    let (s, j) = (&mut self.signal, &mut self.jacobian);
                    tensor::accumulate(plan, d, amplitude, &columns[..total], s, j);
                }
                Coefficients::Zonal(_) | Coefficients::Orthotropic(_) => {}
            }
        }
        for group in &mut self.groups {
            let (s, j) = (&mut self.signal, &mut self.jacobian);
            group.signal_and_jacobian(plan, &self.states, self.scale, &self.scale_slopes, s, j);
        }
        for fan in &mut self.fans {
            let (s, j) = (&mut self.signal, &mut self.jacobian);
            fan.signal_and_jacobian(plan, &self.states, self.scale, &self.scale_slopes, s, j);
        }
        (&self.signal, &self.jacobian)
    }

    /// Signals of many sets of values, in measurement order.
    ///
    /// # Shapes
    /// `x` `[set, value]`, result `[set, measurement]`.
    pub fn predict(&mut self, x: &[f64]) -> Vec<f64> {
        let (values, n) = (self.lowered.model.values(), self.lowered.plan.measurements());
        let sets = x.len().checked_div(values).unwrap_or(1);
        let mut out = vec![0.0; sets * n];
        for (set, row) in out.chunks_mut(n.max(1)).enumerate() {
            self.signal(&x[set * values..(set + 1) * values]);
            self.lowered.plan.gather(&self.signal, row);
        }
        out
    }
}

/// The derivatives of an isotropic compartment by its scalars into `gradient`, given the sum
/// of weights on every shell; returns the derivative by its amplitude.
fn pull_isotropic(state: &State, scale: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
    let Coefficients::Isotropic { value, d_value } = &state.coefficients else { return 0.0 };
    let (amplitude, shells) = (scale * state.fraction, value.len());
    for &(j, k, d) in &state.scalar_slopes {
        let row = &d_value[j * shells..(j + 1) * shells];
        gradient[k] += d * amplitude * dot(row, weights);
    }
    dot(value, weights)
}

/// The same of a compartment of family Q, given the sums of its pullback: zeroth, second,
/// axis.
fn pull_quadratic(
    state: &State,
    component: &Component,
    scale: f64,
    (zeroth, second, d_mu): (&[f64], &[f64], [f64; 3]),
    gradient: &mut [f64],
) -> f64 {
    let Coefficients::Quadratic { d_a, d_c, .. } = &state.coefficients else { return 0.0 };
    let (amplitude, shells) = (scale * state.fraction, zeroth.len());
    for &(j, k, d) in &state.scalar_slopes {
        let rows = j * shells..(j + 1) * shells;
        let slope = dot(&d_a[rows.clone()], zeroth) + dot(&d_c[rows], second);
        gradient[k] -= d * amplitude * slope;
    }
    if let Some(AxisSource::Value(k)) = component.axis {
        for (i, d) in d_mu.iter().enumerate() {
            gradient[k + i] += amplitude * d;
        }
    }
    zeroth.iter().sum()
}

/// The zonal compartments by axis, in order of their first member.
fn groups(model: &Model, states: &[State]) -> Vec<AxialGroup> {
    let mut found: Vec<(AxisSource, Vec<usize>)> = Vec::new();
    for (i, component) in model.components().iter().enumerate() {
        let Some(axis) = &component.axis else { continue };
        if !matches!(states[i].coefficients, Coefficients::Zonal(_)) {
            continue;
        }
        match found.iter_mut().find(|(a, _)| a == axis) {
            Some((_, members)) => members.push(i),
            None => found.push((axis.clone(), vec![i])),
        }
    }
    found.into_iter().map(|(axis, members)| AxialGroup::new(axis, states, members)).collect()
}

/// Most values that one compartment can depend on: its own scalars, what links
/// bring in, its fraction and the scale; composition refuses more.
pub(crate) const MAX_ACTIVE: usize = 16;

fn position(active: &[usize], k: usize) -> usize {
    active.iter().position(|&a| a == k).unwrap_or(0)
}

fn add_scaled(table: &mut [f64], i: usize, shells: usize, factor: f64, from: &[f64], j: usize) {
    let row = &mut table[i * shells..(i + 1) * shells];
    for (a, v) in row.iter_mut().zip(&from[j * shells..(j + 1) * shells]) {
        *a += factor * v;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
