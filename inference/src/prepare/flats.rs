//! Flats: one average, or averages of several times with a line between.

use super::{Average, Images, PrepareError, Reader, Recipe, Reference};
use crate::prepare::Gain;
use microtome_kernels::sinogram::counts::gain;

/// Images without the object.
pub enum Flats<'a> {
    /// None; for what is no counts.
    None,
    /// Counts of the open beam, known without error, the same in every pixel.
    Known(f64),
    /// Images. `after` tells how many projections were taken before each.
    Images {
        /// The images.
        images: &'a mut dyn Images,
        /// Projections taken before each, for flats of several times.
        after: Option<Vec<usize>>,
    },
}

/// Flats of one time.
struct Group {
    /// Projections taken before.
    after: f64,
    span: Vec<f64>,
    variance: Vec<f64>,
}

/// What views are compared with.
pub(super) struct Times {
    groups: Vec<Group>,
    dark: Vec<f64>,
    var_dark: f64,
    var_read: f64,
    pub(super) gain: f64,
}

impl Times {
    pub(super) fn new(
        recipe: &Recipe,
        flats: Flats<'_>,
        reader: &mut Reader,
        dark: &Average,
        var_read: f64,
    ) -> Result<Self, PrepareError> {
        let pixels = reader.pixels();
        let var_dark = var_read / dark.images;
        let known = |recipe: &Recipe| match recipe.gain {
            Gain::Known(g) => Ok(g),
            Gain::OfFlats => Err(PrepareError::setting(
                "the gain is to be found from the flats, which needs two and more of one time that \
                 vary more than the darks; give it as a number",
            )),
        };
        let (images, after) = match flats {
            Flats::None => {
                return Err(PrepareError::setting(
                    "counts need flats or the counts of the open beam",
                ));
            }
            Flats::Known(i0) => {
                if !(i0 > 0.0 && i0.is_finite()) {
                    let what = format!("{i0} counts of the open beam; a positive number is needed");
                    return Err(PrepareError::setting(what));
                }
                // Binned pixels are sums.
                let sum = i0 * (reader.crop.bin[0] * reader.crop.bin[1]) as f64;
                let span = dark.value.iter().map(|d| sum - d).collect();
                let group = Group { after: 0.0, span, variance: vec![0.0; pixels] };
                let gain = known(recipe)?;
                let groups = vec![group];
                return Ok(Self { groups, dark: dark.value.clone(), var_dark, var_read, gain });
            }
            Flats::Images { images, after } => (images, after),
        };
        let stack = reader.stack(images, "flats")?;
        let n = stack.len() / pixels;
        // Groups of equal time.
        let mut times: Vec<(usize, Vec<usize>)> = Vec::new();
        match after.filter(|a| recipe.interpolate && a.len() == n) {
            Some(after) => {
                for (k, at) in after.into_iter().enumerate() {
                    match times.iter_mut().find(|t| t.0 == at) {
                        Some(t) => t.1.push(k),
                        None => times.push((at, vec![k])),
                    }
                }
                times.sort_by_key(|t| t.0);
            }
            None => times.push((0, (0..n).collect())),
        }
        let of = |list: &[usize], level: bool| -> Average {
            let mut images = Vec::with_capacity(list.len() * pixels);
            let part = |k: &usize| &stack[k * pixels..(k + 1) * pixels];
            let above = |k: &usize| -> f64 {
                part(k).iter().zip(&dark.value).map(|(f, d)| f - d).sum::<f64>()
            };
            let mean = list.iter().map(above).sum::<f64>() / list.len() as f64;
            for k in list {
                let factor = if level { mean / above(k) } else { 1.0 };
                images.extend(part(k).iter().zip(&dark.value).map(|(f, d)| d + (f - d) * factor));
            }
            Average::of(&images, pixels, recipe.averaging)
        };
        let gain = match recipe.gain {
            Gain::OfFlats => {
                // The largest group, each image brought to the mean intensity of all.
                let list = times.iter().max_by_key(|t| t.1.len()).map_or(&[][..], |t| &t.1[..]);
                match gain(&of(list, true), &dark.value, var_read) {
                    Some(g) => g,
                    None => known(recipe)?,
                }
            }
            Gain::Known(g) => g,
        };
        let groups = times.into_iter().map(|(after, list)| {
            let average = of(&list, false);
            let span: Vec<f64> =
                average.value.iter().zip(&dark.value).map(|(f, d)| f - d).collect();
            let variance =
                span.iter().map(|w| (gain * w.max(0.0) + var_read) / average.images).collect();
            Group { after: after as f64, span, variance }
        });
        let groups = groups.collect();
        Ok(Self { groups, dark: dark.value.clone(), var_dark, var_read, gain })
    }

    /// What view `k` is compared with.
    pub(super) fn at(&self, k: usize) -> Reference {
        let (var_dark, var_read, gain) = (self.var_dark, self.var_read, self.gain);
        let dark = self.dark.clone();
        // A view is taken in the middle between the numbers of views before and after it.
        let time = k as f64 + 0.5;
        let next = self.groups.partition_point(|g| g.after <= time);
        let (a, b) = (next.saturating_sub(1), next.min(self.groups.len() - 1));
        let (a, b) = (&self.groups[a], &self.groups[b]);
        let t = if b.after > a.after {
            ((time - a.after) / (b.after - a.after)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let mix = |x: &[f64], y: &[f64], p: f64, q: f64| -> Vec<f64> {
            x.iter().zip(y).map(|(x, y)| p * x + q * y).collect()
        };
        let (span, var_flat) = if t == 0.0 {
            (a.span.clone(), a.variance.clone())
        } else {
            let variance = mix(&a.variance, &b.variance, (1.0 - t) * (1.0 - t), t * t);
            (mix(&a.span, &b.span, 1.0 - t, t), variance)
        };
        Reference { dark, span, var_dark, var_flat, var_read, gain }
    }
}
