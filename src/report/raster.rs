//! Slices as PNG images inside the page, with their colour bars.
//!
//! A value $v$ takes colour $\lfloor 254\,(v-l)/(h-l)\rceil$ of a palette of 255
//! colours, with $l, h$ the limits of its scale; values beyond take the end
//! colours and voxels outside the mask the grey 256th. One byte a voxel before
//! compression.
//!
//! Validated by `limits_leave_out_outliers`, `colours_follow_the_limits` and
//! `blocks_are_averaged` below.

use base64::Engine;

use super::plot::{Palette, palette};
use super::text::{escape, ticks};

/// Index of the colour of a voxel outside the mask.
const OUTSIDE: u8 = 255;
const OUTSIDE_RGB: [u8; 3] = [0xe4, 0xe4, 0xe0];
/// Longer side of a drawn map in px, and of one that has more voxels than that
/// side shows well.
const SIDE: f64 = 184.0;
const LONG_SIDE: f64 = 430.0;
const MOST_VOXELS_ON_SIDE: usize = 92;

/// The limits of a colour scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Value of the first colour.
    pub(super) low: f64,
    /// Value of the last colour.
    pub(super) high: f64,
    /// Some values lie below.
    pub(super) below: bool,
    /// Some values lie above.
    pub(super) above: bool,
}

impl Limits {
    /// From the 1st to the 99th percentile of the finite values (from the
    /// smallest to the largest for fewer than 100); `None` without any.
    pub(super) fn of(values: impl Iterator<Item = f32>) -> Option<Self> {
        let mut v: Vec<f64> = values.filter(|x| x.is_finite()).map(f64::from).collect();
        v.sort_by(f64::total_cmp);
        let (smallest, largest) = (*v.first()?, *v.last()?);
        let cut = if v.len() < 100 { 0 } else { v.len() / 100 };
        let (low, high) = (v[cut], v[v.len() - 1 - cut]);
        let (low, high) = if high > low { (low, high) } else { (smallest, largest) };
        Some(Self { low, high, below: smallest < low, above: largest > high }.widened())
    }

    /// The same scale from zero, for quantities that are never negative.
    pub(super) fn to_zero(self) -> Self {
        Self { low: 0.0, below: false, ..self }.widened()
    }

    /// A fixed scale, with what lies beyond it.
    pub(super) fn fixed(low: f64, high: f64, values: &[f32]) -> Self {
        let finite = || values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v));
        Self { low, high, below: finite().any(|v| v < low), above: finite().any(|v| v > high) }
    }

    fn widened(self) -> Self {
        if self.high > self.low {
            return self;
        }
        let half = (0.05 * self.low.abs()).max(1e-6);
        Self { low: self.low - half, high: self.high + half, ..self }
    }

    fn index(&self, value: f32) -> u8 {
        if !value.is_finite() {
            return OUTSIDE;
        }
        let t = (f64::from(value) - self.low) / (self.high - self.low);
        (254.0 * t.clamp(0.0, 1.0)).round() as u8
    }
}

/// Means over blocks of `factor` x `factor` voxels that leave NaN out.
pub(super) fn shrink(
    nx: usize,
    ny: usize,
    values: &[f32],
    factor: usize,
) -> (usize, usize, Vec<f32>) {
    if factor <= 1 || values.len() < nx * ny {
        return (nx, ny, values.to_vec());
    }
    let (mx, my) = (nx.div_ceil(factor), ny.div_ceil(factor));
    let mut out = Vec::with_capacity(mx * my);
    for by in 0..my {
        for bx in 0..mx {
            let (mut sum, mut n) = (0.0f64, 0u32);
            for y in by * factor..((by + 1) * factor).min(ny) {
                for v in &values[y * nx + bx * factor..y * nx + ((bx + 1) * factor).min(nx)] {
                    if v.is_finite() {
                        sum += f64::from(*v);
                        n += 1;
                    }
                }
            }
            out.push(if n == 0 { f32::NAN } else { (sum / f64::from(n)) as f32 });
        }
    }
    (mx, my, out)
}

