//! The orientation dispersion index of a distribution: that of the Watson
//! distribution with the same mean of $(n\cdot m)^2$ about the main direction m.
//!
//! $$\tau = \frac{\int_0^1 t^2 e^{\kappa t^2}dt}{\int_0^1 e^{\kappa t^2}dt},\qquad
//! \mathrm{odi} = \frac2\pi\arctan\frac1\kappa$$
//!
//! $\tau$ is the largest eigenvalue of the orientation tensor, which depends on the
//! orders 0 and 2 alone and so not on $l_\mathrm{max}$. Crossing fibres count as
//! dispersion; an even distribution has odi 1.
//!
//! Source: Mardia & Jupp 2000, *Directional Statistics*, sec. 10.3.2 (maximum
//! likelihood of the Watson distribution); Zhang et al. 2012,
//! doi:10.1016/j.neuroimage.2012.03.072, eq. 5 (odi).
//! Validated by `watson_concentrations_return` and `slopes_equal_differences` below.

use std::f64::consts::FRAC_2_PI;

/// odi from the largest eigenvalue of an orientation tensor (1/3 to 1).
pub fn dispersion_index(tau: f64) -> f64 {
    let kappa = concentration(tau);
    if kappa <= 0.0 { 1.0 } else { FRAC_2_PI * (1.0 / kappa).atan() }
}

/// $d\,\mathrm{odi}/d\tau$ between τ = 1/3, where odi begins to fall, and 1.
pub fn dispersion_index_slope(tau: f64) -> f64 {
    if tau <= 1.0 / 3.0 {
        // odi = 1 - (2/pi) 45/4 (tau - 1/3) there.
        return -11.25 * FRAC_2_PI;
    }
    if tau >= 1.0 {
        return -FRAC_2_PI;
    }
    let kappa = concentration(tau);
    -FRAC_2_PI / (variance(kappa, tau) * (1.0 + kappa * kappa))
}

/// $d\tau/d\kappa = \langle t^4\rangle - \tau^2$, with $\kappa\langle t^4\rangle$ from the
/// recurrence by parts.
fn variance(kappa: f64, tau: f64) -> f64 {
    let fourth = if kappa < 1e-3 { 0.2 } else { 0.5 * (peak(kappa) - 3.0 * tau) / kappa };
    fourth - tau * tau
}

/// κ of the Watson distribution with mean squared cosine τ; 0 at τ ≤ 1/3.
pub fn concentration(tau: f64) -> f64 {
    if tau.is_nan() || tau <= 1.0 / 3.0 {
        return 0.0;
    }
    if tau >= 1.0 {
        return f64::INFINITY;
    }
    // Start: middle of the bounds of Sra & Karp 2013, doi:10.1016/j.jmva.2012.08.010,
    // for dimension 3 (a = 1/2, c = 3/2).
    let lower = (1.5 * tau - 0.5) / (tau * (1.0 - tau)) * (1.0 + (1.0 - tau));
    let mut kappa = lower.max(1e-9);
    for _ in 0..30 {
        let t = mean_square(kappa);
        let slope = variance(kappa, t);
        let next = (kappa + (tau - t) / slope).clamp(0.3 * kappa, 3.0 * kappa);
        let done = (next - kappa).abs() <= 1e-12 * kappa;
        kappa = next;
        if done {
            break;
        }
    }
    kappa
}

/// $e^\kappa / \int_0^1 e^{\kappa t^2} dt$.
fn peak(kappa: f64) -> f64 {
    if kappa > 60.0 {
        // Asymptotic: the integral is e^k/(2k) (1 + 1/(2k) + 3/(2k)^2 + 15/(2k)^3 + ...).
        let h = 0.5 / kappa;
        let (mut term, mut sum) = (1.0, 1.0);
        for n in 0..14 {
            term *= (2 * n + 1) as f64 * h;
            sum += term;
        }
        return 2.0 * kappa / sum;
    }
    // e^-k times the integral = sum of (-2k)^n/(1 3 5 ... (2n+1)) in its positive form:
    // the integral itself is sum of k^n / (n! (2n+1)).
    let (mut power, mut sum, mut n) = (1.0, 1.0, 1.0);
    loop {
        power *= kappa / n;
        let term = power / (2.0 * n + 1.0);
        sum += term;
        if term < 1e-17 * sum {
            return kappa.exp() / sum;
        }
        n += 1.0;
    }
}

/// τ(κ): by parts, 2κτ = e^κ/∫ - 1.
fn mean_square(kappa: f64) -> f64 {
    if kappa < 1e-3 {
        // 1/3 + 4k/45 + 8k^2/945, to 1e-13 here.
        return 1.0 / 3.0 + kappa * (4.0 / 45.0 + kappa * 8.0 / 945.0);
    }
    (peak(kappa) - 1.0) / (2.0 * kappa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_equal_differences() {
        let h = 1e-6;
        for tau in [1.0 / 3.0 + 2e-6, 0.34, 0.5, 0.8, 0.97, 1.0 - 2e-6] {
            let found = dispersion_index_slope(tau);
            let expected = (dispersion_index(tau + h) - dispersion_index(tau - h)) / (2.0 * h);
            assert!((found / expected - 1.0).abs() < 1e-4, "{tau} {found} {expected}");
        }
        // The ends continue what is between.
        for (end, near) in [(1.0 / 3.0, 1.0 / 3.0 + 1e-5), (1.0, 1.0 - 1e-5)] {
            let (a, b) = (dispersion_index_slope(end), dispersion_index_slope(near));
            assert!((a / b - 1.0).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn watson_concentrations_return() {
        // tau by a fine midpoint rule.
        for kappa in [1e-4, 0.01, 0.5, 2.0, 9.0, 40.0, 59.0, 61.0, 300.0_f64] {
            let n = 400_000;
            let (mut a, mut b) = (0.0, 0.0);
            for i in 0..n {
                let t = (i as f64 + 0.5) / n as f64;
                let e = (kappa * (t * t - 1.0)).exp();
                a += t * t * e;
                b += e;
            }
            let found = concentration(a / b);
            assert!((found / kappa - 1.0).abs() < 1e-6, "{kappa} {found}");
            let expected = FRAC_2_PI * (1.0 / kappa).atan();
            assert!((dispersion_index(a / b) - expected).abs() < 1e-6);
        }
        assert_eq!((dispersion_index(1.0 / 3.0), dispersion_index(1.0)), (1.0, 0.0));
        assert_eq!(dispersion_index(0.2), 1.0);
    }
}
