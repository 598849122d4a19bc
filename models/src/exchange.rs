//! Kärger exchange: water that moves between two compartments about one axis.
//!
//! $$E = (1, 1)\,e^{-K}\begin{pmatrix}f\\1-f\end{pmatrix},\qquad
//!   K = \begin{pmatrix}\alpha_1 + (1-f)x & -fx\\ -(1-f)x & \alpha_2 + fx\end{pmatrix},\qquad
//!   \alpha_i = -\ln E_i,\quad x = \frac{\tau}{t_\mathrm{ex}}$$
//!
//! The rates $k_{12} = (1-f)/t_\mathrm{ex}$ and $k_{21} = f/t_\mathrm{ex}$ are in detailed
//! balance, so $K$ is similar to a symmetric matrix and
//! $$E = \tfrac12e^{-\lambda}\left[1 + e^{-2r} - \frac wr\left(1-e^{-2r}\right)\right],\qquad
//!   \lambda = \frac{\alpha_1\alpha_2 + x(f\alpha_1 + (1-f)\alpha_2)}{m+r}$$
//! $$m = \tfrac12(\alpha_1+\alpha_2+x),\quad h = \tfrac12(\alpha_1-\alpha_2+(1-2f)x),\quad
//!   r^2 = h^2 + f(1-f)x^2,\quad w = (2f-1)h - 2f(1-f)x$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $E_i, \alpha_i$ | 1 | signal of a compartment without exchange; $\alpha_i = bD_i$ where it is Gaussian |
//! | $f$ | 1 | fraction of the water in the first compartment, `intra_fraction` |
//! | $t_\mathrm{ex}$ | ms | exchange time $1/(k_{12}+k_{21})$ |
//! | $\tau$ | ms | diffusion time $\Delta-\delta/3$ |
//!
//! It holds for pulses that are short beside the exchange time, and where diffusion in
//! each compartment is Gaussian (a restricted one enters by its apparent diffusivity).
//! The limits are the sum of the two compartments ($t_\mathrm{ex}\to\infty$) and one of
//! the mean diffusivity ($t_\mathrm{ex}\to0$).
//!
//! Source: Kärger 1985, doi:10.1016/0001-8686(85)80018-X; in this form Jelescu et al.
//! 2022, doi:10.1016/j.neuroimage.2022.119277, eqs. 1 to 4.
//! Validated by `modifiers_equal_golden`, `slopes_equal_differences` and the limits below.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, Unit};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const INTRA_FRACTION: ParameterSpec = ParameterSpec {
    name: "intra_fraction",
    unit: Unit::One,
    range: [0.0, 1.0],
    scale: 0.5,
    domain: [0.0, 1.0],
    default: None,
    period: None,
    meaning: "fraction of the water that is in the first compartment",
};

const EXCHANGE_TIME: ParameterSpec = ParameterSpec {
    name: "exchange_time_ms",
    unit: Unit::Millisecond,
    range: [1.0, 300.0],
    scale: 30.0,
    domain: crate::parameter::POSITIVE,
    default: None,
    period: None,
    meaning: "exchange time, 1/(k12 + k21)",
};

/// Exchange is as good as instant from this many exchange times in a diffusion time on;
/// squares of larger numbers overflow.
const FASTEST: f64 = 1e100;

/// A name that lives as long as the program; equal names are kept once.
fn lasting(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into_boxed_str());
    names.insert(kept);
    kept
}

/// Two compartments about one axis that exchange water.
#[derive(Debug)]
pub struct Karger {
    kind: String,
    sites: [Arc<dyn Compartment>; 2],
    parameters: Vec<ParameterSpec>,
    reference: String,
}

impl Karger {
    /// Two compartments in exchange; `None` for a full tensor, and for two without an axis
    /// (write one of them as a zeppelin).
    pub fn new(first: Arc<dyn Compartment>, second: Arc<dyn Compartment>) -> Option<Self> {
        let sites = [first, second];
        if sites.iter().any(|s| s.family() == Family::Tensor) || !sites.iter().any(|s| s.oriented())
        {
            return None;
        }
        let same = sites[0].kind() == sites[1].kind();
        let mut parameters = Vec::new();
        for (i, site) in sites.iter().enumerate() {
            let number = if same && i == 1 { "_2" } else { "" };
            parameters.extend(site.parameters().iter().map(|p| ParameterSpec {
                name: lasting(format!("{}{number}_{}", site.kind(), p.name)),
                ..*p
            }));
        }
        parameters.extend([INTRA_FRACTION, EXCHANGE_TIME]);
        let reference = format!(
            "K\u{e4}rger 1985, doi:10.1016/0001-8686(85)80018-X; {}; {}",
            sites[0].reference(),
            sites[1].reference()
        );
        // Pairs of other water are other compartments, also where their parameters agree.
        let kind = match [sites[0].kind(), sites[1].kind()] {
            ["stick", "zeppelin"] => "karger".into(),
            [a, b] => format!("karger, {a} and {b}"),
        };
        Some(Self { kind, sites, parameters, reference })
    }
}

