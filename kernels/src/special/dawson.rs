//! Dawson's integral, the error function and Kummer's function M(1/2; 3/2; x):
//! three faces of the mean of $e^{xt^2}$ over $t$.
//!
//! $$D(x) = e^{-x^2}\int_0^x e^{s^2}\,ds,\qquad
//!   M(x) = {}_1F_1\left(\tfrac12;\tfrac32;x\right) = \int_0^1 e^{xt^2}\,dt$$
//!
//! $$M(x) = e^x\,\frac{D(\sqrt x)}{\sqrt x}\ (x>0),\qquad
//!   M(x) = \frac{\sqrt\pi}{2}\frac{\operatorname{erf}\sqrt{-x}}{\sqrt{-x}}\ (x<0),\qquad
//!   M' = \frac{e^x - M}{2x}$$
//!
//! All symbols are dimensionless. D is Rybicki's sum
//! $D(x) \approx \pi^{-1/2}\sum_{n\ \mathrm{odd}} e^{-(x-nh)^2}/n$ with h = 1/5,
//! whose error is $e^{-(\pi/2h)^2} = 10^{-27}$, its power series below 1/2 and the
//! asymptotic series from 12.
//!
//! Source: Rybicki 1989, doi:10.1063/1.4822832; Abramowitz & Stegun 1964, 7.1, 13.1
//! and 13.6.19. Validated by `functions_equal_table` and
//! `slopes_obey_the_equation` below.

use crate::exp::exp;

/// Spacing of Rybicki's sum.
const H: f64 = 0.2;
/// Odd multiples of H up to 6.2, where the Gaussian is below 1e-16.
const TERMS: usize = 16;
/// $e^{-(nh)^2}$ of the odd n.
const GAUSSIAN: [f64; TERMS] = [
    0.960_789_439_152_323_2,
    0.697_676_326_071_030_7,
    0.367_879_441_171_442_33,
    0.140_858_420_921_045,
    0.039_163_895_098_987_07,
    0.007_907_054_051_593_444,
    0.001_159_229_173_904_591_2,
    0.000_123_409_804_086_679_56,
    9.540_162_873_079_234e-6,
    5.355_347_802_793_106e-7,
    2.182_957_795_125_479e-8,
    6.461_431_773_106_108e-10,
    1.388_794_386_496_402e-11,
    2.167_568_882_618_958e-13,
    2.456_595_368_792_144e-15,
    2.021_715_848_695_349_3e-17,
];

/// The error function, from `libm`.
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// Dawson's integral, odd, to a relative error of about $10^{-15}$.
///
/// # Example
/// ```
/// use microtome_kernels::special::dawson::dawson;
/// assert!((dawson(1.0) / 0.538_079_506_912_768_4 - 1.0).abs() < 1e-15);
/// ```
pub fn dawson(x: f64) -> f64 {
    x * dawson_over_argument(x * x)
}

/// D(√w)/√w for w >= 0: an entire function of w, 1 at zero.
fn dawson_over_argument(w: f64) -> f64 {
    if w < 0.25 {
        // sum (-2w)^k/(2k+1)!!
        let mut sum = 1.0;
        for k in (1..16).rev() {
            sum = 1.0 - sum * 2.0 * w / (2.0 * f64::from(k) + 1.0);
        }
        return sum;
    }
    if w >= 144.0 {
        // (1/2w) sum (2k-1)!!/(2w)^k
        let u = 0.5 / w;
        let mut sum = 1.0;
        for k in (1..10).rev() {
            sum = 1.0 + sum * (2.0 * f64::from(k) - 1.0) * u;
        }
        return u * sum;
    }
    let x = w.sqrt();
    // The nearest even multiple of H is the centre of the sum.
    let centre = 2.0 * (x / (2.0 * H)).round();
    let r = x - centre * H;
    let mut up = exp(2.0 * r * H);
    let square = up * up;
    let (mut down, inverse) = (1.0 / up, 1.0 / square);
    let (mut odd, mut sum) = (1.0, 0.0);
    for g in GAUSSIAN {
        sum += g * (up / (centre + odd) + down / (centre - odd));
        up *= square;
        down *= inverse;
        odd += 2.0;
    }
    exp(-r * r) * sum * (0.5 * std::f64::consts::FRAC_2_SQRT_PI) / x
}

