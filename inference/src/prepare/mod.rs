//! From images of a detector to line integrals with weights and the axis of rotation.
//!
//! | step | in `Recipe` |
//! |---|---|
//! | bright outliers of every image | `outlier` |
//! | rows and columns left out, pixels added up | `crop` |
//! | flats and darks averaged; flats interpolated in time where they were taken at several times | `averaging`, `interpolate` |
//! | $p = \ln(F - D) - \ln(y - D)$ and its inverse variance | `quantity`, `gain`, `mask_starved` |
//! | air at the edges is 0 | `air` |
//! | beam hardening | `hardening` |
//! | rings, row by row of the detector | `rings` |
//! | a factor, for Hounsfield units | `scale` |
//! | the axis | [`find_centre`] |
//!
//! Images are read one after the other: memory holds the result and its weights. Validated
//! by `inference/tests/suite/prepare.rs`.

mod centre;
mod flats;

pub use centre::{Centre, CentreMethod, find_centre};
pub use flats::Flats;
pub use microtome_kernels::sinogram::counts::{Averaging, Tally};
pub use microtome_kernels::sinogram::outlier::Crop;

use microtome_kernels::ray::Real;
use microtome_kernels::sinogram::counts::{Average, Reference, bridge, level_air};
use microtome_kernels::sinogram::outlier::remove_outliers;
use microtome_kernels::sinogram::{damping, smoothing, sorting};
use microtome_models::ct::BeamHardening;
use rayon::prelude::*;

/// Views that are read before they are worked on together.
const AT_ONCE: usize = 16;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// An image can't be read.
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// Images of another size than the projections.
    #[error("the {what} have {found:?} pixels [v, u], the projections {expected:?}")]
    Size {
        /// Flats or darks.
        what: &'static str,
        /// Pixels found.
        found: [usize; 2],
        /// Pixels needed.
        expected: [usize; 2],
    },
    /// A number that is not finite.
    #[error(
        "the {what} have {value} at image {image}, row {v}, column {u} (counted from 0); finite \
         numbers are needed"
    )]
    NotFinite {
        /// Projections, flats or darks.
        what: &'static str,
        /// The image.
        image: usize,
        /// Its row.
        v: usize,
        /// Its column.
        u: usize,
        /// The number.
        value: f64,
    },
    /// More than half of the pixels are dead.
    #[error(
        "{dead} of {pixels} pixels have a flat that is not above the dark; are flats and darks \
         exchanged?"
    )]
    Dark {
        /// Dead pixels.
        dead: usize,
        /// All pixels.
        pixels: usize,
    },
    /// A setting that can't be.
    #[error("{what}")]
    Setting {
        /// What is wrong and what to do.
        what: String,
    },
    /// More memory than there is.
    #[error("no memory for {values} values; crop or bin the images")]
    Memory {
        /// Values asked for.
        values: usize,
    },
}

impl PrepareError {
    fn setting(what: impl Into<String>) -> Self {
        PrepareError::Setting { what: what.into() }
    }
}

/// The reason why an image can't be read.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// Images that are read one at a time.
pub trait Images {
    /// `[image, v, u]`.
    fn shape(&self) -> [usize; 3];

    /// Reads image `at`, row after row.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn read(&mut self, at: usize, out: &mut [f64]) -> Result<(), ReadError>;
}

/// What the projections hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Counts of a detector.
    Counts,
    /// Counts over flat: 1 in air. There are no weights.
    Transmission,
    /// Line integrals: no logarithm, no weights.
    LineIntegrals,
}

/// Counts a photon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gain {
    /// This many.
    Known(f64),
    /// From the variance of the flats.
    OfFlats,
}

/// A way to remove rings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rings {
    /// Sorted columns, medians over `size` of them (Vo et al. 2018).
    Sorting {
        /// Columns of a median.
        size: usize,
    },
    /// The mean over views against its moving average (Boin & Haibel 2006).
    Smoothing {
        /// Columns of the average.
        size: usize,
    },
    /// Wavelets and Fourier damping (Münch et al. 2009).
    WaveletFourier {
        /// Levels of wavelets.
        levels: usize,
        /// Width of the damping, cycles.
        sigma: f64,
    },
}

