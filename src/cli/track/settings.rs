//! Rule, limits, seeds and masks of `microtome track` from its flags.
//!
//! Validated by `tests/cli/track.rs`.

use super::TrackArgs;
use crate::cli::say;
use anyhow::{Context, bail};
use microtome_datasets::{ImageGeometry, SignalSource, read_matrix};
use microtome_models::tract::{
    Flag, Integrator, Placement, Region, Regions, Rule, Seeding, Starts, TrackingSpec,
    affine_inverse,
};
use std::path::Path;

/// One of some names, or an error that lists them.
pub(super) fn named<T: Copy>(flag: &str, value: &str, list: &[(&str, T)]) -> anyhow::Result<T> {
    let found = list.iter().find(|(name, _)| *name == value);
    found.map(|(_, v)| *v).with_context(|| {
        let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
        format!("--{flag} {value}: unknown; use {}", names.join(", "))
    })
}

impl TrackArgs {
    pub(super) fn rule(&self) -> anyhow::Result<Rule> {
        let list = [
            ("peak", Rule::Peak),
            ("closest", Rule::Closest),
            ("probabilistic", Rule::Probabilistic),
            ("ifod2", Rule::SecondOrder),
            ("ptt", Rule::ParallelTransport),
            ("tensor", Rule::Peak),
            // Their fields are not functions: of this, only the largest angle counts.
            ("bootstrap", Rule::Closest),
            ("posterior", Rule::Closest),
        ];
        named("rule", &self.rule, &list)
    }

    pub(super) fn spec(
        &self,
        rule: Rule,
        geometry: &ImageGeometry,
    ) -> anyhow::Result<TrackingSpec> {
        let steady = matches!(self.rule.as_str(), "peak" | "closest" | "tensor");
        let integrator = named(
            "integrator",
            self.integrator.as_deref().unwrap_or(if steady { "midpoint" } else { "euler" }),
            &[
                ("euler", Integrator::Euler),
                ("midpoint", Integrator::Midpoint),
                ("rk4", Integrator::RungeKutta),
            ],
        )?;
        let starts = named(
            "seed-directions",
            &self.seed_directions,
            &[("all", Starts::All(10)), ("largest", Starts::Largest), ("drawn", Starts::Drawn)],
        )?;
        let edge = geometry.voxel_mm().into_iter().fold(f64::INFINITY, f64::min);
        let step_mm = self.step_mm.unwrap_or(edge / 2.0);
        let angle = match rule {
            Rule::Peak | Rule::Closest => 60.0,
            Rule::Probabilistic | Rule::SecondOrder => 45.0,
            Rule::ParallelTransport => 30.0,
        };
        let sphere = self.sphere.trim_start_matches("repulsion");
        let directions: usize = sphere.parse().ok().filter(|n| n % 2 == 0).with_context(|| {
            format!("--sphere {}: an even number of directions is needed, such as 724", self.sphere)
        })?;
        if self.samples == 0 || self.candidates == 0 {
            bail!("--samples and --candidates must be at least 1");
        }
        if let Some(probe) = self.probe_mm.filter(|p| !(*p > 0.0 && p.is_finite())) {
            bail!("--probe-mm {probe}: a length above 0 is needed");
        }
        let probe_mm = self.probe_mm.unwrap_or(3.0 * step_mm);
        Ok(TrackingSpec {
            step_mm,
            integrator,
            max_angle_deg: self.max_angle_deg.unwrap_or(angle),
            max_length_mm: self.max_length_mm,
            min_length_mm: self.min_length_mm,
            threshold: self.threshold.unwrap_or(if self.posterior.is_some() {
                0.05
            } else if self.dwi.is_some() && self.model_odf.as_deref() != Some("csd") {
                0.0
            } else {
                0.1
            }),
            relative_peak: self.relative_peak_threshold,
            min_separation_deg: self.min_separation_angle_deg,
            part: self.pmf_threshold,
            angular_weight: self.angular_weight,
            axes: directions / 2,
            probe_mm,
            samples: self.samples,
            candidates: self.candidates,
            both: !self.unidirectional,
            starts,
            seed: self.seed,
        })
    }

    /// The seeds; `grid` is that of the field.
    pub(super) fn seeding(
        &self,
        mask: Option<&MaskImage>,
        grid: &ImageGeometry,
    ) -> anyhow::Result<Seeding> {
        if let Some(path) = &self.seed_points {
            return seed_points(path, grid)
                .with_context(|| format!("--seed-points {}", path.display()));
        }
        let (Some(mask), Some(path)) = (mask, &self.seeds) else {
            bail!("--seeds MASK or --seed-points FILE is needed")
        };
        let inside = mask.inside.iter().enumerate().filter(|(_, inside)| **inside);
        let voxels: Vec<[i32; 3]> = inside.map(|(i, _)| mask.geometry.ijk(i)).collect();
        mask.check("--seeds", path, grid)?;
        match (self.n_seeds, self.seeds_per_voxel) {
            (Some(0), _) | (_, Some(0)) => {
                bail!("--n-seeds and --seeds-per-voxel must be at least 1")
            }
            (Some(seeds), _) => Ok(Seeding::Total { voxels, seeds }),
            (None, per) => Ok(Seeding::PerVoxel { voxels, seeds: per.unwrap_or(1) }),
        }
    }

