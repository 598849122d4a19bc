//! `project` and `backproject` with arrays that are larger than memory: chunks of views,
//! slabs of the volume, from and to `.npy` files.
//!
//! With the volume $x$ cut in slabs $x_s$ of neighbouring slices and the views in chunks
//! $c$,
//!
//! $$y_c = \sum_s A_{cs}\,x_s,\qquad x_s = \sum_c A_{cs}^T\,y_c .$$
//!
//! | volume in memory | `project` | `backproject` |
//! |---|---|---|
//! | fits whole | chunks of views; the same numbers to the bit | one slab, chunks of views |
//! | does not fit | slabs within chunks | chunks within slabs |
//!
//! All but the first are summed in float64 and equal what is computed at once to rounding
//! (1e-13 of the greatest value, and what float32 output rounds). Slabs need joseph: its
//! weights are continuous in the ray, so a ray between two slabs is shared by them
//! whatever way its place is rounded, where siddon's cells would claim it twice or not at
//! all, and trilinear's samples are laid about the middle of the whole volume.
//!
//! Validated by the tests below and by `memory_bounds` in `tests/cli/ct_setups.rs`.

use anyhow::{Context, bail};
use microtome_datasets::{ArrayPieces, ArrayWriter, Stored, atomic::AtomicFile};
use microtome_kernels::ray::{Projector, Real};
use microtome_models::ct::{RayTransform, VolumeGrid};
use std::ops::Range;
use std::path::Path;

/// Bytes of the program, and most of the buffers of the projectors.
const PROGRAM: usize = 24 << 20;
const BUFFERS: usize = 80 << 20;
/// Most rays that are prepared one by one, and bytes of one.
const RAYS: usize = 1 << 18;
const RAY_BYTES: usize = 96;
/// Bytes beside which nothing is planned.
const LEAST: usize = 16 << 20;

/// A size such as `500MB`, `2GiB` or a number of bytes.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim(), text[split..].to_ascii_lowercase());
    let scale = match unit.as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return Err(format!("`{text}` is no size; write 500MB or 2GiB")),
    };
    let value: f64 = number.parse().map_err(|_| format!("`{text}` is no size; write 2GB"))?;
    if !(value.is_finite() && value > 0.0 && value * scale < 1e18) {
        return Err(format!("`{text}` is no size; a positive one is needed"));
    }
    Ok((value * scale) as usize)
}

/// How much is in memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Views of a chunk.
    pub(super) views: usize,
    /// Slices of a slab.
    pub(super) slices: usize,
    /// Whether a chunk is computed with the whole volume at once, in its own type.
    pub(super) exact: bool,
}

/// Numbers of a slice, slices, numbers of a view, views.
fn sizes(a: &RayTransform) -> [usize; 4] {
    let slices = a.volume().shape()[0];
    let views = a.geometry().n_views();
    [a.volume().len() / slices, slices, a.n_rays() / views, views]
}

/// Bytes of the program and of the buffers of the projectors: sums and copies as large as the
/// arrays, and rays that are prepared, up to a limit.
fn reserved(a: &RayTransform, size: usize) -> usize {
    let [slice, slices, view, views] = sizes(a);
    let (voxels, rays) = (slice * slices, view * views);
    PROGRAM + BUFFERS.min(2 * (voxels + rays) * size + RAY_BYTES * rays.min(RAYS))
}

impl Plan {
    /// A plan for a bound in bytes; none where everything fits at once.
    pub(super) fn new(
        a: &RayTransform,
        forward: bool,
        size: usize,
        bound: usize,
    ) -> anyhow::Result<Option<Self>> {
        let [slice, slices, view, views] = sizes(a);
        let reserved = reserved(a, size);
        let room = bound.saturating_sub(reserved);
        let whole = (slice * slices + view * views) * size;
        if room < LEAST.min(whole) {
            bail!(
                "--max-memory: {} is too little; the program and its buffers need {}, so give \
                 at least {}",
                super::say::bytes(bound as f64),
                super::say::bytes(reserved as f64),
                super::say::bytes((reserved + LEAST.min(whole)) as f64)
            );
        }
        if whole <= room {
            return Ok(None);
        }
        let left = room.saturating_sub(slice * slices * size);
        if forward && left >= view * size {
            let views = (left / (view * size)).min(views);
            return Ok(Some(Self { views, slices, exact: true }));
        }
        // A chunk twice (sum and part of a slab) in project, once in backproject; float64.
        let chunk = 8 * view * if forward { 2 } else { 1 };
        let at_once = (room / 4 / chunk).clamp(1, views);
        let slabs = room.saturating_sub(at_once * chunk) / (8 * slice);
        let plan = Self { views: at_once, slices: slabs.min(slices), exact: false };
        if plan.slices == 0 {
            bail!(
                "--max-memory: one view and one slice need {} beside the {} of the program",
                super::say::bytes((chunk + 8 * slice) as f64),
                super::say::bytes(reserved as f64)
            );
        }
        if plan.slices < slices && a.projector() != Projector::Joseph {
            let name = a.projector().name();
            bail!(
                "--max-memory: the volume does not fit, and {name} can't be cut in slabs; use \
                 --projector joseph, or give {}",
                super::say::bytes((reserved + slice * slices * 8 + chunk) as f64)
            );
        }
        Ok(Some(plan))
    }
}