impl Rings {
    /// Removes stripes of a sinogram `[view, u]`.
    pub fn remove<T: Real>(self, sinogram: &mut [T], nu: usize) {
        match self {
            Rings::Sorting { size } => sorting::remove_stripes(sinogram, nu, size),
            Rings::Smoothing { size } => smoothing::remove_stripes(sinogram, nu, size),
            Rings::WaveletFourier { levels, sigma } => {
                damping::remove_stripes(sinogram, nu, levels, sigma);
            }
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What the projections hold.
    pub quantity: Quantity,
    /// Part of the images; all where left out.
    pub crop: Option<Crop>,
    /// Least difference and window of bright outliers.
    pub outlier: Option<(f64, usize)>,
    /// How flats and darks are averaged.
    pub averaging: Averaging,
    /// Whether flats of several times are interpolated.
    pub interpolate: bool,
    /// Counts a photon.
    pub gain: Gain,
    /// Whether pixels of less than half a photon get the weight 0.
    pub mask_starved: bool,
    /// Columns of air at either edge.
    pub air: usize,
    /// Polynomial of the beam.
    pub hardening: Option<BeamHardening>,
    /// Ways to remove rings, one after the other.
    pub rings: Vec<Rings>,
    /// Factor of the result.
    pub scale: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            quantity: Quantity::Counts,
            crop: None,
            outlier: None,
            averaging: Averaging::Mean,
            interpolate: false,
            gain: Gain::Known(1.0),
            mask_starved: false,
            air: 0,
            hardening: None,
            rings: Vec::new(),
            scale: 1.0,
        }
    }
}

/// Line integrals and what was met on the way.
#[derive(Debug, Clone)]
pub struct Prepared<T> {
    /// `[view, v, u]`.
    pub shape: [usize; 3],
    /// Line integrals.
    pub projections: Vec<T>,
    /// Inverse variances, of counts.
    pub weights: Option<Vec<T>>,
    /// Pixels without photons, dead pixels, in all views.
    pub tally: Tally,
    /// Outliers replaced in projections, flats and darks.
    pub outliers: usize,
    /// Counts a photon.
    pub gain: f64,
    /// Variance of a dark image, counts².
    pub var_read: f64,
}

/// Reads images through outliers and crop.
struct Reader {
    crop: Crop,
    outlier: Option<(f64, usize)>,
    size: [usize; 2],
    outliers: usize,
    buffer: Vec<f64>,
}

impl Reader {
    fn pixels(&self) -> usize {
        let [nv, nu] = self.crop.size();
        nv * nu
    }

    /// The image, and the places in it where an outlier was.
    fn image(
        &mut self,
        images: &mut dyn Images,
        what: &'static str,
        at: usize,
        out: &mut [f64],
    ) -> Result<Vec<usize>, PrepareError> {
        images.read(at, &mut self.buffer).map_err(PrepareError::Source)?;
        let nu = self.size[1];
        if let Some(k) = self.buffer.iter().position(|v| !v.is_finite()) {
            let (v, u, value) = (k / nu, k % nu, self.buffer[k]);
            return Err(PrepareError::NotFinite { what, image: at, v, u, value });
        }
        let mut places = Vec::new();
        if let Some((difference, size)) = self.outlier {
            let found = remove_outliers(&mut self.buffer, nu, size, difference);
            self.outliers += found.len();
            let [nv, mu] = self.crop.size();
            for k in found {
                let (v, u) = (k / nu, k % nu);
                let (Some(v), Some(u)) =
                    (v.checked_sub(self.crop.rows[0]), u.checked_sub(self.crop.columns[0]))
                else {
                    continue;
                };
                let (v, u) = (v / self.crop.bin[0], u / self.crop.bin[1]);
                if v < nv && u < mu {
                    places.push(v * mu + u);
                }
            }
        }
        self.crop.apply(&self.buffer, nu, out);
        Ok(places)
    }

    /// All images `[image, pixel]`.
    fn stack(
        &mut self,
        images: &mut dyn Images,
        what: &'static str,
    ) -> Result<Vec<f64>, PrepareError> {
        let [n, nv, nu] = images.shape();
        if [nv, nu] != self.size {
            return Err(PrepareError::Size { what, found: [nv, nu], expected: self.size });
        }
        let pixels = self.pixels();
        let mut all = zeros(n * pixels)?;
        for (at, out) in all.chunks_exact_mut(pixels).enumerate() {
            self.image(images, what, at, out)?;
        }
        Ok(all)
    }
}

fn zeros<T: Real>(values: usize) -> Result<Vec<T>, PrepareError> {
    let mut out = Vec::new();
    out.try_reserve_exact(values).map_err(|_| PrepareError::Memory { values })?;
    out.resize(values, T::default());
    Ok(out)
}