/// E and its derivatives with respect to (alpha_1, alpha_2, f, x).
fn exchange(a1: f64, a2: f64, f: f64, x: f64) -> (f64, [f64; 4]) {
    let g = 1.0 - f;
    let (m, h) = (0.5 * (a1 + a2 + x), 0.5 * (a1 - a2 + (g - f) * x));
    let r2 = h * h + f * g * x * x;
    let r = r2.sqrt();
    let w = (f - g) * h - 2.0 * f * g * x;
    // exp(-m) times cosh r, sinh(r)/r and its derivative by r², all from
    // exp(-lambda), lambda = m - r without cancellation.
    let determinant = a1 * a2 + x * (f * a1 + g * a2);
    let lambda = if m + r > 0.0 { determinant / (m + r) } else { 0.0 };
    let (slow, fast) = ((-lambda).exp(), (-2.0 * r).exp());
    let cosh = 0.5 * slow * (1.0 + fast);
    let (sinc, d_sinc) = if r2 < 1e-2 {
        let scale = slow * (-r).exp();
        let series = 1.0 + r2 / 6.0 * (1.0 + r2 / 20.0 * (1.0 + r2 / 42.0 * (1.0 + r2 / 72.0)));
        let slope = 1.0 / 6.0
            * (1.0 + r2 / 10.0 * (1.0 + r2 / 28.0 * (1.0 + r2 / 54.0 * (1.0 + r2 / 88.0))));
        (scale * series, scale * slope)
    } else {
        let sinc = 0.5 * slow * -(-2.0 * r).exp_m1() / r;
        (sinc, (cosh - sinc) / (2.0 * r2))
    };
    let value = cosh - w * sinc;
    // By r², w and m.
    let by_r2 = 0.5 * sinc - w * d_sinc;
    let by = |dm: f64, dh: f64, d_fg_x2: f64, dw: f64| {
        -value * dm + by_r2 * (2.0 * h * dh + d_fg_x2) - sinc * dw
    };
    let slope = [
        by(0.5, 0.5, 0.0, 0.5 * (f - g)),
        by(0.5, -0.5, 0.0, -0.5 * (f - g)),
        by(0.0, -x, (g - f) * x * x, 2.0 * h - (f - g) * x - 2.0 * (g - f) * x),
        by(0.5, 0.5 * (g - f), 2.0 * f * g * x, -0.5 * (f - g) * (f - g) - 2.0 * f * g),
    ];
    (value, slope)
}

/// $\alpha = -\ln E$ and its derivatives at the cosines of a shell.
fn exponent(
    site: &dyn Compartment,
    shell: &Shell,
    scalars: &[f64],
    t: &[f64],
    alpha: &mut [f64],
    d_alpha: &mut [f64],
) {
    let n = t.len();
    if site.family() == Family::Zonal {
        site.profile(shell, scalars, t, alpha, d_alpha);
        for i in 0..n {
            // A signal at the precision of its profile has no logarithm.
            let e = alpha[i].max(1e-14);
            alpha[i] = -e.ln();
            for j in 0..scalars.len() {
                d_alpha[j * n + i] /= -e;
            }
        }
        return;
    }
    let mut lowered = site.coefficients(std::slice::from_ref(shell));
    site.lower(std::slice::from_ref(shell), scalars, [0.0, 0.0, 1.0], &mut lowered);
    match &lowered {
        Coefficients::Isotropic { value, d_value } => {
            let e = value[0].max(f64::MIN_POSITIVE);
            alpha.fill(-e.ln());
            for (row, d) in d_alpha.chunks_mut(n).zip(d_value) {
                row.fill(-d / e);
            }
        }
        Coefficients::Quadratic { a, c, d_a, d_c } => {
            for (i, t) in t.iter().enumerate() {
                alpha[i] = a[0] + c[0] * t * t;
                for j in 0..scalars.len() {
                    d_alpha[j * n + i] = d_a[j] + d_c[j] * t * t;
                }
            }
        }
        Coefficients::Zonal(_) | Coefficients::Orthotropic(_) | Coefficients::Tensor { .. } => {}
    }
}

