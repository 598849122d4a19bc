//! Charts: unconstrained coordinates of everything that is free.
//!
//! | block | map | $\ln|\partial x/\partial z|$ |
//! |---|---|---|
//! | interval $(l,h)$ | $x = l + (h-l)\,\sigma(z)$ | $\ln(h-l) + \ln\sigma(z) + \ln\sigma(-z)$ |
//! | half line $(l,\infty)$ | $x = l + e^z$ | $z$ |
//! | angle of period $P$ about $c$ | $x = c + \tfrac{P}{\pi}\arctan z$ | $-\ln(1+z^2) + \ln(P/\pi)$ |
//! | axis about $m$ | $\mu = e^{-q/2} m + \sqrt{(1-e^{-q})/q}\,(u e_1 + v e_2)$, $q = u^2+v^2$ | $-q/2$ |
//! | simplex | $v_i = \sigma(z_i - \ln(n-1-i))$, $f_i = v_i\prod_{j<i}(1-v_j)$ | $\sum_i \ln v_i + \ln(1-v_i) + \ln\prod_{j<i}(1-v_j)$ |
//!
//! The axis chart covers the half sphere about $m$ exactly once, which is every
//! axis once. It is the equal-area map whose radius makes a uniform axis a
//! standard normal in $(u, v)$: $\cos\theta = e^{-q/2}$ has
//! $\sin\theta\,d\theta\,d\varphi = e^{-q/2}\,du\,dv$. Centred on a fit it is an
//! isometry to first order, and where the data say nothing it has no heavy tails
//! (the gnomonic projection would be Cauchy there). The simplex map is stick breaking (Stan Reference
//! Manual, *Simplex transform*).
//!
//! Validated by `pullback_equals_difference`, `jacobians_by_quadrature` and
//! `coordinates_invert_values` below.

mod inverse;

use crate::model::{FreeKind, Model};
use crate::tangent::MAX_FRACTIONS;
use microtome_kernels::exp::{exp, exp_in_place};
use microtome_kernels::log::log as ln;
use microtome_kernels::vector::{dot, normals};

/// A map from unconstrained coordinates to the values of a model.
#[derive(Debug, Clone)]
pub struct Chart {
    blocks: Vec<Block>,
    dim: usize,
    values: usize,
    /// The part of the log Jacobian that does not depend on z.
    constant: f64,
    /// ln k at index k.
    offsets: [f64; MAX_FRACTIONS],
}

#[derive(Debug, Clone)]
struct Block {
    /// First value.
    at: usize,
    /// First coordinate.
    z: usize,
    map: Map,
}

#[derive(Debug, Clone, Copy)]
enum Map {
    Identity,
    Log { low: f64 },
    Logit { low: f64, high: f64 },
    Angle { centre: f64, period: f64 },
    Axis { frame: [[f64; 3]; 3] },
    Simplex { n: usize, total: f64 },
}

/// Coordinates whose exponentials need no memory of their own.
const FEW: usize = 32;

/// How far inside the edge of a support coordinates begin, in parts of it.
const EDGE: f64 = 1e-6;

impl Block {
    /// Coordinates of an axis or an angle; other blocks are left alone.
    fn to_coordinates(&self, x: &[f64], z: &mut [f64]) {
        let (at, q) = (self.at, self.z);
        match self.map {
            Map::Angle { centre, period } => {
                let turns = (x[at] - centre) / period;
                let turns = (turns - turns.round()).clamp(-0.499_999, 0.499_999);
                z[q] = (turns * std::f64::consts::PI).tan();
            }
            Map::Axis { frame: [e1, e2, m] } => {
                let mu = [x[at], x[at + 1], x[at + 2]];
                let along = dot(mu, m);
                let sign = 1.0_f64.copysign(along);
                let (_, k, _) = axis_radius(-2.0 * ln(along.abs().clamp(EDGE, 1.0)));
                let scale = sign / k.sqrt();
                z[q] = dot(mu, e1) * scale;
                z[q + 1] = dot(mu, e2) * scale;
            }
            _ => {}
        }
    }
}

/// $(\sigma(z), 1-\sigma(z), 1+e^{-|z|})$ without cancellation;
/// $\ln\sigma(z) + \ln\sigma(-z) = -|z| - 2\ln(1+e^{-|z|})$.
fn logistic(z: f64) -> (f64, f64, f64) {
    logistic_of(z, exp(-z.abs()))
}

