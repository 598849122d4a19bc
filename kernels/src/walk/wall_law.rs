//! What a hit does to a walker: survival on a relaxing wall, transmission through a
//! membrane, both exact for a plane wall at any time step.
//!
//! The density of a walker near a wall with $D\,\partial_n M + \rho M = 0$ is, with
//! $h = \rho/D$ and s the sum of its distances at the begin and the end of a step
//! (Carslaw & Jaeger 1959, *Conduction of Heat in Solids*, section 14.2, eq. 5),
//!
//! $$g(x_0 - x_1) + g(s) - h\,e^{hs + h^2 D\Delta t}\,
//!   \mathrm{erfc}\Bigl(\frac{s}{2\sqrt{D\Delta t}} + h\sqrt{D\Delta t}\Bigr),\qquad
//!   g(x) = \frac{e^{-x^2/4D\Delta t}}{\sqrt{4\pi D\Delta t}}$$
//!
//! Reflected Gaussian steps hit with density g(s), and s is the normal component of the whole
//! displacement. So a walker that hits keeps the fraction
//!
//! $$w(s, \rho) = 1 - 2\sqrt\pi\,c\;\mathrm{erfcx}\Bigl(\frac{s}{2\sqrt{D\Delta t}} + c\Bigr),
//!   \qquad c = \rho\sqrt{\Delta t/D}$$
//!
//! (it may be negative: the images of an absorbing wall). Behind a membrane of
//! permeability κ (flux = κ x jump, equal D on both sides) the even part of the density
//! sees a reflecting wall and the odd part a relaxing one with ρ = 2κ; a walker that hits
//! goes through with probability $\tfrac12(1 - w(s, 2\kappa))$, which lies in (0, 1].
//! To first order, $\Delta t\to0$, these are the laws of Erban & Chapman 2007,
//! doi:10.1088/1478-3975/4/1/003. For a curved wall the loss is exact to first
//! order in ρ, because a uniform density hits each area at the rate of a plane; the term in
//! ρ² has an error of order $D\Delta t/R^2$.
//!
//! | symbol | unit |
//! |---|---|
//! | D | µm²/ms |
//! | ρ, κ | µm/ms |
//! | Δt | ms |
//!
//! erfcx(u) = exp(u²) erfc(u) by a Chebyshev interpolant in 1/(1 + u/2), relative error
//! 2e-12 (`tests/golden/make_walk_coefficients.py`). Validated by the tests below, by
//! `models/tests/suite/simulation.rs` and, over whole walks, by the tables of `docs/simulation.md`.

use crate::lanes::{Lanes, horner};

const ERFCX: [f64; 20] = [
    0.28209479177378627,
    0.2820947918473218,
    0.2468329330647047,
    0.17630975595698142,
    0.08373275034652922,
    -0.004169737451265004,
    -0.059399732366415305,
    -0.032852229752533935,
    -0.11929289258325806,
    0.527101378721104,
    -1.413670809612681,
    3.3377560827176325,
    -5.643207393412172,
    6.407003827653673,
    -4.834698356181153,
    2.3264581945675586,
    -0.6074675076912506,
    0.018065408204993128,
    0.03398291163357541,
    -0.006674167437178499,
];

/// erfcx(u) for u >= 0.
#[inline(always)]
pub(crate) fn erfcx<L: Lanes>(u: L) -> L {
    let one = L::splat(1.0);
    let z = one.div(u.madd(L::splat(0.5), one));
    z.mul(horner(&ERFCX, z))
}

/// $\sqrt{4\pi}$.
const ROOT_4_PI: f64 = 3.544_907_701_811_032;

/// What a wall needs to know of a step: `inverse` is $1/(2\sqrt{D\Delta t})$ (1/µm) and
/// `reach` $\sqrt{\Delta t/D}$ (ms/µm).
#[derive(Clone, Copy)]
pub(crate) struct Reach<L> {
    pub(crate) inverse: L,
    pub(crate) reach: L,
}

