//! Zonal series: how an axisymmetric compartment becomes Legendre coefficients.
//!
//! $$E_s(t) = \sum_k c_{s,k}P_{2k}(t),\qquad c_{s,k} = (4k+1)\int_0^1 E_s(t)P_{2k}(t)\,dt$$
//!
//! A Gaussian profile $e^{-a-ct^2}$ has its coefficients in closed recurrence
//! ([`gaussian_moments`]); any other profile is projected at Gauss-Legendre nodes,
//! of which there are more until the last coefficients are below 1e-12.
//!
//! Symbols: $t = g\cdot\mu$, $s$ the shell, $k$ half the order.
//!
//! Source: Anderson 2005, doi:10.1002/mrm.20634, eq. 4 (zonal series of a signal).
//! Validated by `projection_equals_recurrence` below and `signals_equal_golden`.

use crate::acquisition::Shell;
use crate::compartment::Coefficients;
use microtome_kernels::exp::exp_in_place;
use microtome_kernels::legendre::{
    LONG_TERMS, MAX_TERMS, RULES, gaussian_moments, gaussian_terms, half_rule, series_terms,
};
use microtome_kernels::simd::{Block, LANES};

/// Largest diffusivity that the length of the series provides for, µm²/ms.
const DIFFUSIVITY: f64 = 4.5;
/// Coefficients below this, of a signal of at most 1, are left out.
pub(crate) const NEGLIGIBLE: f64 = 1e-13;

/// The zonal series of a compartment on every shell, with its derivatives.
#[derive(Debug, Clone, PartialEq)]
pub struct ZonalSeries {
    /// Most terms of a shell: the length of a row.
    pub stride: usize,
    /// Terms in use `[shell]`, at least 1.
    pub terms: Vec<usize>,
    /// $c_{s,k}$ `[shell, stride]`, zero beyond the terms in use.
    pub c: Vec<f64>,
    /// $\partial c_{s,k}$ `[parameter, shell, stride]`, zero beyond the terms in use.
    pub d_c: Vec<f64>,
    /// Room for the coefficients of a compartment inside this one.
    pub(crate) inner: Option<Box<Coefficients>>,
    /// Room for the moments of a Gaussian and their slopes, `[term]` each.
    pub(crate) moments: [Vec<Block>; 2],
}

impl ZonalSeries {
    /// Room for a series on these shells that is made of moments of Gaussians: at most
    /// [`MAX_TERMS`], which is exact to 1e-12 for $b\lambda$ up to 340 and to 1e-5 at 800.
    pub fn new(shells: &[Shell], parameters: usize) -> Self {
        Self::with_most(shells, parameters, MAX_TERMS)
    }

    /// Room for a series on these shells that [`project`] fills, as long as $b\lambda$
    /// of 3000 needs.
    pub fn projected(shells: &[Shell], parameters: usize) -> Self {
        Self::with_most(shells, parameters, LONG_TERMS)
    }

    fn with_most(shells: &[Shell], parameters: usize, most: usize) -> Self {
        let b = shells.iter().map(|s| s.b).fold(0.0, f64::max);
        Self::of_length(shells, parameters, (series_terms(DIFFUSIVITY * b) + 4).min(most))
    }

    /// Room for series of so many terms at most.
    pub(crate) fn of_length(shells: &[Shell], parameters: usize, stride: usize) -> Self {
        Self {
            stride,
            terms: vec![1; shells.len()],
            c: vec![0.0; shells.len() * stride],
            d_c: vec![0.0; parameters * shells.len() * stride],
            inner: None,
            moments: std::array::from_fn(|_| vec![[0.0; LANES]; stride.min(MAX_TERMS)]),
        }
    }

    /// Number of shells.
    pub fn shells(&self) -> usize {
        self.terms.len()
    }

    /// Sets everything to zero.
    pub(crate) fn clear(&mut self) {
        let n = self.stride;
        let parameters = self.d_c.len() / self.c.len().max(1);
        for s in 0..self.terms.len() {
            let used = self.terms[s];
            self.c[s * n..s * n + used].fill(0.0);
            for j in 0..parameters {
                let row = (j * self.terms.len() + s) * n;
                self.d_c[row..row + used].fill(0.0);
            }
            self.terms[s] = 1;
        }
    }