/// One voxel of each block of `factor` x `factor`, for codes and colours.
pub(super) fn thin<T: Copy>(
    nx: usize,
    ny: usize,
    values: &[T],
    factor: usize,
) -> (usize, usize, Vec<T>) {
    if factor <= 1 || values.len() < nx * ny {
        return (nx, ny, values.to_vec());
    }
    let (mx, my) = (nx.div_ceil(factor), ny.div_ceil(factor));
    let pick = |i: usize| values[(i / mx * factor) * nx + i % mx * factor];
    (mx, my, (0..mx * my).map(pick).collect())
}

/// A map with its colour bar; `mark` draws a line on the bar.
pub(super) fn map(
    (nx, ny, values): &(usize, usize, Vec<f32>),
    colours: Palette,
    limits: &Limits,
    mark: Option<f64>,
    alt: &str,
) -> String {
    let index: Vec<u8> = values.iter().map(|v| limits.index(*v)).collect();
    let table = palette(colours);
    let mut bar = String::new();
    let (w, h) = drawn(*nx, *ny);
    let (top, bottom) = (8.0, h.max(110.0) - 8.0);
    let x = w + 14.0;
    let column: Vec<u8> = (0..=254).collect();
    bar.push_str(&image(&indexed(1, 255, &column, &table), x, top, 12.0, bottom - top, false));
    bar.push_str(&format!(
        "<rect x=\"{x}\" y=\"{top}\" width=\"12\" height=\"{:.1}\" fill=\"none\" stroke=\"#555\" stroke-width=\".6\"/>",
        bottom - top
    ));
    let tip = |y: f64, dy: f64, colour: [u8; 3]| {
        let [r, g, b] = colour;
        format!(
            "<path d=\"M{x} {y}h12l-6 {dy}z\" fill=\"rgb({r},{g},{b})\" stroke=\"#555\" stroke-width=\".6\"/>"
        )
    };
    if limits.above {
        bar.push_str(&tip(top, -8.0, table[254]));
    }
    if limits.below {
        bar.push_str(&tip(bottom, 8.0, table[0]));
    }
    let at = |v: f64| bottom - (v - limits.low) / (limits.high - limits.low) * (bottom - top);
    let labels = ticks(limits.low, limits.high, 5.0);
    let widest = labels.iter().map(|l| l.1.chars().count()).max().unwrap_or(0);
    for (value, label) in labels {
        let y = at(value);
        bar.push_str(&format!(
            "<path d=\"M{:.1} {y:.1}h4\" stroke=\"#555\"/><text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            x + 12.0,
            x + 19.0,
            y + 4.0
        ));
    }
    if let Some(value) = mark.filter(|m| *m > limits.low && *m < limits.high) {
        bar.push_str(&format!(
            "<path d=\"M{:.1} {:.1}h18\" stroke=\"#d55e00\" stroke-width=\"2\"/>",
            x - 3.0,
            at(value)
        ));
    }
    drawing(*nx, *ny, &indexed(*nx, *ny, &index, &table), &bar, 36.0 + 7.2 * widest as f64, alt)
}

/// A map of codes in the given colours; codes without a colour are outside.
pub(super) fn codes(nx: usize, ny: usize, code: &[u8], colours: &[[u8; 3]], alt: &str) -> String {
    let index: Vec<u8> =
        code.iter().map(|c| if usize::from(*c) < colours.len() { *c } else { OUTSIDE }).collect();
    drawing(nx, ny, &indexed(nx, ny, &index, colours), "", 0.0, alt)
}

/// A map of colours.
pub(super) fn rgb(nx: usize, ny: usize, pixels: &[[u8; 3]], alt: &str) -> String {
    let bytes: Vec<u8> =
        if pixels.len() == nx * ny { upwards(nx, pixels).concat() } else { Vec::new() };
    drawing(nx, ny, &encode(nx, ny, png::ColorType::Rgb, None, &bytes), "", 0.0, alt)
}

/// Is a map of this size drawn large?
pub(super) fn is_large(nx: usize, ny: usize) -> bool {
    nx.max(ny) > MOST_VOXELS_ON_SIDE
}

