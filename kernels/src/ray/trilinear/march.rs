//! The integral along rays and the sums of its gradient, in one march.
//!
//! With the cell $c$ of a sample (clamped into the grid), $d = q - c$ and the hat
//! functions $w_0 = \max(0, 1-|d|)$, $w_1 = \max(0, 1-|d-1|)$ of each axis,
//!
//! $$f(q) = \sum_{ijk} w^x_iw^y_jw^z_kx_{c+(i,j,k)},\qquad
//!   p = \delta\sum_\kappa f(q_\kappa),\qquad
//!   S_0 = \sum_\kappa\nabla f(q_\kappa),\quad S_1 = \sum_\kappa\kappa\nabla f(q_\kappa).$$
//!
//! A voxel outside has the weight 0, and no sample is read outside the grid. The gradient
//! at the centre of a voxel is that from the right. The positions are $q_0+\kappa d$, not
//! sums of steps, in the number type of the volume.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $q$ | voxels | index coordinates |
//! | $\delta$ | mm | step |
//! | $f$ | 1/mm | volume |
//!
//! With $q_\kappa = M(P(a+\kappa b))$ the derivative of $p$ with respect to any parameter of
//! $P$ is $\delta(S_0\cdot\partial P(a) + S_1\cdot\partial P b)$ (in index units): six sums a
//! ray whatever the number of parameters, and nothing is stored along the ray.
//!
//! Source: trilinear interpolation with the midpoint rule as in TomoJAX; the sums follow by
//! the chain rule. Validated by `equals_the_definition`,
//! `sums_are_derivatives` and `levels_agree` in `tests.rs`.

use super::bundle::{Bundle, centred};
use super::wide::{Cells, RAYS, Wide};
use crate::ray::{Grid, Real};

/// Integral (without $\delta$) and gradient sums of a bundle.
#[derive(Clone, Copy)]
pub(super) struct Sums<T> {
    pub(super) p: [T; RAYS],
    pub(super) s0: [[T; RAYS]; 3],
    pub(super) s1: [[T; RAYS]; 3],
}

/// A volume with what the march needs of its grid.
#[derive(Clone, Copy)]
pub(super) struct Field<'a, T> {
    values: &'a [T],
    grid: &'a Grid,
    strides: [u32; 2],
    offsets: [usize; 4],
    /// 0 for an axis of one voxel, else 1.
    thick: [T; 3],
}

impl<'a, T: Real> Field<'a, T> {
    /// A field without values, whose cells and weights may be asked for.
    pub(super) fn shape(grid: &'a Grid) -> Self {
        let [nx, ny, nz] = grid.shape;
        let line = if ny > 1 { nx } else { 0 };
        let plane = if nz > 1 { nx * ny } else { 0 };
        assert!(grid.len() <= u32::MAX as usize);
        let thick = grid.shape.map(|n| T::narrow(if n > 1 { 1.0 } else { 0.0 }));
        let strides = [line as u32, plane as u32];
        Self { values: &[], grid, strides, offsets: [0, line, plane, line + plane], thick }
    }

    /// From a cell to those beside it along y, z and both.
    pub(super) fn offsets(&self) -> [usize; 4] {
        self.offsets
    }

    /// The volume must have at least two voxels along x, or one value more than voxels.
    pub(super) fn new(values: &'a [T], grid: &'a Grid) -> Self {
        assert!(values.len() >= grid.len() + usize::from(grid.shape[0] == 1));
        Self { values, ..Self::shape(grid) }
    }
}

/// Cell and hat functions of an axis, with the derivatives of these.
#[derive(Clone, Copy)]
struct Hat<W> {
    cell: W,
    w: [W; 2],
    slope: [W; 2],
}

#[inline(always)]
fn hat<W: Wide, const INNER: bool>(q: W, n: usize, thick: W::Scalar) -> Hat<W> {
    let (zero, one) = (W::splat(W::Scalar::default()), W::splat(W::Scalar::narrow(1.0)));
    if INNER {
        let cell = q.floor();
        let d = q.sub(cell);
        return Hat { cell, w: [one.sub(d), d], slope: [zero.sub(one), one] };
    }
    let two = W::splat(W::Scalar::narrow(2.0));
    let last = W::splat(W::Scalar::narrow((n.max(2) - 2) as f64));
    let cell = q.floor().max(zero).min(last);
    let d = q.sub(cell);
    let minus = zero.sub(one);
    let thick = W::splat(thick);
    let w0 = one.sub(d).min(one.add(d)).max(zero);
    let w1 = d.min(two.sub(d)).max(zero).mul(thick);
    // From the right: 1 on [-1, 0), -1 on [0, 1), else 0; the other one voxel later.
    let (after, in_first) = (d.ge(one), d.ge(zero));
    let before = W::pick(d.ge(minus), one, zero);
    let slope0 = W::pick(after, zero, W::pick(in_first, minus, before));
    let later = W::pick(d.ge(two), zero, minus);
    let slope1 = W::pick(after, later, W::pick(in_first, one, zero)).mul(thick);
    Hat { cell, w: [w0, w1], slope: [slope0, slope1] }
}

