//! The sorted order of the draws, by distribution into buckets.
//!
//! $$b(x) = \left\lfloor \frac{x - x_{\min}}{x_{\max} - x_{\min}}(B-1)\right\rfloor,\qquad B = 3n$$
//!
//! The map is monotone in floating point too, so after counting and scattering
//! only neighbours inside a bucket are out of order; an insertion sort settles
//! small buckets and a comparison sort large ones (heavy tails, ties). Draws of
//! a posterior spread over the buckets, so the usual cost is linear. Equal draws
//! are in no particular order. The draws must not contain NaN.
//!
//! Source: Knuth 1998, *The Art of Computer Programming* 3, 5.2 and 5.2.5.
//! Validated by `orders_are_sorted_permutations` below; `benches/diagnostics.rs`
//! measures it inside a summary.

use super::moments::extremes;

/// Draws below which a comparison sort is used.
const SMALL: usize = 48;
/// Draws in a bucket from which it is sorted by itself.
const CROWDED: u32 = 24;

/// One draw and where it stands in the split layout.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Entry {
    /// The draw.
    pub(super) value: f64,
    /// Its index in the slice that was sorted.
    pub(super) position: u32,
}

/// Sorts draws with buffers that are reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    entries: Vec<Entry>,
    bucket: Vec<u32>,
    start: Vec<u32>,
}

impl Order {
    /// Sorts `values`, ascending.
    pub(super) fn sort(&mut self, values: &[f64]) {
        let (low, high) = extremes(values);
        let range = high - low;
        if values.len() < SMALL || !range.is_finite() || range <= 0.0 {
            self.entries.clear();
            let pairs = values.iter().zip(0..).map(|(&value, position)| Entry { value, position });
            self.entries.extend(pairs);
            sort_by_comparison(&mut self.entries);
        } else {
            self.sort_by_distribution(values, low, range);
        }
    }

    fn sort_by_distribution(&mut self, values: &[f64], low: f64, range: f64) {
        let buckets = 3 * values.len();
        let scale = (buckets - 1) as f64 / range;
        let last = (buckets - 1) as u32;
        self.start.clear();
        self.start.resize(buckets, 0);
        self.bucket.clear();
        // An overflowing scale sends the minimum (0 * inf) to bucket 0 and the
        // rest to the last bucket: still monotone.
        self.bucket.extend(values.iter().map(|v| (((v - low) * scale) as u32).min(last)));
        for &b in &self.bucket {
            self.start[b as usize] += 1;
        }
        let (mut before, mut largest) = (0, 0);
        for s in &mut self.start {
            let count = *s;
            largest = largest.max(count);
            *s = before;
            before += count;
        }
        self.entries.resize(values.len(), Entry::default());
        for ((&value, position), &b) in values.iter().zip(0..).zip(&self.bucket) {
            let slot = &mut self.start[b as usize];
            self.entries[*slot as usize] = Entry { value, position };
            *slot += 1;
        }
        if largest > CROWDED {
            // `start` now holds the end of every bucket.
            let mut from = 0;
            for &end in &self.start {
                if end - from > CROWDED {
                    sort_by_comparison(&mut self.entries[from as usize..end as usize]);
                }
                from = end;
            }
        }
        sort_by_insertion(&mut self.entries);
    }

    /// Drops the entries at positions from `length` on (the middle draws of
    /// chains of odd length).
    pub(super) fn keep_positions_below(&mut self, length: usize) {
        if self.entries.len() > length {
            self.entries.retain(|e| (e.position as usize) < length);
        }
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 3] {
        [self.entries.capacity(), self.bucket.capacity(), self.start.capacity()]
    }

    /// The sorted draws.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn sort_by_comparison(entries: &mut [Entry]) {
    entries.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
}

fn sort_by_insertion(entries: &mut [Entry]) {
    for i in 1..entries.len() {
        let moving = entries[i];
        let mut hole = i;
        while hole > 0 && entries[hole - 1].value > moving.value {
            entries[hole] = entries[hole - 1];
            hole -= 1;
        }
        entries[hole] = moving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(values: &[f64], order: &mut Order) {
        order.sort(values);
        let mut truth = values.to_vec();
        truth.sort_by(f64::total_cmp);
        let mut seen = vec![false; values.len()];
        assert_eq!(order.entries().len(), values.len());
        for (e, t) in order.entries().iter().zip(&truth) {
            // Minus zero and zero are equal, so the values compare as numbers.
            assert!(e.value == *t && values[e.position as usize].to_bits() == e.value.to_bits());
            assert!(!std::mem::replace(&mut seen[e.position as usize], true));
        }
    }

    proptest! {
        #[test]
        fn orders_are_sorted_permutations(
            n in 0_usize..400, kind in 0..6, seed in proptest::collection::vec(-1.0_f64..1.0, 400)
        ) {
            let values: Vec<f64> = seed[..n].iter().map(|&u| match kind {
                0 => u,
                1 => (u * 4.0).floor(),
                2 => 1.0 / u.powi(5),
                3 => f64::INFINITY.copysign(u) * f64::from(u.abs() > 0.9) + if u.abs() > 0.9 { 0.0 } else { u },
                4 => u * 1e-310,
                _ => 3.0 + (u * 40.0).floor() * f64::EPSILON,
            }).filter(|v| !v.is_nan()).collect();
            let mut order = Order::default();
            check(&values, &mut order);
            check(&seed, &mut order);
            check(&values, &mut order);
        }
    }
}
