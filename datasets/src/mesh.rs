//! Triangle meshes: PLY (text, binary of either byte order) and Wavefront OBJ.
//!
//! Vertices with equal coordinates become one, polygons become fans of triangles; normals,
//! colours and textures are passed over. Formats: Turk 1994, *The PLY Polygon File Format*;
//! Wavefront, *Object Files (.obj)*, appendix B1. Validated by the tests below.

use std::collections::HashMap;
use std::path::Path;

use microtome_models::substrate::Triangles;

use crate::error::{DatasetError, Result};

/// Reads a mesh by its extension, `.ply` or `.obj`.
///
/// # Errors
/// Files that cannot be read, of another format, or cut short; the message names the file.
pub fn read_mesh(path: &Path) -> Result<Triangles> {
    let bytes = std::fs::read(path).map_err(|source| DatasetError::Io {
        path: path.to_path_buf(),
        action: "read",
        source,
    })?;
    let wrong = |what: String| DatasetError::format(path, what);
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_lowercase();
    let mesh = match extension.as_str() {
        "ply" => ply(&bytes),
        "obj" => obj(&bytes),
        _ => Err("is no .ply and no .obj file".into()),
    };
    mesh.map(joined).map_err(wrong)
}

/// One vertex for all of equal coordinates.
fn joined(mesh: Triangles) -> Triangles {
    let mut seen = HashMap::new();
    let mut vertices: Vec<[f64; 3]> = Vec::new();
    let numbers: Vec<usize> = mesh
        .vertices
        .iter()
        .map(|v| {
            // Adding zero makes one zero of two.
            *seen.entry(v.map(|c| (c + 0.0).to_bits())).or_insert_with(|| {
                vertices.push(*v);
                vertices.len() - 1
            })
        })
        .collect();
    let number = |i: usize| numbers.get(i).copied().unwrap_or(usize::MAX);
    let faces = mesh.faces.iter().map(|f| f.map(number)).collect();
    Triangles { vertices, faces }
}

fn fan(polygon: &[usize], faces: &mut Vec<[usize; 3]>) -> std::result::Result<(), String> {
    if polygon.len() < 3 {
        return Err(format!("has a face of {} vertices; 3 or more are needed", polygon.len()));
    }
    faces.extend(polygon[1..].windows(2).map(|w| [polygon[0], w[0], w[1]]));
    Ok(())
}

fn obj(bytes: &[u8]) -> std::result::Result<Triangles, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text".to_string())?;
    let mut mesh = Triangles::default();
    for (line, text) in text.lines().enumerate() {
        let line = line + 1;
        let mut words = text.split_whitespace();
        match words.next() {
            Some("v") => {
                let numbers: Vec<f64> = words.take(3).map_while(|w| w.parse().ok()).collect();
                let vertex = <[f64; 3]>::try_from(numbers);
                mesh.vertices
                    .push(vertex.map_err(|_| format!("line {line}: no vertex of 3 numbers"))?);
            }
            Some("f") => {
                let count = mesh.vertices.len() as i64;
                let corner = |word: &str| {
                    let number = word.split('/').next().and_then(|w| w.parse::<i64>().ok());
                    match number {
                        Some(n) if n > 0 && n <= count => Ok(n as usize - 1),
                        Some(n) if n < 0 && -n <= count => Ok((count + n) as usize),
                        _ => Err(format!("line {line}: `{word}` names no vertex so far")),
                    }
                };
                let polygon = words.map(corner).collect::<std::result::Result<Vec<_>, _>>()?;
                fan(&polygon, &mut mesh.faces).map_err(|e| format!("line {line}: {e}"))?;
            }
            _ => {}
        }
    }
    Ok(mesh)
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Little,
    Big,
}

/// The numbers of a PLY file, one after the other.
struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
    format: Format,
}

impl Numbers<'_> {
    fn next(&mut self, kind: &str) -> std::result::Result<f64, String> {
        let short = || "ends too early".to_string();
        if self.format == Format::Text {
            let rest = self.bytes.get(self.at..).ok_or_else(short)?;
            let begin = rest.iter().position(|b| !b.is_ascii_whitespace()).ok_or_else(short)?;
            let word = &rest[begin..];
            let end = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
            self.at += begin + end;
            let word = String::from_utf8_lossy(&word[..end]).into_owned();
            return word.parse().map_err(|_| format!("has `{word}` where a number is needed"));
        }
        let size = match kind {
            "char" | "int8" | "uchar" | "uint8" => 1,
            "short" | "int16" | "ushort" | "uint16" => 2,
            "int" | "int32" | "uint" | "uint32" | "float" | "float32" => 4,
            "double" | "float64" => 8,
            _ => return Err(format!("has numbers of the unknown type `{kind}`")),
        };
        let raw = self.bytes.get(self.at..self.at + size).ok_or_else(short)?;
        self.at += size;
        let mut word = [0_u8; 8];
        for (i, b) in raw.iter().enumerate() {
            word[if self.format == Format::Little { i } else { size - 1 - i }] = *b;
        }
        let bits = u64::from_le_bytes(word);
        Ok(match kind {
            "char" | "int8" => f64::from(bits as u8 as i8),
            "short" | "int16" => f64::from(bits as u16 as i16),
            "int" | "int32" => f64::from(bits as u32 as i32),
            "float" | "float32" => f64::from(f32::from_bits(bits as u32)),
            "double" | "float64" => f64::from_bits(bits),
            _ => bits as f64,
        })
    }
}

