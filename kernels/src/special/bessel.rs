//! Bessel functions of the first kind, cylindrical and spherical, of many orders
//! at once.
//!
//! $$\frac{2n}{x}J_n = J_{n-1} + J_{n+1},\qquad
//!   \frac{2n+1}{x}j_n = j_{n-1} + j_{n+1}$$
//!
//! Above the turning point ($n \ge x$) the ratio of neighbours is taken downwards,
//! $r_n = J_n/J_{n-1} = 1/(2n/x - r_{n+1})$, where nothing cancels and nothing
//! overflows; below it the recurrence itself runs down to order zero, where all
//! directions are equally stable, and the whole is scaled to the larger of the
//! first two orders, which are known ($J_0$ and $J_1$ from `libm`, $j_0$ and $j_1$
//! in closed form). Arguments are dimensionless.
//!
//! Source: Miller's algorithm, Gautschi 1967, doi:10.1137/1009002; recurrences:
//! Abramowitz & Stegun 1964, 9.1.27 and 10.1.19. Validated by `orders_equal_table`
//! and `derivatives_obey_the_equation` below.

/// The Bessel function $J_0(x)$.
pub fn bessel_j0(x: f64) -> f64 {
    libm::j0(x)
}

/// The Bessel function $J_1(x)$.
pub fn bessel_j1(x: f64) -> f64 {
    libm::j1(x)
}

/// The spherical Bessel functions $j_0 = \sin x/x$ and
/// $j_1 = \sin x/x^2 - \cos x/x$, to a relative error of $10^{-15}$ of the larger.
pub fn spherical_j0_j1(x: f64) -> [f64; 2] {
    let w = x * x;
    if w < 1.0 {
        // j0 = sum (-w)^k/(2k+1)!, j1 = x sum (-w)^k (2k+2)/(2k+3)!.
        let (mut j0, mut j1) = (0.0, 0.0);
        for k in (0..10).rev() {
            let n = 2.0 * f64::from(k);
            j0 = 1.0 - j0 * w / ((n + 2.0) * (n + 3.0));
            j1 = 1.0 - j1 * w / ((n + 2.0) * (n + 5.0));
        }
        [j0, j1 * x / 3.0]
    } else {
        let (sine, cosine) = libm::sincos(x);
        [sine / x, (sine / x - cosine) / x]
    }
}

/// The highest order at which the downward ratios start, so that the error of
/// starting with zero is below $10^{-17}$ at the order `last` and at the turning
/// point `x`.
fn start(x: f64, last: usize) -> usize {
    let turning = turning(x) as f64;
    (turning + 12.0 * turning.cbrt() + 12.0) as usize + last.saturating_sub(turning as usize)
}

/// The order from which on the solution falls, at most a million: no argument takes
/// forever.
fn turning(x: f64) -> usize {
    (x.ceil().max(1.0) as usize).min(1 << 20)
}

/// Fills `out` with the orders 0, 1, … of the solution that falls with the order;
/// `factor(n)`/x is the factor of order n in the recurrence, `first` the first two
/// orders.
fn downward(x: f64, out: &mut [f64], factor: impl Fn(f64) -> f64, first: [f64; 2]) {
    let last = out.len() - 1;
    let turning = turning(x);
    // r_n = J_n/J_{n-1} = x/(factor(n) - x r_{n+1}) for n > turning.
    let mut ratio = 0.0;
    let mut n = start(x, last);
    while n > turning {
        ratio = x / (factor(n as f64) - x * ratio);
        if n <= last {
            out[n] = ratio;
        }
        n -= 1;
    }
    // The recurrence from order `turning` (value 1) down.
    let (mut above, mut here) = (ratio, 1.0);
    while n > 0 {
        if n <= last {
            out[n] = here;
        }
        let below = factor(n as f64) / x * here - above;
        (above, here) = (here, below);
        n -= 1;
    }
    // Now `here` and `above` are orders 0 and 1 up to a factor.
    let scale = if first[0].abs() >= first[1].abs() { first[0] / here } else { first[1] / above };
    for value in out.iter_mut().take(turning + 1) {
        *value *= scale;
    }
    out[0] = first[0];
    for n in turning + 1..=last {
        out[n] *= out[n - 1];
    }
}

/// Fills `out` with $J_0(x), J_1(x), \dots$ for $x \ge 0$, to about $10^{-13}$ of
/// each value above the turning point and $10^{-15}$ absolutely below it (x up to
/// 1000).
///
/// # Example
/// ```
/// let mut j = [0.0; 3];
/// microtome_kernels::special::bessel::bessel_orders(1.0, &mut j);
/// // J2(1) = 0.11490348493190049
/// assert!((j[2] / 0.114_903_484_931_900_49 - 1.0).abs() < 1e-14);
/// ```
pub fn bessel_orders(x: f64, out: &mut [f64]) {
    if out.is_empty() {
        return;
    }
    if x <= 0.0 {
        out.fill(0.0);
        out[0] = 1.0;
        return;
    }
    downward(x, out, |n| 2.0 * n, [libm::j0(x), libm::j1(x)]);
}

