//! The measurements as the kernels want them: sorted by shell, structure of
//! arrays, in whole blocks of [`LANES`].
//!
//! A shell of eight or more measurements has blocks of its own, so a coefficient
//! is one broadcast a block. Smaller shells (scanners write b-values of 995, 1000
//! and 1005 s/mm²) are packed together behind them, and a packed block gathers
//! its coefficients lane by lane. Padded slots have direction zero, weighting
//! zero and mask 0.
//!
//! Validated by `scatter_and_gather_are_inverse` below.

use crate::lanes::Lanes;
use crate::simd::LANES;
use std::ops::Range;

/// Measurements sorted by shell and padded; filled by the models.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    direction: [Vec<f64>; 3],
    weighting: [Vec<f64>; 6],
    mask: Vec<f64>,
    shell_blocks: Vec<Range<usize>>,
    shell_slots: Vec<Range<usize>>,
    first_packed: usize,
    packed: Vec<[u32; LANES]>,
    slot_of: Vec<usize>,
}

/// The shells of the lanes of one block.
#[derive(Clone, Copy)]
pub(crate) enum BlockShells<'a> {
    /// All lanes are of this shell.
    One(usize),
    /// One shell a lane.
    Each(&'a [u32; LANES]),
}

impl BlockShells<'_> {
    /// A coefficient `[shell]` in the lanes of the block.
    #[inline(always)]
    pub(crate) fn coefficient<L: Lanes>(self, table: &[f64]) -> L {
        match self {
            BlockShells::One(s) => L::splat(table[s]),
            BlockShells::Each(shells) => {
                let mut lanes = [0.0; LANES];
                for (lane, &s) in lanes.iter_mut().zip(shells) {
                    *lane = table[s as usize];
                }
                L::load(&lanes)
            }
        }
    }
}

impl Plan {
    /// Sorts and pads.
    ///
    /// # Shapes
    /// `shell_of`, `directions` and `b` are `[measurement]`; `shell_of` holds
    /// numbers below `n_shells`. Measurements keep their order inside a shell.
    /// Lists of unequal length are cut to the shortest.
    ///
    /// # Units
    /// `b` in ms/µm², directions of length one (or zero where b = 0).
    pub fn new(n_shells: usize, shell_of: &[usize], directions: &[[f64; 3]], b: &[f64]) -> Self {
        let weighting: Vec<[f64; 6]> =
            directions.iter().zip(b).map(|(g, b)| outer_product(*g).map(|v| b * v)).collect();
        Self::with_weighting(n_shells, shell_of, directions, &weighting)
    }

