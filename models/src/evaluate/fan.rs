//! Orthotropic compartments of one frame, added up before the loop over measurements.
//!
//! $$\sum_i A_iE_i = \sum_{l,m}\Big(\sum_i A_i c_{i,s,l}B_{i,lm}\Big)H_{lm}$$
//!
//! As for the compartments about one axis (`axial.rs`): Bingham-NODDI's stick and
//! zeppelin cost one pass, and in reverse they share the moments of the weights.
//!
//! Validated by `jacobian_equals_dual_numbers`.

use super::State;
use crate::compartment::Coefficients;
use crate::model::{AxisSource, Model, Source};
use crate::orthotropic::OrthotropicSeries;
use microtome_kernels::Plan;
use microtome_kernels::family::orthotropic::{self, Column, FrameColumn, Series};
use microtome_kernels::harmonic::{pairs, row};

/// The compartments of one frame.
#[derive(Debug)]
pub(super) struct FanGroup {
    axis: AxisSource,
    members: Vec<usize>,
    terms: usize,
    frame: crate::Frame,
    lengths: Vec<usize>,
    c: Vec<f64>,
    active: Vec<usize>,
    /// Zero where the last evaluation did not fill them.
    columns: Vec<Vec<f64>>,
    moments: Vec<f64>,
}

fn series(state: &State) -> Option<&OrthotropicSeries> {
    match &state.coefficients {
        Coefficients::Orthotropic(series) => Some(series),
        _ => None,
    }
}

/// The orthotropic compartments by axis and angle, in order of their first member.
pub(super) fn groups(model: &Model, states: &[State]) -> Vec<FanGroup> {
    let mut found: Vec<(&AxisSource, &Source, Vec<usize>)> = Vec::new();
    for (i, (component, state)) in model.components().iter().zip(states).enumerate() {
        let (Some(axis), Some(of)) = (&component.axis, series(state)) else { continue };
        let psi = &component.scalars[of.own + 1];
        match found.iter_mut().find(|(a, p, _)| *a == axis && *p == psi) {
            Some((.., members)) => members.push(i),
            None => found.push((axis, psi, vec![i])),
        }
    }
    let group = |(axis, _, members): (&AxisSource, &Source, Vec<usize>)| {
        let first = members.first().and_then(|m| series(&states[*m]));
        let (terms, lengths) = first.map_or((1, 0), |s| (s.zonal.stride, s.lengths.len()));
        let table = vec![0.0; first.map_or(0, |s| s.zonal.shells() * s.pairs())];
        FanGroup {
            axis: axis.clone(),
            members,
            terms,
            frame: crate::Frame::default(),
            lengths: vec![0; lengths],
            c: table.clone(),
            active: Vec::new(),
            columns: Vec::new(),
            moments: table,
        }
    };
    found.into_iter().map(group).collect()
}

/// The signal of one compartment for amplitude 1.
pub(super) fn signal_alone(plan: &Plan, of: &OrthotropicSeries, out: &mut [f64]) {
    let mut c = vec![0.0; of.zonal.shells() * of.pairs()];
    of.add(of.whole(), 1.0, &mut c);
    let (terms, frame) = (of.zonal.stride, of.frame.axes);
    let series = Series { c: &c, terms, lengths: &of.lengths, frame };
    orthotropic::accumulate(plan, series, &[], &[], out, &mut []);
}

impl FanGroup {
    /// Zeroes what the last evaluation filled.
    fn clear(&mut self) {
        let (terms, stride) = (self.terms, pairs(self.terms));
        for (s, lengths) in self.lengths.chunks(terms).enumerate() {
            for (j, &length) in lengths.iter().enumerate().take_while(|(_, n)| **n > 0) {
                let at = s * stride + row(terms, j);
                self.c[at..at + length].fill(0.0);
                for column in &mut self.columns[..self.active.len()] {
                    column[at..at + length].fill(0.0);
                }
            }
        }
        self.lengths.fill(0);
        self.active.clear();
    }

