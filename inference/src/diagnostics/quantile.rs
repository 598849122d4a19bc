//! Quantiles by linear interpolation between order statistics (type 7).
//!
//! $$Q(p) = (1-\gamma)\,x_{(k)} + \gamma\,x_{(k+1)},\qquad k + \gamma = 1 + (n-1)p$$
//!
//! Source: Hyndman & Fan 1996, doi:10.2307/2684934, definition 7. Two roundings
//! of the one formula are kept apart: [`quantile`] is NumPy's, for results;
//! [`threshold`] is the one with which ArviZ (SciPy `mquantiles`) cuts draws
//! into an indicator series, where the last bit decides which tied draws belong
//! to the tail.
//!
//! Validated by `quantiles_of_a_ladder` below and by `tests/suite/arviz.rs`.

use super::order::Entry;

/// The p-quantile of sorted draws; NaN of no draws or of p outside [0, 1].
pub(super) fn quantile(sorted: &[Entry], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let at = last as f64 * p;
    let k = at.floor();
    let t = at - k;
    let k = k as usize;
    let (a, b) = (sorted[k].value, sorted[(k + 1).min(last)].value);
    let step = b - a;
    if t >= 0.5 { b - step * (1.0 - t) } else { a + step * t }
}

/// The p-quantile that cuts an indicator series.
pub(super) fn threshold(sorted: &[Entry], p: f64) -> f64 {
    let n = sorted.len();
    if n == 0 || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if n == 1 {
        return sorted[0].value;
    }
    // Not `1 + (n - 1) p`: the order of the reference decides the last bit.
    let at = n as f64 * p + (1.0 - p);
    let k = at.clamp(1.0, (n - 1) as f64).floor();
    let gamma = (at - k).clamp(0.0, 1.0);
    let k = k as usize;
    (1.0 - gamma) * sorted[k - 1].value + gamma * sorted[k].value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_ladder() {
        let x: Vec<Entry> = (0..5).map(|i| Entry { value: f64::from(i), position: 0 }).collect();
        for f in [quantile, threshold] {
            assert_eq!([0.0, 0.125, 0.5, 0.875, 1.0].map(|p| f(&x, p)), [0.0, 0.5, 2.0, 3.5, 4.0]);
            assert!(f(&x, 1.5).is_nan() && f(&x, f64::NAN).is_nan() && f(&[], 0.5).is_nan());
            assert_eq!(f(&x[1..2], 0.3), 1.0);
        }
    }
}
