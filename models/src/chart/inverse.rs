//! The coordinates of any values inside the supports, to rounding: those of draws,
//! where [`Chart::to_coordinates`] keeps starts off the edges.
//!
//! $$z_i = \ln\frac{f_i}{\sum_{j>i}f_j} + \ln(n-1-i),\qquad z = \ln\frac{x-l}{h-x}$$
//!
//! Source: as of [`Chart`]. Validated by `exact_coordinates_invert_values` below.

use super::{Chart, Map, dot};
use microtome_kernels::log::log as ln;

impl Chart {
    /// Unconstrained coordinates of values; not finite for values on an edge.
    ///
    /// # Shapes
    /// `x` `[value]`, `z` `[dim]`.
    pub fn exact_coordinates(&self, x: &[f64], z: &mut [f64]) {
        for block in &self.blocks {
            let (at, q) = (block.at, block.z);
            match block.map {
                Map::Identity => z[q] = x[at],
                Map::Log { low } => z[q] = ln(x[at] - low),
                Map::Logit { low, high } => z[q] = ln((x[at] - low) / (high - x[at])),
                Map::Angle { centre, period } => {
                    let turns = (x[at] - centre) / period;
                    z[q] = ((turns - turns.round()) * std::f64::consts::PI).tan();
                }
                Map::Axis { frame: [e1, e2, m] } => {
                    let mu = [x[at], x[at + 1], x[at + 2]];
                    let (u, v, w) = (dot(mu, e1), dot(mu, e2), dot(mu, m));
                    // 1 - e^-q is the square of the part across, without cancellation.
                    let across = u * u + v * v;
                    let squared_radius =
                        if across < 0.5 { -(-across).ln_1p() } else { -2.0 * w.abs().ln() };
                    let scale = if across > 0.0 {
                        (squared_radius / across).sqrt().copysign(w)
                    } else {
                        1.0
                    };
                    z[q] = u * scale;
                    z[q + 1] = v * scale;
                }
                Map::Simplex { n, .. } => {
                    let mut rest = x[at + n - 1];
                    for i in (0..n - 1).rev() {
                        z[q + i] = ln(x[at + i] / rest) + self.offsets[n - 1 - i];
                        rest += x[at + i];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::{FreeKind, Model, ModelSpec};

    #[test]
    fn exact_coordinates_invert_values() {
        for expression in ["ball_sticks_2", "sandi", "tensor", "noddi"] {
            let model = Model::new(ModelSpec::parse(expression).unwrap()).unwrap();
            let mut centre = vec![0.5; model.values()];
            for free in model.free() {
                if free.kind == FreeKind::Axis {
                    centre[free.at..free.at + 3].copy_from_slice(&[0.48, -0.6, 0.64]);
                }
            }
            let support = |at: usize| {
                let range = model.free().iter().find(|f| f.at == at).unwrap().range;
                if range[1].is_finite() { range } else { [0.0, f64::INFINITY] }
            };
            let chart = super::Chart::new(&model, &centre, support, Some([0.0, f64::INFINITY]));
            for scale in [1e-9, 0.1, 2.0, 7.0] {
                let z: Vec<f64> = (0..chart.dim())
                    .map(|i| scale * (0.3 + 0.7 * (3.1 * i as f64).sin()))
                    .collect();
                let (mut x, mut back) = (vec![0.0; chart.values()], vec![0.0; chart.dim()]);
                chart.to_values(&z, &mut x);
                chart.exact_coordinates(&x, &mut back);
                for (a, b) in z.iter().zip(&back) {
                    // A direction at 7 of the centre has a cosine of e^-24.
                    let room = if scale > 5.0 { 1e-4 } else { 1e-10 };
                    assert!((a - b).abs() < room, "{expression}: {a} {b}");
                }
                for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
                    for v in &mut x[free.at..free.at + 3] {
                        *v = -*v;
                    }
                }
                let mut flipped = vec![0.0; chart.dim()];
                chart.exact_coordinates(&x, &mut flipped);
                assert_eq!(back, flipped);
            }
        }
    }
}
