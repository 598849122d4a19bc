//! What a ray meets in the slices across its main axis, and how much of each voxel.
//!
//! Joseph: at the centre of slice $s$ the ray is at $q_a = a_0 + sa_1$; with
//! $i = \lfloor q_a\rfloor$, $f = q_a - i$ (and $j$, $g$ of the other axis) the weights are
//!
//! $$\ell(1-f)(1-g),\quad \ell f(1-g),\quad \ell(1-f)g,\quad \ell fg .$$
//!
//! Siddon: slice $s$ reaches from $s-\frac12$ to $s+\frac12$. Since $|a_1|\le1$ the ray
//! crosses at most one cell face of either axis there, at the shares
//! $\tau_a = (c - q_a(s-\frac12))/a_1$ of the slice, $c$ the coordinate of the face, so at
//! most three cells share the length $\ell$. Cells are half open, $[i-\frac12,i+\frac12)$.
//!
//! `walk` hands every (number within the slice, voxel, weight) of a ray to a closure; sum
//! and spread are two closures over one function. Source: Joseph 1982, doi:10.1109/TMI.1982.4307572, eqs. 4
//! to 6; Siddon 1985, doi:10.1118/1.595715, eqs. 3 to 14 (the same lengths, written by
//! slices). Validated by the tests below.

use super::line::Line;

/// A block of slices in memory, seen along a main axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slab {
    /// First slice and one past the last.
    pub(super) begin: usize,
    pub(super) end: usize,
    /// First voxels of the two axes across, and their number.
    pub(super) from: [usize; 2],
    pub(super) across: [usize; 2],
    /// Index steps: slice, and the two axes across.
    pub(super) step: usize,
    pub(super) steps: [usize; 2],
}

/// Most voxels of a slice that a ray meets.
pub(super) const TAPS: usize = 4;

/// A rule of weights.
pub(super) trait Footprint: 'static {
    /// How far from a voxel's centre, across, a ray still meets it.
    const MARGIN: f64;
    /// Whether the weights are those of [`Joseph`], which eight rays or voxels share.
    const LINEAR: bool;

    /// Hands over every voxel of the slab that the ray meets, with its weight in mm, and
    /// which of the at most [`TAPS`] voxels of its slice it is. With `FLAT` the second axis
    /// across has one voxel and the ray runs in its plane.
    fn walk<const FLAT: bool>(line: &Line, slab: &Slab, visit: impl FnMut(usize, usize, f64));
}

pub(super) struct Joseph;
pub(super) struct Siddon;

#[inline(always)]
fn inside(i: i32, n: usize) -> bool {
    (i as u32 as usize) < n
}

/// A whole number below 2^31 as an integer: the low bits after 1.5 x 2^52 was added.
#[inline(always)]
pub(super) fn integer(whole: f64) -> i32 {
    (whole + 6_755_399_441_055_744.0).to_bits() as i32
}

impl Footprint for Joseph {
    const MARGIN: f64 = 1.0;
    const LINEAR: bool = true;

    #[inline(always)]
    fn walk<const FLAT: bool>(line: &Line, slab: &Slab, mut visit: impl FnMut(usize, usize, f64)) {
        let [na, nb] = slab.across;
        let [sa, sb] = slab.steps;
        let [ca, cb] = slab.from.map(|v| v as i32);
        for s in line.within(slab.begin, slab.end) {
            let at = s as f64;
            if at < line.low || at > line.high {
                continue;
            }
            let base = (s - slab.begin) * slab.step;
            let a = line.at(0, at);
            let fa = a.floor();
            let (i, f) = (integer(fa) - ca, a - fa);
            if FLAT {
                if inside(i, na - 1) {
                    let p = base + i as usize * sa;
                    visit(0, p, line.length * (1.0 - f));
                    visit(1, p + sa, line.length * f);
                } else {
                    if inside(i, na) {
                        visit(0, base + i as usize * sa, line.length * (1.0 - f));
                    }
                    if inside(i + 1, na) {
                        visit(1, base + (i + 1) as usize * sa, line.length * f);
                    }
                }
                continue;
            }
            let b = line.at(1, at);
            let fb = b.floor();
            let (j, g) = (integer(fb) - cb, b - fb);
            let (low, high) = (line.length * (1.0 - g), line.length * g);
            if inside(i, na - 1) && inside(j, nb - 1) {
                let p = base + i as usize * sa + j as usize * sb;
                visit(0, p, low * (1.0 - f));
                visit(1, p + sa, low * f);
                visit(2, p + sb, high * (1.0 - f));
                visit(3, p + sb + sa, high * f);
                continue;
            }
            for (k, j, w) in [(0, j, low), (2, j + 1, high)] {
                for (k, i, w) in [(k, i, w * (1.0 - f)), (k + 1, i + 1, w * f)] {
                    if inside(i, na) && inside(j, nb) {
                        visit(k, base + i as usize * sa + j as usize * sb, w);
                    }
                }
            }
        }
    }
}