/// An element: its name, its count, its properties (name, type of the count of a list,
/// type).
type Element = (String, usize, Vec<(String, Option<String>, String)>);

fn ply(bytes: &[u8]) -> std::result::Result<Triangles, String> {
    let marker = b"end_header";
    let end = bytes
        .windows(marker.len())
        .position(|w| w == marker)
        .ok_or_else(|| "is no PLY file: it has no end_header".to_string())?;
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    if !header.starts_with("ply") {
        return Err("is no PLY file: it does not begin with ply".into());
    }
    let after = bytes[end..].iter().position(|b| *b == b'\n').unwrap_or(0);
    let mut format = None;
    let mut elements: Vec<Element> = Vec::new();
    for line in header.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["format", "ascii", ..] => format = Some(Format::Text),
            ["format", "binary_little_endian", ..] => format = Some(Format::Little),
            ["format", "binary_big_endian", ..] => format = Some(Format::Big),
            ["element", name, count] => {
                let count = count.parse().map_err(|_| format!("has {count} elements {name}"))?;
                elements.push((name.into(), count, Vec::new()));
            }
            ["property", "list", count, kind, name] => {
                if let Some(e) = elements.last_mut() {
                    e.2.push((name.into(), Some(count.into()), kind.into()));
                }
            }
            ["property", kind, name] => {
                if let Some(e) = elements.last_mut() {
                    e.2.push((name.into(), None, kind.into()));
                }
            }
            _ => {}
        }
    }
    let format = format.ok_or_else(|| "has a header without a format".to_string())?;
    let mut numbers = Numbers { bytes, at: end + after + 1, format };
    let mut mesh = Triangles::default();
    for (name, count, properties) in &elements {
        for _ in 0..*count {
            let mut vertex = [f64::NAN; 3];
            for (property, list, kind) in properties {
                let Some(list) = list else {
                    let value = numbers.next(kind)?;
                    if let Some(a) = ["x", "y", "z"].iter().position(|n| n == property) {
                        vertex[a] = value;
                    }
                    continue;
                };
                let length = numbers.next(list)?;
                let polygon = (0..length as usize)
                    .map(|_| {
                        numbers.next(kind).map(|v| if v >= 0.0 { v as usize } else { usize::MAX })
                    })
                    .collect::<std::result::Result<Vec<_>, _>>()?;
                if name == "face" && property.starts_with("vertex_ind") {
                    fan(&polygon, &mut mesh.faces)?;
                }
            }
            if name == "vertex" {
                mesh.vertices.push(vertex);
            }
        }
    }
    Ok(mesh)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OBJ: &str = "# a corner\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\n\
        f 1//1 2//1 3//1 4//1\nf -4 -2 -3\n";

    fn head(format: &str, vertices: usize, faces: usize) -> String {
        format!(
            "ply\nformat {format} 1.0\ncomment c\nelement vertex {vertices}\nproperty float x\n\
             property float y\nproperty float z\nproperty uchar red\nelement face {faces}\n\
             property list uchar int vertex_indices\nend_header\n"
        )
    }

    #[test]
    fn formats_agree() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            read_mesh(&path)
        };
        let wanted = read("a.obj", OBJ.as_bytes()).unwrap();
        assert_eq!(wanted.vertices.len(), 4);
        assert_eq!(wanted.faces, [[0, 1, 2], [0, 2, 3], [0, 2, 1]]);
        let text = head("ascii", 4, 2) + "0 0 0 9\n1 0 0 9\n1 1 0 9\n0 1 0 9\n4 0 1 2 3\n3 0 2 1\n";
        assert_eq!(read("a.ply", text.as_bytes()).unwrap(), wanted);
        for big in [false, true] {
            let format = if big { "binary_big_endian" } else { "binary_little_endian" };
            let mut bytes = head(format, 4, 2).into_bytes();
            for v in &wanted.vertices {
                for c in v {
                    let c = *c as f32;
                    bytes.extend(if big { c.to_be_bytes() } else { c.to_le_bytes() });
                }
                bytes.push(9);
            }
            for face in [vec![0_i32, 1, 2, 3], vec![0, 2, 1]] {
                bytes.push(face.len() as u8);
                for i in face {
                    bytes.extend(if big { i.to_be_bytes() } else { i.to_le_bytes() });
                }
            }
            assert_eq!(read("b.ply", &bytes).unwrap(), wanted);
            let cut = read("b.ply", &bytes[..bytes.len() - 3]).unwrap_err().to_string();
            assert!(cut.contains("b.ply") && cut.contains("ends too early"), "{cut}");
        }
        // Equal vertices become one.
        let doubled = OBJ.replace("v 0 1 0", "v 0 0 0");
        assert_eq!(read("a.obj", doubled.as_bytes()).unwrap().vertices.len(), 3);
        for (name, text, says) in [
            ("a.stl", "solid", "no .ply"),
            ("a.ply", "plx", "end_header"),
            ("a.obj", "v 1 2\n", "line 1"),
            ("a.obj", "v 0 0 0\nf 1 2 3\n", "`2` names no vertex"),
        ] {
            let found = read(name, text.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(says) && found.contains(name), "{found}");
        }
    }
}
