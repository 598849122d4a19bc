//! `microtome prepare`: raw images of a detector to line integrals, weights and a set-up.
//!
//! `input` opens what is given, `settings` reads what is to be done, `output` writes.
//! Validated by `tests/cli/prepare.rs`.

mod input;
mod output;
mod settings;

use super::config::{self, Setting};
use super::flags::CommonFlags;
use super::{Outcome, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_inference::prepare::{Centre, Flats, Images, Prepared, find_centre};
use microtome_kernels::ray::Real;
use std::path::{Path, PathBuf};

/// Turns images of a detector into line integrals, weights and a set-up.
///
/// Counts y with flats F and darks D become ln(F - D) - ln(y - D); the weight of each value
/// is its inverse variance. Writes [view, v, u], for a single row of pixels [view, u].
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Images are a .npy [view, v, u] or [view, u], a TIFF file, a folder or a pattern such as
'scan/p_*.tif', raw bytes with --raw-shape and --raw-type, a dataset FILE.h5:/path, or a
whole scan FILE.h5 (DXchange, NXtomo) with its flats, darks and angles.

Example:
  microtome prepare --projections tooth.h5 --ring sorting --centre auto \\
    --out p.npy --weights-out w.npy --geometry-out g.toml
  microtome reconstruct --projections p.npy --geometry g.toml --method fbp --out v.tif

Rings: Vo et al. 2018, doi:10.1364/OE.26.028396; Münch et al. 2009,
doi:10.1364/OE.17.008567; Boin & Haibel 2006, doi:10.1364/OE.14.012071.
Axis: Vo et al. 2014, doi:10.1364/OE.22.019078; Azevedo et al. 1990, doi:10.1109/23.55866.
Beam hardening: Herman 1979, doi:10.1088/0031-9155/24/1/008. More in docs/prepare.md.")]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    input: input::InputFlags,
    #[command(flatten)]
    settings: settings::SettingFlags,
    /// The line integrals: .npy; float32 as .tif, .nii, .nii.gz, or a folder DIR/ of slices.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
    /// Their inverse variances, in one of the same formats; counts only.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    weights_out: Option<PathBuf>,
    /// The set-up of a parallel beam for project and reconstruct, .toml.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    geometry_out: Option<PathBuf>,
    /// Misfit of every candidate of the axis, .csv.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    centre_curve: Option<PathBuf>,
    /// The sinogram of the middle row as .png.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    preview: Option<PathBuf>,
    #[command(flatten)]
    common: CommonFlags,
}

/// What a run found.
struct Findings {
    shape: [usize; 3],
    pixel_mm: f64,
    centre: Option<Centre>,
    gain: f64,
    starved: usize,
    dead: usize,
    outliers: usize,
}

