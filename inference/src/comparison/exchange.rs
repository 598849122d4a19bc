//! Draws of exchangeable compartments, brought to one labelling.
//!
//! A posterior that is equal for every relabelling $\pi$ of its compartments has
//! $|G|$ copies of itself, of which chains may visit one or all. With the region
//!
//! $$D = \{z : \|z - \hat z\| \le \|\pi z - \hat z\|\ \forall\pi\in G\},\qquad
//!   p(y) = |G|\int_D p(y, z)\,dz$$
//!
//! of the labelling closest to a reference, every draw is moved into $D$ by relabelling
//! it, and the evidence follows from $D$ alone. Distances are those of the normal
//! approximation at the mode.
//!
//! Source: Frühwirth-Schnatter 2004, doi:10.1111/j.1368-423X.2004.00125.x, sec. 3.2
//! (bridge sampling under label switching). Validated by
//! `evidence_of_exchangeable_sticks_is_that_of_importance_sampling` in `tests/suite/comparison.rs`.

use crate::sample::Laplace;
use microtome_models::{Chart, Model};

/// Most relabellings: four compartments.
const MOST: usize = 24;

/// The relabellings that leave a posterior as it is.
#[derive(Debug, Clone)]
pub struct Relabelling {
    /// For each relabelling but the identity, the source of every value.
    sources: Vec<Vec<usize>>,
    is_whole: bool,
    x: Vec<f64>,
    z: Vec<f64>,
    best: Vec<f64>,
}

impl Relabelling {
    /// Of a model whose draws have `width` values.
    pub fn new(model: &Model, width: usize) -> Self {
        let swaps = model.exchangeable();
        let identity: Vec<usize> = (0..width).collect();
        let mut group = vec![identity];
        let mut at = 0;
        while at < group.len() && group.len() <= MOST {
            for swap in &swaps {
                let mut next = group[at].clone();
                for &(p, q) in swap {
                    next.swap(p, q);
                }
                if !group.contains(&next) {
                    group.push(next);
                }
            }
            at += 1;
        }
        group.remove(0);
        let is_whole = group.len() < MOST;
        if !is_whole {
            group.clear();
        }
        Self { sources: group, is_whole, x: vec![0.0; width], z: Vec::new(), best: Vec::new() }
    }

    /// $|G|$: the number of equal copies of the posterior.
    pub fn copies(&self) -> usize {
        self.sources.len() + 1
    }

    /// Whether all labellings are known; there may be too many to try.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether no relabelling of `x` is closer to the mode than `z`, its coordinates.
    pub fn is_closest(&mut self, chart: &Chart, laplace: &Laplace, x: &[f64], z: &[f64]) -> bool {
        self.closest(chart, laplace, x, z).is_none()
    }

    /// Replaces coordinates by those of the relabelling closest to the mode.
    pub fn relabel(&mut self, chart: &Chart, laplace: &Laplace, x: &[f64], z: &mut [f64]) {
        if self.closest(chart, laplace, x, z).is_some() {
            z.copy_from_slice(&self.best);
        }
    }

    /// Leaves the coordinates of the closest relabelling in `best`, when it is not the identity.
    fn closest(&mut self, chart: &Chart, laplace: &Laplace, x: &[f64], z: &[f64]) -> Option<()> {
        if self.sources.is_empty() {
            return None;
        }
        let mut nearest = laplace.square_distance(z);
        let mut found = None;
        self.z.resize(z.len(), 0.0);
        for source in &self.sources {
            for (to, from) in self.x.iter_mut().zip(source) {
                *to = x[*from];
            }
            chart.exact_coordinates(&self.x, &mut self.z);
            let distance = laplace.square_distance(&self.z);
            if distance < nearest {
                nearest = distance;
                self.best.clone_from(&self.z);
                found = Some(());
            }
        }
        found
    }
}