    /// Sums the members: amplitudes `scale * fraction`.
    fn fold(&mut self, states: &[State], scale: f64) {
        self.clear();
        for &m in &self.members {
            let state = &states[m];
            let Some(from) = series(state) else { continue };
            self.frame = from.frame;
            from.add(from.whole(), scale * state.fraction, &mut self.c);
            for (length, from) in self.lengths.iter_mut().zip(&from.lengths) {
                *length = (*length).max(*from);
            }
        }
    }

    fn kernel(&self) -> Series<'_> {
        let frame = self.frame.axes;
        Series { c: &self.c, terms: self.terms, lengths: &self.lengths, frame }
    }

    /// Adds the signal of the members.
    pub(super) fn signal(&mut self, plan: &Plan, states: &[State], scale: f64, out: &mut [f64]) {
        self.fold(states, scale);
        orthotropic::accumulate(plan, self.kernel(), &[], &[], out, &mut []);
    }

    fn column(&mut self, k: usize) -> &mut Vec<f64> {
        let i = match self.active.iter().position(|&a| a == k) {
            Some(i) => i,
            None => {
                self.active.push(k);
                let i = self.active.len() - 1;
                if self.columns.len() == i {
                    self.columns.push(vec![0.0; self.c.len()]);
                }
                i
            }
        };
        &mut self.columns[i]
    }

    /// The values that turn the frame, with the derivatives of its axes.
    fn turns(&self, states: &[State]) -> Vec<FrameColumn> {
        let mut out = Vec::with_capacity(4);
        let [x, y, z, psi] = self.frame.slopes;
        if let AxisSource::Value(k) = self.axis {
            for (i, slope) in [x, y, z].into_iter().enumerate() {
                out.push(FrameColumn { index: k + i, slope });
            }
        }
        let first = self.members.first().map(|m| &states[*m]);
        if let Some((state, of)) = first.and_then(|s| Some((s, series(s)?))) {
            for &(j, index, d) in &state.scalar_slopes {
                if j == of.own + 1 {
                    out.push(FrameColumn { index, slope: psi.map(|axis| axis.map(|v| d * v)) });
                }
            }
        }
        out
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
        for i in 0..self.members.len() {
            let state = &states[self.members[i]];
            let Some(from) = series(state) else { continue };
            for &(k, d) in &state.fraction_slopes {
                from.add(from.whole(), d * scale, self.column(k));
            }
            for &(k, d) in scale_slopes {
                from.add(from.whole(), d * state.fraction, self.column(k));
            }
            let amplitude = scale * state.fraction;
            for &(j, k, d) in &state.scalar_slopes {
                if let Some(part) = from.slope(j) {
                    from.add(part, amplitude * d, self.column(k));
                }
            }
        }
        let columns: Vec<Column<'_>> =
            self.active.iter().zip(&self.columns).map(|(&index, c)| Column { index, c }).collect();
        let turns = self.turns(states);
        orthotropic::accumulate(plan, self.kernel(), &columns, &turns, signal, jacobian);
    }

    /// The reverse pass at the last [`FanGroup::signal`]; returns dL/ds0.
    pub(super) fn pullback(
        &mut self,
        plan: &Plan,
        states: &[State],
        scale: f64,
        weight: &[f64],
        gradient: &mut [f64],
    ) -> f64 {
        let frame = self.frame.axes;
        let kernel = Series { c: &self.c, terms: self.terms, lengths: &self.lengths, frame };
        let d_frame = orthotropic::pullback(plan, kernel, weight, &mut self.moments);
        for turn in self.turns(states) {
            let products = turn.slope.as_flattened().iter().zip(d_frame.as_flattened());
            gradient[turn.index] += products.map(|(s, d)| s * d).sum::<f64>();
        }
        let mut d_scale = 0.0;
        for &m in &self.members {
            let state = &states[m];
            let Some(from) = series(state) else { continue };
            let amplitude = scale * state.fraction;
            for &(j, k, d) in &state.scalar_slopes {
                if let Some(part) = from.slope(j) {
                    gradient[k] += d * amplitude * from.along(part, &self.moments);
                }
            }
            let d_amplitude = from.along(from.whole(), &self.moments);
            for &(k, d) in &state.fraction_slopes {
                gradient[k] += d * scale * d_amplitude;
            }
            d_scale += state.fraction * d_amplitude;
        }
        d_scale
    }
}
