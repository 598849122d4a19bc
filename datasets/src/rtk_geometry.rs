//! Geometry files of RTK (`RTKThreeDCircularGeometry`, version 3).
//!
//! Numbers that stand before the projections are those of all of them, as RTK writes
//! numbers that do not change. Where a projection has a `Matrix` it must be the one of its
//! numbers, so that a file edited by hand is not misread. Collimation is not read.
//!
//! Source: RTK 2.7, `rtk::ThreeDCircularProjectionGeometryXMLFileReader`. Validated by
//! `tests/files/geometries.rs` against files that RTK wrote.

use std::io::Write;
use std::path::Path;

use microtome_models::ct::{RtkGeometry, RtkProjection};

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

/// Longest file that is believed.
const BYTES_MAX: u64 = 1 << 30;
/// How far a matrix may be from its numbers, relative to its greatest entry.
const MATRIX: f64 = 1e-5;

/// An opening or closing tag and the text after it.
struct Tag<'a> {
    name: &'a str,
    closes: bool,
    text: &'a str,
}

/// The tags of a text in their order; declarations and comments are left out.
fn tags(text: &str) -> std::result::Result<Vec<Tag<'_>>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let (open, close) = if rest.starts_with("<!--") { ("<!--", "-->") } else { ("<", ">") };
        let body = &rest[open.len()..];
        let end = body.find(close).ok_or("a tag or comment has no end")?;
        let tag = &body[..end];
        rest = &body[end + close.len()..];
        if open == "<!--" || tag.starts_with(['?', '!']) {
            continue;
        }
        let closes = tag.starts_with('/');
        let tag = tag.trim_start_matches('/').trim();
        let text = rest[..rest.find('<').unwrap_or(rest.len())].trim();
        let empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/').trim_end();
        out.push(Tag { name: tag, closes, text });
        if empty {
            out.push(Tag { name: tag, closes: true, text });
        }
    }
    Ok(out)
}

/// Sets one number by its tag; false for a tag of another name.
fn set(projection: &mut RtkProjection, radius: &mut f64, name: &str, value: f64) -> bool {
    let place = match name {
        "SourceToIsocenterDistance" => &mut projection.source_to_isocentre_mm,
        "SourceToDetectorDistance" => &mut projection.source_to_detector_mm,
        "GantryAngle" => &mut projection.gantry_deg,
        "ProjectionOffsetX" => &mut projection.projection_offset_mm[0],
        "ProjectionOffsetY" => &mut projection.projection_offset_mm[1],
        "SourceOffsetX" => &mut projection.source_offset_mm[0],
        "SourceOffsetY" => &mut projection.source_offset_mm[1],
        "InPlaneAngle" => &mut projection.in_plane_deg,
        "OutOfPlaneAngle" => &mut projection.out_of_plane_deg,
        "RadiusCylindricalDetector" => radius,
        _ => return false,
    };
    *place = value;
    true
}

fn number(name: &str, text: &str) -> std::result::Result<f64, String> {
    let value = text.parse().map_err(|_| format!("{name}: `{text}` is no number"))?;
    if !f64::is_finite(value) {
        return Err(format!("{name}: {value}; a finite number is needed"));
    }
    Ok(value)
}

fn check_matrix(
    at: usize,
    projection: &RtkProjection,
    text: &str,
) -> std::result::Result<(), String> {
    let found: Vec<f64> = text
        .split_whitespace()
        .map(|t| number("Matrix", t))
        .collect::<std::result::Result<_, _>>()?;
    let expected = projection.matrix().map_err(|e| e.to_string())?.concat();
    let greatest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= MATRIX * greatest;
    if found.len() == 12 && found.iter().zip(&expected).all(near) {
        return Ok(());
    }
    Err(format!(
        "projection {at} (counted from 0): its Matrix is not that of its angles, distances and \
         offsets; leave the Matrix out or write the file with RTK again"
    ))
}

