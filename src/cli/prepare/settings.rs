//! What is to be done, from the flags.

use super::input::Input;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use microtome_datasets::csv_table;
use microtome_inference::prepare::{
    Averaging, CentreMethod, Crop, Gain, Images, Quantity, Recipe, Rings,
};
use microtome_models::ct::BeamHardening;
use std::path::Path;

/// What the projections hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputKind {
    /// Counts of a detector.
    Counts,
    /// Counts over flat, 1 in air.
    Transmission,
    /// Line integrals: no logarithm.
    Projections,
}

/// How flats and darks are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AveragingName {
    Mean,
    Median,
}

/// What is done with pixels without photons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ZeroCounts {
    /// They count as half a photon.
    Clamp,
    /// The same, and their weight is 0.
    Mask,
}

/// A way to remove rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RingName {
    /// Nothing is removed.
    None,
    /// Sorted columns, medians across (Vo et al. 2018).
    Sorting,
    /// Wavelets and Fourier damping (Münch et al. 2009).
    Fw,
    /// The mean over views against its moving average (Boin & Haibel 2006).
    Sf,
}

/// Number type of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    F64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Steps")]
pub(super) struct SettingFlags {
    /// What the projections hold.
    #[arg(long, value_enum, value_name = "KIND", default_value = "counts")]
    input: InputKind,
    /// Rows of the detector A:B, B left out.
    #[arg(long, value_name = "A:B")]
    rows: Option<String>,
    /// Columns of the detector A:B, B left out.
    #[arg(long, value_name = "A:B")]
    columns: Option<String>,
    /// Adds up N x N pixels (N along u where there is one row).
    #[arg(long, value_name = "N", default_value_t = 1)]
    bin: usize,
    /// Replaces pixels that are COUNTS and more above the median of their neighbours.
    #[arg(long, value_name = "COUNTS")]
    outlier_diff: Option<f64>,
    /// Window of --outlier-diff, odd.
    #[arg(long, value_name = "N", default_value_t = 3)]
    outlier_size: usize,
    /// How flats and darks are averaged.
    #[arg(long, value_enum, value_name = "HOW", default_value = "mean")]
    averaging: AveragingName,
    /// Averages flats of all times; left out, flats before, between and after the
    /// projections are interpolated in time where the file tells.
    #[arg(long)]
    flat_mean: bool,
    /// Counts a photon, or auto: from the variance of the flats.
    #[arg(long, value_name = "X|auto", default_value = "1")]
    gain: String,
    /// What happens to pixels of less than half a photon.
    #[arg(long, value_enum, value_name = "HOW", default_value = "clamp")]
    zero_counts: ZeroCounts,
    /// Columns of air at either edge: brings each row to 0 there.
    #[arg(long, value_name = "N", default_value_t = 0)]
    air: usize,
    /// Coefficients of c1 p + c2 p^2 + ..., or a .csv with the columns measured and true
    /// (a wedge), to which a polynomial of degree --beam-hardening-degree is fitted.
    #[arg(long, value_name = "C1,C2,...|FILE")]
    beam_hardening: Option<String>,
    /// Degree of the polynomial of a wedge.
    #[arg(long, value_name = "N", default_value_t = 3)]
    beam_hardening_degree: usize,
    /// Removes rings; several, with commas, one after the other.
    #[arg(long, value_enum, value_name = "METHOD", value_delimiter = ',', default_value = "none")]
    ring: Vec<RingName>,
    /// Columns that sorting and sf look across [default: 1 % of the columns, at least 5].
    #[arg(long, value_name = "N")]
    ring_size: Option<usize>,
    /// Levels of wavelets of fw.
    #[arg(long, value_name = "N", default_value_t = 2)]
    ring_level: usize,
    /// Width of the damping of fw, cycles along the views.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    ring_sigma: f64,
    /// The axis: auto, vo, mirror, moments, or its pixel in the result (after crop and bin,
    /// counted from 0).
    #[arg(long, value_name = "auto|METHOD|X")]
    centre: Option<String>,
    /// Pixels between which the axis is looked for [default: the middle half].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    centre_range: Option<Vec<f64>>,
    /// Pixel size at the axis, mm, before --bin [default: that of the file, else 1].
    #[arg(long, value_name = "MM")]
    pixel_mm: Option<f64>,
    /// Attenuation of water, 1/mm: a volume from the result is in HU + 1000.
    #[arg(long, value_name = "MU")]
    hu_water: Option<f64>,
    /// Number type of the result; float32 unless the images need float64.
    #[arg(long, value_enum, value_name = "TYPE")]
    precision: Option<Precision>,
}

/// Which axis.
pub(super) enum WantedCentre {
    None,
    Known(f64),
    Search(CentreMethod, Option<[f64; 2]>),
}

fn range(flag: &str, text: &Option<String>, n: usize) -> anyhow::Result<[usize; 2]> {
    let Some(text) = text else { return Ok([0, n]) };
    let parsed = text.split_once(':').and_then(|(a, b)| {
        let number = |t: &str, empty: usize| {
            let t = t.trim();
            if t.is_empty() { Some(empty) } else { t.parse().ok() }
        };
        Some([number(a, 0)?, number(b, n)?])
    });
    match parsed {
        Some([a, b]) if a < b && b <= n => Ok([a, b]),
        _ => bail!("{flag} {text}: write A:B with A < B <= {n}"),
    }
}

