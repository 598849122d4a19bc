//! Images, flats, darks and angles as given.

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::{Array, FrameOptions, Frames, RawLayout, Scan};
use microtome_inference::prepare::Images;
use std::path::{Path, PathBuf};

/// What is read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub(super) struct InputFlags {
    /// Projections, or a whole scan FILE.h5.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    projections: PathBuf,
    /// Images without the object; in place of those of the scan.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    flat: Option<PathBuf>,
    /// Flats taken after the projections; --flat is then before them, with a line between.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, requires = "flat")]
    flat_after: Option<PathBuf>,
    /// Images without the beam; in place of those of the scan.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    dark: Option<PathBuf>,
    /// Counts of the open beam with its dark, in place of flats: one number for all pixels.
    #[arg(long, value_name = "COUNTS", conflicts_with = "flat")]
    i0: Option<f64>,
    /// Angle of every view: .npy, or numbers in a text file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    angles: Option<PathBuf>,
    /// Unit of --angles.
    #[arg(long, value_name = "UNIT", default_value = "deg", value_parser = ["deg", "rad"])]
    angle_unit: String,
    /// Even angles from A to B degrees, B left out: 0,180.
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "angles")]
    angle_range: Option<Vec<f64>>,
    /// The file is [v, view, u]: one sinogram after the other.
    #[arg(long)]
    sinograms: bool,
    /// Shape of raw bytes: VIEWS,V,U or V,U.
    #[arg(long, value_name = "N,N,N", value_delimiter = ',', requires = "raw_type")]
    raw_shape: Option<Vec<usize>>,
    /// Type of raw bytes: uint8, uint16, int16, uint32, int32, float32, float64.
    #[arg(long, value_name = "TYPE", requires = "raw_shape")]
    raw_type: Option<String>,
    /// Bytes in front of the first image.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    raw_offset: u64,
    /// The most significant byte comes first.
    #[arg(long)]
    raw_big_endian: bool,
}

/// Frames of datasets as images of inference.
pub(super) struct Stack(Frames);

impl Images for Stack {
    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn read(
        &mut self,
        at: usize,
        out: &mut [f64],
    ) -> Result<(), microtome_inference::prepare::ReadError> {
        self.0.read(at, out).map_err(Into::into)
    }
}

/// Two stacks, one after the other.
pub(super) struct Joined(Vec<Stack>);

impl Images for Joined {
    fn shape(&self) -> [usize; 3] {
        let [_, nv, nu] = self.0.first().map_or([0; 3], Images::shape);
        [self.0.iter().map(|s| s.shape()[0]).sum(), nv, nu]
    }

    fn read(
        &mut self,
        at: usize,
        out: &mut [f64],
    ) -> Result<(), microtome_inference::prepare::ReadError> {
        let mut at = at;
        for stack in &mut self.0 {
            let n = stack.shape()[0];
            if at < n {
                return stack.read(at, out);
            }
            at -= n;
        }
        Err("an image that is not there was asked for".into())
    }
}

/// What is opened.
pub(super) struct Input {
    pub(super) projections: Stack,
    pub(super) is_wide: bool,
    pub(super) flats: Option<Joined>,
    pub(super) flat_after: Option<Vec<usize>>,
    pub(super) darks: Option<Stack>,
    pub(super) angles_rad: Option<Vec<f64>>,
    pub(super) pixel_mm: Option<f64>,
}

impl InputFlags {
    pub(super) fn projections(&self) -> &Path {
        &self.projections
    }

    pub(super) fn i0(&self) -> Option<f64> {
        self.i0
    }

    fn raw(&self) -> anyhow::Result<Option<RawLayout>> {
        let (Some(shape), Some(kind)) = (&self.raw_shape, &self.raw_type) else { return Ok(None) };
        Ok(Some(RawLayout::new(shape, kind, self.raw_big_endian, self.raw_offset)?))
    }