impl Recipe {
    fn check(&self, [_, nv, nu]: [usize; 3]) -> Result<Crop, PrepareError> {
        let crop = self.crop.unwrap_or(Crop::whole(nv, nu));
        for (name, range, n, bin) in
            [("rows", crop.rows, nv, crop.bin[0]), ("columns", crop.columns, nu, crop.bin[1])]
        {
            let fits =
                range[0] < range[1] && range[1] <= n && bin >= 1 && range[1] - range[0] >= bin;
            if !fits {
                return Err(PrepareError::setting(format!(
                    "{name} {}:{} binned by {bin} of images that have {n} {name}; at least one is \
                     needed",
                    range[0], range[1]
                )));
            }
        }
        let positive = |name: &str, v: f64| {
            let good = v > 0.0 && v.is_finite();
            let what = || PrepareError::setting(format!("{name} {v}; a positive number is needed"));
            if good { Ok(()) } else { Err(what()) }
        };
        if let Gain::Known(g) = self.gain {
            positive("the gain", g)?;
        }
        if let Some((difference, size)) = self.outlier {
            positive("the difference of outliers", difference)?;
            if size < 3 || size % 2 == 0 {
                let what = format!("the window of outliers is {size}; an odd number from 3 on");
                return Err(PrepareError::setting(what));
            }
        }
        for rings in &self.rings {
            if let Rings::WaveletFourier { levels, sigma } = rings {
                positive("sigma of the rings", *sigma)?;
                if *levels == 0 || *levels > 20 {
                    let what = format!("{levels} levels of wavelets; from 1 to 20 are possible");
                    return Err(PrepareError::setting(what));
                }
            }
        }
        if !self.scale.is_finite() || self.scale == 0.0 {
            return Err(PrepareError::setting(format!("a factor of {}", self.scale)));
        }
        Ok(crop)
    }

    /// Runs the recipe.
    ///
    /// # Errors
    /// Images that can't be read, are of unequal size or hold numbers that are not finite;
    /// settings that can't be; counts without flats; a polynomial that does not rise over
    /// the values met.
    pub fn run<T: Real>(
        &self,
        projections: &mut dyn Images,
        flats: Flats<'_>,
        darks: Option<&mut dyn Images>,
    ) -> Result<Prepared<T>, PrepareError> {
        let [n, nv, nu] = projections.shape();
        let crop = self.check([n, nv, nu])?;
        let mut reader = Reader {
            crop,
            outlier: self.outlier,
            size: [nv, nu],
            outliers: 0,
            buffer: vec![0.0; nv * nu],
        };
        let pixels = reader.pixels();
        let size = crop.size();
        let counts = self.quantity == Quantity::Counts;
        if !counts && (darks.is_some() || !matches!(flats, Flats::None)) {
            return Err(PrepareError::setting("flats and darks belong to counts"));
        }
        let dark = match darks {
            Some(images) => Average::of(&reader.stack(images, "darks")?, pixels, self.averaging),
            None => Average::exact(vec![0.0; pixels]),
        };
        let var_read = dark.variance.iter().sum::<f64>() / (dark.variance.len().max(1)) as f64;
        let times = if counts {
            Some(flats::Times::new(self, flats, &mut reader, &dark, var_read)?)
        } else {
            None
        };
        let gain = times.as_ref().map_or(1.0, |t| t.gain);
        let mut out: Vec<T> = zeros(n * pixels)?;
        let mut weights: Vec<T> = zeros(if counts { n * pixels } else { 0 })?;
        let mut tally = Tally::default();
        let mut raw: Vec<f64> = zeros(AT_ONCE.min(n) * pixels)?;
        for first in (0..n).step_by(AT_ONCE) {
            let views = AT_ONCE.min(n - first);
            let mut places = Vec::with_capacity(views);
            for (k, image) in raw.chunks_exact_mut(pixels).take(views).enumerate() {
                places.push(reader.image(projections, "projections", first + k, image)?);
            }
            let range = first * pixels..(first + views) * pixels;
            let p = out[range.clone()].par_chunks_exact_mut(pixels);
            let Some(times) = &times else {
                let shift = if self.quantity == Quantity::Transmission {
                    // Sums of binned pixels become means.
                    |v: f64| -v.max(f64::MIN_POSITIVE).ln()
                } else {
                    |v: f64| v
                };
                let mean = 1.0 / (crop.bin[0] * crop.bin[1]) as f64;
                let bad = p
                    .zip(raw.par_chunks_exact(pixels))
                    .map(|(p, raw)| {
                        p.iter_mut().zip(raw).for_each(|(p, v)| *p = T::narrow(shift(v * mean)));
                        let dark = self.quantity == Quantity::Transmission;
                        raw.iter().filter(|v| dark && **v <= 0.0).count()
                    })
                    .sum::<usize>();
                if bad > 0 {
                    return Err(PrepareError::setting(format!(
                        "{bad} transmissions of views {first} to {} are not above 0; the \
                         logarithm needs positive numbers",
                        first + views - 1
                    )));
                }
                continue;
            };
            let w = weights[range].par_chunks_exact_mut(pixels);
            let sums: Vec<Tally> = p
                .zip(w)
                .zip(raw.par_chunks_exact(pixels))
                .enumerate()
                .map(|(k, ((p, w), raw))| {
                    let reference: Reference = times.at(first + k);
                    let tally = reference.line_integrals(raw, size[1], self.mask_starved, p, w);
                    places[k].iter().for_each(|at| w[*at] = T::narrow(0.0));
                    tally
                })
                .collect();
            tally = sums.into_iter().fold(tally, |a, b| a + b);
        }
        if 2 * tally.dead > n * pixels {
            return Err(PrepareError::Dark { dead: tally.dead / n, pixels });
        }
        let shape = [n, size[0], size[1]];
        let mut weights = counts.then_some(weights);
        self.rows(&mut out, weights.as_deref_mut(), shape)?;
        let outliers = reader.outliers;
        Ok(Prepared { shape, projections: out, weights, tally, outliers, gain, var_read })
    }