fn chunks(n: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(at_once).map(move |first| first..(first + at_once).min(n))
}

fn subset(a: &RayTransform, views: Range<usize>) -> anyhow::Result<RayTransform> {
    Ok(a.subset(&views.collect::<Vec<_>>())?)
}

fn on_slab(a: &RayTransform, volume: &VolumeGrid) -> anyhow::Result<RayTransform> {
    Ok(RayTransform::new(a.geometry().clone(), volume.clone(), a.projector())?)
}

fn zeros<T: Real>(n: usize) -> anyhow::Result<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(n).context("there is no memory for a piece; give less --max-memory")?;
    out.resize(n, T::default());
    Ok(out)
}

/// Projections of a volume on disk, to a file that is to be named.
pub(super) fn project<T: Real + Stored>(
    a: &RayTransform,
    plan: Plan,
    input: &Path,
    out: &Path,
) -> anyhow::Result<AtomicFile> {
    let [slice, slices, view, views] = sizes(a);
    let mut volume = ArrayPieces::open(input)?;
    let mut writer = ArrayWriter::create::<T>(out, &a.geometry().shape())?;
    if plan.exact {
        let mut x = zeros::<T>(slice * slices)?;
        volume.read_as(0..slices, &mut x, T::narrow)?;
        let mut y = zeros::<T>(plan.views * view)?;
        for chunk in chunks(views, plan.views) {
            let y = &mut y[..chunk.len() * view];
            subset(a, chunk)?.apply_into(&x, y)?;
            writer.append(y)?;
        }
        return Ok(writer.finish()?);
    }
    let mut x = zeros::<f64>(plan.slices * slice)?;
    let (mut sum, mut part) = (zeros::<f64>(plan.views * view)?, zeros::<f64>(plan.views * view)?);
    for chunk in chunks(views, plan.views) {
        let part_of = subset(a, chunk.clone())?;
        let n = chunk.len() * view;
        sum[..n].fill(0.0);
        for slab in chunks(slices, plan.slices) {
            let x = &mut x[..slab.len() * slice];
            volume.read_as(slab.clone(), x, |v| T::narrow(v).wide())?;
            let grid = a.volume().slab(slab)?;
            on_slab(&part_of, &grid)?.apply_into(x, &mut part[..n])?;
            sum[..n].iter_mut().zip(&part[..n]).for_each(|(s, p)| *s += p);
        }
        for values in sum[..n].chunks(1 << 14) {
            let narrow: Vec<T> = values.iter().map(|v| T::narrow(*v)).collect();
            writer.append(&narrow)?;
        }
    }
    Ok(writer.finish()?)
}