    /// Opens everything.
    pub(super) fn open(&self) -> anyhow::Result<Input> {
        let raw = self.raw()?;
        let path = &self.projections;
        let whole = raw.is_none()
            && path.is_file()
            && microtome_datasets::frames::is_hdf5(path).context("--projections")?;
        let mut input = if whole {
            let scan = Scan::open(path).context("--projections")?;
            Input {
                is_wide: scan.projections.is_wide(),
                projections: Stack(scan.projections),
                flats: scan.flats.map(|f| Joined(vec![Stack(f)])),
                flat_after: scan.flat_after,
                darks: scan.darks.map(Stack),
                angles_rad: scan.angles_rad,
                pixel_mm: scan.pixel_mm,
            }
        } else {
            let options = FrameOptions { raw: raw.clone(), image: None, sinograms: self.sinograms };
            let frames = Frames::open(path, &options).context("--projections")?;
            Input {
                is_wide: frames.is_wide(),
                projections: Stack(frames),
                flats: None,
                flat_after: None,
                darks: None,
                angles_rad: None,
                pixel_mm: None,
            }
        };
        let [n, nv, nu] = input.projections.shape();
        let options = FrameOptions { raw, image: Some([nv, nu]), sinograms: false };
        let stack = |flag: &'static str, path: &Path| -> anyhow::Result<Stack> {
            let frames = Frames::open(path, &options).context(flag)?;
            let [_, fv, fu] = frames.shape();
            if [fv, fu] != [nv, nu] {
                bail!(
                    "{flag} {}: the images have {fv} x {fu} pixels, the projections {nv} x {nu}",
                    path.display()
                );
            }
            Ok(Stack(frames))
        };
        if let Some(path) = &self.flat {
            let mut flats = vec![stack("--flat", path)?];
            input.flat_after = None;
            if let Some(after) = &self.flat_after {
                flats.push(stack("--flat-after", after)?);
                let taken = |k: usize| vec![if k == 0 { 0 } else { n }; flats[k].shape()[0]];
                input.flat_after = Some([taken(0), taken(1)].concat());
            }
            input.flats = Some(Joined(flats));
        }
        if self.i0.is_some() {
            input.flats = None;
        }
        if let Some(path) = &self.dark {
            input.darks = Some(stack("--dark", path)?);
        }
        if let Some(angles) = self.angles(n)? {
            input.angles_rad = Some(angles);
        }
        let angles = input.angles_rad.as_deref().unwrap_or_default();
        if let Some(k) = angles.iter().position(|a| !a.is_finite()) {
            bail!("angle {k} (counted from 0) is {}; finite numbers are needed", angles[k]);
        }
        Ok(input)
    }

    /// Angles in rad from the flags.
    fn angles(&self, n: usize) -> anyhow::Result<Option<Vec<f64>>> {
        if let Some(range) = &self.angle_range {
            let [a, b] = range[..] else {
                bail!("--angle-range: two numbers A,B are needed, for instance 0,180")
            };
            let at = |k: usize| (a + (b - a) * k as f64 / n as f64).to_radians();
            return Ok(Some((0..n).map(at).collect()));
        }
        let Some(path) = &self.angles else { return Ok(None) };
        let values = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
            Array::read(path).context("--angles")?.values.into_f64()
        } else {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--angles {}: cannot read", path.display()))?;
            let mut values = Vec::new();
            for (k, word) in
                text.split([' ', ',', '\t', '\n', '\r']).filter(|w| !w.is_empty()).enumerate()
            {
                let value = word.parse::<f64>();
                let value = value.with_context(|| {
                    format!("--angles {}: entry {k} is `{word}`, no number", path.display())
                })?;
                values.push(value);
            }
            values
        };
        if values.len() != n {
            bail!("--angles {}: {} angles for {n} projections", path.display(), values.len());
        }
        if self.angle_unit == "rad" {
            return Ok(Some(values));
        }
        let (least, most) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        if n > 8 && most - least < 6.5 && most > least {
            bail!(
                "--angles {}: from {least} to {most} degrees is less than 7 degrees; if these are \
                 rad, give --angle-unit rad",
                path.display()
            );
        }
        Ok(Some(values.into_iter().map(f64::to_radians).collect()))
    }
}
