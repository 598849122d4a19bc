//! Points and vectors of space.
//!
//! Source of [`normals`]: Duff et al. 2017, Journal of Computer Graphics Techniques 6(1), listing
//! 3. Validated by `normals_are_a_rotation` below.

/// A point or vector.
pub type Vec3 = [f64; 3];

/// a + b.
#[inline(always)]
pub fn plus(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// a - b.
#[inline(always)]
pub fn minus(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// a + s b.
#[inline(always)]
pub fn along(a: Vec3, s: f64, b: Vec3) -> Vec3 {
    [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]]
}

/// Scalar product.
#[inline(always)]
pub fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product.
#[inline(always)]
pub fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Length.
#[inline(always)]
pub fn norm(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

/// The unit vector; not finite for a zero vector.
#[inline(always)]
pub fn unit(a: Vec3) -> Vec3 {
    let r = norm(a);
    a.map(|v| v / r)
}

/// Two unit vectors that are normal to a unit vector and to each other; with it as the third
/// they are a rotation.
#[inline(always)]
pub fn normals(n: Vec3) -> [Vec3; 2] {
    let sign = 1.0_f64.copysign(n[2]);
    let a = -1.0 / (sign + n[2]);
    let b = n[0] * n[1] * a;
    [[1.0 + sign * n[0] * n[0] * a, sign * b, -sign * n[0]], [b, sign + n[1] * n[1] * a, -n[1]]]
}

/// The `K` nearest axes of every axis, the nearest first; n and -n are one axis. Where there are
/// fewer, the axis itself.
pub fn nearest_axes<const K: usize>(axes: &[Vec3]) -> Vec<[u32; K]> {
    let cosine = |i: usize, j: usize| dot(axes[i], axes[j]).abs();
    (0..axes.len())
        .map(|i| {
            let mut others: Vec<usize> = (0..axes.len()).filter(|j| *j != i).collect();
            let closer =
                |j: &usize, k: &usize| cosine(i, *k).total_cmp(&cosine(i, *j)).then(j.cmp(k));
            if K > 0 && K < others.len() {
                others.select_nth_unstable_by(K - 1, closer);
                others.truncate(K);
            }
            others.sort_unstable_by(closer);
            std::array::from_fn(|k| others.get(k).map_or(i, |j| *j) as u32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_are_a_rotation() {
        for n in [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [0.36, -0.48, 0.8]] {
            let [e, f] = normals(n);
            assert!(dot(e, n).abs() < 1e-15 && dot(e, f).abs() < 1e-15);
            assert!((norm(e) - 1.0).abs() < 1e-15 && norm(minus(cross(e, f), n)) < 1e-15);
        }
        assert_eq!(nearest_axes::<2>(&[[1.0, 0.0, 0.0], [-0.8, 0.6, 0.0]]), [[1, 0], [0, 1]]);
        assert_eq!(unit([0.0, 3.0, 4.0]), [0.0, 0.6, 0.8]);
        assert_eq!(along([1.0, 2.0, 3.0], 2.0, [1.0, 0.0, -1.0]), [3.0, 2.0, 1.0]);
        assert_eq!(plus([1.0, 2.0, 3.0], [1.0; 3]), [2.0, 3.0, 4.0]);
    }
}