    /// What is done to every row of the detector.
    fn rows<T: Real>(
        &self,
        out: &mut [T],
        mut weights: Option<&mut [T]>,
        [n, nv, nu]: [usize; 3],
    ) -> Result<(), PrepareError> {
        if self.air > 0 {
            out.par_chunks_exact_mut(nu).for_each(|row| level_air(row, self.air));
        }
        if let Some(h) = &self.hardening {
            let most = out.iter().map(|v| v.wide()).fold(0.0, f64::max);
            if let Some(at) = h.turns_before(most) {
                return Err(PrepareError::setting(format!(
                    "the polynomial {:?} of the beam hardening falls from {at:.3} on, but line \
                     integrals reach {most:.3}",
                    h.coefficients()
                )));
            }
            if let Some(weights) = weights.as_deref_mut() {
                out.par_iter().zip(weights.par_iter_mut()).for_each(|(p, w)| {
                    let slope = h.value(p.wide()).1;
                    *w = T::narrow(w.wide() / (slope * slope));
                });
            }
            out.par_iter_mut().for_each(|p| *p = T::narrow(h.value(p.wide()).0));
        }
        if !self.rings.is_empty() {
            let at_once = rayon::current_num_threads().max(1);
            for first in (0..nv).step_by(at_once) {
                let rows: Vec<Vec<T>> = (first..nv.min(first + at_once))
                    .into_par_iter()
                    .map(|v| {
                        let mut sinogram = sinogram(out, [n, nv, nu], v);
                        self.rings.iter().for_each(|r| r.remove(&mut sinogram, nu));
                        sinogram.chunks_exact_mut(nu).for_each(bridge);
                        sinogram
                    })
                    .collect();
                for (v, row) in (first..).zip(rows) {
                    for (k, part) in row.chunks_exact(nu).enumerate() {
                        let to = (k * nv + v) * nu;
                        out[to..to + nu].copy_from_slice(part);
                    }
                }
            }
        }
        if self.scale != 1.0 {
            let s = self.scale;
            out.par_iter_mut().for_each(|p| *p = T::narrow(p.wide() * s));
            if let Some(weights) = weights {
                weights.par_iter_mut().for_each(|w| *w = T::narrow(w.wide() / (s * s)));
            }
        }
        Ok(())
    }
}

/// Row `v` of projections `[view, v, u]`: `[view, u]`.
fn sinogram<T: Copy>(projections: &[T], [n, nv, nu]: [usize; 3], v: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(n * nu);
    for k in 0..n {
        let at = (k * nv + v) * nu;
        out.extend_from_slice(&projections[at..at + nu]);
    }
    out
}
