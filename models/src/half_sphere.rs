//! Directions that cover the half-sphere evenly: n and -n count as one axis.
//!
//! $$z_i = 1 - \frac{i + 1/2}{N},\qquad \phi_i = 2\pi i/\varphi^2$$
//!
//! with the golden ratio $\varphi$: a spherical Fibonacci lattice, of which no two
//! axes are closer than 0.45 of the mean spacing $\sqrt{2\pi/N}$ (the closest are at the equator).
//!
//! Source: González 2010, doi:10.1007/s11004-009-9257-x, eq. 1 and 2 (here on one
//! half). Validated by `axes_are_apart_and_leave_no_holes` below.

pub use microtome_kernels::vector::nearest_axes as neighbours;
use std::f64::consts::PI;

/// Unit vectors that cover the upper half-sphere evenly.
pub fn half_sphere(points: usize) -> Vec<[f64; 3]> {
    let turn = PI * (3.0 - 5.0_f64.sqrt());
    (0..points)
        .map(|i| {
            let z = 1.0 - (i as f64 + 0.5) / points as f64;
            let r = (1.0 - z * z).sqrt();
            let (s, c) = (turn * i as f64).sin_cos();
            [r * c, r * s, z]
        })
        .collect()
}

/// The same axes in patches: each run of `size` is an axis and its nearest that are
/// left, so that what is large in one place is large in few runs.
pub fn in_patches(axes: &[[f64; 3]], size: usize) -> Vec<[f64; 3]> {
    let mut left = axes.to_vec();
    let mut out = Vec::with_capacity(axes.len());
    while !left.is_empty() {
        let first = left[0];
        let cosine = |a: &[f64; 3]| (a[0] * first[0] + a[1] * first[1] + a[2] * first[2]).abs();
        left.sort_by(|a, b| cosine(b).total_cmp(&cosine(a)));
        let rest = left.split_off(size.min(left.len()));
        out.append(&mut left);
        left = rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_hold_the_same_axes_close_together() {
        let (axes, patches) = (half_sphere(300), in_patches(&half_sphere(300), 8));
        assert!(patches.len() == 300 && axes.iter().all(|a| patches.contains(a)));
        let dot = |a: [f64; 3], b: [f64; 3]| (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]).abs();
        let close = patches.chunks(8).filter(|p| p.iter().all(|a| dot(*a, p[0]) > 0.8)).count();
        assert!(close > 25, "{close} of 38");
    }

    #[test]
    fn axes_are_apart_and_leave_no_holes() {
        let n = 300;
        let axes = half_sphere(n);
        let spacing = (2.0 * PI / n as f64).sqrt();
        let near = neighbours::<1>(&axes);
        let dot =
            |a: [f64; 3], b: [f64; 3]| (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]).abs().min(1.0);
        let closest = axes
            .iter()
            .zip(&near)
            .map(|(a, k)| dot(*a, axes[k[0] as usize]).acos())
            .fold(9.0, f64::min);
        assert!(closest > 0.45 * spacing, "{closest} of {spacing}");
        // No axis is further from the set than one spacing.
        for probe in half_sphere(4001) {
            let angle = axes.iter().map(|a| dot(*a, probe).acos()).fold(9.0, f64::min);
            assert!(angle < spacing, "{angle} of {spacing}");
        }
    }
}
