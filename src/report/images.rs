//! The section on reconstructions: images beside what they should be.
//!
//! All images of a figure have one grey scale. Validated by `images_share_their_scale` in
//! `tests.rs`.

use super::data::ReconstructedImage;
use super::plot::Palette;
use super::raster::{Limits, map};
use super::text::{decimals, escape, figure, panel, table};

/// The section on reconstructions; empty without any.
pub(super) fn section(images: &[ReconstructedImage], note: &str) -> String {
    let Some(limits) = Limits::of(images.iter().flat_map(|i| i.values.iter().copied())) else {
        return String::new();
    };
    let mut panels = String::new();
    let mut rows = Vec::new();
    for image in images {
        let picture = (image.nx, image.ny, image.values.clone());
        let scale = Limits::fixed(limits.low, limits.high, &image.values);
        let drawn = map(&picture, Palette::Grey, &scale, None, &image.name);
        panels.push_str(&panel("", &image.name, &drawn));
        if image.psnr.is_finite() {
            rows.push(vec![escape(&image.name), decimals(image.psnr, 1), decimals(image.ssim, 3)]);
        }
    }
    let caption = format!("<b>Reconstructions.</b> {}", escape(note));
    figure("", &panels, &caption) + &table(&["image", "PSNR (dB)", "SSIM"], &rows)
}