/// [`logistic`], given $e^{-|z|}$.
fn logistic_of(z: f64, e: f64) -> (f64, f64, f64) {
    let s = 1.0 / (1.0 + e);
    if z >= 0.0 { (s, e * s, 1.0 + e) } else { (e * s, s, 1.0 + e) }
}

/// $e^{-q/2}$, $k = (1-e^{-q})/q$ and $\partial k/\partial q$.
fn axis_radius(q: f64) -> (f64, f64, f64) {
    axis_radius_of(q, exp(-0.5 * q))
}

/// [`axis_radius`], given $e^{-q/2}$.
fn axis_radius_of(q: f64, c: f64) -> (f64, f64, f64) {
    if q < 1e-2 {
        // The series avoids the cancellation; the first term left out is q^6/5040.
        let k =
            1.0 + q * (-0.5 + q * (1.0 / 6.0 + q * (-1.0 / 24.0 + q * (1.0 / 120.0 - q / 720.0))));
        let slope = -0.5
            + q * (1.0 / 3.0 + q * (-0.125 + q * (1.0 / 30.0 + q * (-1.0 / 144.0 + q / 840.0))));
        return (c, k, slope);
    }
    let k = (1.0 - c * c) / q;
    (c, k, (c * c - k) / q)
}

/// An orthonormal frame (e1, e2, m) about a unit vector.
pub(crate) fn frame_about(m: [f64; 3]) -> [[f64; 3]; 3] {
    let [u, v] = normals(m);
    [u, v, m]
}

impl Chart {
    /// A chart whose axes and angles are centred on `centre`.
    ///
    /// # Shapes
    /// `centre` `[value]`; `supports` gives the open interval of the value at an
    /// index (scalars and scales). With `sigma`, one more value is appended.
    pub fn new(
        model: &Model,
        centre: &[f64],
        supports: impl Fn(usize) -> [f64; 2],
        sigma: Option<[f64; 2]>,
    ) -> Self {
        let mut blocks = Vec::new();
        let mut z = 0;
        for free in model.free() {
            let at = free.at;
            let (map, coordinates) = match &free.kind {
                FreeKind::Scalar { period: Some(period) } => {
                    (Map::Angle { centre: centre[at], period: *period }, 1)
                }
                FreeKind::Scalar { period: None } | FreeKind::Scale => (interval(supports(at)), 1),
                FreeKind::Axis => (
                    Map::Axis { frame: frame_about([centre[at], centre[at + 1], centre[at + 2]]) },
                    2,
                ),
                FreeKind::Fractions { total, .. } => {
                    (Map::Simplex { n: free.len, total: *total }, free.len - 1)
                }
            };
            blocks.push(Block { at, z, map });
            z += coordinates;
        }
        let mut values = model.values();
        if let Some(support) = sigma {
            blocks.push(Block { at: values, z, map: interval(support) });
            values += 1;
            z += 1;
        }
        Self::from_blocks(blocks, z, values)
    }

    fn from_blocks(blocks: Vec<Block>, dim: usize, values: usize) -> Self {
        let constant = blocks
            .iter()
            .map(|b| match b.map {
                Map::Logit { low, high } => ln(high - low),
                Map::Angle { period, .. } => ln(period / std::f64::consts::PI),
                _ => 0.0,
            })
            .sum();
        let offsets = std::array::from_fn(|k| if k > 1 { ln(k as f64) } else { 0.0 });
        Self { blocks, dim, values, constant, offsets }
    }

    /// The same chart, its axes and angles centred on other values.
    ///
    /// # Shapes
    /// `centre` `[value]`.
    pub fn recentred(&self, centre: &[f64]) -> Self {
        let mut out = self.clone();
        for block in &mut out.blocks {
            let at = block.at;
            match &mut block.map {
                Map::Angle { centre: c, .. } => *c = centre[at],
                Map::Axis { frame } => {
                    *frame = frame_about([centre[at], centre[at + 1], centre[at + 2]]);
                }
                _ => {}
            }
        }
        out
    }