fn parse(text: &str) -> std::result::Result<RtkGeometry, String> {
    let tags = tags(text)?;
    let mut tags = tags.into_iter();
    let root = tags.next().ok_or("there is no tag")?;
    let mut words = root.name.split_whitespace();
    if words.next() != Some("RTKThreeDCircularGeometry") {
        return Err(format!("the first tag is `{}`, not RTKThreeDCircularGeometry", root.name));
    }
    let version = words.find_map(|w| w.strip_prefix("version="));
    let version = version.map(|v| v.trim_matches(['"', '\'']));
    if version != Some("3") {
        return Err(format!(
            "version {}; version 3 is read (RTK writes it)",
            version.unwrap_or("is missing")
        ));
    }
    let mut common = RtkProjection::default();
    let mut out = RtkGeometry::default();
    let mut current: Option<RtkProjection> = None;
    let mut matrix = None;
    for tag in tags {
        match (tag.name, tag.closes) {
            ("Projection", false) => (current, matrix) = (Some(common), None),
            ("Projection", true) => {
                let projection = current.take().ok_or("a projection ends that did not begin")?;
                if let Some(text) = matrix.take() {
                    check_matrix(out.projections.len(), &projection, text)?;
                }
                out.projections.push(projection);
            }
            ("RTKThreeDCircularGeometry", true) => {
                if current.is_some() {
                    return Err("the last projection has no end".into());
                }
                return Ok(out);
            }
            (_, true) => {}
            ("Matrix", false) => matrix = Some(tag.text),
            (name, false) if name.starts_with("Collimation") => {}
            (name, false) => {
                let value = number(name, tag.text)?;
                let of = current.as_mut().unwrap_or(&mut common);
                if !set(of, &mut out.radius_mm, name, value) {
                    return Err(format!("the tag `{name}` is not known"));
                }
            }
        }
    }
    Err("the end of the file is missing (</RTKThreeDCircularGeometry>)".into())
}

/// Reads a geometry.
///
/// # Errors
/// A file that cannot be read, of another version, with unknown tags, no projection, or a
/// matrix that is not that of its numbers.
pub fn read_rtk_geometry(path: &Path) -> Result<RtkGeometry> {
    let length = std::fs::metadata(path).map_err(DatasetError::io(path, "open"))?.len();
    if length > BYTES_MAX {
        return Err(DatasetError::format(path, format!("{length} bytes are not believed")));
    }
    let text = std::fs::read_to_string(path).map_err(DatasetError::io(path, "read"))?;
    let geometry = parse(&text).map_err(|what| DatasetError::format(path, what))?;
    if geometry.projections.is_empty() {
        return Err(DatasetError::format(path, "has no projection"));
    }
    Ok(geometry)
}

/// Text of a number that returns.
fn tag(out: &mut String, indent: &str, name: &str, value: f64) {
    out.push_str(&format!("{indent}<{name}>{value}</{name}>\n"));
}

/// The text of a geometry: every number in every projection, and the matrices.
///
/// # Errors
/// Numbers that are not finite.
pub fn rtk_geometry_text(geometry: &RtkGeometry) -> std::result::Result<String, String> {
    let mut out = String::from(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE RTKGEOMETRY>\n<RTKThreeDCircularGeometry version=\"3\">\n",
    );
    if geometry.radius_mm != 0.0 {
        tag(&mut out, "    ", "RadiusCylindricalDetector", geometry.radius_mm);
    }
    for p in &geometry.projections {
        out.push_str("  <Projection>\n");
        for (name, value) in [
            ("SourceToIsocenterDistance", p.source_to_isocentre_mm),
            ("SourceToDetectorDistance", p.source_to_detector_mm),
            ("GantryAngle", p.gantry_deg),
            ("SourceOffsetX", p.source_offset_mm[0]),
            ("SourceOffsetY", p.source_offset_mm[1]),
            ("ProjectionOffsetX", p.projection_offset_mm[0]),
            ("ProjectionOffsetY", p.projection_offset_mm[1]),
            ("InPlaneAngle", p.in_plane_deg),
            ("OutOfPlaneAngle", p.out_of_plane_deg),
        ] {
            tag(&mut out, "    ", name, value);
        }
        out.push_str("    <Matrix>\n");
        for row in p.matrix().map_err(|e| e.to_string())? {
            let row: Vec<String> = row.iter().map(f64::to_string).collect();
            out.push_str(&format!("        {}\n", row.join(" ")));
        }
        out.push_str("    </Matrix>\n  </Projection>\n");
    }
    out.push_str("</RTKThreeDCircularGeometry>\n");
    Ok(out)
}

/// Writes a geometry, over an existing file.
///
/// # Errors
/// A folder that cannot be written, a full disk.
pub fn write_rtk_geometry(path: &Path, geometry: &RtkGeometry) -> Result<()> {
    let text = rtk_geometry_text(geometry).map_err(|what| DatasetError::format(path, what))?;
    stage_text(path, &text)?.commit()
}

/// Writes a text file, to be named by [`AtomicFile::commit`].
///
/// # Errors
/// A folder that cannot be written, a full disk.
pub fn stage_text(path: &Path, text: &str) -> Result<AtomicFile> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(text.as_bytes()).map_err(DatasetError::io(path, "write"))?;
    Ok(file)
}
