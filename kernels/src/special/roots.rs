//! The positive zeros of the derivatives of Bessel functions: the modes of
//! reflecting cylinders and spheres.
//!
//! $$J_n'(\beta_{nk}) = 0,\qquad j_n'(\alpha_{nk}) = 0$$
//!
//! All zeros up to [`REACH`] are found once, at first use: neighbouring zeros of
//! one order are more than π apart, so a scan in steps of one brackets each, and
//! Newton's method with the second derivative from Bessel's equation finishes to
//! rounding. The zero at the origin is not listed.
//!
//! Source: Olver et al. (DLMF) 10.21; for spheres Abramowitz & Stegun 1964,
//! table 10.6. Validated by `roots_equal_table` and `roots_are_complete` below.

use super::bessel::{bessel_orders, bessel_slope, spherical_orders, spherical_slope};
use std::sync::OnceLock;

/// Zeros up to this value are listed.
pub const REACH: f64 = 100.0;
/// Orders from here on have no zero below [`REACH`].
const ORDERS: usize = 101;

/// The zeros of all orders, by order.
#[derive(Debug)]
pub struct Roots {
    /// Index of the first zero of an order.
    first: Vec<usize>,
    values: Vec<f64>,
}

impl Roots {
    /// The positive zeros of order `n` in rising order; empty where there is none
    /// below [`REACH`].
    pub fn of_order(&self, n: usize) -> &[f64] {
        match (self.first.get(n), self.first.get(n + 1)) {
            (Some(&start), Some(&end)) => &self.values[start..end],
            _ => &[],
        }
    }

    /// Number of orders that have a zero in the list.
    pub fn orders(&self) -> usize {
        self.first.len() - 1
    }

    /// Number of zeros of all orders.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none; never for the two lists of this module.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The index of the first zero of order `n` in the list of all.
    pub fn offset(&self, n: usize) -> usize {
        self.first.get(n).copied().unwrap_or(self.values.len())
    }
}

/// The zeros of $J_n'$.
///
/// # Example
/// ```
/// use microtome_kernels::special::roots::cylinder_roots;
/// assert!((cylinder_roots().of_order(1)[0] - 1.841_183_781_340_659).abs() < 1e-15);
/// ```
pub fn cylinder_roots() -> &'static Roots {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    ROOTS.get_or_init(|| find(bessel_orders, bessel_slope, |n, x| (n * n / x - x) / x, 1.0))
}

/// The zeros of $j_n'$ (not of $J_n'$).
///
/// # Example
/// ```
/// use microtome_kernels::special::roots::sphere_roots;
/// assert!((sphere_roots().of_order(1)[0] - 2.081_575_977_818_101).abs() < 1e-15);
/// ```
pub fn sphere_roots() -> &'static Roots {
    static ROOTS: OnceLock<Roots> = OnceLock::new();
    ROOTS.get_or_init(|| {
        find(spherical_orders, spherical_slope, |n, x| (n * (n + 1.0) / x - x) / x, 2.0)
    })
}

/// y'' = `curvature(n, x)` y - `friction`/x y'.
fn find(
    orders: impl Fn(f64, &mut [f64]),
    slope: impl Fn(&[f64], usize) -> f64,
    curvature: impl Fn(f64, f64) -> f64,
    friction: f64,
) -> Roots {
    let grid: Vec<f64> = (0..=REACH as usize).map(|i| 0.5 + i as f64).collect();
    let slopes: Vec<Vec<f64>> = grid
        .iter()
        .map(|&x| {
            let mut y = vec![0.0; ORDERS + 1];
            orders(x, &mut y);
            (0..ORDERS).map(|n| slope(&y, n)).collect()
        })
        .collect();
    let mut out = Roots { first: vec![0], values: Vec::new() };
    for n in 0..ORDERS {
        for (i, pair) in slopes.windows(2).enumerate() {
            if pair[0][n] * pair[1][n] < 0.0 {
                let mut y = vec![0.0; n + 2];
                let mut x = 0.5 * (grid[i] + grid[i + 1]);
                for _ in 0..40 {
                    orders(x, &mut y);
                    let s = slope(&y, n);
                    let second = curvature(n as f64, x) * y[n] - friction / x * s;
                    let next = (x - s / second).clamp(grid[i], grid[i + 1]);
                    let step = (next - x).abs();
                    x = next;
                    if step <= 2.0 * f64::EPSILON * x {
                        break;
                    }
                }
                if x <= REACH {
                    out.values.push(x);
                }
            }
        }
        if n > 0 && out.values.len() == out.first[n] {
            break;
        }
        out.first.push(out.values.len());
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::special::table;

    /// A few units in the last place: the function is flat to rounding there.
    #[test]
    fn roots_equal_table() {
        let mut compared = 0;
        for (name, n, k, expected) in table("special.csv") {
            let roots = match name.as_str() {
                "root_cylinder" => cylinder_roots(),
                "root_sphere" => sphere_roots(),
                _ => continue,
            };
            let got = roots.of_order(n as usize)[k as usize - 1];
            assert!((got / expected - 1.0).abs() <= 2e-15, "{name} {n} {k}: {got}, not {expected}");
            compared += 1;
        }
        assert!(compared > 60, "{compared}");
    }

    /// No zero is missed: from π on, the gaps of an order fall (a missed zero would
    /// make one rise), the last gap reaches beyond the list, and the zeros of
    /// neighbouring orders interlace.
    #[test]
    fn roots_are_complete() {
        for roots in [cylinder_roots(), sphere_roots()] {
            assert!(roots.orders() > 90 && roots.len() > 1200, "{}", roots.len());
            for n in 0..roots.orders() {
                let own = roots.of_order(n);
                let gaps: Vec<f64> = own.windows(2).map(|pair| pair[1] - pair[0]).collect();
                for pair in gaps.windows(2) {
                    assert!(pair[0] > pair[1] && pair[1] > std::f64::consts::PI, "{n}: {pair:?}");
                }
                if let Some(gap) = gaps.last() {
                    assert!(REACH - own.last().unwrap() < *gap, "{n}");
                }
                // The first zero is at n + 0.809 n^(1/3) + ... (DLMF 10.21.40).
                let first = n as f64 + 0.809 * (n as f64).cbrt();
                assert!(n == 0 || (own[0] - first).abs() < 0.55, "{n}: {} {first}", own[0]);
                if n >= 2 {
                    for (below, here) in roots.of_order(n - 1).iter().zip(own) {
                        assert!(below < here, "{n}");
                    }
                }
            }
        }
    }
}