    /// The coordinates here of a point that has coordinates `z` in `from`, a chart that
    /// differs in its centre only: $z'$ into `out`. Returns
    /// $\ln|\partial x/\partial z'| - \ln|\partial x/\partial z|$.
    ///
    /// What axes and angles do not change is copied, so that nothing is lost on the edge
    /// of a support, where [`Chart::to_coordinates`] moves inside.
    ///
    /// # Shapes
    /// `z`, `out` `[dim]`; `x` `[value]`, the values at the point, axes on the half sphere
    /// of this chart ([`Chart::opposes`]) if the model has what turns about them.
    pub fn carry(&self, from: &Chart, z: &[f64], x: &[f64], out: &mut [f64]) -> f64 {
        out.copy_from_slice(z);
        let mut ln_ratio = 0.0;
        for block in &self.blocks {
            let q = block.z;
            match block.map {
                Map::Axis { .. } => {
                    block.to_coordinates(x, out);
                    let square = |z: &[f64]| z[q] * z[q] + z[q + 1] * z[q + 1];
                    ln_ratio -= 0.5 * (square(out) - square(z));
                }
                Map::Angle { .. } => {
                    block.to_coordinates(x, out);
                    ln_ratio -= ln((1.0 + out[q] * out[q]) / (1.0 + z[q] * z[q]));
                }
                _ => {}
            }
        }
        debug_assert_eq!(from.dim, self.dim);
        ln_ratio
    }

    /// Whether the axis whose first value is `at` is on the half sphere opposite to the
    /// one that this chart covers.
    pub fn opposes(&self, at: usize, x: &[f64]) -> bool {
        self.blocks.iter().any(|b| match b.map {
            Map::Axis { frame: [_, _, m] } if b.at == at => {
                dot([x[at], x[at + 1], x[at + 2]], m) < 0.0
            }
            _ => false,
        })
    }

    /// The coordinate of the scalar whose value is at `at`; `None` for what has a chart with
    /// other values.
    pub fn coordinate(&self, at: usize) -> Option<usize> {
        self.blocks.iter().find(|b| b.at == at).and_then(|b| match b.map {
            Map::Identity | Map::Log { .. } | Map::Logit { .. } => Some(b.z),
            _ => None,
        })
    }

    /// Number of coordinates.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of values, σ included when it is free.
    pub fn values(&self) -> usize {
        self.values
    }

    /// The exponential that the map of every coordinate needs; of an axis the first has it.
    ///
    /// # Shapes
    /// `z`, `out` `[dim]`, `out` zero.
    fn exponentials(&self, z: &[f64], out: &mut [f64]) {
        for block in &self.blocks {
            let q = block.z;
            match block.map {
                Map::Identity | Map::Angle { .. } => {}
                Map::Log { .. } => out[q] = z[q],
                Map::Logit { .. } => out[q] = -z[q].abs(),
                Map::Axis { .. } => out[q] = -0.5 * (z[q] * z[q] + z[q + 1] * z[q + 1]),
                Map::Simplex { n, .. } => {
                    for i in 0..n - 1 {
                        out[q + i] = -(z[q + i] - self.offsets[n - 1 - i]).abs();
                    }
                }
            }
        }
        exp_in_place(out);
    }

    /// The values at coordinates `z`; returns $\ln|\partial x/\partial z|$.
    pub fn to_values(&self, z: &[f64], x: &mut [f64]) -> f64 {
        // Logarithms are costly: factors are collected in products and one
        // logarithm is taken (they stay below 2^40).
        let mut ln_jacobian = self.constant;
        let mut logistics = 1.0;
        // Exponentials are those of a vector, one for all.
        let (mut few, mut many) = ([0.0; FEW], Vec::new());
        let exponentials = if self.dim <= FEW {
            &mut few[..self.dim]
        } else {
            many.resize(self.dim, 0.0);
            many.as_mut_slice()
        };
        self.exponentials(z, exponentials);
        for block in &self.blocks {
            let (at, q) = (block.at, block.z);
            match block.map {
                Map::Identity => x[at] = z[q],
                Map::Log { low } => {
                    x[at] = low + exponentials[q];
                    ln_jacobian += z[q];
                }
                Map::Logit { low, high } => {
                    let (s, _, one_plus) = logistic_of(z[q], exponentials[q]);
                    x[at] = low + (high - low) * s;
                    ln_jacobian -= z[q].abs();
                    logistics *= one_plus;
                }
                Map::Angle { centre, period } => {
                    x[at] = centre + period / std::f64::consts::PI * z[q].atan();
                    ln_jacobian -= ln(1.0 + z[q] * z[q]);
                }
                Map::Axis { frame: [e1, e2, m] } => {
                    let (u, v) = (z[q], z[q + 1]);
                    let square = u * u + v * v;
                    let (c, k, _) = axis_radius_of(square, exponentials[q]);
                    let h = k.sqrt();
                    for i in 0..3 {
                        x[at + i] = c * m[i] + h * (u * e1[i] + v * e2[i]);
                    }
                    ln_jacobian -= 0.5 * square;
                }
                Map::Simplex { n, total } => {
                    let mut rest = 1.0;
                    for i in 0..n - 1 {
                        let t = z[q + i] - self.offsets[n - 1 - i];
                        let (v, w, one_plus) = logistic_of(t, exponentials[q + i]);
                        x[at + i] = total * rest * v;
                        ln_jacobian -= t.abs();
                        logistics *= one_plus;
                        if i > 0 {
                            ln_jacobian += ln(rest);
                        }
                        rest *= w;
                    }
                    x[at + n - 1] = total * rest;
                }
            }
        }
        ln_jacobian -= 2.0 * ln(logistics);
        ln_jacobian
    }