impl Compartment for Karger {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Zonal
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn profile(
        &self,
        shell: &Shell,
        scalars: &[f64],
        t: &[f64],
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        let n = t.len();
        let split = self.sites[0].parameters().len();
        let (f, time) = (scalars[scalars.len() - 2], scalars[scalars.len() - 1]);
        let inner = scalars.len() - 2;
        let x = shell.tau_ms().unwrap_or(f64::NAN) / time;
        let instant = x > FASTEST;
        let x = if instant { FASTEST } else { x };
        let mut alpha = vec![0.0; 2 * n];
        let mut slopes = vec![0.0; inner * n];
        let (first, second) = alpha.split_at_mut(n);
        let (d_first, d_second) = slopes.split_at_mut(split * n);
        exponent(self.sites[0].as_ref(), shell, &scalars[..split], t, first, d_first);
        exponent(self.sites[1].as_ref(), shell, &scalars[split..inner], t, second, d_second);
        for i in 0..n {
            let (e, slope) = exchange(first[i], second[i], f, x);
            value[i] = e;
            for j in 0..inner {
                d_value[j * n + i] = slope[usize::from(j >= split)] * slopes[j * n + i];
            }
            d_value[inner * n + i] = slope[2];
            d_value[(inner + 1) * n + i] = if instant { 0.0 } else { -slope[3] * x / time };
        }
    }

    fn reference(&self) -> &str {
        &self.reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_exchange_is_a_sum() {
        for (a1, a2, f) in
            [(0.3_f64, 5.0_f64, 0.4), (2.0, 2.0, 0.7), (0.0, 9.0, 0.1), (4.0, 0.1, 1.0)]
        {
            let sum = f * (-a1).exp() + (1.0 - f) * (-a2).exp();
            let (value, slope) = exchange(a1, a2, f, 0.0);
            assert!((value - sum).abs() < 1e-15, "{value} {sum}");
            assert!((slope[0] + f * (-a1).exp()).abs() < 1e-15);
            assert!((slope[1] + (1.0 - f) * (-a2).exp()).abs() < 1e-15);
            assert!((slope[2] - ((-a1).exp() - (-a2).exp())).abs() < 1e-15);
        }
    }

    #[test]
    fn fast_exchange_has_the_mean_diffusivity() {
        for (a1, a2, f) in [(0.3_f64, 5.0_f64, 0.4), (2.0, 2.0, 0.7), (0.0, 9.0, 0.1)] {
            let mean: f64 = f * a1 + (1.0 - f) * a2;
            // The first correction is f (1 - f) (a1 - a2)² / x.
            let x = 1e9;
            let correction = f * (1.0 - f) * (a1 - a2) * (a1 - a2) / x;
            let (value, slope) = exchange(a1, a2, f, x);
            let expected = (-mean + correction).exp();
            assert!((value - expected).abs() < 1e-14, "{value} {expected}");
            assert!((slope[0] + f * expected).abs() < 1e-7, "{slope:?}");
            assert!((slope[1] + (1.0 - f) * expected).abs() < 1e-7);
        }
    }

    #[test]
    fn slopes_equal_differences() {
        for p in [
            [0.3, 5.0, 0.4, 0.7],
            [2.0, 2.0, 0.7, 0.05],
            [2.0, 2.0001, 0.5, 1e-4],
            [0.1, 12.0, 0.9, 3.0],
            [7.0, 0.2, 0.2, 40.0],
        ] {
            let slope = exchange(p[0], p[1], p[2], p[3]).1;
            for k in 0..4 {
                let h = 3e-4 * if k == 3 { p[3].min(1.0) } else { 1.0 };
                let moved = |d: f64| {
                    let mut q = p;
                    q[k] += d;
                    exchange(q[0], q[1], q[2], q[3]).0
                };
                let difference =
                    (8.0 * (moved(h) - moved(-h)) - moved(2.0 * h) + moved(-2.0 * h)) / (12.0 * h);
                let tolerance = 1e-11 + 1e-15 / h;
                assert!(
                    (slope[k] - difference).abs() < tolerance,
                    "{p:?} {k}: {} {difference}",
                    slope[k]
                );
            }
        }
    }
}
