//! Affine maps between the grid and the world, and the anatomical directions of voxel axes.
//!
//! The directions are those of the rotation nearest to the affine with its columns
//! normalised: the strongest entry first, each world axis once. nibabel's `aff2axcodes`
//! does the same, so that both understand the `voxel_order` of TRK files alike.
//!
//! Validated by the tests below and by `files_of_nibabel_and_trx_python` in
//! `tests/files/tracts.rs`.

use crate::geometry::nearest_orthogonal;
pub(crate) use microtome_models::tract::affine_inverse as inverse;

/// The upper three rows of a homogeneous matrix.
pub(crate) type Affine = [[f64; 4]; 3];

/// A point through an affine map.
pub(crate) fn apply(a: &Affine, p: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|i| a[i][0] * p[0] + a[i][1] * p[1] + a[i][2] * p[2] + a[i][3])
}

/// For every voxel axis the world axis (0 x, 1 y, 2 z) that it follows, and whether it runs
/// towards R, A or S.
pub(crate) fn directions(a: &[[f64; 4]; 4]) -> Option<[(usize, bool); 3]> {
    let norm = |c: usize| a.iter().take(3).map(|row| row[c] * row[c]).sum::<f64>().sqrt();
    let norms = [norm(0), norm(1), norm(2)];
    let r = nearest_orthogonal([0, 1, 2].map(|i| [0, 1, 2].map(|c| a[i][c] / norms[c])))?;
    let strength = |c: usize| (0..3).map(|i| r[i][c] * r[i][c]).fold(0.0, f64::max);
    let mut order = [0, 1, 2];
    order.sort_by(|&c, &d| strength(d).total_cmp(&strength(c)));
    let mut out = [(0, true); 3];
    let mut taken = [false; 3];
    for c in order {
        let free = (0..3).filter(|&i| !taken[i]);
        let best = free.fold(None, |best: Option<usize>, i| match best {
            Some(b) if r[b][c].abs() >= r[i][c].abs() => Some(b),
            _ => Some(i),
        })?;
        taken[best] = true;
        out[c] = (best, r[best][c] > 0.0);
    }
    Some(out)
}

/// The letters of voxel axes, such as `LPS`: where each one runs to.
pub(crate) fn letters(directions: [(usize, bool); 3]) -> [u8; 3] {
    directions.map(|(axis, up)| [[b'L', b'R'], [b'P', b'A'], [b'I', b'S']][axis][usize::from(up)])
}

/// The directions that letters name; `None` for other letters or an axis twice.
pub(crate) fn from_letters(letters: &[u8]) -> Option<[(usize, bool); 3]> {
    let [a, b, c] = *letters.first_chunk::<3>()?;
    let one = |letter: u8| match letter.to_ascii_uppercase() {
        b'L' => Some((0, false)),
        b'R' => Some((0, true)),
        b'P' => Some((1, false)),
        b'A' => Some((1, true)),
        b'I' => Some((2, false)),
        b'S' => Some((2, true)),
        _ => None,
    };
    let all = [one(a)?, one(b)?, one(c)?];
    let distinct = all[0].0 != all[1].0 && all[1].0 != all[2].0 && all[0].0 != all[2].0;
    distinct.then_some(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_a_shear() {
        let a = [
            [-2.0, 0.3, 0.1, 80.0],
            [0.2, 1.9, -0.4, -70.0],
            [0.0, 0.5, 2.5, -30.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        let there = [a[0], a[1], a[2]];
        let back = inverse(&a).unwrap();
        let p = [3.5, -2.0, 11.25];
        for (x, y) in p.iter().zip(apply(&back, apply(&there, p))) {
            assert!((x - y).abs() < 1e-12, "{x} {y}");
        }
        let flat = [[1.0, 2.0, 3.0, 0.0], [2.0, 4.0, 6.0, 0.0], [0.0, 0.0, 1.0, 0.0], a[3]];
        assert!(inverse(&flat).is_none());
        assert!(inverse(&[[f64::NAN; 4]; 4]).is_none());
        assert!(inverse(&[[0.0; 4]; 4]).is_none());
    }

    #[test]
    fn letters_of_axes() {
        let turned = [
            [0.1, 0.0, -2.0, 0.0],
            [2.0, 0.1, 0.1, 0.0],
            [0.0, -3.0, 0.2, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        assert_eq!(letters(directions(&turned).unwrap()), *b"AIL");
        assert_eq!(from_letters(b"ail\0"), directions(&turned));
        assert!(from_letters(b"RAA").is_none());
        assert!(from_letters(b"RA").is_none());
        assert!(from_letters(b"xyz").is_none());
    }
}