    /// The gradient in coordinates from the gradient in values:
    /// $(\partial x/\partial z)^T g_x + \partial\ln|\partial x/\partial z|/\partial z$.
    ///
    /// # Shapes
    /// `z`, `gz` `[dim]`; `x` (the values at `z`), `gx` `[value]`.
    pub fn pullback(&self, z: &[f64], x: &[f64], gx: &[f64], gz: &mut [f64]) {
        self.transposed(z, x, gx, gz);
        self.ln_jacobian_slope(z, x, gz);
    }

    /// The coordinates whose map is the same in every voxel: all but those of axes
    /// and angles, whose charts have a centre.
    pub fn uncentred(&self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.dim);
        for block in &self.blocks {
            match block.map {
                Map::Identity | Map::Log { .. } | Map::Logit { .. } => out.push(block.z),
                Map::Simplex { n, .. } => out.extend(block.z..block.z + n - 1),
                Map::Angle { .. } | Map::Axis { .. } => {}
            }
        }
        out
    }

    /// The part of $\ln|\partial x/\partial z|$ that axes and angles have; its slopes
    /// are added to `gz`.
    pub(crate) fn centred_ln_jacobian(&self, z: &[f64], gz: &mut [f64]) -> f64 {
        let mut total = 0.0;
        for block in &self.blocks {
            let q = block.z;
            match block.map {
                Map::Angle { period, .. } => {
                    let square = 1.0 + z[q] * z[q];
                    total += ln(period / std::f64::consts::PI) - ln(square);
                    gz[q] -= 2.0 * z[q] / square;
                }
                Map::Axis { .. } => {
                    total -= 0.5 * (z[q] * z[q] + z[q + 1] * z[q + 1]);
                    gz[q] -= z[q];
                    gz[q + 1] -= z[q + 1];
                }
                _ => {}
            }
        }
        total
    }

    /// $(\partial x/\partial z)^T g_x$ alone.
    pub(crate) fn transposed(&self, z: &[f64], x: &[f64], gx: &[f64], gz: &mut [f64]) {
        for block in &self.blocks {
            let (at, q) = (block.at, block.z);
            match block.map {
                Map::Identity => gz[q] = gx[at],
                Map::Log { low } => gz[q] = gx[at] * (x[at] - low),
                Map::Logit { low, high } => {
                    let s = (x[at] - low) / (high - low);
                    gz[q] = gx[at] * s * (high - x[at]);
                }
                Map::Angle { period, .. } => {
                    gz[q] = gx[at] * period / std::f64::consts::PI / (1.0 + z[q] * z[q]);
                }
                Map::Axis { frame: [e1, e2, m] } => {
                    let (u, v) = (z[q], z[q + 1]);
                    let g = [gx[at], gx[at + 1], gx[at + 2]];
                    let (c, k, slope) = axis_radius(u * u + v * v);
                    let h = k.sqrt();
                    let (g1, g2) = (dot(g, e1), dot(g, e2));
                    // d h/d u = u k'/h.
                    let along = (g1 * u + g2 * v) * slope / h - c * dot(g, m);
                    gz[q] = g1 * h + u * along;
                    gz[q + 1] = g2 * h + v * along;
                }
                Map::Simplex { n, .. } => {
                    // df_i/dz_i = f_i (1 - v_i), df_j/dz_i = -f_j v_i for j > i.
                    let mut later = gx[at + n - 1] * x[at + n - 1];
                    let mut rest = x[at + n - 1];
                    for i in (0..n - 1).rev() {
                        let f = x[at + i];
                        let (v, w, sum) = share(f, rest);
                        gz[q + i] = gx[at + i] * f * w - later * v;
                        later += gx[at + i] * f;
                        rest = sum;
                    }
                }
            }
        }
    }

    fn ln_jacobian_slope(&self, z: &[f64], x: &[f64], gz: &mut [f64]) {
        for block in &self.blocks {
            let (at, q) = (block.at, block.z);
            match block.map {
                Map::Identity => {}
                Map::Log { .. } => gz[q] += 1.0,
                Map::Logit { low, high } => gz[q] += (low + high - 2.0 * x[at]) / (high - low),
                Map::Angle { .. } => gz[q] -= 2.0 * z[q] / (1.0 + z[q] * z[q]),
                Map::Axis { .. } => {
                    gz[q] -= z[q];
                    gz[q + 1] -= z[q + 1];
                }
                Map::Simplex { n, .. } => {
                    let mut rest = x[at + n - 1];
                    for i in (0..n - 1).rev() {
                        let (v, w, sum) = share(x[at + i], rest);
                        gz[q + i] += w - v - v * (n - 2 - i) as f64;
                        rest = sum;
                    }
                }
            }
        }
    }

    /// A positive approximation of $-\partial^2\ln|\partial x/\partial z|/\partial z^2$,
    /// one number a coordinate: what keeps the curvature of a posterior positive
    /// where the data say nothing.
    pub fn ln_jacobian_curvature(&self, z: &[f64], curvature: &mut [f64]) {
        curvature.fill(0.0);
        for block in &self.blocks {
            let q = block.z;
            match block.map {
                Map::Identity | Map::Log { .. } => {}
                Map::Logit { .. } => {
                    let (s, c, _) = logistic(z[q]);
                    curvature[q] = 2.0 * s * c;
                }
                Map::Angle { .. } => curvature[q] = 2.0 / (1.0 + z[q] * z[q]),
                Map::Axis { .. } => {
                    curvature[q] = 1.0;
                    curvature[q + 1] = 1.0;
                }
                Map::Simplex { n, .. } => {
                    for i in 0..n - 1 {
                        let (v, w, _) = logistic(z[q + i] - self.offsets[n - 1 - i]);
                        curvature[q + i] = v * w * (n - i) as f64;
                    }
                }
            }
        }
    }

    /// $\partial x/\partial z$, `[value, dim]`.
    pub fn jacobian(&self, z: &[f64], x: &[f64], out: &mut [f64]) {
        let mut gx = vec![0.0; self.values];
        for k in 0..self.values {
            gx[k] = 1.0;
            self.transposed(z, x, &gx, &mut out[k * self.dim..(k + 1) * self.dim]);
            gx[k] = 0.0;
        }
    }

    /// Coordinates of values; values on the edge of their support are moved
    /// inside by a part in 10⁶ (fractions: to at least 10⁻³ of the total), axes
    /// of the other half sphere to their antipode.
    pub fn to_coordinates(&self, x: &[f64], z: &mut [f64]) {
        for block in &self.blocks {
            let (at, q) = (block.at, block.z);
            match block.map {
                Map::Identity => z[q] = x[at],
                Map::Log { low } => z[q] = ln((x[at] - low).max(1e-12)),
                Map::Logit { low, high } => {
                    let s = ((x[at] - low) / (high - low)).clamp(EDGE, 1.0 - EDGE);
                    z[q] = ln(s / (1.0 - s));
                }
                Map::Angle { .. } | Map::Axis { .. } => block.to_coordinates(x, z),
                Map::Simplex { n, total } => {
                    let floor = 1e-3;
                    let f = |i: usize| (x[at + i] / total).max(floor);
                    let sum: f64 = (0..n).map(f).sum();
                    let mut rest = 1.0;
                    for i in 0..n - 1 {
                        let share = f(i) / sum;
                        let v = (share / rest).clamp(EDGE, 1.0 - EDGE);
                        z[q + i] = ln(v / (1.0 - v)) + self.offsets[n - 1 - i];
                        rest -= share;
                    }
                }
            }
        }
    }
}