fn drawn(nx: usize, ny: usize) -> (f64, f64) {
    let longer = nx.max(ny).max(1) as f64;
    let side = if is_large(nx, ny) { LONG_SIDE } else { SIDE };
    ((side * nx as f64 / longer).max(10.0), (side * ny as f64 / longer).max(10.0))
}

fn drawing(nx: usize, ny: usize, uri: &str, beside: &str, beside_width: f64, alt: &str) -> String {
    let (w, h) = drawn(nx, ny);
    let height = if beside.is_empty() { h } else { h.max(110.0) };
    let width = w + beside_width;
    let picture = image(uri, 0.0, (height - h) / 2.0, w, h, true);
    format!(
        "<svg class=\"map\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         role=\"img\" aria-label=\"{}\" font-size=\"12\">{picture}{beside}</svg>",
        escape(alt)
    )
}

fn image(uri: &str, x: f64, y: f64, w: f64, h: f64, sharp: bool) -> String {
    if uri.is_empty() {
        return format!("<text x=\"{x}\" y=\"{:.1}\">no image</text>", y + h / 2.0);
    }
    let class = if sharp { " class=\"px\"" } else { "" };
    format!(
        "<image{class} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" preserveAspectRatio=\"none\" href=\"{uri}\"/>"
    )
}

/// Rows from the last to the first: y points up.
fn upwards<T: Copy>(nx: usize, rows: &[T]) -> Vec<T> {
    rows.chunks(nx.max(1)).rev().flatten().copied().collect()
}

fn indexed(nx: usize, ny: usize, index: &[u8], colours: &[[u8; 3]]) -> String {
    if index.len() != nx * ny {
        return String::new();
    }
    let mut table = vec![OUTSIDE_RGB; 256];
    for (slot, colour) in table.iter_mut().zip(colours.iter().take(255)) {
        *slot = *colour;
    }
    encode(nx, ny, png::ColorType::Indexed, Some(table.concat()), &upwards(nx, index))
}

/// The image as a data URI; empty where there is nothing to encode.
fn encode(
    nx: usize,
    ny: usize,
    colour: png::ColorType,
    table: Option<Vec<u8>>,
    bytes: &[u8],
) -> String {
    let (Ok(width), Ok(height)) = (u32::try_from(nx), u32::try_from(ny)) else {
        return String::new();
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    if let Some(table) = table {
        encoder.set_palette(table);
    }
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(bytes));
    if written.is_err() {
        return String::new();
    }
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_leave_out_outliers() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        values.push(1e9);
        values.push(f32::NAN);
        let limits = Limits::of(values.into_iter());
        assert_eq!(limits, Some(Limits { low: 10.0, high: 990.0, below: true, above: true }));
        assert_eq!(Limits::of([f32::NAN].into_iter()), None);
        assert!(Limits::of([2.0f32; 9].into_iter()).is_some_and(|l| l.high > l.low));
    }

    #[test]
    fn colours_follow_the_limits() {
        let limits = Limits { low: 1.0, high: 3.0, below: false, above: false };
        let found: Vec<u8> =
            [0.0, 1.0, 2.0, 3.0, 9.0, f32::NAN].iter().map(|v| limits.index(*v)).collect();
        assert_eq!(found, [0, 0, 127, 254, 254, OUTSIDE]);
    }

    #[test]
    fn blocks_are_averaged() {
        let values = [1.0, 3.0, 7.0, f32::NAN, f32::NAN, 9.0];
        let (nx, ny, small) = shrink(3, 2, &values, 2);
        assert_eq!((nx, ny), (2, 1));
        assert_eq!(small, [2.0, 8.0]);
    }

    #[test]
    fn a_wrong_length_gives_no_image() {
        assert!(indexed(4, 4, &[0; 3], &[]).is_empty());
        assert!(
            indexed(2, 1, &[0, 1], &[[1, 2, 3], [4, 5, 6]])
                .starts_with("data:image/png;base64,iVBOR")
        );
    }
}