    /// The masks; `grid` is that of the field.
    pub(super) fn regions(
        &self,
        placement: &Placement,
        grid: &ImageGeometry,
    ) -> anyhow::Result<Regions> {
        let mut list = Vec::new();
        let mut add = |flag: &str, path: &Path, meaning: Flag| -> anyhow::Result<()> {
            let mask = mask_image(flag, path)?;
            match (mask.check(flag, path, grid), meaning) {
                // Without a place where streamlines may be there are none.
                (Err(error), Flag::Domain | Flag::Include(_)) => return Err(error),
                (Err(error), _) => say::note(&format!("warning: {error}; it changes nothing")),
                (Ok(()), _) => {}
            }
            let voxel_from_field = placement
                .voxel_of(&mask.geometry.affine)
                .with_context(|| format!("{flag} {}: the affine has no inverse", path.display()))?;
            let shape = mask.geometry.dims;
            list.push(Region { shape, inside: mask.inside, voxel_from_field, flag: meaning });
            Ok(())
        };
        if let Some(path) = &self.mask {
            add("--mask", path, Flag::Domain)?;
        }
        for path in &self.stop {
            add("--stop", path, Flag::Stop)?;
        }
        for path in &self.exclude {
            add("--exclude", path, Flag::Exclude)?;
        }
        if self.include.len() > 32 {
            bail!("--include: at most 32 masks are taken, {} were given", self.include.len());
        }
        for (n, path) in self.include.iter().enumerate() {
            add("--include", path, Flag::Include(n as u32))?;
        }
        Ok(Regions { list })
    }
}

/// World points of a file, with a direction where it has six columns.
fn seed_points(path: &Path, grid: &ImageGeometry) -> anyhow::Result<Seeding> {
    let matrix = read_matrix(path)?;
    if !matches!(matrix.columns, 3 | 6) || matrix.rows == 0 {
        bail!(
            "{} rows of {} numbers; every seed has 3 (x y z, mm) or 6 (and a direction)",
            matrix.rows,
            matrix.columns
        );
    }
    let mut points = Vec::with_capacity(matrix.rows);
    for (i, row) in matrix.values.chunks_exact(matrix.columns).enumerate() {
        if row.iter().any(|v| !v.is_finite()) {
            bail!("row {i} (counted from 0) has a number that is not finite");
        }
        let direction = match row[3..] {
            [x, y, z] => {
                let length = (x * x + y * y + z * z).sqrt();
                if length == 0.0 {
                    bail!("row {i} (counted from 0) has a direction of length 0");
                }
                Some([x / length, y / length, z / length])
            }
            _ => None,
        };
        points.push(([row[0], row[1], row[2]], direction));
    }
    let voxel_from_world =
        affine_inverse(&grid.affine).context("the field has no inverse affine")?;
    let outside = points.iter().filter(|(x, _)| !is_inside(grid, &voxel_from_world, *x)).count();
    if outside == points.len() {
        bail!(
            "none of the {outside} points lies in the image of the field; they are x y z in world mm (RAS+)"
        );
    }
    if outside > 0 {
        say::note(&format!(
            "warning: {outside} of {} seed points lie outside of the image of the field and give no streamlines",
            points.len()
        ));
    }
    Ok(Seeding::Points(points))
}

/// A mask with its grid.
pub(super) struct MaskImage {
    pub(super) geometry: ImageGeometry,
    pub(super) inside: Vec<bool>,
}

/// Whether a world point lies in the voxels of a grid.
fn is_inside(grid: &ImageGeometry, voxel_from_world: &[[f64; 4]; 3], x: [f64; 3]) -> bool {
    voxel_from_world.iter().zip(grid.dims).all(|(r, n)| {
        let v = r[0] * x[0] + r[1] * x[1] + r[2] * x[2] + r[3];
        v >= -0.5 && v <= n as f64 - 0.5
    })
}

impl MaskImage {
    /// Whether it has a voxel inside that lies in the grid of the field.
    fn check(&self, flag: &str, path: &Path, grid: &ImageGeometry) -> anyhow::Result<()> {
        if !self.inside.contains(&true) {
            bail!("{flag} {}: the mask has no voxel inside", path.display());
        }
        let place = Placement::world(self.geometry.affine);
        let voxel_from_world =
            affine_inverse(&grid.affine).context("the affine of the field has no inverse")?;
        let meets = self.inside.iter().enumerate().any(|(i, inside)| {
            let centre = || place.world_of_voxel(self.geometry.ijk(i).map(f64::from));
            *inside && is_inside(grid, &voxel_from_world, centre())
        });
        if !meets {
            bail!(
                "{flag} {}: no voxel of the mask lies in the image of the field (their affines place them \
                 apart); both must come from the same space",
                path.display()
            );
        }
        Ok(())
    }
}

pub(super) fn mask_image(flag: &str, path: &Path) -> anyhow::Result<MaskImage> {
    let source = SignalSource::open(path, None).with_context(|| flag.to_string())?;
    let Some(geometry) = source.geometry().cloned() else {
        bail!("{flag} {}: an image (.nii, .nii.gz) is needed", path.display())
    };
    if source.n_measurements() != 1 {
        bail!("{flag} {}: has {} volumes; a mask has one", path.display(), source.n_measurements());
    }
    let mut inside = Vec::with_capacity(source.n_rows());
    for first in (0..source.n_rows()).step_by(1 << 16) {
        let rows = source.read_rows(first..(first + (1 << 16)).min(source.n_rows()))?;
        inside.extend(rows.signals.iter().map(|v| *v != 0.0 && v.is_finite()));
    }
    Ok(MaskImage { geometry, inside })
}
