//! What no projection shows: motions of the volume together with all poses.
//!
//! With $x' = Sx + c$ and a volume $f'(x') = f(x)$ the poses
//!
//! $$R_i' = R_iS^{-1},\qquad t_i' = t_i - R_iS^{-1}c$$
//!
//! give the same projections: six continuous freedoms. For point sources there is a seventh,
//! a larger volume farther away, $t_i' = s_i + (1+\epsilon)(t_i - s_i)$. Parallel beams also
//! have a mirror, $(\alpha, \phi)\to(-\alpha, -\phi)$ with the volume mirrored in y (the
//! shifts stay), and are blind to shifts along the beam.
//!
//! The motion nearest to reference poses has
//!
//! $$S = \operatorname{polar}\Big(\sum_i R_{0i}^TR_i\Big),\qquad
//!   \sum_i\big|P_i(t_i - R_iS^{-1}c - t_{0i})\big|^2 \to \min_c$$
//!
//! with $P_i$ the projector across a parallel beam; there the mean deviation along each of
//! the six generators is zero.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R_i, t_i$ | 1, mm | pose of view i |
//! | $s_i$ | mm | source of view i |
//!
//! Source: Kabsch 1976, doi:10.1107/S0567739476001873 (the rotation); Higham 1986,
//! doi:10.1137/0907079 (the polar factor); Belhumeur, Kriegman & Yuille 1999,
//! doi:10.1023/A:1008154927611 (ambiguities of orthographic views). Validated by
//! `gauge_changes_no_projection` and `nearest_motion_is_found` in `inference/tests/suite/align.rs`.

use super::AlignError;
use crate::dense::{cholesky, cholesky_solve};
use microtome_models::ct::{PoseModel, RigidTransform};

type Matrix = [[f64; 3]; 3];

/// Length of the differences that give generators, mm at the edge of the volume relative to
/// its size.
const DIFFERENCE: f64 = 1e-5;

/// Rounds of motion and scale.
const FRAMES: usize = 12;

/// Names of the generators, in their order.
pub const GENERATORS: [&str; 7] = [
    "turn about x",
    "turn about y",
    "turn about z",
    "shift along x",
    "shift along y",
    "shift along z",
    "scale",
];

fn each_view(model: &PoseModel, thetas: &[f64]) -> Result<Vec<RigidTransform>, AlignError> {
    let n = model.parameters().len();
    Ok(thetas.chunks_exact(n).map(|t| model.motion_of(t)).collect::<Result<_, _>>()?)
}

/// The poses after the volume moved by $x\mapsto Sx+c$: projections of the moved volume are
/// what they were.
///
/// # Errors
/// Poses that are not finite.
pub fn moved(
    model: &PoseModel,
    thetas: &[f64],
    by: &RigidTransform,
) -> Result<Vec<f64>, AlignError> {
    let n = model.parameters().len();
    let back = by.inverse();
    let all = each_view(model, thetas)?;
    let poses = all.iter().zip(thetas.chunks_exact(n));
    Ok(poses.flat_map(|(t, near)| model.pose_of(&(*t * back), near)).collect())
}

/// The mirrored poses of a parallel scan about z: projections of the volume mirrored in y are
/// what they were. Only for five parameters.
pub fn mirrored(model: &PoseModel, thetas: &[f64]) -> Option<Vec<f64>> {
    let n = model.parameters().len();
    let of = |t: &[f64]| [-t[0], t[1], -t[2], t[3], t[4]];
    (n == 5).then(|| thetas.chunks_exact(n).flat_map(of).collect())
}

fn inverse_transpose(m: &Matrix) -> Option<Matrix> {
    let cofactor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let all: Matrix = std::array::from_fn(|r| std::array::from_fn(|c| cofactor(r, c)));
    let det: f64 = (0..3).map(|c| m[0][c] * all[0][c]).sum();
    (det > 0.0 && det.is_finite()).then(|| all.map(|row| row.map(|v| v / det)))
}