/// Fills `out` with the spherical $j_0(x), j_1(x), \dots$ for $x \ge 0$; accuracy
/// as [`bessel_orders`].
///
/// # Example
/// ```
/// let mut j = [0.0; 2];
/// microtome_kernels::special::bessel::spherical_orders(0.5, &mut j);
/// assert!((j[0] - 0.5_f64.sin() / 0.5).abs() < 1e-15);
/// ```
pub fn spherical_orders(x: f64, out: &mut [f64]) {
    if out.is_empty() {
        return;
    }
    if x <= 0.0 {
        out.fill(0.0);
        out[0] = 1.0;
        return;
    }
    downward(x, out, |n| 2.0 * n + 1.0, spherical_j0_j1(x));
}

/// $J_n'$ from the table of orders, $J_n' = (J_{n-1} - J_{n+1})/2$; the table
/// reaches order n + 1.
#[inline]
pub fn bessel_slope(orders: &[f64], n: usize) -> f64 {
    match n {
        0 => -orders[1],
        _ => 0.5 * (orders[n - 1] - orders[n + 1]),
    }
}

/// $j_n' = (n j_{n-1} - (n+1) j_{n+1})/(2n+1)$ from the table of orders, which
/// reaches order n + 1.
#[inline]
pub fn spherical_slope(orders: &[f64], n: usize) -> f64 {
    match n {
        0 => -orders[1],
        _ => {
            let m = n as f64;
            (m * orders[n - 1] - (m + 1.0) * orders[n + 1]) / (2.0 * m + 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::special::table;

    /// Relative 1e-13 where the function falls with the order, and 1e-15 of the
    /// amplitude sqrt(2/πx) (1/x for the spherical ones) times 1 + x/10 where it
    /// oscillates: a rounding error of x is a phase.
    #[test]
    fn orders_equal_table() {
        let mut compared = 0;
        for (name, n, x, expected) in table("special.csv") {
            let mut out = vec![0.0; 120];
            let amplitude = match name.as_str() {
                "bessel_j" => {
                    bessel_orders(x, &mut out);
                    (2.0 / (std::f64::consts::PI * x)).sqrt().min(1.0)
                }
                "spherical_j" => {
                    spherical_orders(x, &mut out);
                    (1.0 / x).min(1.0)
                }
                _ => continue,
            };
            let absolute = if x > n { 1e-15 * amplitude * (1.0 + 0.1 * x) } else { 0.0 };
            let got = out[n as usize];
            let bound = 1e-13 * expected.abs() + absolute;
            assert!((got - expected).abs() <= bound, "{name} {n} {x}: {got:e}, not {expected:e}");
            // The same whatever the length of the table.
            let mut short = vec![0.0; n as usize + 1];
            match name.as_str() {
                "bessel_j" => bessel_orders(x, &mut short),
                _ => spherical_orders(x, &mut short),
            }
            let again = short[n as usize];
            assert!((again - got).abs() <= bound, "{name} {n} {x}: {again:e} and {got:e}");
            compared += 1;
        }
        assert!(compared > 500, "{compared}");
    }

    /// x² J'' + x J' + (x² - n²) J = 0, with J'' by the recurrence of slopes.
    #[test]
    fn derivatives_obey_the_equation() {
        for x in [0.3, 1.0, 4.5, 17.0, 60.0] {
            let (mut j, mut s) = (vec![0.0; 40], vec![0.0; 40]);
            bessel_orders(x, &mut j);
            spherical_orders(x, &mut s);
            let slopes: Vec<f64> = (0..39).map(|n| bessel_slope(&j, n)).collect();
            let spherical: Vec<f64> = (0..39).map(|n| spherical_slope(&s, n)).collect();
            for n in 0..38 {
                let nu = n as f64;
                let second = bessel_slope(&slopes, n);
                let terms = [x * x * second, x * slopes[n], (x * x - nu * nu) * j[n]];
                let size: f64 = terms.iter().map(|t| t.abs()).sum::<f64>() + nu * nu * j[n].abs();
                assert!(terms.iter().sum::<f64>().abs() <= 1e-13 * size, "J {n} {x}");
                let second = spherical_slope(&spherical, n);
                let last = (x * x - nu * (nu + 1.0)) * s[n];
                let terms = [x * x * second, 2.0 * x * spherical[n], last];
                let size: f64 = terms.iter().map(|t| t.abs()).sum::<f64>() + nu * nu * s[n].abs();
                assert!(terms.iter().sum::<f64>().abs() <= 1e-13 * size, "j {n} {x}");
            }
        }
    }

    #[test]
    fn huge_arguments_end() {
        for x in [1e7, 1e100, f64::INFINITY, f64::NAN] {
            let mut out = [0.0; 4];
            bessel_orders(x, &mut out);
            spherical_orders(x, &mut out);
        }
    }

    #[test]
    fn extreme_arguments_are_finite() {
        for x in [0.0, 1e-300, 1e-20, 1e-3, 900.0] {
            for length in [1, 2, 3, 110] {
                let mut out = vec![f64::NAN; length];
                bessel_orders(x, &mut out);
                assert!(out.iter().all(|v| v.is_finite() && v.abs() <= 1.0), "{x} {out:?}");
                spherical_orders(x, &mut out);
                assert!(out.iter().all(|v| v.is_finite() && v.abs() <= 1.0), "{x} {out:?}");
            }
        }
    }
}
