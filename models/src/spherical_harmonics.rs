//! Real, symmetric spherical harmonics: even functions on the sphere as sums
//! over $l = 0, 2, \dots, l_\mathrm{max}$ and $m = -l \dots l$.
//!
//! $$f(n) = \sum_{lm} c_{lm} Y_{lm}(n),\qquad
//! Y_{lm} = \begin{cases}\sqrt2\,\mathrm{Im}\,Y_l^{|m|} & m<0\\ Y_l^0 & m=0\\ \sqrt2\,\mathrm{Re}\,Y_l^m & m>0\end{cases}$$
//!
//! with $Y_l^m = \sqrt{\frac{2l+1}{4\pi}\frac{(l-m)!}{(l+m)!}}\,P_l^m(\cos\theta)\,e^{im\phi}$, the phase
//! $(-1)^m$ in $P_l^m$. This is the basis of MRtrix3; [`HarmonicBasis`] converts to
//! and from both Descoteaux bases. The coefficient of (l, m) stands at
//! $l(l+1)/2 + m$.
//!
//! On the unit sphere $Y_{lm}$ equals a polynomial
//! $\propto \frac{d^m P_l}{dz^m}(z)\,\mathrm{Re\ or\ Im}(x+iy)^m$, so values and derivatives
//! ([`Series`]) need no angles and have no singular pole.
//!
//! Source: Tournier et al. 2019, doi:10.1016/j.neuroimage.2019.116137 (basis);
//! Descoteaux et al. 2007, doi:10.1002/mrm.21277, eq. 2 to 5 (basis, Laplace-Beltrami);
//! Driscoll & Healy 1994, doi:10.1006/aama.1994.1008, theorem 1 (convolution).
//! Validated by `golden_table_of_scipy` in `tests/suite/spherical_harmonics.rs`.

use microtome_kernels::sphere_peak;
use microtome_kernels::sphere_series::{self, COUNT_MAX, ORDER_MAX, position};
use serde::{Deserialize, Serialize};

pub use microtome_kernels::sphere_series::Jet;
use std::f64::consts::{PI, SQRT_2};

/// Highest order that [`SphericalHarmonics`] takes: above it the polynomials in z
/// lose more than five digits.
pub const LMAX_MAX: usize = ORDER_MAX;

/// Number of coefficients up to an even order.
///
/// # Example
/// ```
/// assert_eq!(microtome_models::harmonic_count(8), 45);
/// ```
pub fn harmonic_count(lmax: usize) -> usize {
    sphere_series::count(lmax)
}

/// The order that has a number of coefficients; `None` when no even order has.
pub fn harmonic_order(count: usize) -> Option<usize> {
    (0..=2 * LMAX_MAX).step_by(2).find(|l| harmonic_count(*l) == count)
}

/// Position of the coefficient (l, m), l even.
pub fn harmonic_index(l: usize, m: isize) -> usize {
    (l * (l + 1) / 2).wrapping_add_signed(m)
}

/// $Y_{l0}$ at the pole, $\sqrt{(2l+1)/4\pi}$: the coefficients of a unit peak there.
pub fn zonal_peak(l: usize) -> f64 {
    ((2 * l + 1) as f64 / (4.0 * PI)).sqrt()
}

/// Rotational harmonics of an axisymmetric kernel with zonal coefficients $r_l$
/// (l = 0, 2, ...): $R_l = r_l / Y_{l0}(\mathrm{pole})$, by which convolution is
/// $s_{lm} = R_l f_{lm}$.
pub fn rotational_harmonics(zonal: &[f64]) -> Vec<f64> {
    zonal.iter().enumerate().map(|(k, r)| r / zonal_peak(2 * k)).collect()
}

/// Convolves a function with an axisymmetric kernel in place; orders that the
/// kernel lacks become zero.
pub fn convolve(rotational: &[f64], coefficients: &mut [f64]) {
    for (i, (l, _)) in orders(coefficients.len()).enumerate() {
        coefficients[i] *= rotational.get(l / 2).copied().unwrap_or(0.0);
    }
}

/// The pairs (l, m) of the first `count` coefficients, in their order.
pub fn orders(count: usize) -> impl Iterator<Item = (usize, isize)> {
    (0..)
        .step_by(2)
        .flat_map(|l: usize| (-(l as isize)..=l as isize).map(move |m| (l, m)))
        .take(count)
}

/// The Laplace-Beltrami norm $\int|\Delta f|^2 = \sum l^2(l+1)^2 c_{lm}^2$.
pub fn laplacian_norm(coefficients: &[f64]) -> f64 {
    let terms = orders(coefficients.len()).zip(coefficients);
    terms.map(|((l, _), c)| ((l * (l + 1)) as f64 * c).powi(2)).sum()
}