impl SettingFlags {
    pub(super) fn input_name(&self) -> &'static str {
        match self.input {
            InputKind::Counts => "counts",
            InputKind::Transmission => "transmission",
            InputKind::Projections => "projections",
        }
    }

    pub(super) fn masks(&self) -> bool {
        self.zero_counts == ZeroCounts::Mask
    }

    pub(super) fn is_wide(&self, input: &Input) -> bool {
        self.precision.map_or(input.is_wide, |p| p == Precision::F64)
    }

    /// Pixel size of the result.
    pub(super) fn pixel_mm(&self, input: &Input) -> f64 {
        self.pixel_mm.or(input.pixel_mm).unwrap_or(1.0) * self.bin as f64
    }

    pub(super) fn recipe(&self, input: &Input) -> anyhow::Result<Recipe> {
        let [_, nv, nu] = input.projections.shape();
        if self.bin == 0 {
            bail!("--bin 0: at least 1");
        }
        let bin = [if nv == 1 { 1 } else { self.bin }, self.bin];
        let crop = Crop {
            rows: range("--rows", &self.rows, nv)?,
            columns: range("--columns", &self.columns, nu)?,
            bin,
        };
        if crop.size().contains(&0) {
            bail!("--bin {}: more than the {nv} x {nu} pixels that are left", self.bin);
        }
        let quantity = match self.input {
            InputKind::Counts => Quantity::Counts,
            InputKind::Transmission => Quantity::Transmission,
            InputKind::Projections => Quantity::LineIntegrals,
        };
        let gain = if self.gain == "auto" {
            Gain::OfFlats
        } else {
            let parsed = self.gain.parse::<f64>();
            Gain::Known(parsed.with_context(|| format!("--gain {}: a number or auto", self.gain))?)
        };
        let columns = crop.size()[1];
        let size = self.ring_size.unwrap_or((columns / 100).max(5));
        if size < 2 {
            bail!("--ring-size {size}: at least 2 columns are needed");
        }
        let rings = self.ring.iter().filter_map(|name| match name {
            RingName::None => None,
            RingName::Sorting => Some(Rings::Sorting { size }),
            RingName::Sf => Some(Rings::Smoothing { size }),
            RingName::Fw => {
                Some(Rings::WaveletFourier { levels: self.ring_level, sigma: self.ring_sigma })
            }
        });
        for (flag, value) in [("--pixel-mm", self.pixel_mm), ("--hu-water", self.hu_water)] {
            if let Some(v) = value.filter(|v| !(*v > 0.0 && v.is_finite())) {
                bail!("{flag} {v}: a positive number is needed");
            }
        }
        Ok(Recipe {
            quantity,
            crop: Some(crop),
            outlier: self.outlier_diff.map(|d| (d, self.outlier_size)),
            averaging: match self.averaging {
                AveragingName::Mean => Averaging::Mean,
                AveragingName::Median => Averaging::Median,
            },
            interpolate: !self.flat_mean,
            gain,
            mask_starved: self.masks(),
            air: self.air,
            hardening: self.hardening()?,
            rings: rings.collect(),
            scale: self.hu_water.map_or(1.0, |mu| 1000.0 / mu),
        })
    }

    fn hardening(&self) -> anyhow::Result<Option<BeamHardening>> {
        let Some(text) = &self.beam_hardening else { return Ok(None) };
        let path = Path::new(text);
        let built = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            let table = csv_table::ParameterTable::read(path).context("--beam-hardening")?;
            let column = |name: &str| -> anyhow::Result<usize> {
                let at = table.names.iter().position(|n| n == name);
                at.with_context(|| {
                    format!("--beam-hardening {text}: the column `{name}` is missing; measured and true are needed")
                })
            };
            let (measured, truth) = (column("measured")?, column("true")?);
            let pairs: Vec<[f64; 2]> =
                std::iter::zip(&table.columns[measured], &table.columns[truth])
                    .map(|(m, t)| [*m, *t])
                    .collect();
            BeamHardening::fit(&pairs, self.beam_hardening_degree)
        } else {
            let numbers: Result<Vec<f64>, _> = text.split(',').map(|t| t.trim().parse()).collect();
            let numbers = numbers.with_context(|| {
                format!("--beam-hardening {text}: numbers c1,c2,... or a file ending in .csv")
            })?;
            BeamHardening::new(&numbers)
        };
        Ok(Some(built.with_context(|| format!("--beam-hardening {text}"))?))
    }

    /// Which axis; `needed` for a set-up.
    pub(super) fn centre(&self, input: &Input, needed: bool) -> anyhow::Result<WantedCentre> {
        let range = match self.centre_range.as_deref() {
            None => None,
            Some([a, b]) => Some([*a, *b]),
            Some(_) => bail!("--centre-range: two pixels A,B are needed"),
        };
        let text = match &self.centre {
            Some(text) => text.as_str(),
            None if needed || range.is_some() => "auto",
            None => return Ok(WantedCentre::None),
        };
        let method = match text {
            "auto" => CentreMethod::Auto,
            "vo" => CentreMethod::Vo,
            "mirror" => CentreMethod::Mirror,
            "moments" => CentreMethod::Moments,
            _ => {
                let pixel = text.parse::<f64>().ok().filter(|c| c.is_finite());
                let pixel = pixel.with_context(|| {
                    format!("--centre {text}: write auto, vo, mirror, moments or a pixel")
                })?;
                return Ok(WantedCentre::Known(pixel));
            }
        };
        if input.angles_rad.is_none() {
            bail!(
                "--centre {text}: the angles are missing; give --angles FILE or --angle-range A,B"
            );
        }
        Ok(WantedCentre::Search(method, range))
    }
}