/// The rotation nearest to a matrix, by Higham's iteration.
fn polar(m: &Matrix) -> Option<Matrix> {
    let size = m.iter().flatten().fold(0.0_f64, |s, v| s.max(v.abs()));
    let mut x = m.map(|row| row.map(|v| v / size));
    for _ in 0..60 {
        let other = inverse_transpose(&x)?;
        let mut moved = 0.0_f64;
        for r in 0..3 {
            for c in 0..3 {
                let next = 0.5 * (x[r][c] + other[r][c]);
                moved = moved.max((next - x[r][c]).abs());
                x[r][c] = next;
            }
        }
        if moved < 1e-15 {
            break;
        }
    }
    Some(x)
}

/// The motion of the volume after which `thetas` are nearest to `reference`.
///
/// # Errors
/// Poses that are not finite; poses so far apart that there is no nearest motion.
pub fn nearest(
    model: &PoseModel,
    thetas: &[f64],
    reference: &[f64],
) -> Result<RigidTransform, AlignError> {
    let (of, to) = (each_view(model, thetas)?, each_view(model, reference)?);
    let mut m = [[0.0; 3]; 3];
    for (a, b) in of.iter().zip(&to) {
        let (ra, rb) = (a.rotation_rows(), b.rotation_rows());
        for r in 0..3 {
            for c in 0..3 {
                m[r][c] += (0..3).map(|k| rb[k][r] * ra[k][c]).sum::<f64>();
            }
        }
    }
    let far = || {
        AlignError::setting("poses", "they are so far from the reference that no motion is nearest")
    };
    let turn = RigidTransform::from_matrix(polar(&m).ok_or_else(far)?, [0.0; 3])?;
    let back = turn.inverse();
    let blind = model.blind_directions();
    let (mut a, mut b) = (vec![0.0; 9], vec![0.0; 3]);
    for (i, (pose, target)) in of.iter().zip(&to).enumerate() {
        let r = (*pose * back).rotation_rows();
        let gap: [f64; 3] = std::array::from_fn(|k| pose.shift()[k] - target.shift()[k]);
        let across = |v: [f64; 3]| match &blind {
            None => v,
            Some(d) => {
                let along: f64 = (0..3).map(|k| d[i][k] * v[k]).sum();
                std::array::from_fn(|k| v[k] - along * d[i][k])
            }
        };
        let columns = [0, 1, 2].map(|c| across([r[0][c], r[1][c], r[2][c]]));
        let gap = across(gap);
        for p in 0..3 {
            b[p] += (0..3).map(|k| columns[p][k] * gap[k]).sum::<f64>();
            for q in 0..3 {
                a[3 * p + q] += (0..3).map(|k| columns[p][k] * columns[q][k]).sum::<f64>();
            }
        }
    }
    // A shift that no view sees stays 0.
    let trace = a[0] + a[4] + a[8];
    for k in 0..3 {
        a[4 * k] += 1e-12 * trace;
    }
    if !cholesky(&mut a, 3, 1e-16) {
        return Err(far());
    }
    cholesky_solve(&a, 3, &mut b);
    Ok(RigidTransform::translation([b[0], b[1], b[2]]) * turn)
}

/// Poses moved by what no projection shows so that they are nearest to `reference`: by a motion
/// of the volume, for point sources by its scale too, $t_i' = s_i + k(t_i - s_i)$.
///
/// # Errors
/// As [`nearest`].
pub fn framed(
    model: &PoseModel,
    thetas: &[f64],
    reference: &[f64],
) -> Result<Vec<f64>, AlignError> {
    let mut out = moved(model, thetas, &nearest(model, thetas, reference)?)?;
    let Some(sources) = model.sources_at(thetas)? else { return Ok(out) };
    let n = model.parameters().len();
    // Motion and scale hardly mix: a few rounds of one after the other.
    for _ in 0..FRAMES {
        let (mut along, mut size) = (0.0, 0.0);
        let pairs = out.chunks_exact(n).zip(reference.chunks_exact(n)).zip(&sources);
        for ((row, target), s) in pairs {
            for k in 0..3 {
                let d = row[3 + k] - s[k];
                along += d * (target[3 + k] - s[k]);
                size += d * d;
            }
        }
        let scale = along / size;
        for (row, s) in out.chunks_exact_mut(n).zip(&sources) {
            for k in 0..model.volume().dimensions() {
                row[3 + k] = s[k] + scale * (row[3 + k] - s[k]);
            }
        }
        out = moved(model, &out, &nearest(model, &out, reference)?)?;
    }
    Ok(out)
}