/// The anisotropy index $\sqrt{1 - c_{00}^2/\sum c_{lm}^2}$: 0 of a constant, towards 1
/// of a sharp peak; 0 where all coefficients are 0.
///
/// Source: Jespersen et al. 2007, doi:10.1016/j.neuroimage.2006.10.037, eq. 14; as
/// `anisotropy_index` of dmipy.
pub fn anisotropy_index(coefficients: &[f64]) -> f64 {
    let all: f64 = coefficients.iter().map(|c| c * c).sum();
    let Some(first) = coefficients.first().filter(|_| all > 0.0) else { return 0.0 };
    (1.0 - first * first / all).max(0.0).sqrt()
}

/// The orientation tensor $T_{ij} = \int f n_i n_j / \int f$, which orders 0 and 2 decide.
///
/// Its trace is 1; a missing order 2 makes it the third of the identity.
pub fn orientation_tensor(coefficients: &[f64]) -> [[f64; 3]; 3] {
    let at = |m| coefficients.get(harmonic_index(2, m)).copied().unwrap_or(0.0);
    // n_i n_j in the basis: e.g. z^2 = 1/3 + (2/3) sqrt(4 pi/5) Y_20.
    let total = coefficients.first().copied().unwrap_or(0.0) * (4.0 * PI).sqrt();
    let second = (4.0 * PI / 15.0).sqrt() / total;
    let third = (4.0 * PI / 5.0).sqrt() / (3.0 * total);
    let (xx_yy, zz) = (at(2) * second, at(0) * third);
    let (xy, xz, yz) = (at(-2) * second, -at(1) * second, -at(-1) * second);
    let same = 1.0 / 3.0;
    [[same - zz + xx_yy, xy, xz], [xy, same - zz - xx_yy, yz], [xz, yz, same + 2.0 * zz]]
}

/// The bases in use; [`HarmonicBasis::Mrtrix3`] is the one of this library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HarmonicBasis {
    /// MRtrix3 (DIPY: `tournier07`, not legacy).
    Mrtrix3,
    /// Descoteaux 2007 (DIPY: `descoteaux07`, not legacy):
    /// $\sqrt2\,\mathrm{Re}\,Y_l^m$ for m < 0, $\sqrt2\,\mathrm{Im}\,Y_l^m$ for m > 0.
    Descoteaux,
    /// DIPY's legacy `descoteaux07`: $\sqrt2\,\mathrm{Re}\,Y_l^{|m|}$ for m < 0.
    DescoteauxLegacy,
}

impl HarmonicBasis {
    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            HarmonicBasis::Mrtrix3 => "mrtrix3",
            HarmonicBasis::Descoteaux => "descoteaux",
            HarmonicBasis::DescoteauxLegacy => "descoteaux_legacy",
        }
    }

    /// The same function in another basis: m and -m are exchanged, and in the
    /// Descoteaux basis odd cosines change sign.
    ///
    /// # Example
    /// ```
    /// use microtome_models::HarmonicBasis::{Descoteaux, Mrtrix3};
    /// let c = [1.0, 0.1, 0.2, 0.3, 0.4, 0.5];
    /// assert_eq!(Mrtrix3.convert(Descoteaux, &c), [1.0, 0.5, -0.4, 0.3, 0.2, 0.1]);
    /// assert_eq!(Descoteaux.convert(Mrtrix3, &Mrtrix3.convert(Descoteaux, &c)), c);
    /// ```
    #[must_use]
    pub fn convert(self, to: HarmonicBasis, coefficients: &[f64]) -> Vec<f64> {
        let n = coefficients.len();
        let mut out = coefficients.to_vec();
        for (i, (l, m)) in orders(n).enumerate() {
            // Cosine and sine parts stand at m and -m in MRtrix3, at -m and m in both others.
            let mut from = m;
            let mut sign = 1.0;
            for basis in [self, to] {
                if basis != HarmonicBasis::Mrtrix3 {
                    from = -from;
                }
                let cosine = if to == HarmonicBasis::Mrtrix3 { m > 0 } else { m < 0 };
                if basis == HarmonicBasis::Descoteaux && cosine && m % 2 != 0 {
                    sign = -sign;
                }
            }
            out[i] = sign * coefficients.get(harmonic_index(l, from)).copied().unwrap_or(0.0);
        }
        out
    }
}

/// The basis up to an order, with its constants.
#[derive(Debug, Clone)]
pub struct SphericalHarmonics {
    lmax: usize,
    /// Of every (l, m >= 0): the polynomial in z, powers l-m, l-m-2, ... falling,
    /// normalisation included.
    polynomials: Vec<Vec<f64>>,
}

impl SphericalHarmonics {
    /// The basis of an even order up to [`LMAX_MAX`]; `None` for another order.
    pub fn new(lmax: usize) -> Option<Self> {
        if !lmax.is_multiple_of(2) || lmax > LMAX_MAX {
            return None;
        }
        let mut polynomials = Vec::new();
        for l in (0..=lmax).step_by(2) {
            for m in 0..=l {
                polynomials.push(polynomial(l, m));
            }
        }
        Some(Self { lmax, polynomials })
    }

    /// The highest order.
    pub fn lmax(&self) -> usize {
        self.lmax
    }

    /// Number of coefficients.
    pub fn count(&self) -> usize {
        harmonic_count(self.lmax)
    }