/// One sample of every ray.
#[inline(always)]
fn sample<W: Wide, const INNER: bool, const SLOPES: bool>(
    field: &Field<W::Scalar>,
    bundle: &Bundle<W>,
    kappa: W,
    p: &mut W,
    s0: &mut [W; 3],
    s1: &mut [W; 3],
) {
    let q = bundle.at(kappa);
    let n = field.grid.shape;
    let x = hat::<W, INNER>(q[0], n[0], field.thick[0]);
    let y = hat::<W, INNER>(q[1], n[1], field.thick[1]);
    let mut z = hat::<W, INNER>(q[2], n[2], field.thick[2]);
    let zero = W::splat(W::Scalar::default());
    if !INNER {
        let ahead = kappa.ge(bundle.least);
        for k in 0..2 {
            z.w[k] = W::pick(ahead, z.w[k], zero);
            z.slope[k] = W::pick(ahead, z.slope[k], zero);
        }
    }
    let cells = W::cells([x.cell, y.cell, z.cell], field.strides);
    // SAFETY: cells are in 0..=n-2 on every axis of more than one voxel (`hat` clamps them;
    // for inner samples `Bundle::new` has tested both ends of a monotone range) and 0 on
    // others, whose offsets are 0; `Field::new` tested the length.
    #[allow(unsafe_code)]
    let v = unsafe { W::corners(field.values, &cells, field.offsets) };
    let mut rows = [zero; 4];
    for k in 0..4 {
        rows[k] = x.w[1].madd(v[k][1], x.w[0].mul(v[k][0]));
    }
    let low = y.w[1].madd(rows[1], y.w[0].mul(rows[0]));
    let high = y.w[1].madd(rows[3], y.w[0].mul(rows[2]));
    *p = z.w[1].madd(high, z.w[0].madd(low, *p));
    if !SLOPES {
        return;
    }
    let mut along = [zero; 4];
    for k in 0..4 {
        along[k] = if INNER {
            v[k][1].sub(v[k][0])
        } else {
            x.slope[1].madd(v[k][1], x.slope[0].mul(v[k][0]))
        };
    }
    let (across_low, across_high, up) = if INNER {
        (rows[1].sub(rows[0]), rows[3].sub(rows[2]), high.sub(low))
    } else {
        (
            y.slope[1].madd(rows[1], y.slope[0].mul(rows[0])),
            y.slope[1].madd(rows[3], y.slope[0].mul(rows[2])),
            z.slope[1].madd(high, z.slope[0].mul(low)),
        )
    };
    let along_low = y.w[1].madd(along[1], y.w[0].mul(along[0]));
    let along_high = y.w[1].madd(along[3], y.w[0].mul(along[2]));
    let g = [
        z.w[1].madd(along_high, z.w[0].mul(along_low)),
        z.w[1].madd(across_high, z.w[0].mul(across_low)),
        up,
    ];
    for r in 0..3 {
        s0[r] = s0[r].add(g[r]);
        s1[r] = kappa.madd(g[r], s1[r]);
    }
}

/// The cells of a sample and what each of their eight voxels gets.
pub(super) struct Spread<W> {
    pub(super) cells: Cells,
    /// For a cell and its neighbours along y, z and both: at x and at x + 1.
    pub(super) shares: [[W; 2]; 4],
}

/// Spreads a value of every ray over the voxels around sample $\kappa$.
#[inline(always)]
pub(super) fn spread<W: Wide, const INNER: bool>(
    field: &Field<W::Scalar>,
    bundle: &Bundle<W>,
    kappa: W,
    y: W,
) -> Spread<W> {
    let q = bundle.at(kappa);
    let n = field.grid.shape;
    let along = hat::<W, INNER>(q[0], n[0], field.thick[0]);
    let across = hat::<W, INNER>(q[1], n[1], field.thick[1]);
    let up = hat::<W, INNER>(q[2], n[2], field.thick[2]);
    let zero = W::splat(W::Scalar::default());
    let y = if INNER { y } else { W::pick(kappa.ge(bundle.least), y, zero) };
    let cells = W::cells([along.cell, across.cell, up.cell], field.strides);
    let mut shares = [[zero; 2]; 4];
    for k in 0..4 {
        let row = y.mul(up.w[k / 2]).mul(across.w[k % 2]);
        shares[k] = [row.mul(along.w[0]), row.mul(along.w[1])];
    }
    Spread { cells, shares }
}

/// Marches along a bundle; with `SLOPES` false only the integral is meant.
#[inline(always)]
pub(super) fn march<W: Wide, const SLOPES: bool>(
    field: &Field<W::Scalar>,
    bundle: &Bundle<W>,
    count: usize,
) -> Sums<W::Scalar> {
    let zero = W::splat(W::Scalar::default());
    let (mut p, mut s0, mut s1) = (zero, [zero; 3], [zero; 3]);
    let [begin, end] = bundle.inner;
    for k in bundle.first..begin {
        let kappa = centred::<W>(k, count);
        sample::<W, false, SLOPES>(field, bundle, kappa, &mut p, &mut s0, &mut s1);
    }
    for k in begin..end {
        let kappa = centred::<W>(k, count);
        sample::<W, true, SLOPES>(field, bundle, kappa, &mut p, &mut s0, &mut s1);
    }
    for k in end..bundle.past {
        let kappa = centred::<W>(k, count);
        sample::<W, false, SLOPES>(field, bundle, kappa, &mut p, &mut s0, &mut s1);
    }
    let none = [W::Scalar::default(); RAYS];
    let mut out = Sums { p: none, s0: [none; 3], s1: [none; 3] };
    p.store(&mut out.p);
    for r in 0..3 {
        s0[r].store(&mut out.s0[r]);
        s1[r].store(&mut out.s1[r]);
    }
    out
}
