//! Sums, means and variances with NumPy's order of summation.
//!
//! $$\bar x = \frac1n\sum_i x_i,\qquad s^2 = \frac1{n-1}\sum_i (x_i-\bar x)^2$$
//!
//! Blocks of up to 128 numbers are summed in eight interleaved partial sums,
//! longer runs by halving (pairwise summation; Higham 1993,
//! doi:10.1137/0914050). The error grows with the logarithm of the length, the
//! eight partial sums vectorise, and a constant chain has the same rounding as
//! in the reference implementation, where it decides between 0/0 and x/0.
//!
//! Validated by `sums_and_extremes_are_exact_on_integers` below and by `tests/suite/arviz.rs`.

/// The sum of `f(v)` over a slice.
pub(crate) fn sum_of(x: &[f64], f: impl Fn(f64) -> f64 + Copy) -> f64 {
    if x.len() < 8 {
        return x.iter().fold(0.0, |s, &v| s + f(v));
    }
    if x.len() > 128 {
        let half = x.len() / 2;
        let (left, right) = x.split_at(half - half % 8);
        return sum_of(left, f) + sum_of(right, f);
    }
    let (blocks, rest) = x.as_chunks::<8>();
    let mut r = [0.0; 8];
    for block in blocks {
        for (r, v) in r.iter_mut().zip(block) {
            *r += f(*v);
        }
    }
    let s = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(s, |s, &v| s + f(v))
}

/// The smallest and the largest number, NaN left aside; infinity and minus
/// infinity of an empty slice.
pub(crate) fn extremes(x: &[f64]) -> (f64, f64) {
    let lower = |a: f64, b: f64| if b < a { b } else { a };
    let upper = |a: f64, b: f64| if b > a { b } else { a };
    let (mut low, mut high) = ([f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
    let (blocks, rest) = x.as_chunks::<8>();
    for block in blocks {
        for l in 0..8 {
            low[l] = lower(low[l], block[l]);
            high[l] = upper(high[l], block[l]);
        }
    }
    let all = |f: fn(f64, f64) -> f64, lanes: [f64; 8]| {
        rest.iter().chain(&lanes[1..]).fold(lanes[0], |a, &b| f(a, b))
    };
    (all(lower, low), all(upper, high))
}

/// The mean; NaN of an empty slice.
pub(crate) fn mean(x: &[f64]) -> f64 {
    sum_of(x, |v| v) / x.len() as f64
}

/// The sum of squared distances from `centre`.
pub(crate) fn sum_of_squares(x: &[f64], centre: f64) -> f64 {
    sum_of(x, |v| (v - centre) * (v - centre))
}

/// The variance with divisor n - 1; NaN of fewer than two numbers.
pub(crate) fn variance(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return f64::NAN;
    }
    sum_of_squares(x, mean(x)) / (x.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_extremes_are_exact_on_integers() {
        for n in 0..600_usize {
            let x: Vec<f64> = (1..=n).map(|i| i as f64).collect();
            assert_eq!(sum_of(&x, |v| v), (n * (n + 1) / 2) as f64);
        }
        for n in 0..40 {
            let x: Vec<f64> = (0..n).map(|i| f64::from((i * 7 + 3) % 41)).collect();
            let low = x.iter().copied().fold(f64::INFINITY, f64::min);
            let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(extremes(&x), (low, high));
        }
        assert_eq!(variance(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.5);
        assert!(variance(&[1.0]).is_nan() && mean(&[]).is_nan());
    }
}