    fn polynomial(&self, l: usize, m: usize) -> &[f64] {
        // Orders 0, 2, ..., l-2 have 1 + 3 + ... polynomials.
        &self.polynomials[(l / 2) * (l / 2) + m]
    }

    /// All basis functions in a direction.
    ///
    /// # Shapes
    /// `n` is a unit vector, `out` `[coefficient]`.
    pub fn evaluate(&self, n: [f64; 3], out: &mut [f64]) {
        let [x, y, z] = n;
        let u = z * z;
        let (mut re, mut im) = (1.0, 0.0);
        for m in 0..=self.lmax {
            for l in (m + m % 2..=self.lmax).step_by(2) {
                let q = self.polynomial(l, m).iter().fold(0.0, |q, a| q * u + a);
                let p = if m.is_multiple_of(2) { q } else { q * z };
                out[harmonic_index(l, m as isize)] = p * re;
                if m > 0 {
                    out[harmonic_index(l, -(m as isize))] = p * im;
                }
            }
            (re, im) = (re * x - im * y, re * y + im * x);
        }
    }

    /// Collects a function for fast evaluation with derivatives.
    pub fn series(&self, coefficients: &[f64]) -> Series {
        let mut series = Series { lmax: self.lmax, terms: [0.0; COUNT_MAX] };
        self.collect(coefficients, &mut series);
        series
    }

    /// As [`SphericalHarmonics::series`], into an existing one.
    pub fn collect(&self, coefficients: &[f64], series: &mut Series) {
        series.lmax = self.lmax;
        self.collect_terms(coefficients, &mut series.terms);
    }

    /// The terms of [`sphere_series`](microtome_kernels::sphere_series), a linear map of
    /// the coefficients.
    ///
    /// # Shapes
    /// Both `[coefficient]`; `terms` may be longer.
    pub fn collect_terms(&self, coefficients: &[f64], terms: &mut [f64]) {
        terms[..self.count()].fill(0.0);
        self.each_term(|at, coefficient, a| terms[at] += a * coefficients[coefficient]);
    }

    /// The transpose of [`SphericalHarmonics::collect_terms`].
    pub fn spread_terms(&self, terms: &[f64], coefficients: &mut [f64]) {
        coefficients[..self.count()].fill(0.0);
        self.each_term(|at, coefficient, a| coefficients[coefficient] += a * terms[at]);
    }

    /// The entries of that map: term, coefficient, value.
    fn each_term(&self, mut entry: impl FnMut(usize, usize, f64)) {
        for m in 0..=self.lmax {
            for l in (m + m % 2..=self.lmax).step_by(2) {
                // Falling powers: the last is that of z^0 or z^1.
                for (k, a) in self.polynomial(l, m).iter().rev().enumerate() {
                    let at = position(self.lmax, m, k);
                    entry(at, harmonic_index(l, m as isize), *a);
                    if m > 0 {
                        entry(at + 1, harmonic_index(l, -(m as isize)), *a);
                    }
                }
            }
        }
    }
}

/// $\sqrt2 K_{lm} (-1)^m \frac{d^m P_l}{dz^m}$ as a polynomial in z.
fn polynomial(l: usize, m: usize) -> Vec<f64> {
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    // P_l = 2^-l sum_k (-1)^k (2l-2k)! / (k! (l-k)! (l-2k)!) z^(l-2k)
    let ratio: f64 = (l - m + 1..=l + m).map(|k| 1.0 / k as f64).product();
    let mut norm = zonal_peak(l) * ratio.sqrt();
    if m > 0 {
        norm *= SQRT_2;
    }
    if !m.is_multiple_of(2) {
        norm = -norm;
    }
    let mut out = Vec::new();
    for k in 0..=(l - m) / 2 {
        let power = l - 2 * k;
        let legendre = factorial(2 * l - 2 * k)
            / (factorial(k) * factorial(l - k) * factorial(power))
            / 2f64.powi(l as i32);
        let derivative: f64 = (power - m + 1..=power).map(|j| j as f64).product();
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        out.push(norm * sign * legendre * derivative);
    }
    out
}

/// A function on the sphere, collected by powers of z for each m.
#[derive(Debug, Clone)]
pub struct Series {
    lmax: usize,
    terms: [f64; COUNT_MAX],
}

impl Series {
    /// The value in a direction.
    pub fn value(&self, n: [f64; 3]) -> f64 {
        sphere_series::value(self.lmax, &self.terms, n)
    }

    /// The peak that Newton's method climbs to from a direction, and the value there; `None` where
    /// there is none. A step shorter than `tolerance` (rad) is the last.
    pub fn peak(&self, from: [f64; 3], tolerance: f64) -> Option<([f64; 3], f64)> {
        sphere_peak::climb::<false>(self.lmax, &self.terms, from, tolerance)
    }

    /// Value and derivatives in a direction.
    pub fn jet(&self, n: [f64; 3]) -> Jet {
        sphere_series::jet(self.lmax, &self.terms, n)
    }
}