    /// Zeroes the terms of a shell from `used` to `most`.
    pub(crate) fn trim(&mut self, s: usize, used: usize, most: usize) {
        let n = self.stride;
        let parameters = self.d_c.len() / self.c.len().max(1);
        self.terms[s] = used;
        self.c[s * n + used..s * n + most].fill(0.0);
        for j in 0..parameters {
            let row = self.row(j, s);
            self.d_c[row + used..row + most].fill(0.0);
        }
    }

    /// Index of the first derivative coefficient of parameter `j` on shell `s`.
    pub(crate) fn row(&self, j: usize, s: usize) -> usize {
        (j * self.terms.len() + s) * self.stride
    }
}

/// What fills a profile: shell, cosines, values, derivatives `[parameter, node]`.
pub type Profile<'a> = dyn FnMut(&Shell, &[f64], &mut [f64], &mut [f64]) + 'a;

/// Projects a profile on every shell; b = 0 shells are 1.
///
/// # Shapes
/// See [`crate::Compartment::profile`].
pub fn project(shells: &[Shell], out: &mut ZonalSeries, profile: &mut Profile<'_>) {
    out.clear();
    let n_shells = shells.len();
    let parameters = out.d_c.len() / (out.stride * n_shells).max(1);
    // Value and slopes at the nodes, and their coefficients: [1 + parameter, node].
    let (mut rows, mut coefficients) = (Vec::new(), Vec::new());
    // The rule that served the shell before with the same pulses: b rises within them.
    let (mut pulses, mut first) = (None, 0);
    for (s, shell) in shells.iter().enumerate() {
        if shell.b == 0.0 {
            out.c[s * out.stride] = 1.0;
            continue;
        }
        if pulses != Some((shell.delta_ms, shell.big_delta_ms)) {
            (pulses, first) = (Some((shell.delta_ms, shell.big_delta_ms)), 0);
        }
        let mut used_rule = first;
        for index in first.. {
            let rule = half_rule(index);
            let nodes = rule.nodes.len();
            rows.clear();
            rows.resize((1 + parameters) * nodes, 0.0);
            coefficients.resize(rows.len(), 0.0);
            let (value, d_value) = rows.split_at_mut(nodes);
            profile(shell, &rule.nodes, value, d_value);
            rule.project(&rows, &mut coefficients[..rows.len()]);
            let tail = coefficients[..rows.len()]
                .chunks(nodes)
                .flat_map(|row| &row[nodes - 2..])
                .fold(0.0, |most: f64, c| most.max(c.abs()));
            let enough = tail < 1e-12 || nodes >= out.stride || index + 1 >= RULES.len();
            if !enough {
                continue;
            }
            used_rule = index;
            let most = nodes.min(out.stride);
            let mut used = 1;
            for (j, row) in coefficients[..rows.len()].chunks(nodes).enumerate() {
                let target = match j {
                    0 => &mut out.c[s * out.stride..][..most],
                    _ => {
                        let at = out.row(j - 1, s);
                        &mut out.d_c[at..][..most]
                    }
                };
                target.copy_from_slice(&row[..most]);
                let last = row[..most].iter().rposition(|c| c.abs() > NEGLIGIBLE);
                used = used.max(last.map_or(0, |k| k + 1));
            }
            out.trim(s, used, most);
            break;
        }
        first = used_rule;
    }
}

