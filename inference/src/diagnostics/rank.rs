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
//! Validated by `folding_equals_a_second_sort` below and by `tests/arviz.rs`.

use super::order::Entry;
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
            let value = sorted[from].value;
            let mut to = from + 1;
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

/// Merges the sorted draws into the order of their distances from the median.
/// Returns false, with `folded` empty, when the median is not finite.
pub(super) fn fold(sorted: &[Entry], folded: &mut Vec<Entry>) -> bool {
    folded.clear();
    let n = sorted.len();
    if n == 0 {
        return false;
    }
    // Split chains have an even number of draws in all; one half lies on
    // either side of the median.
    let half = n / 2;
    let median = if n.is_multiple_of(2) {
        (sorted[half - 1].value + sorted[half].value) / 2.0
    } else {
        sorted[half].value
    };
    if !median.is_finite() {
        return false;
    }
    folded.reserve(n);
    let distance = |e: Entry| Entry { value: (e.value - median).abs(), position: e.position };
    let (mut left, mut right) = (half, half);
    while left > 0 && right < n {
        let (l, r) = (distance(sorted[left - 1]), distance(sorted[right]));
        let take_left = l.value <= r.value;
        folded.push(if take_left { l } else { r });
        left -= usize::from(take_left);
        right += usize::from(!take_left);
    }
    folded.extend(sorted[..left].iter().rev().map(|&e| distance(e)));
    folded.extend(sorted[right..].iter().map(|&e| distance(e)));
    true
}

#[cfg(test)]
mod tests {
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
            let (mut order, mut scores, mut folded) = (Order::default(), NormalScores::default(), Vec::new());
            order.sort(&x);
            scores.prepare(x.len());
            let mut z = vec![0.0; x.len()];
            scores.scatter(order.entries(), &mut z);
            prop_assert_eq!(&z, &by_counting(&x));
            prop_assert!(fold(order.entries(), &mut folded));
            scores.scatter(&folded, &mut z);
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