/// The transpose of projections on disk, to a file that is to be named.
pub(super) fn backproject<T: Real + Stored>(
    a: &RayTransform,
    plan: Plan,
    input: &Path,
    out: &Path,
) -> anyhow::Result<AtomicFile> {
    let [slice, slices, view, views] = sizes(a);
    let mut projections = ArrayPieces::open(input)?;
    let mut writer = ArrayWriter::create::<T>(out, &a.volume().shape())?;
    let mut x = zeros::<f64>(plan.slices * slice)?;
    let mut y = zeros::<f64>(plan.views * view)?;
    for slab in chunks(slices, plan.slices) {
        let x = &mut x[..slab.len() * slice];
        x.fill(0.0);
        let grid = a.volume().slab(slab)?;
        for chunk in chunks(views, plan.views) {
            let y = &mut y[..chunk.len() * view];
            projections.read_as(chunk.clone(), y, |v| T::narrow(v).wide())?;
            on_slab(&subset(a, chunk)?, &grid)?.add_adjoint(y, x)?;
        }
        for values in x.chunks(1 << 14) {
            let narrow: Vec<T> = values.iter().map(|v| T::narrow(*v)).collect();
            writer.append(&narrow)?;
        }
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use microtome_datasets::{Array, Values};
    use microtome_models::ct::{GeometryKind, TrajectorySpec};

    fn transform(kind: GeometryKind, projector: Projector) -> RayTransform {
        let d = kind.dimensions();
        let path = TrajectorySpec {
            source_to_axis_mm: (!kind.is_parallel()).then_some(20.0),
            axis_to_detector_mm: (!kind.is_parallel()).then_some(10.0),
            ..TrajectorySpec::circular(11, &[1.3, 1.1][3 - d..])
        };
        let geometry = path.geometry(kind, [if d == 2 { 1 } else { 9 }, 14]).unwrap();
        let (shape, voxel) = ([13, 10, 9], [0.7, 1.0, 1.1]);
        let volume = VolumeGrid::new(&shape[3 - d..], &voxel[3 - d..], &[0.3, 0.1, -0.2][3 - d..]);
        RayTransform::new(geometry, volume.unwrap(), projector).unwrap()
    }

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 37 + 11) % 101) as f64 / 16.0 - 3.0).collect()
    }

    #[test]
    fn pieces_make_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (input, out) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
        for kind in GeometryKind::ALL {
            let a = transform(kind, Projector::Joseph);
            let [_, slices, _, _] = sizes(&a);
            let (x, y) = (numbers(a.volume().len()), numbers(a.n_rays()));
            let (ax, aty) = (a.apply(&x).unwrap(), a.adjoint(&y).unwrap());
            let wide = |v: &[f64], shape: Vec<usize>| {
                Array { shape, values: Values::F64(v.to_vec()) }.write(&input).unwrap();
            };
            let gap = |expected: &[f64], tolerance: f64| {
                let found = Array::read(&out).unwrap().values.into_f64();
                let most = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                let gap =
                    found.iter().zip(expected).fold(0.0_f64, |m, (f, e)| m.max((f - e).abs()));
                assert!(found.len() == expected.len() && gap <= tolerance * most, "{kind:?} {gap}");
            };
            for views in [1, 4, 11] {
                wide(&x, a.volume().shape());
                let plan = Plan { views, slices, exact: true };
                project::<f64>(&a, plan, &input, &out).unwrap().commit().unwrap();
                gap(&ax, 0.0);
                for slices in [1, 5, slices] {
                    let plan = Plan { views, slices, exact: false };
                    wide(&x, a.volume().shape());
                    project::<f64>(&a, plan, &input, &out).unwrap().commit().unwrap();
                    gap(&ax, 1e-13);
                    wide(&y, a.geometry().shape());
                    backproject::<f64>(&a, plan, &input, &out).unwrap().commit().unwrap();
                    gap(&aty, 1e-13);
                    backproject::<f32>(&a, plan, &input, &out).unwrap().commit().unwrap();
                    gap(&aty, 1e-7);
                }
            }
        }
    }

    #[test]
    fn plans_keep_their_bound() {
        let a = transform(GeometryKind::Cone3d, Projector::Joseph);
        let (voxels, rays) = (a.volume().len(), a.n_rays());
        let few = PROGRAM + 24 * (voxels + rays) + RAY_BYTES * rays;
        let small = Plan::new(&a, true, 8, few - 1).unwrap_err().to_string();
        assert!(small.contains("--max-memory") && small.contains("at least"), "{small}");
        assert_eq!(Plan::new(&a, true, 8, few).unwrap(), None);
        // 64 MiB of volume, 50 MiB of projections, float32.
        let path = TrajectorySpec::circular(50, &[1.0, 1.0]);
        let geometry = path.geometry(GeometryKind::Parallel3d, [512, 512]).unwrap();
        let volume = VolumeGrid::new(&[256, 256, 256], &[1.0; 3], &[0.0; 3]).unwrap();
        let of = |p| RayTransform::new(geometry.clone(), volume.clone(), p).unwrap();
        let a = of(Projector::Joseph);
        let mib = 1 << 20;
        let plan =
            |forward, room| Plan::new(&a, forward, 4, PROGRAM + BUFFERS + room * mib).unwrap();
        assert_eq!(plan(true, 114), None);
        assert_eq!(plan(true, 74), Some(Plan { views: 10, slices: 256, exact: true }));
        let slabs = plan(true, 40).unwrap();
        assert!(!slabs.exact && (slabs.views * 4 + slabs.slices / 2) <= 40, "{slabs:?}");
        assert!(slabs.slices >= 56, "{slabs:?}");
        let back = plan(false, 40).unwrap();
        assert!((back.views * 2 + back.slices / 2) <= 40 && back.slices >= 56, "{back:?}");
        let siddon = of(Projector::Siddon);
        assert!(Plan::new(&siddon, true, 4, PROGRAM + BUFFERS + 74 * mib).unwrap().unwrap().exact);
        let found =
            Plan::new(&siddon, true, 4, PROGRAM + BUFFERS + 40 * mib).unwrap_err().to_string();
        assert!(found.contains("joseph"), "{found}");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("500MB"), Ok(500_000_000));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("1.5kb"), Ok(1500));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "MB", "-1MB", "0", "4 apples", "nan", "1e30TB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
