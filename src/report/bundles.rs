//! The section on streamlines: the bundles from three sides, and how many visit each voxel.
//!
//! Coordinates are voxels; i is to the right, or j where i is the line of sight, and k (or j) upwards.
//! Validated by `bundles_are_drawn_from_three_sides` in `tests.rs`.

use super::data::BundlePicture;
use super::plot::Palette;
use super::raster::{Limits, map};
use super::text::{escape, figure, panel};

/// Axes to the right and upwards, and along the line of sight.
const VIEWS: [([usize; 3], &str); 3] =
    [([0, 1, 2], "along k"), ([0, 2, 1], "along j"), ([1, 2, 0], "along i")];
/// Longer edge of a drawing.
const EDGE: f64 = 300.0;

/// The section; empty without streamlines.
pub(super) fn section(picture: &BundlePicture) -> String {
    if picture.lines.is_empty() {
        return String::new();
    }
    let mut panels = String::new();
    for (axes, name) in VIEWS {
        panels.push_str(&panel("square", name, &lines(picture, axes, name)));
    }
    let mut out = figure(
        "",
        &panels,
        &format!(
            "<b>Streamlines.</b> Red, green and blue are the parts of i, j and k in the direction. {}",
            escape(&picture.note)
        ),
    );
    for (what, values, palette, text) in [
        (
            "visits",
            &picture.visits,
            Palette::Viridis,
            "Streamlines that visit a voxel: the most along the line of sight.",
        ),
        (
            "standard error",
            &picture.error,
            Palette::Cividis,
            "Standard error of the visits: the largest along the line of sight.",
        ),
    ] {
        let sides = VIEWS.map(|(axes, _)| most(picture.shape, values, axes));
        let limits = Limits::of(sides.iter().flat_map(|s| s.2.iter().copied()));
        let Some(limits) = limits.map(Limits::to_zero) else { continue };
        let mut panels = String::new();
        for (side, (_, name)) in sides.iter().zip(VIEWS) {
            let drawn = map(side, palette, &limits, None, what);
            panels.push_str(&panel("square", &format!("{what}, {name}"), &drawn));
        }
        out.push_str(&figure("", &panels, text));
    }
    out
}

/// The largest value along a line of sight, `[up][right]`.
fn most(shape: [usize; 3], values: &[f32], axes: [usize; 3]) -> (usize, usize, Vec<f32>) {
    let (nx, ny) = (shape[axes[0]], shape[axes[1]]);
    let mut out = vec![0.0_f32; nx * ny];
    for (n, v) in values.iter().enumerate() {
        let ijk = [n % shape[0], n / shape[0] % shape[1], n / (shape[0] * shape[1])];
        if let Some(o) = out.get_mut(ijk[axes[1]] * nx + ijk[axes[0]]) {
            *o = o.max(*v);
        }
    }
    (nx, ny, out)
}

fn lines(picture: &BundlePicture, axes: [usize; 3], name: &str) -> String {
    let [nx, ny] = [axes[0], axes[1]].map(|a| picture.shape[a].max(1) as f64);
    let scale = EDGE / nx.max(ny);
    let mut out = format!(
        "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"streamlines {name}\" fill=\"none\" stroke-width=\"0.8\" stroke-opacity=\"0.6\">",
        nx * scale,
        ny * scale
    );
    for line in &picture.lines {
        let mut parts = [0.0_f64; 3];
        for w in line.windows(2) {
            (0..3).for_each(|c| parts[c] += f64::from((w[1][c] - w[0][c]).abs()));
        }
        let largest = parts.iter().fold(1e-9_f64, |m, p| m.max(*p));
        let [r, g, b] = parts.map(|p| (220.0 * p / largest).round());
        let mut points = String::new();
        let mut last = [f64::INFINITY; 2];
        for (n, x) in line.iter().enumerate() {
            let at =
                [(f64::from(x[axes[0]]) + 0.5) * scale, (ny - 0.5 - f64::from(x[axes[1]])) * scale];
            let far = (at[0] - last[0]).hypot(at[1] - last[1]) > 2.0;
            if far || n + 1 == line.len() {
                points.push_str(&format!("{:.1},{:.1} ", at[0], at[1]));
                last = at;
            }
        }
        out.push_str(&format!(
            "<polyline stroke=\"rgb({r},{g},{b})\" points=\"{}\"/>",
            points.trim_end()
        ));
    }
    out.push_str("</svg>");
    out
}
