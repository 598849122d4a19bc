//! Zonal compartments about one axis, added up before the loop over measurements.
//!
//! $$\sum_m A_m E_m = \sum_k\Big(\sum_m A_m c_{m,s,k}\Big)P_{2k}(t)$$
//!
//! Series add, so NODDI's dispersed stick and zeppelin cost one pass, not two. The
//! same holds for every column of the Jacobian, and in reverse all compartments
//! share the moments of the weights.
//!
//! Validated by `jacobian_equals_dual_numbers`.

use super::State;
use crate::compartment::Coefficients;
use crate::model::AxisSource;
use crate::zonal::ZonalSeries;
use microtome_kernels::Plan;
use microtome_kernels::family::zonal;

/// The compartments of one axis.
#[derive(Debug)]
pub(super) struct AxialGroup {
    pub(super) axis: AxisSource,
    pub(super) members: Vec<usize>,
    mu: [f64; 3],
    stride: usize,
    terms: Vec<usize>,
    c: Vec<f64>,
    active: Vec<usize>,
    columns: Vec<Vec<f64>>,
    moments: Vec<f64>,
}

fn series(state: &State) -> Option<&ZonalSeries> {
    match &state.coefficients {
        Coefficients::Zonal(series) => Some(series),
        _ => None,
    }
}

/// Adds `factor` times the terms in use of `from` (the first row at `row`).
fn add(to: &mut [f64], stride: usize, from: &ZonalSeries, table: &[f64], row: usize, factor: f64) {
    if factor == 0.0 {
        return;
    }
    for (s, &terms) in from.terms.iter().enumerate() {
        let source = &table[row + s * from.stride..][..terms];
        for (t, v) in to[s * stride..][..terms].iter_mut().zip(source) {
            *t += factor * v;
        }
    }
}

impl AxialGroup {
    pub(super) fn new(axis: AxisSource, states: &[State], members: Vec<usize>) -> Self {
        let of = |m: &usize| states.get(*m).and_then(series);
        let stride = members.iter().filter_map(of).map(|s| s.stride).max().unwrap_or(1);
        let shells = members.iter().find_map(of).map_or(0, ZonalSeries::shells);
        Self {
            axis,
            members,
            mu: [0.0; 3],
            stride,
            terms: vec![1; shells],
            c: vec![0.0; shells * stride],
            active: Vec::new(),
            columns: Vec::new(),
            moments: vec![0.0; shells * stride],
        }
    }

    /// Sums the members: amplitudes `scale * fraction`.
    fn fold(&mut self, states: &[State], scale: f64) {
        self.c.fill(0.0);
        self.terms.fill(1);
        for &m in &self.members {
            let state = &states[m];
            self.mu = state.mu;
            let Some(from) = series(state) else { continue };
            add(&mut self.c, self.stride, from, &from.c, 0, scale * state.fraction);
            for (t, from) in self.terms.iter_mut().zip(&from.terms) {
                *t = (*t).max(*from);
            }
        }
    }

    fn kernel(&self) -> zonal::Series<'_> {
        zonal::Series { c: &self.c, stride: self.stride, terms: &self.terms, mu: self.mu }
    }

    /// Adds the signal of the members.
    pub(super) fn signal(&mut self, plan: &Plan, states: &[State], scale: f64, out: &mut [f64]) {
        self.fold(states, scale);
        zonal::accumulate(plan, self.kernel(), &[], None, out, &mut []);
    }

    fn column(&mut self, k: usize) -> &mut Vec<f64> {
        let i = match self.active.iter().position(|&a| a == k) {
            Some(i) => i,
            None => {
                self.active.push(k);
                let i = self.active.len() - 1;
                if self.columns.len() == i {
                    self.columns.push(vec![0.0; self.c.len()]);
                } else {
                    self.columns[i].fill(0.0);
                }
                i
            }
        };
        &mut self.columns[i]
    }

    /// Adds the signal of the members and their columns.
    pub(super) fn signal_and_jacobian(
        &mut self,
        plan: &Plan,
        states: &[State],
        scale: f64,
        scale_slopes: &[(usize, f64)],
        signal: &mut [f64],
        jacobian: &mut [f64],
    ) {
        self.fold(states, scale);
        self.active.clear();
        let stride = self.stride;
        for i in 0..self.members.len() {
            let state = &states[self.members[i]];
            let Some(from) = series(state) else { continue };
            for &(k, d) in &state.fraction_slopes {
                add(self.column(k), stride, from, &from.c, 0, d * scale);
            }
            for &(k, d) in scale_slopes {
                add(self.column(k), stride, from, &from.c, 0, d * state.fraction);
            }
            let amplitude = scale * state.fraction;
            for &(j, k, d) in &state.scalar_slopes {
                add(self.column(k), stride, from, &from.d_c, from.row(j, 0), amplitude * d);
            }
        }
        let columns: Vec<zonal::Column<'_>> = self
            .active
            .iter()
            .zip(&self.columns)
            .map(|(&index, c)| zonal::Column { index, c })
            .collect();
        let axis = match self.axis {
            AxisSource::Value(k) => Some(k),
            AxisSource::Fixed(_) => None,
        };
        zonal::accumulate(plan, self.kernel(), &columns, axis, signal, jacobian);
    }

    /// The reverse pass at the last [`AxialGroup::signal`]; returns dL/ds0.
    pub(super) fn pullback(
        &mut self,
        plan: &Plan,
        states: &[State],
        scale: f64,
        weight: &[f64],
        gradient: &mut [f64],
    ) -> f64 {
        let kernel =
            zonal::Series { c: &self.c, stride: self.stride, terms: &self.terms, mu: self.mu };
        let d_mu = zonal::pullback(plan, kernel, weight, &mut self.moments);
        if let AxisSource::Value(k) = self.axis {
            for (i, d) in d_mu.iter().enumerate() {
                gradient[k + i] += d;
            }
        }
        let mut d_scale = 0.0;
        for &m in &self.members {
            let state = &states[m];
            let Some(from) = series(state) else { continue };
            let along = |table: &[f64], row: usize| {
                let mut sum = 0.0;
                for (s, &terms) in from.terms.iter().enumerate() {
                    let source = &table[row + s * from.stride..][..terms];
                    for (v, w) in source.iter().zip(&self.moments[s * self.stride..]) {
                        sum += v * w;
                    }
                }
                sum
            };
            let amplitude = scale * state.fraction;
            for &(j, k, d) in &state.scalar_slopes {
                gradient[k] += d * amplitude * along(&from.d_c, from.row(j, 0));
            }
            let d_amplitude = along(&from.c, 0);
            for &(k, d) in &state.fraction_slopes {
                gradient[k] += d * scale * d_amplitude;
            }
            d_scale += state.fraction * d_amplitude;
        }
        d_scale
    }
}
