//! The measurements as the kernels want them: sorted by shell, structure of
//! arrays, every shell padded to whole blocks of [`LANES`].
//!
//! A coefficient that is constant on a shell is then one broadcast a block, and
//! a loop never straddles two shells. Padded slots have direction zero,
//! weighting zero and mask 0. A scheme whose b-values all differ is padded by up
//! to eight times; that costs time, not correctness.
//!
//! Validated by `scatter_and_gather_are_inverse` below.

use crate::simd::LANES;
use std::ops::Range;

/// Measurements sorted by shell and padded; filled by the models.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    direction: [Vec<f64>; 3],
    weighting: [Vec<f64>; 6],
    mask: Vec<f64>,
    shell_blocks: Vec<Range<usize>>,
    slot_of: Vec<usize>,
}

impl Plan {
    /// Sorts and pads.
    ///
    /// # Shapes
    /// `shell_of`, `directions` and `b` are `[measurement]`; `shell_of` holds
    /// numbers below `n_shells`. Measurements keep their order inside a shell.
    ///
    /// # Units
    /// `b` in ms/µm², directions of length one (or zero where b = 0).
    pub fn new(n_shells: usize, shell_of: &[usize], directions: &[[f64; 3]], b: &[f64]) -> Self {
        let n = shell_of.len().min(directions.len()).min(b.len());
        let mut members = vec![Vec::new(); n_shells];
        for (i, &s) in shell_of.iter().take(n).enumerate() {
            if let Some(list) = members.get_mut(s) {
                list.push(i);
            }
        }
        let mut shell_blocks = Vec::with_capacity(n_shells);
        let mut slot_of = vec![0; n];
        let mut block = 0;
        for list in &members {
            for (j, &i) in list.iter().enumerate() {
                slot_of[i] = block * LANES + j;
            }
            let next = block + list.len().div_ceil(LANES);
            shell_blocks.push(block..next);
            block = next;
        }
        let slots = block * LANES;
        let mut direction: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; slots]);
        let mut weighting: [Vec<f64>; 6] = std::array::from_fn(|_| vec![0.0; slots]);
        let mut mask = vec![0.0; slots];
        for (i, &slot) in slot_of.iter().enumerate() {
            let g = directions[i];
            let outer = outer_product(g);
            for (axis, column) in direction.iter_mut().enumerate() {
                column[slot] = g[axis];
            }
            for (k, column) in weighting.iter_mut().enumerate() {
                column[slot] = b[i] * outer[k];
            }
            mask[slot] = 1.0;
        }
        Self { direction, weighting, mask, shell_blocks, slot_of }
    }

    /// Number of measurements.
    pub fn measurements(&self) -> usize {
        self.slot_of.len()
    }

    /// Number of slots: measurements and padding, a multiple of [`LANES`].
    pub fn slots(&self) -> usize {
        self.mask.len()
    }

    /// Number of shells.
    pub fn shells(&self) -> usize {
        self.shell_blocks.len()
    }

    /// 1 in slots that hold a measurement, 0 in padding.
    pub fn mask(&self) -> &[f64] {
        &self.mask
    }

    /// Gradient directions, one array an axis, `[slot]`.
    pub fn direction(&self) -> &[Vec<f64>; 3] {
        &self.direction
    }

    /// b-tensors b g gᵀ as (xx, yy, zz, 2xy, 2xz, 2yz), ms/µm², `[slot]` each.
    pub fn weighting(&self) -> &[Vec<f64>; 6] {
        &self.weighting
    }

    /// The blocks of every shell.
    pub fn shell_blocks(&self) -> &[Range<usize>] {
        &self.shell_blocks
    }

    /// The slot of every measurement.
    pub fn slot_of(&self) -> &[usize] {
        &self.slot_of
    }

    /// Writes values in measurement order into slots; padding becomes 0.
    pub fn scatter(&self, values: &[f64], slots: &mut [f64]) {
        slots.fill(0.0);
        for (v, &slot) in values.iter().zip(&self.slot_of) {
            slots[slot] = *v;
        }
    }

    /// Reads values in measurement order out of slots.
    pub fn gather(&self, slots: &[f64], values: &mut [f64]) {
        for (v, &slot) in values.iter_mut().zip(&self.slot_of) {
            *v = slots[slot];
        }
    }
}

/// g gᵀ as (xx, yy, zz, 2xy, 2xz, 2yz).
fn outer_product(g: [f64; 3]) -> [f64; 6] {
    [g[0] * g[0], g[1] * g[1], g[2] * g[2], 2.0 * g[0] * g[1], 2.0 * g[0] * g[2], 2.0 * g[1] * g[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_and_gather_are_inverse() {
        let shell_of: Vec<usize> = (0..23).map(|i| (i * 7) % 3).collect();
        let directions = vec![[0.0, 0.6, 0.8]; 23];
        let plan = Plan::new(3, &shell_of, &directions, &[2.0; 23]);
        assert_eq!(plan.slots(), 24);
        assert_eq!(plan.mask().iter().sum::<f64>(), 23.0);
        let values: Vec<f64> = (0..23).map(f64::from).collect();
        let mut slots = vec![9.0; plan.slots()];
        plan.scatter(&values, &mut slots);
        let mut back = vec![0.0; 23];
        plan.gather(&slots, &mut back);
        assert_eq!(values, back);
        assert_eq!(plan.weighting()[5][plan.slot_of()[4]], 2.0 * 2.0 * 0.6 * 0.8);
    }
}