/// The changes of a table of poses that no projection shows, when the volume is free too:
/// six, and the scale for point sources; each a name and a table `[view, parameter]`.
///
/// # Errors
/// Poses that are not finite.
pub fn generators(
    model: &PoseModel,
    thetas: &[f64],
) -> Result<Vec<(&'static str, Vec<f64>)>, AlignError> {
    let (n, arm) = (model.parameters().len(), model.arm_mm());
    let flat = model.volume().dimensions() == 2;
    let mut out = Vec::new();
    for (k, name) in GENERATORS.into_iter().enumerate().take(6) {
        if flat && [0, 1, 5].contains(&k) {
            continue;
        }
        let step = if k < 3 { DIFFERENCE } else { DIFFERENCE * arm };
        let side = |sign: f64| -> Result<Vec<f64>, AlignError> {
            let mut axis = [0.0; 3];
            axis[k % 3] = if k < 3 { 1.0 } else { sign * step };
            let by = if k < 3 {
                RigidTransform::rotation(axis, sign * step)?
            } else {
                RigidTransform::translation(axis)
            };
            moved(model, thetas, &by)
        };
        let (up, down) = (side(1.0)?, side(-1.0)?);
        let scale = if k < 3 { 0.5 / (step * arm) } else { 0.5 / step };
        out.push((name, up.iter().zip(&down).map(|(u, d)| (u - d) * scale).collect()));
    }
    if let Some(sources) = model.sources_at(thetas)? {
        let mut table = vec![0.0; thetas.len()];
        for ((row, theta), s) in table.chunks_exact_mut(n).zip(thetas.chunks_exact(n)).zip(&sources)
        {
            for k in 0..3 {
                row[3 + k] = (theta[3 + k] - s[k]) / arm;
            }
            if flat {
                row[5] = 0.0;
            }
        }
        out.push((GENERATORS[6], table));
    }
    Ok(out)
}

/// How far poses are from others: the turn between them in rad and the shift in mm across the
/// beam, one each a view.
///
/// # Errors
/// Poses that are not finite.
pub fn gaps(
    model: &PoseModel,
    thetas: &[f64],
    reference: &[f64],
) -> Result<Vec<[f64; 2]>, AlignError> {
    let (of, to) = (each_view(model, thetas)?, each_view(model, reference)?);
    let blind = model.blind_directions();
    let gap = |(i, (a, b)): (usize, (&RigidTransform, &RigidTransform))| {
        let (ra, rb) = (a.rotation_rows(), b.rotation_rows());
        let square: f64 =
            (0..3).flat_map(|r| (0..3).map(move |c| (ra[r][c] - rb[r][c]).powi(2))).sum();
        let mut shift: [f64; 3] = std::array::from_fn(|k| a.shift()[k] - b.shift()[k]);
        if let Some(d) = &blind {
            let along: f64 = (0..3).map(|k| d[i][k] * shift[k]).sum();
            shift = std::array::from_fn(|k| shift[k] - along * d[i][k]);
        }
        let size = shift.iter().map(|v| v * v).sum::<f64>().sqrt();
        // |R - R0| = 2 sqrt 2 sin(angle / 2).
        [2.0 * (square.sqrt() / 8.0_f64.sqrt()).min(1.0).asin(), size]
    };
    Ok(of.iter().zip(&to).enumerate().map(gap).collect())
}