/// The series of any axisymmetric compartment from its own coefficients.
///
/// `out` may have more parameters than `from`: the derivatives of the first ones
/// are filled.
pub(crate) fn from_coefficients(from: &Coefficients, parameters: usize, out: &mut ZonalSeries) {
    out.clear();
    let (shells, n) = (out.shells(), out.stride);
    match from {
        Coefficients::Isotropic { value, d_value } => {
            for s in 0..shells {
                out.c[s * n] = value[s];
                for j in 0..parameters {
                    let row = out.row(j, s);
                    out.d_c[row] = d_value[j * shells + s];
                }
            }
        }
        Coefficients::Quadratic { a, c, d_a, d_c } => {
            let mut amplitude: Vec<f64> =
                a.iter().zip(c).map(|(a, c)| -a + (-c).max(0.0)).collect();
            exp_in_place(&mut amplitude);
            let [mut f, mut slope] = std::mem::take(&mut out.moments);
            for first in (0..shells).step_by(LANES) {
                let here = first..(first + LANES).min(shells);
                let mut x = [0.0; LANES];
                for (x, c) in x.iter_mut().zip(&c[here.clone()]) {
                    *x = -c;
                }
                let most = x.iter().map(|x| x.abs()).fold(0.0, f64::max);
                let terms = gaussian_terms(most).min(n);
                gaussian_moments(&x, &mut f[..terms], &mut slope[..terms]);
                for s in here {
                    let lane = s - first;
                    let shift = if x[lane] >= 0.0 { 1.0 } else { 0.0 };
                    let terms = gaussian_terms(x[lane]).min(terms);
                    let mut used = 1;
                    for k in 0..terms {
                        let scale = (4.0 * k as f64 + 1.0) * amplitude[s];
                        let value = scale * f[k][lane];
                        let second = scale * (slope[k][lane] + shift * f[k][lane]);
                        out.c[s * n + k] = value;
                        for j in 0..parameters {
                            let row = out.row(j, s);
                            let p = j * shells + s;
                            out.d_c[row + k] = -d_a[p] * value - d_c[p] * second;
                        }
                        if value.abs() > NEGLIGIBLE || second.abs() > NEGLIGIBLE {
                            used = k + 1;
                        }
                    }
                    out.trim(s, used, terms);
                }
            }
            out.moments = [f, slope];
        }
        Coefficients::Zonal(series) => {
            let most = series.stride.min(n);
            for s in 0..shells {
                let terms = series.terms[s].min(most);
                out.terms[s] = terms;
                let from = s * series.stride;
                out.c[s * n..s * n + terms].copy_from_slice(&series.c[from..from + terms]);
                for j in 0..parameters {
                    let (row, from) = (out.row(j, s), series.row(j, s));
                    out.d_c[row..row + terms].copy_from_slice(&series.d_c[from..from + terms]);
                }
            }
        }
        Coefficients::Tensor { .. } | Coefficients::Orthotropic(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::compartment::by_kind;

    fn shells() -> Vec<Shell> {
        let shell = |b| Shell::pulsed(b, 10.0, 30.0);
        [0.0, 0.4, 3.0, 20.0].map(shell).to_vec()
    }

    #[test]
    fn projection_equals_recurrence() {
        let shells = shells();
        let zeppelin = by_kind("zeppelin").unwrap();
        for scalars in [[1.7, 0.4], [0.5, 2.5], [1.0, 1.0], [3.0, 0.05]] {
            let mut plain = zeppelin.coefficients(&shells);
            zeppelin.lower(&shells, &scalars, [0.0, 0.0, 1.0], &mut plain);
            let mut closed = ZonalSeries::new(&shells, 2);
            from_coefficients(&plain, 2, &mut closed);
            let mut projected = ZonalSeries::new(&shells, 2);
            project(&shells, &mut projected, &mut |shell, t, value, d_value| {
                let n = t.len();
                for (i, t) in t.iter().enumerate() {
                    let e = (-shell.b * (scalars[1] + (scalars[0] - scalars[1]) * t * t)).exp();
                    value[i] = e;
                    d_value[i] = -shell.b * t * t * e;
                    d_value[n + i] = -shell.b * (1.0 - t * t) * e;
                }
            });
            for (a, b) in closed.c.iter().zip(&projected.c) {
                assert!((a - b).abs() < 3e-13, "{scalars:?}: {a} {b}");
            }
            for (a, b) in closed.d_c.iter().zip(&projected.d_c) {
                assert!((a - b).abs() < 3e-12, "{scalars:?}: slope {a} {b}");
            }
        }
    }
}