impl PrepareArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let outputs = [
            ("--out", &self.out),
            ("--weights-out", &self.weights_out),
            ("--geometry-out", &self.geometry_out),
            ("--centre-curve", &self.centre_curve),
            ("--preview", &self.preview),
        ];
        for (k, (flag, path)) in outputs.iter().enumerate() {
            let Some(path) = path else { continue };
            if let Some((other, _)) = outputs[..k].iter().find(|(_, p)| p.as_ref() == Some(path)) {
                bail!("{flag} {}: is the file of {other}, too", path.display());
            }
            output::check(flag, path)?;
        }
        let mut scan = self.input.open()?;
        let recipe = self.settings.recipe(&scan)?;
        if recipe.quantity != microtome_inference::prepare::Quantity::Counts
            && self.weights_out.is_some()
        {
            bail!(
                "--weights-out: weights come from counts; --input {} has none",
                self.settings.input_name()
            );
        }
        let wanted = self.settings.centre(&scan, self.geometry_out.is_some())?;
        if self.geometry_out.is_some() && scan.angles_rad.is_none() {
            bail!(
                "--geometry-out: the angles are missing; give --angles FILE or --angle-range A,B"
            );
        }
        let crop = recipe.crop;
        let [n, nv, nu] = scan.projections.shape();
        let [mv, mu] = crop.map_or([nv, nu], |c| c.size());
        let wide = self.settings.is_wide(&scan);
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        if self.common.dry_run {
            let size = if wide { 8.0 } else { 4.0 };
            say::line(&format!(
                "plan of prepare (nothing is written)\n  images       {n} of {nv} x {nu} pixels\n  \
                 result       {n} x {mv} x {mu} ({})\n  threads      {threads}\n  memory       {}",
                if wide { "float64" } else { "float32" },
                say::bytes(2.0 * size * (n * mv * mu) as f64)
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else {
            bail!("--out FILE is needed: .npy, .tif, .nii, .nii.gz, or a folder DIR/ of slices")
        };
        let findings = if wide {
            self.work::<f64>(&mut scan, &recipe, &wanted, out)?
        } else {
            self.work::<f32>(&mut scan, &recipe, &wanted, out)?
        };
        self.report(&findings, out);
        Ok(Outcome::Done)
    }

    fn work<T: Real + output::Stored>(
        &self,
        scan: &mut input::Input,
        recipe: &microtome_inference::prepare::Recipe,
        wanted: &settings::WantedCentre,
        out: &Path,
    ) -> anyhow::Result<Findings> {
        let flats = match (&mut scan.flats, self.input.i0()) {
            (None, Some(i0)) => Flats::Known(i0),
            (Some(images), _) => {
                let after = scan.flat_after.clone();
                Flats::Images { images, after }
            }
            (None, None) => Flats::None,
        };
        let darks = scan.darks.as_mut().map(|d| d as &mut dyn Images);
        let prepared: Prepared<T> = recipe
            .run(&mut scan.projections, flats, darks)
            .with_context(|| format!("--projections {}", self.input.projections().display()))?;
        let shape = prepared.shape;
        let angles = scan.angles_rad.as_deref();
        let centre = match wanted {
            settings::WantedCentre::None => None,
            settings::WantedCentre::Known(pixel) => Some(Centre {
                pixel: *pixel,
                sd: 0.0,
                method: microtome_inference::prepare::CentreMethod::Auto,
                curve: Vec::new(),
            }),
            settings::WantedCentre::Search(method, range) => Some(
                find_centre(&prepared.projections, shape, angles.unwrap_or(&[]), *method, *range)
                    .context("--centre")?,
            ),
        };
        let pixel_mm = self.settings.pixel_mm(scan);
        let findings = Findings {
            shape,
            pixel_mm,
            gain: prepared.gain,
            starved: prepared.tally.starved,
            dead: prepared.tally.dead,
            outliers: prepared.outliers,
            centre,
        };
        let mut files = output::Files::new(self.common.overwrite);
        let array = |values| output::array(shape, values);
        let projections = array(prepared.projections);
        if let Some(path) = &self.preview {
            files.preview(&projections, path)?;
        }
        files.array("--out", &projections, out)?;
        drop(projections);
        if let (Some(path), Some(weights)) = (&self.weights_out, prepared.weights) {
            files.array("--weights-out", &array(weights), path)?;
        }
        if let (Some(path), Some(centre), Some(angles)) =
            (&self.geometry_out, &findings.centre, angles)
        {
            let text = output::geometry(shape, angles, centre, pixel_mm);
            files.text("--geometry-out", &text, path)?;
        }
        if let (Some(path), Some(centre)) = (&self.centre_curve, &findings.centre) {
            files.text("--centre-curve", &output::curve(centre), path)?;
        }
        files.commit()?;
        Ok(findings)
    }

    fn report(&self, f: &Findings, out: &Path) {
        let pixels = f.shape.iter().product::<usize>();
        let per_view = f.shape[0].max(1);
        if !self.common.quiet {
            let share = |n: usize| format!("{n} of {pixels} values");
            if f.starved > 0 {
                say::note(&format!(
                    "warning: {} had less than half a photon and count as half a photon{}",
                    share(f.starved),
                    if self.settings.masks() { ", with weight 0" } else { "" }
                ));
            }
            if f.dead > 0 {
                say::note(&format!(
                    "warning: {} pixels are dead (flat not above dark); they are interpolated \
                     along u, with weight 0",
                    f.dead / per_view
                ));
            }
        }
        let centre = f.centre.as_ref();
        if self.common.json {
            let json = serde_json::json!({
                "verb": "prepare", "shape": f.shape, "out": out,
                "pixel_mm": f.pixel_mm, "gain": f.gain,
                "starved": f.starved, "dead_pixels": f.dead / per_view, "outliers": f.outliers,
                "centre_px": centre.map(|c| c.pixel), "centre_sd_px": centre.map(|c| c.sd),
                "centre_method": centre.map(output::method),
                "simd_level": super::input::simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!("line integrals {:?} in {}", f.shape, out.display()));
            if let Some(c) = centre {
                let sd = if c.sd > 0.0 { format!(" +- {:.4}", c.sd) } else { String::new() };
                say::line(&format!("axis at pixel {:.4}{sd} ({})", c.pixel, output::method(c)));
            }
            if f.outliers > 0 {
                say::line(&format!("{} bright outliers replaced", f.outliers));
            }
        }
    }
}