/// $e^{-\max(x,0)}\,{}_1F_1(1/2;3/2;x)$: it never overflows.
///
/// # Example
/// ```
/// use microtome_kernels::special::dawson::kummer_scaled;
/// assert_eq!(kummer_scaled(0.0), 1.0);
/// // The mean of exp(-t²) over 0 < t < 1.
/// assert!((kummer_scaled(-1.0) - 0.746_824_132_812_427).abs() < 1e-15);
/// ```
pub fn kummer_scaled(x: f64) -> f64 {
    if x >= 0.0 {
        return dawson_over_argument(x);
    }
    let root = (-x).sqrt();
    if root < 1e-8 {
        1.0 + x / 3.0
    } else {
        libm::erf(root) / (root * std::f64::consts::FRAC_2_SQRT_PI)
    }
}

/// ln M(x) and its derivative M'/M (the mean of $t^2$ under the weight
/// $e^{xt^2}$, between 0 and 1).
///
/// The derivative is $(1/m - 1)/2x$ for x > 0 and $(e^x/m - 1)/2x$ below, m the
/// scaled function, and a series about zero.
pub fn ln_kummer(x: f64) -> [f64; 2] {
    let scaled = kummer_scaled(x);
    let value = x.max(0.0) + scaled.ln();
    let slope = if x.abs() < 1.0 {
        // M' = sum x^k/(k! (2k+3)), M = sum x^k/(k! (2k+1)).
        let (mut above, mut below, mut term) = (0.0, 0.0, 1.0);
        for k in 0..20 {
            let n = 2.0 * f64::from(k);
            above += term / (n + 3.0);
            below += term / (n + 1.0);
            term *= x / f64::from(k + 1);
        }
        above / below
    } else {
        (exp(x.min(0.0)) / scaled - 1.0) / (2.0 * x)
    };
    [value, slope]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special::table;

    #[test]
    fn functions_equal_table() {
        let mut compared = 0;
        for (name, _, x, expected) in table("special.csv") {
            let got = match name.as_str() {
                "dawson" => dawson(x),
                "erf" => erf(x),
                "kummer_scaled" => kummer_scaled(x),
                "kummer_log_slope" => ln_kummer(x)[1],
                _ => continue,
            };
            // 1/m - 1 cancels to the slope 2x M'/M, which is at least 1/2 from x = 1.
            let bound = if name == "kummer_log_slope" { 8e-15 } else { 2e-15 };
            assert!((got / expected - 1.0).abs() <= bound, "{name} {x}: {got:e}, not {expected:e}");
            compared += 1;
        }
        assert!(compared > 300, "{compared}");
        assert_eq!((dawson(0.0), erf(0.0), kummer_scaled(0.0)), (0.0, 0.0, 1.0));
        assert_eq!(dawson(-2.0), -dawson(2.0));
        assert!((GAUSSIAN[15] / (-(31.0 * H).powi(2)).exp() - 1.0).abs() < 1e-14);
    }

    /// D' = 1 - 2xD by central differences of fourth order.
    #[test]
    fn slopes_obey_the_equation() {
        for i in 1..400 {
            let (x, h) = (f64::from(i) * 0.05, 1e-3);
            let difference = (8.0 * (dawson(x + h) - dawson(x - h)) - dawson(x + 2.0 * h)
                + dawson(x - 2.0 * h))
                / (12.0 * h);
            assert!((difference - (1.0 - 2.0 * x * dawson(x))).abs() < 3e-12, "{x}");
        }
    }
}