    /// As [`Plan::new`], with the b-tensor of every measurement.
    ///
    /// # Shapes
    /// `weighting` `[measurement]`, each (xx, yy, zz, 2xy, 2xz, 2yz).
    ///
    /// # Units
    /// `weighting` in ms/µm².
    pub fn with_weighting(
        n_shells: usize,
        shell_of: &[usize],
        directions: &[[f64; 3]],
        weighting: &[[f64; 6]],
    ) -> Self {
        let b_tensors = weighting;
        let n = shell_of.len().min(directions.len()).min(b_tensors.len());
        debug_assert!(shell_of.iter().all(|&s| s < n_shells), "a shell beyond {n_shells}");
        let mut members = vec![Vec::new(); n_shells];
        for (i, &s) in shell_of.iter().take(n).enumerate() {
            if let Some(list) = members.get_mut(s) {
                list.push(i);
            }
        }
        let mut shell_blocks = vec![0..0; n_shells];
        let mut shell_slots = vec![0..0; n_shells];
        let mut slot_of = vec![0; n];
        let mut place = |s: usize, list: &[usize], first: usize| {
            for (j, &i) in list.iter().enumerate() {
                slot_of[i] = first + j;
            }
            shell_slots[s] = first..first + list.len();
        };
        let mut block = 0;
        for (s, list) in members.iter().enumerate().filter(|(_, list)| list.len() >= LANES) {
            place(s, list, block * LANES);
            let next = block + list.len().div_ceil(LANES);
            shell_blocks[s] = block..next;
            block = next;
        }
        let first_packed = block;
        let mut shells = Vec::new();
        for (s, list) in members.iter().enumerate().filter(|(_, list)| list.len() < LANES) {
            place(s, list, first_packed * LANES + shells.len());
            shells.extend(list.iter().map(|_| s as u32));
        }
        shells.resize(shells.len().next_multiple_of(LANES), 0);
        let packed = shells.as_chunks::<LANES>().0.to_vec();
        block += packed.len();
        let slots = block * LANES;
        let mut direction: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; slots]);
        let mut weighting: [Vec<f64>; 6] = std::array::from_fn(|_| vec![0.0; slots]);
        let mut mask = vec![0.0; slots];
        for (i, &slot) in slot_of.iter().enumerate() {
            for (column, g) in direction.iter_mut().zip(directions[i]) {
                column[slot] = g;
            }
            for (column, b) in weighting.iter_mut().zip(b_tensors[i]) {
                column[slot] = b;
            }
            mask[slot] = 1.0;
        }
        Self {
            direction,
            weighting,
            mask,
            shell_blocks,
            shell_slots,
            first_packed,
            packed,
            slot_of,
        }
    }

    /// The plan with weights: how many measurements each one is the mean of.
    ///
    /// # Shapes
    /// `weights` `[measurement]`, each at least 1.
    #[must_use]
    pub fn weighted(mut self, weights: &[f64]) -> Self {
        for (&slot, w) in self.slot_of.iter().zip(weights) {
            self.mask[slot] = *w;
        }
        self
    }

    /// The plan with the measurements of every shell in ascending order of `values`.
    ///
    /// Neighbours then have likelihoods of the same range (large or small against the
    /// noise), and blocks take one branch.
    ///
    /// # Shapes
    /// `values` `[measurement]`.
    #[must_use]
    pub fn ordered(&self, values: &[f64]) -> Self {
        let mut measurement_of = vec![0; self.slots()];
        for (i, &slot) in self.slot_of.iter().enumerate() {
            measurement_of[slot] = i;
        }
        let mut out = self.clone();
        for slots in &self.shell_slots {
            let members = &mut measurement_of[slots.clone()];
            members.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            for (slot, &i) in slots.clone().zip(members.iter()) {
                let from = self.slot_of[i];
                out.slot_of[i] = slot;
                out.mask[slot] = self.mask[from];
                for (column, own) in out.direction.iter_mut().zip(&self.direction) {
                    column[slot] = own[from];
                }
                for (column, own) in out.weighting.iter_mut().zip(&self.weighting) {
                    column[slot] = own[from];
                }
            }
        }
        out
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

    /// The weight of a slot: 1 where it holds a measurement (see [`Plan::weighted`]
    /// for means), 0 in padding.
    pub fn mask(&self) -> &[f64] {
        &self.mask
    }

    /// Gradient directions, one array an axis, `[slot]`.
    pub fn direction(&self) -> &[Vec<f64>; 3] {
        &self.direction
    }

    /// b-tensors (b g gᵀ for linear encoding) as (xx, yy, zz, 2xy, 2xz, 2yz), ms/µm²,
    /// `[slot]` each.
    pub fn weighting(&self) -> &[Vec<f64>; 6] {
        &self.weighting
    }

    /// The blocks that a shell has for its own; empty for packed shells.
    pub(crate) fn shell_blocks(&self) -> &[Range<usize>] {
        &self.shell_blocks
    }

    /// The packed blocks: number and shell of each lane.
    #[inline(always)]
    pub(crate) fn packed_blocks(&self) -> impl Iterator<Item = (usize, &[u32; LANES])> {
        self.packed.iter().enumerate().map(|(i, shells)| (self.first_packed + i, shells))
    }

    /// The number of the first packed block.
    #[inline(always)]
    pub(crate) fn first_packed(&self) -> usize {
        self.first_packed
    }

    /// The shells of the lanes of packed block `i`.
    #[inline(always)]
    pub(crate) fn packed_block(&self, i: usize) -> &[u32; LANES] {
        &self.packed[i]
    }

    /// The slots of every shell, padding left out.
    pub fn shell_slots(&self) -> &[Range<usize>] {
        &self.shell_slots
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
    fn an_ordered_plan_holds_the_same_measurements() {
        let shell_of: Vec<usize> = (0..31).map(|i| if i % 5 < 4 { 0 } else { 1 }).collect();
        let directions: Vec<[f64; 3]> = (0..31).map(|i| [f64::from(i), 0.5, -1.0]).collect();
        let values: Vec<f64> = (0..31).map(|i| f64::from(i * 17 % 31)).collect();
        let plan = Plan::new(2, &shell_of, &directions, &[2.0; 31]);
        let plan = plan.weighted(&values.iter().map(|v| 1.0 + v).collect::<Vec<_>>());
        let ordered = plan.ordered(&values);
        assert_eq!(ordered.shell_slots(), plan.shell_slots());
        let mut slots = vec![0.0; plan.slots()];
        ordered.scatter(&values, &mut slots);
        for range in ordered.shell_slots() {
            assert!(slots[range.clone()].is_sorted());
        }
        for (i, &slot) in ordered.slot_of().iter().enumerate() {
            assert!(ordered.shell_slots()[shell_of[i]].contains(&slot));
            assert_eq!(ordered.direction()[0][slot], directions[i][0]);
            assert_eq!(ordered.weighting()[0][slot], 2.0 * directions[i][0] * directions[i][0]);
            assert_eq!(ordered.mask()[slot], 1.0 + values[i]);
        }
    }

    #[test]
    fn scatter_and_gather_are_inverse() {
        // Shells 0 and 1: eight each, shells 2 to 4: fewer, packed.
        let shell_of: Vec<usize> =
            (0..23).map(|i| if i % 3 < 2 { i % 3 } else { 2 + i % 4 % 3 }).collect();
        let directions = vec![[0.0, 0.6, 0.8]; 23];
        let plan = Plan::new(5, &shell_of, &directions, &[2.0; 23]);
        assert_eq!(plan.slots(), 24);
        assert_eq!(plan.shell_slots()[0], 0..8);
        assert!(plan.shell_blocks()[2].is_empty());
        for (i, &slot) in plan.slot_of().iter().enumerate() {
            assert!(plan.shell_slots()[shell_of[i]].contains(&slot));
        }
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