/// The share v of f in f + rest, 1 - v, and f + rest.
fn share(f: f64, rest: f64) -> (f64, f64, f64) {
    let sum = rest + f;
    if sum > 0.0 { (f / sum, rest / sum, sum) } else { (0.5, 0.5, sum) }
}

fn interval(support: [f64; 2]) -> Map {
    let [low, high] = support;
    match (low.is_finite(), high.is_finite()) {
        (true, true) => Map::Logit { low, high },
        (true, false) => Map::Log { low },
        _ => Map::Identity,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ModelSpec;

    fn chart(expression: &str) -> (Model, Chart) {
        let model = Model::new(ModelSpec::parse(expression).unwrap()).unwrap();
        let mut centre = vec![0.5; model.values()];
        for free in model.free() {
            if free.kind == FreeKind::Axis {
                centre[free.at..free.at + 3].copy_from_slice(&[0.48, -0.6, 0.64]);
            }
        }
        let free = model.free().to_vec();
        let supports = |at: usize| free.iter().find(|f| f.at == at).map_or([0.0, 1.0], |f| f.range);
        let chart = Chart::new(&model, &centre, supports, Some([0.0, f64::INFINITY]));
        (model, chart)
    }

    fn point(chart: &Chart) -> Vec<f64> {
        (0..chart.dim()).map(|i| 0.7 * (1.3 * i as f64 + 0.4).sin()).collect()
    }

    #[test]
    fn pullback_equals_difference() {
        for expression in ["stick + zeppelin + ball", "tensor", "stick + ball"] {
            let (_, chart) = chart(expression);
            let z = point(&chart);
            let weight: Vec<f64> =
                (0..chart.values()).map(|i| (0.7 * i as f64 + 0.1).cos()).collect();
            let value = |z: &[f64]| {
                let mut x = vec![0.0; chart.values()];
                let ln_jacobian = chart.to_values(z, &mut x);
                ln_jacobian + x.iter().zip(&weight).map(|(x, w)| x * w).sum::<f64>()
            };
            let mut x = vec![0.0; chart.values()];
            chart.to_values(&z, &mut x);
            let mut gz = vec![0.0; chart.dim()];
            chart.pullback(&z, &x, &weight, &mut gz);
            for k in 0..chart.dim() {
                let h = 1e-5;
                let (mut plus, mut minus) = (z.clone(), z.clone());
                plus[k] += h;
                minus[k] -= h;
                let difference = (value(&plus) - value(&minus)) / (2.0 * h);
                assert!(
                    (gz[k] - difference).abs() < 1e-8,
                    "{expression} {k}: {} {difference}",
                    gz[k]
                );
            }
        }
    }

    #[test]
    fn coordinates_invert_values() {
        for expression in ["stick + zeppelin + ball", "tensor", "ball_sticks_3"] {
            let (_, chart) = chart(expression);
            let z = point(&chart);
            let mut x = vec![0.0; chart.values()];
            chart.to_values(&z, &mut x);
            let mut back = vec![0.0; chart.dim()];
            chart.to_coordinates(&x, &mut back);
            for (a, b) in z.iter().zip(&back) {
                assert!((a - b).abs() < 1e-9, "{expression}: {z:?} {back:?}");
            }
        }
    }

    /// The same point in charts of two centres: the values agree up to the sign of axes,
    /// and the ratio of volumes is that of the two Jacobians, also far out.
    #[test]
    fn points_are_carried_between_charts() {
        for expression in ["stick + zeppelin + ball", "tensor", "ball_sticks_3"] {
            let (model, from) = chart(expression);
            let mut centre = vec![0.3; model.values()];
            for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
                centre[free.at..free.at + 3].copy_from_slice(&[-0.6, 0.0, 0.8]);
            }
            let to = from.recentred(&centre);
            for size in [0.5, 1.0, 3.0] {
                let z: Vec<f64> = point(&from).iter().map(|v| v * size).collect();
                let (mut x, mut there) = (vec![0.0; from.values()], vec![0.0; from.dim()]);
                let ln_here = from.to_values(&z, &mut x);
                let opposed: Vec<usize> = model
                    .free()
                    .iter()
                    .filter(|f| f.kind == FreeKind::Axis && to.opposes(f.at, &x))
                    .map(|f| f.at)
                    .collect();
                opposed.iter().for_each(|&at| model.flip_axis(at, &mut x));
                let ratio = to.carry(&from, &z, &x, &mut there);
                let mut back = vec![0.0; from.values()];
                let ln_there = to.to_values(&there, &mut back);
                assert!((ratio - (ln_there - ln_here)).abs() < 1e-9, "{expression} {size}");
                for free in model.free() {
                    let period = match free.kind {
                        FreeKind::Scalar { period } => period,
                        _ => None,
                    };
                    for k in free.at..free.at + free.len {
                        let d = back[k] - x[k];
                        let d = period.map_or(d, |p| d - p * (d / p).round());
                        assert!(d.abs() < 1e-9, "{expression} {size} value {k}: {back:?} {x:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn jacobians_by_quadrature() {
        // The volume of each set by integrating exp(ln Jacobian) over its chart.
        let line = |map: Map, f: &dyn Fn(f64) -> f64| {
            let chart = Chart::from_blocks(vec![Block { at: 0, z: 0, map }], 1, 1);
            let n = 400_000;
            let h = 80.0 / f64::from(n);
            let mut x = [0.0];
            (0..n)
                .map(|i| {
                    let ln_jacobian = chart.to_values(&[-40.0 + (f64::from(i) + 0.5) * h], &mut x);
                    (ln_jacobian.exp()) * f(x[0]) * h
                })
                .sum::<f64>()
        };
        assert!((line(Map::Logit { low: 0.5, high: 2.0 }, &|_| 1.0) - 1.5).abs() < 1e-8);
        assert!((line(Map::Log { low: 0.0 }, &|x| (-x).exp()) - 1.0).abs() < 1e-6);
        // The half sphere: 2 pi.
        let axis = Chart::from_blocks(
            vec![Block { at: 0, z: 0, map: Map::Axis { frame: frame_about([0.0, 0.6, 0.8]) } }],
            2,
            3,
        );
        let (n, h) = (400, 0.05);
        let mut area = 0.0;
        let mut x = [0.0; 3];
        for i in 0..n {
            for j in 0..n {
                let z = [-10.0 + (f64::from(i) + 0.5) * h, -10.0 + (f64::from(j) + 0.5) * h];
                area += axis.to_values(&z, &mut x).exp() * h * h;
                let norm: f64 = x.iter().map(|v| v * v).sum();
                assert!((norm - 1.0).abs() < 1e-14, "not a unit vector: {x:?}");
            }
        }
        // The Jacobian is that of the map: area elements by differences.
        let at = |u: f64, v: f64| {
            let mut x = [0.0; 3];
            axis.to_values(&[u, v], &mut x);
            x
        };
        for (u, v) in [(0.01, 0.02), (0.7, -0.4), (1.5, 1.0), (0.09, 0.04)] {
            let d = 1e-5;
            let slope = |p: [f64; 3], q: [f64; 3]| -> [f64; 3] {
                std::array::from_fn(|i| (p[i] - q[i]) / (2.0 * d))
            };
            let (a, b) = (slope(at(u + d, v), at(u - d, v)), slope(at(u, v + d), at(u, v - d)));
            let cross =
                [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
            let element = dot(cross, cross).sqrt();
            assert!((element - (-0.5 * (u * u + v * v)).exp()).abs() < 1e-9, "{u} {v}: {element}");
        }
        assert!((area - std::f64::consts::TAU).abs() < 1e-5, "{area}");
        // The simplex of three fractions: area 1/2 in two of them.
        let mut x = [0.0; 3];
        let simplex = Chart::from_blocks(
            vec![Block { at: 0, z: 0, map: Map::Simplex { n: 3, total: 1.0 } }],
            2,
            3,
        );
        let (n, h) = (600, 0.1);
        let mut area = 0.0;
        for i in 0..n {
            for j in 0..n {
                let z = [-30.0 + (f64::from(i) + 0.5) * h, -30.0 + (f64::from(j) + 0.5) * h];
                area += simplex.to_values(&z, &mut x).exp() * h * h;
            }
        }
        assert!((area - 0.5).abs() < 1e-9, "{area}");
    }
}