/// The cells at both ends of a stretch from `from` to `to`, counted from `first`, and the
/// share of the stretch that lies in the first of them.
#[inline(always)]
fn crossing(from: f64, to: f64, first: i32) -> (i32, i32, f64) {
    let (mut i, j) = (integer((from + 0.5).floor()), integer((to + 0.5).floor()));
    if i == j {
        return (i - first, j - first, 1.0);
    }
    // Rounding can make a stretch of length one seem to touch three cells.
    if j > i + 1 {
        i = j - 1;
    } else if j < i - 1 {
        i = j + 1;
    }
    let face = f64::from(i.max(j)) - 0.5;
    (i - first, j - first, ((face - from) / (to - from)).clamp(0.0, 1.0))
}

impl Footprint for Siddon {
    const MARGIN: f64 = 0.5;
    const LINEAR: bool = false;

    #[inline(always)]
    fn walk<const FLAT: bool>(line: &Line, slab: &Slab, mut visit: impl FnMut(usize, usize, f64)) {
        let [na, nb] = slab.across;
        let [sa, sb] = slab.steps;
        let [ca, cb] = slab.from.map(|v| v as i32);
        for s in line.within(slab.begin, slab.end) {
            let low = (s as f64 - 0.5).max(line.low);
            let high = (s as f64 + 0.5).min(line.high);
            if high <= low {
                continue;
            }
            let base = (s - slab.begin) * slab.step;
            let length = line.length * (high - low);
            let (i0, i1, share) = crossing(line.at(0, low), line.at(0, high), ca);
            if FLAT {
                if inside(i0, na) {
                    visit(0, base + i0 as usize * sa, length * share);
                }
                if i1 != i0 && inside(i1, na) {
                    visit(1, base + i1 as usize * sa, length * (1.0 - share));
                }
                continue;
            }
            let (j0, j1, other) = crossing(line.at(1, low), line.at(1, high), cb);
            let (near, far) = (share.min(other), share.max(other));
            let (i, j) = if share < other { (i1, j0) } else { (i0, j1) };
            let mut cell = |k: usize, i: i32, j: i32, w: f64| {
                if w > 0.0 && inside(i, na) && inside(j, nb) {
                    visit(k, base + i as usize * sa + j as usize * sb, length * w);
                }
            };
            cell(0, i0, j0, near);
            cell(1, i, j, far - near);
            cell(2, i1, j1, 1.0 - far);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ray::line::{Beam, Grid, Panel, Rays, View};

    const GRID: Grid = Grid { shape: [9, 11, 7], voxel: [0.7, 1.0, 1.6] };

    fn slab(main: usize) -> Slab {
        let [a, b] = crate::ray::line::ACROSS[main];
        let strides = GRID.strides();
        Slab {
            begin: 0,
            end: GRID.shape[main],
            from: [0, 0],
            across: [GRID.shape[a], GRID.shape[b]],
            step: strides[main],
            steps: [strides[a], strides[b]],
        }
    }

    fn numbers(n: usize) -> impl Iterator<Item = [f64; 3]> {
        (0..n).map(|i| {
            let x = |k: f64| ((i as f64 + 0.5) * k).fract() - 0.5;
            [x(0.618_034), x(0.754_878), x(0.569_84)]
        })
    }

    /// The length of a line through a box, from the six faces.
    fn chord(point: [f64; 3], d: [f64; 3], half: [f64; 3], from_point: bool) -> f64 {
        let (mut low, mut high) = (if from_point { 0.0 } else { f64::NEG_INFINITY }, f64::INFINITY);
        for k in 0..3 {
            let (p, q) = ((-half[k] - point[k]) / d[k], (half[k] - point[k]) / d[k]);
            low = low.max(p.min(q));
            high = high.min(p.max(q));
        }
        (high - low).max(0.0) * d.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    #[test]
    fn siddon_lengths_sum_to_the_chord() {
        let half: [f64; 3] = std::array::from_fn(|k| GRID.shape[k] as f64 * GRID.voxel[k] / 2.0);
        let mut met = 0;
        for (n, (p, d)) in numbers(4000).zip(numbers(5000).skip(1000)).enumerate() {
            let inside = n % 2 == 0;
            let scale = if inside { 5.0 } else { 40.0 };
            let point = p.map(|v| v * scale);
            let beam = if n % 4 < 2 { Beam::Source(point) } else { Beam::Parallel(d) };
            let detector = std::array::from_fn(|k| point[k] + 3.0 * d[k]);
            let view = View { beam, detector, u: [1.0, 0.0, 0.0], v: [0.0, 1.0, 0.0] };
            let line = Rays::new(&view, Panel::flat(1, 1), &GRID, 1.0).line(0, 0);
            let mut sum = 0.0;
            Siddon::walk::<false>(&line, &slab(line.main), |_, j, w| {
                assert!(j < GRID.len() && w > 0.0);
                sum += w;
            });
            let expected = chord(point, d, half, n % 4 < 2);
            met += usize::from(expected > 0.0);
            assert!((sum - expected).abs() < 1e-12, "{n}: {sum} {expected}");
        }
        assert!(met > 2000, "{met}");
    }

    /// Each cell's length is that of the ray in the box of this cell.
    #[test]
    fn siddon_lengths_are_those_in_each_cell() {
        for (n, (p, d)) in numbers(60).zip(numbers(100).skip(40)).enumerate() {
            let point = p.map(|v| v * 5.0);
            let view = View { beam: Beam::Parallel(d), detector: point, u: [1.0; 3], v: [1.0; 3] };
            let line = Rays::new(&view, Panel::flat(1, 1), &GRID, 1.0).line(0, 0);
            let mut lengths = vec![0.0; GRID.len()];
            Siddon::walk::<false>(&line, &slab(line.main), |_, j, w| lengths[j] += w);
            for (j, length) in lengths.iter().enumerate() {
                let index = [j % 9, j / 9 % 11, j / 99];
                let centre: [f64; 3] = std::array::from_fn(|k| {
                    (index[k] as f64 - (GRID.shape[k] as f64 - 1.0) / 2.0) * GRID.voxel[k]
                });
                let from = std::array::from_fn(|k| point[k] - centre[k]);
                let expected = chord(from, d, GRID.voxel.map(|h| h / 2.0), false);
                assert!((length - expected).abs() < 1e-12, "{n} {j}: {length} {expected}");
            }
        }
    }

    /// Joseph's rule is exact on a volume that is linear in the coordinates across and
    /// a sum of samples along the main axis.
    #[test]
    fn joseph_samples_a_linear_volume_exactly() {
        let g = [0.3, -0.2, 0.45];
        for (n, d) in numbers(300).enumerate() {
            let view = View {
                beam: Beam::Parallel(d),
                detector: [0.1, -0.2, 0.15],
                u: [1.0; 3],
                v: [1.0; 3],
            };
            let line = Rays::new(&view, Panel::flat(1, 1), &GRID, 1.0).line(0, 0);
            let slab = slab(line.main);
            let mut sum = 0.0;
            Joseph::walk::<false>(&line, &slab, |_, j, w| {
                let q = [(j % 9) as f64, (j / 9 % 11) as f64, (j / 99) as f64];
                sum += w * (1.0 + g[0] * q[0] + g[1] * q[1] + g[2] * q[2]);
            });
            let [a, b] = crate::ray::line::ACROSS[line.main];
            let (mut expected, mut whole) = (0.0, true);
            for s in 0..GRID.shape[line.main] {
                let (qa, qb) = (line.at(0, s as f64), line.at(1, s as f64));
                whole &= qa > 0.0 && qa < GRID.shape[a] as f64 - 1.0;
                whole &= qb > 0.0 && qb < GRID.shape[b] as f64 - 1.0;
                let value = 1.0 + g[line.main] * s as f64 + g[a] * qa + g[b] * qb;
                expected += line.length * value;
            }
            if whole {
                assert!((sum - expected).abs() < 1e-12 * expected.abs().max(1.0), "{n}");
            }
        }
    }

    #[test]
    fn flat_equals_one_slice_of_solid() {
        let grid = Grid { shape: [8, 6, 1], voxel: [1.0, 1.3, 1.0] };
        for d in numbers(50) {
            let view = View {
                beam: Beam::Parallel([d[0], d[1], 0.0]),
                detector: [d[2], 0.2, 0.0],
                u: [1.0, 0.0, 0.0],
                v: [0.0; 3],
            };
            let line = Rays::new(&view, Panel::flat(1, 1), &grid, 1.0).line(0, 0);
            let [a, b] = crate::ray::line::ACROSS[line.main];
            let strides = grid.strides();
            let slab = Slab {
                begin: 0,
                end: grid.shape[line.main],
                from: [0, 0],
                across: [grid.shape[a], grid.shape[b]],
                step: strides[line.main],
                steps: [strides[a], strides[b]],
            };
            let both = |flat: &mut Vec<f64>, solid: &mut Vec<f64>, joseph: bool| {
                if joseph {
                    Joseph::walk::<true>(&line, &slab, |_, j, w| flat[j] += w);
                    Joseph::walk::<false>(&line, &slab, |_, j, w| solid[j] += w);
                } else {
                    Siddon::walk::<true>(&line, &slab, |_, j, w| flat[j] += w);
                    Siddon::walk::<false>(&line, &slab, |_, j, w| solid[j] += w);
                }
            };
            for joseph in [true, false] {
                let (mut flat, mut solid) = (vec![0.0; 48], vec![0.0; 48]);
                both(&mut flat, &mut solid, joseph);
                assert_eq!(flat, solid);
                assert!(flat.iter().sum::<f64>() > 0.0);
            }
        }
    }
}
