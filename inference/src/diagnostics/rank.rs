//! Rank normalisation, of the draws and of their distances from the median.
//!
//! $$z_i = \Phi^{-1}\!\left(\frac{r_i - 3/8}{S + 1/4}\right)$$
//!
//! with $r_i$ the average rank (1 to $S$) among all $S$ draws of all split
//! chains and $\Phi$ the standard normal distribution function. Folding replaces
//! $x_i$ by $|x_i - \mathrm{median}(x)|$ first; its order is the merge of the
//! two halves of the order of $x$, so nothing is sorted twice. The scores of all
//! ranks are tabulated once for each $S$.
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, eq. 14; Blom 1958,
//! *Statistical Estimates and Transformed Beta-Variables*.
//! Validated by `folding_equals_a_second_sort` below and by `tests/suite/arviz.rs`.

use super::order::Entry;
use std::hint::select_unpredictable;

use statrs::distribution::{ContinuousCDF, Normal};

/// The normal scores of all ranks of one sample size.
#[derive(Debug, Clone, Default)]
pub(super) struct NormalScores {
    /// Of the ranks 1, 2, ..., S.
    whole: Vec<f64>,
    /// Of the ranks 1.5, 2.5, ..., S - 0.5.
    between: Vec<f64>,
}

impl NormalScores {
    /// Tabulates the scores of `size` draws unless they are there already.
    pub(super) fn prepare(&mut self, size: usize) {
        if self.whole.len() == size {
            return;
        }
        let normal = Normal::standard();
        let s = size as f64;
        let score = |rank: f64| normal.inverse_cdf((rank - 0.375) / (s - 0.75 + 1.0));
        self.whole.clear();
        self.whole.extend((1..=size).map(|r| score(r as f64)));
        self.between.clear();
        self.between.extend((1..size).map(|r| score(r as f64 + 0.5)));
    }

    /// The score of the average rank of the sorted places `from..to`.
    fn of_run(&self, from: usize, to: usize) -> f64 {
        let twice = from + 1 + to;
        let below = twice / 2 - 1;
        if twice.is_multiple_of(2) { self.whole[below] } else { self.between[below] }
    }

    /// Writes the score of every sorted draw to its position in `z`.
    pub(super) fn scatter(&self, sorted: &[Entry], z: &mut [f64]) {
        let mut from = 0;
        while from < sorted.len() {
            let Entry { value, position } = sorted[from];
            let mut to = from + 1;
            if sorted.get(to).is_none_or(|e| e.value != value) {
                z[position as usize] = self.whole[from];
                from = to;
                continue;
            }
            while to < sorted.len() && sorted[to].value == value {
                to += 1;
            }
            let score = self.of_run(from, to);
            for e in &sorted[from..to] {
                z[e.position as usize] = score;
            }
            from = to;
        }
    }
}

/// The order of the distances from the median, with buffers that are reused.
#[derive(Debug, Clone, Default)]
pub(super) struct Folding {
    /// Distances in the order of the draws: falling, then rising.
    distances: Vec<Entry>,
    /// Distances in ascending order.
    merged: Vec<Entry>,
}

impl Folding {
    /// Sorts the distances of the sorted draws from their median; `None` when
    /// the median is not finite.
    pub(super) fn fold(&mut self, sorted: &[Entry]) -> Option<&[Entry]> {
        let n = sorted.len();
        let half = n / 2;
        let median = match sorted.get(half..n - half)? {
            [one] => one.value,
            _ => (sorted.get(half.wrapping_sub(1))?.value + sorted[half].value) / 2.0,
        };
        if !median.is_finite() {
            return None;
        }
        let distance = |e: &Entry| Entry { value: (e.value - median).abs(), position: e.position };
        self.distances.clear();
        self.distances.extend(sorted.iter().map(distance));
        self.merged.resize(n, Entry::default());
        // The halves are as long as each other, so the nearest half of the
        // result can be merged outwards and the farthest half inwards without
        // an end in sight. A comparison decides by the toss of a coin which
        // side is next: as integers, which order like distances, it becomes a
        // selection where numbers would become a branch. Of two equal
        // distances the left one is the nearer.
        let d = &self.distances[..];
        let key = |i: usize| d[i].value.to_bits();
        let middle = n - 2 * half;
        if middle == 1 {
            self.merged[0] = d[half];
        }
        let (near, far) = self.merged[middle..].split_at_mut(half);
        let (mut left, mut right) = (half, half + middle);
        let (mut first, mut last) = (0, n);
        for (near, far) in near.iter_mut().zip(far.iter_mut().rev()) {
            let is_left = key(left - 1) <= key(right);
            *near = d[select_unpredictable(is_left, left - 1, right)];
            left -= usize::from(is_left);
            right += usize::from(!is_left);

            let is_first = key(first) > key(last - 1);
            *far = d[select_unpredictable(is_first, first, last - 1)];
            first += usize::from(is_first);
            last -= usize::from(!is_first);
        }
        Some(&self.merged)
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.distances.capacity(), self.merged.capacity()]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::order::Order;
    use super::*;
    use proptest::prelude::*;

    /// Scores by counting, in quadratic time.
    fn by_counting(x: &[f64]) -> Vec<f64> {
        let normal = Normal::standard();
        x.iter()
            .map(|v| {
                let below = x.iter().filter(|w| *w < v).count() as f64;
                let equal = x.iter().filter(|w| *w == v).count() as f64;
                let rank = below + (equal + 1.0) / 2.0;
                normal.inverse_cdf((rank - 0.375) / (x.len() as f64 + 0.25))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn folding_equals_a_second_sort(
            x in proptest::collection::vec(-3.0_f64..3.0, 1..200), ties in proptest::bool::ANY
        ) {
            let x: Vec<f64> = x.iter().map(|v| if ties { v.round() } else { *v }).collect();
            let (mut order, mut scores, mut folded) = (Order::default(), NormalScores::default(), Folding::default());
            order.sort(&x);
            scores.prepare(x.len());
            let mut z = vec![0.0; x.len()];
            scores.scatter(order.entries(), &mut z);
            prop_assert_eq!(&z, &by_counting(&x));
            scores.scatter(folded.fold(order.entries()).unwrap(), &mut z);
            let sorted = order.entries();
            let median = (sorted[(x.len() - 1) / 2].value + sorted[x.len() / 2].value) / 2.0;
            let distances: Vec<f64> = x.iter().map(|v| (v - median).abs()).collect();
            prop_assert_eq!(&z, &by_counting(&distances));
        }
    }

    #[test]
    fn all_equal_draws_score_exactly_zero() {
        for n in 1..300 {
            let mut scores = NormalScores::default();
            scores.prepare(n);
            assert_eq!(scores.of_run(0, n), 0.0);
        }
    }
}
