//! The mean of axes: unit vectors without a sign.
//!
//! The principal axis $m$ is the eigenvector of the largest eigenvalue of
//! $\sum\mu\mu^T$.
//!
//! Source: Mardia & Jupp 2000, *Directional Statistics*, sec. 10.3. Validated by
//! `signs_do_not_matter` below.

use microtome_kernels::eigen::eigen_3x3;

/// The principal axis of some axes.
pub(crate) fn principal_axis(axes: impl Iterator<Item = [f64; 3]>) -> [f64; 3] {
    let mut dyadic = [[0.0; 3]; 3];
    for mu in axes {
        for i in 0..3 {
            for j in 0..3 {
                dyadic[i][j] += mu[i] * mu[j];
            }
        }
    }
    eigen_3x3(dyadic).1[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_do_not_matter() {
        let m = principal_axis([[0.6, 0.8, 0.0], [-0.8, -0.6, 0.0], [0.6, 0.8, 0.0]].into_iter());
        // Two against one: nearer to (0.6, 0.8, 0) than to the middle, (1, 1, 0)/sqrt 2.
        assert!(m[2].abs() < 1e-14 && m[0] * m[1] > 0.0);
        assert!(m[1].abs() > m[0].abs() && m[1].abs() < 0.8);
    }
}