impl<L: Lanes> Reach<L> {
    /// The fraction w(s, ρ) that is left after a hit.
    #[inline(always)]
    pub(crate) fn survival(&self, s: L, relaxivity: L) -> L {
        let c = relaxivity.mul(self.reach);
        let u = s.madd(self.inverse, c);
        c.mul(L::splat(ROOT_4_PI)).nmadd(erfcx(u), L::splat(1.0))
    }

    /// The probability to go through a membrane.
    #[inline(always)]
    pub(crate) fn transmission(&self, s: L, permeability: L) -> L {
        let c = permeability.add(permeability).mul(self.reach);
        let u = s.madd(self.inverse, c);
        c.mul(L::splat(0.5 * ROOT_4_PI)).mul(erfcx(u))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::dispatch;
    use crate::simd::{Block, LANES, SimdLevel};

    fn survival_body<L: Lanes>(s: &Block, rho: &Block, d_dt: [f64; 2], out: &mut [Block; 2]) {
        let [d, dt] = d_dt;
        let reach =
            Reach { inverse: L::splat(0.5 / (d * dt).sqrt()), reach: L::splat((dt / d).sqrt()) };
        reach.survival(L::load(s), L::load(rho)).store(&mut out[0]);
        reach.transmission(L::load(s), L::load(rho)).store(&mut out[1]);
    }
    dispatch! {
        fn survival_at / survival_body(s: &Block, rho: &Block, d_dt: [f64; 2], out: &mut [Block; 2])
    }

    /// erfcx by its continued fraction (Abramowitz & Stegun 7.1.14) or the series of erf.
    fn plain(u: f64) -> f64 {
        if u > 2.0 {
            let tail = (1..=200).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (u + f));
            return 1.0 / ((u + tail) * std::f64::consts::PI.sqrt());
        }
        let (mut term, mut sum) = (u, u);
        for k in 1..100 {
            term *= 2.0 * u * u / (2.0 * f64::from(k) + 1.0);
            sum += term;
        }
        (u * u).exp() - 2.0 / std::f64::consts::PI.sqrt() * sum
    }

    #[test]
    fn laws_follow_the_formula() {
        let (d, dt) = (1.7, 0.02);
        for level in SimdLevel::available() {
            for i in 0..400 {
                let s = 0.005 * f64::from(i);
                let rho: Block = std::array::from_fn(|l| 0.01 * 7f64.powi(l as i32));
                let mut out = [[0.0; LANES]; 2];
                survival_at(level, &[s; LANES], &rho, [d, dt], &mut out);
                for l in 0..LANES {
                    let law = |rho: f64| {
                        let c = rho * (dt / d).sqrt();
                        let u = s / (2.0 * (d * dt).sqrt()) + c;
                        1.0 - ROOT_4_PI * c * plain(u)
                    };
                    assert!((out[0][l] - law(rho[l])).abs() < 1e-10 * (1.0 + rho[l]));
                    let through = 0.5 * (1.0 - law(2.0 * rho[l]));
                    assert!((out[1][l] - through).abs() < 1e-10 * (1.0 + rho[l]));
                    assert!(out[1][l] > 0.0 && out[1][l] <= 1.0 + 1e-11);
                }
            }
        }
    }

    /// From a density of one, a wall takes ρ Δt an area and step to first order.
    #[test]
    fn uniform_walkers_lose_what_the_wall_takes() {
        let (d, dt, rho) = (2.0, 0.05, 1e-4);
        let level = crate::simd::level();
        let (n, top) = (40_000, 9.0 * f64::sqrt(2.0 * d * dt));
        let mut lost = 0.0;
        for i in 0..n {
            let s = (f64::from(i) + 0.5) * top / f64::from(n);
            let mut out = [[0.0; LANES]; 2];
            survival_at(level, &[s; LANES], &[rho; LANES], [d, dt], &mut out);
            let density =
                (-s * s / (4.0 * d * dt)).exp() / (4.0 * std::f64::consts::PI * d * dt).sqrt();
            // Walkers from 0 to s before the wall hit with this displacement.
            lost += s * density * (1.0 - out[0][0]) * top / f64::from(n);
        }
        // The second order is ρ sqrt(dt/D) smaller.
        assert!((lost / (rho * dt) - 1.0).abs() < 1e-4, "{lost}");
    }
}
