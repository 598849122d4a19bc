//! Files of streamlines.

use std::collections::BTreeMap;
use std::path::Path;

use microtome_datasets::{
    ImageGeometry, TractColumn, TractFormat, TractWriter, Tractogram, read_tracts, write_tracts,
};
use proptest::prelude::*;

use crate::bytes::{names, put};

/// A grid with a shear, and its x axis reversed.
pub(crate) fn oblique() -> ImageGeometry {
    let affine = [
        [-1.9, 0.3, 0.1, 85.5],
        [0.25, 2.05, -0.4, -101.25],
        [0.1, 0.45, 2.4, -60.0],
        [0.0, 0.0, 0.0, 1.0],
    ];
    ImageGeometry::new([91, 109, 64], affine)
}

pub(crate) fn column(width: usize, values: Vec<f32>) -> TractColumn {
    TractColumn { width, values }
}

/// Three streamlines with all kinds of columns.
pub(crate) fn example() -> Tractogram {
    let lengths = [4, 1, 6];
    let mut offsets = vec![0];
    let mut points = Vec::new();
    for (s, n) in lengths.into_iter().enumerate() {
        for k in 0..n {
            let t = k as f32 * 0.7 + s as f32 * 3.1;
            points.push([30.0 * t.sin(), -40.0 * t.cos() + 0.1, 5.0 * t - 7.3]);
        }
        offsets.push(points.len() as u64);
    }
    let count = |n: usize, by: f32| (0..n).map(|k| k as f32 * by - 1.0).collect();
    Tractogram {
        geometry: Some(oblique()),
        points,
        offsets,
        per_point: BTreeMap::from([
            ("fod".into(), column(1, count(11, 0.37))),
            ("tangent".into(), column(3, count(33, -0.01))),
        ]),
        per_streamline: BTreeMap::from([
            ("seed".into(), column(1, vec![7.0, f32::MAX, -0.0])),
            ("stop".into(), column(2, vec![0.0, 1.0, 2.0, 3.0, 1e-40, 5.0])),
        ]),
        groups: BTreeMap::from([("left".into(), vec![2, 0]), ("none".into(), vec![])]),
    }
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn same_columns(a: &BTreeMap<String, TractColumn>, b: &BTreeMap<String, TractColumn>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, column) in a {
        assert_eq!(column.width, b[name].width, "{name}");
        assert_eq!(bits(&column.values), bits(&b[name].values), "{name}");
    }
}

fn farthest(a: &[[f32; 3]], b: &[[f32; 3]]) -> f64 {
    assert_eq!(a.len(), b.len());
    let apart = a.as_flattened().iter().zip(b.as_flattened());
    apart.map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs()).fold(0.0, f64::max)
}

#[test]
fn trx_comes_back_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trx");
    let tracts = example();
    write_tracts(&path, &tracts).unwrap();
    let back = read_tracts(&path).unwrap();
    assert_eq!(bits(back.points.as_flattened()), bits(tracts.points.as_flattened()));
    assert_eq!(back.offsets, tracts.offsets);
    assert_eq!(back.groups, tracts.groups);
    assert_eq!(back.geometry, tracts.geometry);
    same_columns(&back.per_point, &tracts.per_point);
    same_columns(&back.per_streamline, &tracts.per_streamline);
    assert_eq!(back.streamline(1), &tracts.points[4..5]);
    assert!(back.streamline(3).is_empty());
    assert_eq!(names(dir.path()), ["a.trx"]);
    // The same streamlines are the same bytes.
    let again = dir.path().join("b.trx");
    write_tracts(&again, &back).unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
}

#[test]
fn streamlines_of_several_files_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.trx");
    let tracts = example();
    let mut writer = TractWriter::create(&path, &oblique(), &[("tangent", 3)], &[]).unwrap();
    writer.append(&tracts, 2..3).unwrap();
    writer.append(&tracts, 0..1).unwrap();
    assert!(writer.append(&tracts, 2..4).unwrap_err().to_string().contains("2 to 4"));
    writer.finish().unwrap();
    let back = read_tracts(&path).unwrap();
    assert_eq!(back.streamline(0), tracts.streamline(2));
    assert_eq!(back.streamline(1), tracts.streamline(0));
    let tangents = &tracts.per_point["tangent"].values;
    assert_eq!(back.per_point["tangent"].values, [&tangents[15..33], &tangents[..12]].concat());
    assert_eq!(back.per_point.len(), 1);
    let mut writer = TractWriter::create(&path, &oblique(), &[("tangent", 2)], &[]).unwrap();
    let e = writer.append(&tracts, 0..1).unwrap_err().to_string();
    assert!(e.contains("`tangent` of width 2"), "{e}");
}

/// Where the bytes of an entry begin, by the local header alone.
pub(crate) fn data_of(zip: &[u8], name: &str) -> usize {
    let at = zip.windows(name.len()).position(|w| w == name.as_bytes()).unwrap();
    let head = &zip[at - 30..at];
    assert_eq!(&head[..4], b"PK\x03\x04");
    assert_eq!(u16::from_le_bytes([head[8], head[9]]), 0, "stored");
    let extra = u16::from_le_bytes([head[28], head[29]]) as usize;
    assert_eq!(extra, 0, "old readers do not count extra fields");
    at + name.len() + extra
}

#[test]
fn trx_can_be_mapped_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trx");
    let tracts = example();
    write_tracts(&path, &tracts).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let at = data_of(&bytes, "positions.3.float32");
    assert_eq!(at % 64, 0);
    for (k, v) in tracts.points.as_flattened().iter().enumerate() {
        assert_eq!(bytes[at + 4 * k..][..4], v.to_le_bytes());
    }
    let at = data_of(&bytes, "offsets.uint64");
    for (k, v) in tracts.offsets.iter().enumerate() {
        assert_eq!(bytes[at + 8 * k..][..8], v.to_le_bytes());
    }
    data_of(&bytes, "dpv/tangent.3.float32");
    data_of(&bytes, "dps/stop.2.float32");
    data_of(&bytes, "groups/left.uint32");
}

#[test]
fn trx_of_half_positions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trx");
    let mut writer = TractWriter::create_half(&path, &oblique(), &[], &[]).unwrap();
    writer.push(&[[1.5, -0.25, 100.03], [65504.0, 0.0, 1.0]], &[], &[]).unwrap();
    writer.finish().unwrap();
    let back = read_tracts(&path).unwrap();
    // 100.03 lies between the halves 100 and 100.0625.
    assert_eq!(back.points, [[1.5, -0.25, 100.0], [65504.0, 0.0, 1.0]]);
    let mut writer = TractWriter::create_half(&path, &oblique(), &[], &[]).unwrap();
    let e = writer.push(&[[1e5, 0.0, 0.0]], &[], &[]).unwrap_err().to_string();
    assert!(e.contains("16 bits"), "{e}");
    assert!(writer.finish().unwrap_err().to_string().contains("earlier write"));
    assert!(TractWriter::create_half(&dir.path().join("a.tck"), &oblique(), &[], &[]).is_err());
}

/// A TRX folder: positions of 64 bits, offsets of 32 bits without a last one.
pub(crate) fn folder(dir: &Path) {
    for sub in ["dpv", "dps", "groups", "dpg/a"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    let header = r#"{"DIMENSIONS": [4, 5, 6], "VOXEL_TO_RASMM": [[1,0,0,0],[0,1,0,0],[0,0,1,0],
        [0,0,0,1]], "NB_VERTICES": 3, "NB_STREAMLINES": 2, "MORE": "words"}"#;
    put(dir, "header.json", header);
    let doubles: Vec<u8> = (0..9).flat_map(|v| f64::from(v).to_le_bytes()).collect();
    put(dir, "positions.3.float64", doubles);
    put(dir, "offsets.uint32", [0_u32, 2].map(u32::to_le_bytes).concat());
    put(&dir.join("dpv"), "mask.bit", [1_u8, 0, 1]);
    put(
        &dir.join("dpv"),
        "half.float16",
        [0x3c00_u16, 0xc000, 0x7bff].map(u16::to_le_bytes).concat(),
    );
    put(&dir.join("dps"), "pair.2.int16", [1_i16, -2, 3, -4].map(i16::to_le_bytes).concat());
    put(&dir.join("groups"), "one.uint32", 1_u32.to_le_bytes());
    put(&dir.join("dpg/a"), "mean.float32", 1_f32.to_le_bytes());
    put(dir, "notes.txt", "nothing");
}

#[test]
fn trx_folders_and_other_numbers() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path());
    let tracts = read_tracts(dir.path()).unwrap();
    assert_eq!(tracts.points, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]);
    assert_eq!(tracts.offsets, [0, 2, 3]);
    assert_eq!(tracts.per_point["mask"].values, [1.0, 0.0, 1.0]);
    assert_eq!(tracts.per_point["half"].values, [1.0, -2.0, 65504.0]);
    assert_eq!(tracts.per_streamline["pair"], column(2, vec![1.0, -2.0, 3.0, -4.0]));
    assert_eq!(tracts.groups["one"], [1]);
    put(dir.path(), "offsets.uint32", [0_u32, 2, 3].map(u32::to_le_bytes).concat());
    assert_eq!(read_tracts(dir.path()).unwrap().offsets, [0, 2, 3]);
}

#[test]
fn tck_comes_back_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tck");
    let tracts = example();
    write_tracts(&path, &tracts).unwrap();
    let back = read_tracts(&path).unwrap();
    assert_eq!(bits(back.points.as_flattened()), bits(tracts.points.as_flattened()));
    assert_eq!(back.offsets, tracts.offsets);
    assert!(back.geometry.is_none() && back.per_point.is_empty());
    let e = TractWriter::create(&path, &oblique(), &[("fod", 1)], &[]).err().unwrap().to_string();
    assert!(e.contains("points alone"), "{e}");
    assert!(!TractFormat::of(&path).unwrap().has_columns());
    // Without a grid it is TCK or nothing.
    write_tracts(&path, &back).unwrap();
    let e = write_tracts(&dir.path().join("a.trx"), &back).unwrap_err().to_string();
    assert!(e.contains("needs the grid"), "{e}");
    assert_eq!(names(dir.path()), ["a.tck"]);
}

/// A TCK file made by hand.
pub(crate) fn tck(head: &str, numbers: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = format!("mrtrix tracks\n{head}file: . 200\nEND\n").into_bytes();
    bytes.resize(200, 0);
    bytes.extend(numbers.into_iter().flatten());
    bytes
}

/// Two points, an end, an empty streamline, the end of the file.
const TRIPLETS: [f64; 15] = {
    let (n, i) = (f64::NAN, f64::INFINITY);
    [1.5, -2.0, 3.25, 4.0, 5.0, 6.0, n, n, n, n, n, n, i, i, i]
};

#[test]
fn tck_of_every_type() {
    let dir = tempfile::tempdir().unwrap();
    let le32 = TRIPLETS.map(|v| (v as f32).to_le_bytes().to_vec());
    let be32 = TRIPLETS.map(|v| (v as f32).to_be_bytes().to_vec());
    let le64 = TRIPLETS.map(|v| v.to_le_bytes().to_vec());
    let be64 = TRIPLETS.map(|v| v.to_be_bytes().to_vec());
    for (name, numbers) in
        [("Float32LE", le32), ("Float32BE", be32), ("Float64LE", le64), ("Float64BE", be64)]
    {
        let head = format!("datatype: {name}\ncount: 2\nroi: seed a: b\n");
        let back = read_tracts(&put(dir.path(), "x.tck", tck(&head, numbers))).unwrap();
        assert_eq!(back.points, [[1.5, -2.0, 3.25], [4.0, 5.0, 6.0]]);
        assert_eq!(back.offsets, [0, 2, 2]);
    }
}

#[test]
fn trk_comes_back_within_rounding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trk");
    let tracts = example();
    write_tracts(&path, &tracts).unwrap();
    let back = read_tracts(&path).unwrap();
    // Coordinates of up to 200 mm pass through float32 (half a unit in the last place: 7.6e-6)
    // once in voxels and once in the world.
    assert!(farthest(&back.points, &tracts.points) < 4e-5);
    assert_eq!(back.offsets, tracts.offsets);
    same_columns(&back.per_point, &tracts.per_point);
    same_columns(&back.per_streamline, &tracts.per_streamline);
    let (a, b) = (back.geometry.unwrap(), tracts.geometry.unwrap());
    assert_eq!(a.dims, b.dims);
    assert_eq!(a.affine.map(|r| r.map(|v| v as f32)), b.affine.map(|r| r.map(|v| v as f32)));
}

/// A TRK file made by hand, of one streamline with one scalar and two properties.
fn trk(big: bool, order: &[u8], flip: bool) -> Vec<u8> {
    let mut b = vec![0; 1000];
    let mut set = |at: usize, le: &[u8]| {
        let mut v = le.to_vec();
        if big {
            v.reverse();
        }
        b[at..at + v.len()].copy_from_slice(&v);
    };
    for (k, n) in [10_i16, 20, 30].into_iter().enumerate() {
        set(6 + 2 * k, &n.to_le_bytes());
    }
    for (k, s) in [2_f32, 2.0, 4.0].into_iter().enumerate() {
        set(12 + 4 * k, &s.to_le_bytes());
    }
    set(36, &1_i16.to_le_bytes());
    set(238, &2_i16.to_le_bytes());
    let x = if flip { -2.0 } else { 2.0 };
    let affine =
        [x, 0.0, 0.0, -3.0, 0.0, 2.0, 0.0, 5.0, 0.0, 0.0, 4.0, 1.0, 0.0, 0.0, 0.0, 1.0_f32];
    for (k, v) in affine.into_iter().enumerate() {
        set(440 + 4 * k, &v.to_le_bytes());
    }
    set(988, &1_i32.to_le_bytes());
    set(992, &2_i32.to_le_bytes());
    set(996, &1000_i32.to_le_bytes());
    b[..6].copy_from_slice(b"TRACK\0");
    b[38..42].copy_from_slice(b"fod\0");
    b[240..246].copy_from_slice(b"pair\x002");
    b[948..948 + order.len()].copy_from_slice(order);
    let mut add = |le: [u8; 4]| {
        let mut v = le;
        if big {
            v.reverse();
        }
        b.extend(v);
    };
    add(2_i32.to_le_bytes());
    // The centre of voxel (0, 0, 0) is half a voxel from the corner.
    for v in [1.0, 1.0, 2.0, 0.5, 3.0, 5.0, 10.0, 0.75, 8.0, 9.0_f32] {
        add(v.to_le_bytes());
    }
    b
}

#[test]
fn trk_counts_from_the_corner() {
    let dir = tempfile::tempdir().unwrap();
    let read = |bytes| read_tracts(&put(dir.path(), "x.trk", bytes)).unwrap();
    for big in [false, true] {
        let tracts = read(trk(big, b"RAS", false));
        assert_eq!(tracts.points, [[-3.0, 5.0, 1.0], [-1.0, 9.0, 9.0]]);
        assert_eq!(tracts.per_point["fod"].values, [0.5, 0.75]);
        assert_eq!(tracts.per_streamline["pair"], column(2, vec![8.0, 9.0]));
        // x and y reversed: voxel 0 is voxel 9 of 10 and 19 of 20 of the affine.
        let tracts = read(trk(big, b"LPS", false));
        assert_eq!(tracts.points, [[-3.0 + 18.0, 5.0 + 38.0, 1.0], [-1.0 + 14.0, 9.0 + 30.0, 9.0]]);
        // No order at all is LPS, too.
        assert_eq!(read(trk(big, b"", false)), tracts);
        let tracts = read(trk(big, b"las", true));
        assert_eq!(tracts.points, [[-3.0, 5.0, 1.0], [-5.0, 9.0, 9.0]]);
    }
}

#[test]
fn trk_is_exact_where_floats_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.trk");
    let affine = [
        [0.0, -2.0, 0.0, 64.0],
        [0.5, 0.0, 0.0, -32.5],
        [0.0, 0.0, 4.0, 8.0],
        [0.0, 0.0, 0.0, 1.0],
    ];
    let grid = ImageGeometry::new([8, 9, 10], affine);
    let points = [[0.125, -7.5, 3.0], [64.0, -32.5, 8.0]];
    let mut writer = TractWriter::create(&path, &grid, &[], &[]).unwrap();
    writer.push(&points, &[], &[]).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_tracts(&path).unwrap().points, points);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(&bytes[948..952], b"ALS\0");
    // Voxel (0, 0, 0) of 0.5 x 2 x 4 mm: its centre is (0.25, 1, 2) from the corner.
    assert_eq!(bytes[1016..], [0.25_f32, 1.0, 2.0].map(f32::to_le_bytes).concat());
}

#[test]
fn vtk_holds_lines_in_lps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.vtk");
    let mut writer = TractWriter::create(&path, &oblique(), &[("fod", 1)], &[("pair", 2)]).unwrap();
    writer.push(&[[1.0, 2.0, 3.0], [4.0, -5.0, 6.0]], &[0.5, 0.25], &[8.0, 9.0]).unwrap();
    writer.push(&[[7.0, 8.0, 9.0]], &[0.125], &[10.0, 11.0]).unwrap();
    writer.finish().unwrap();
    let mut wanted = b"# vtk DataFile Version 3.0\nmicrotome streamlines, SPACE=LPS\nBINARY\n\
        DATASET POLYDATA\nPOINTS 3 float\n"
        .to_vec();
    let floats = |v: &[f32]| v.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    wanted.extend(floats(&[-1.0, -2.0, 3.0, -4.0, 5.0, 6.0, -7.0, -8.0, 9.0]));
    wanted.extend(b"\nLINES 2 5\n");
    wanted.extend([2_i32, 0, 1, 1, 2].iter().flat_map(|v| v.to_be_bytes()));
    wanted.extend(b"\nCELL_DATA 2\nFIELD FieldData 1\npair 2 2 float\n");
    wanted.extend(floats(&[8.0, 9.0, 10.0, 11.0]));
    wanted.extend(b"\n\nPOINT_DATA 3\nFIELD FieldData 1\nfod 1 3 float\n");
    wanted.extend(floats(&[0.5, 0.25, 0.125]));
    wanted.extend(b"\n");
    assert_eq!(std::fs::read(&path).unwrap(), wanted);
    assert!(read_tracts(&path).unwrap_err().to_string().contains("written only"));
}

#[test]
fn an_unfinished_file_does_not_appear() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.trx", "a.tck", "a.trk", "a.vtk"] {
        let path = dir.path().join(name);
        let mut writer = TractWriter::create(&path, &oblique(), &[], &[]).unwrap();
        writer.push(&[[0.0; 3]; 2], &[], &[]).unwrap();
        assert!(writer.push(&[], &[], &[]).unwrap_err().to_string().contains("no points"));
        let e = writer.push(&[[0.0; 3], [1.0, f32::NAN, 0.0]], &[], &[]).unwrap_err().to_string();
        assert!(e.contains(name) && e.contains("point 1 of streamline 1"), "{e}");
        let e = writer.push(&[[0.0; 3]], &[1.0], &[]).unwrap_err().to_string();
        assert!(e.contains("1 values at points"), "{e}");
        assert!(writer.push(&[[0.0; 3]], &[], &[1.0]).is_err());
        assert_eq!((writer.n_streamlines(), writer.n_points()), (1, 2));
        drop(writer);
        assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
        // What was refused is not in the file.
        let mut writer = TractWriter::create(&path, &oblique(), &[], &[]).unwrap();
        writer.push(&[[0.0; 3]; 2], &[], &[]).unwrap();
        assert!(writer.push(&[[f32::INFINITY; 3]], &[], &[]).is_err());
        writer.finish().unwrap();
        if name != "a.vtk" {
            assert_eq!(read_tracts(&path).unwrap().offsets, [0, 2]);
        }
        std::fs::remove_file(&path).unwrap();
    }
    let path = dir.path().join("a.trx");
    let mut writer = TractWriter::create(&path, &oblique(), &[], &[]).unwrap();
    writer.group("a", vec![0]).unwrap();
    assert!(writer.group("a", vec![]).is_err());
    assert!(writer.group("../a", vec![]).is_err());
    assert!(writer.finish().unwrap_err().to_string().contains("streamline 0 of 0"));
    for (columns, word) in [
        (&[("a.b", 1)][..], "letters"),
        (&[("", 1)], "letters"),
        (&[("a", 0)], "0 values"),
        (&[("a", 1), ("a", 2)], "two columns"),
    ] {
        let e = TractWriter::create(&path, &oblique(), columns, &[]).err().unwrap().to_string();
        assert!(e.contains(word), "{e}");
    }
    let long = [("a_name_of_twenty_one", 3)];
    let e = TractWriter::create(&dir.path().join("a.trk"), &oblique(), &long, &[]).err().unwrap();
    assert!(e.to_string().contains("too long"), "{e}");
    let flat = ImageGeometry::new([2, 2, 2], [[0.0; 4]; 4]);
    assert!(TractWriter::create(&path, &flat, &[], &[]).is_err());
    let wide = ImageGeometry::new([40_000, 2, 2], oblique().affine);
    assert!(TractWriter::create(&dir.path().join("a.trk"), &wide, &[], &[]).is_err());
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[test]
fn files_without_streamlines() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.trx", "a.tck", "a.trk", "a.vtk"] {
        let path = dir.path().join(name);
        TractWriter::create(&path, &oblique(), &[], &[]).unwrap().finish().unwrap();
        if name != "a.vtk" {
            let back = read_tracts(&path).unwrap();
            assert_eq!((back.n_streamlines(), back.offsets), (0, vec![0]));
        }
    }
}

/// Streamlines of any finite points with two columns.
fn any_tracts() -> impl Strategy<Value = Tractogram> {
    let coordinate = prop::num::f32::NORMAL
        | prop::num::f32::SUBNORMAL
        | prop::num::f32::ZERO
        | prop::num::f32::NEGATIVE
        | prop::num::f32::POSITIVE;
    let point = [coordinate, coordinate, coordinate];
    prop::collection::vec(
        (prop::collection::vec((point, any::<f32>()), 1..20), any::<[f32; 2]>()),
        0..12,
    )
    .prop_map(|lines| {
        let mut t =
            Tractogram { geometry: Some(oblique()), offsets: vec![0], ..Default::default() };
        let (mut a, mut b) = (column(1, vec![]), column(2, vec![]));
        for (line, beside) in lines {
            for (p, v) in line {
                t.points.push(p);
                a.values.push(v);
            }
            b.values.extend(beside);
            t.offsets.push(t.points.len() as u64);
        }
        t.per_point.insert("a".into(), a);
        t.per_streamline.insert("b".into(), b);
        t
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_streamlines_come_back_to_the_bit(tracts in any_tracts()) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.trx", "a.tck"] {
            let path = dir.path().join(name);
            write_tracts(&path, &tracts).unwrap();
            let back = read_tracts(&path).unwrap();
            prop_assert_eq!(bits(back.points.as_flattened()), bits(tracts.points.as_flattened()));
            prop_assert_eq!(&back.offsets, &tracts.offsets);
            if name == "a.trx" {
                same_columns(&back.per_point, &tracts.per_point);
                same_columns(&back.per_streamline, &tracts.per_streamline);
            }
        }
    }

    #[test]
    fn any_places_come_back_within_rounding_of_trk(
        points in prop::collection::vec(prop::array::uniform3(-250_f32..250.0), 1..30),
        affine in prop::array::uniform9(-3_f64..3.0),
        shift in prop::array::uniform3(-120_f64..120.0),
    ) {
        let m = |k: usize| [affine[3 * k], affine[3 * k + 1], affine[3 * k + 2], shift[k]];
        let a = [m(0), m(1), m(2), [0.0, 0.0, 0.0, 1.0]];
        let det = a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
            - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
        prop_assume!(det.abs() > 2.0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.trk");
        let mut writer =
            TractWriter::create(&path, &ImageGeometry::new([9, 8, 7], a), &[], &[]).unwrap();
        writer.push(&points, &[], &[]).unwrap();
        writer.finish().unwrap();
        let back = read_tracts(&path).unwrap();
        // Entries of A^-1 are at most 2 * 3^2 / 2, so indices are below 9 * 3 * 370 = 1e4, and
        // 5.2e4 mm with columns of A of up to 5.2 mm. Float32 keeps 2^-24 of that, 3.1e-3 mm,
        // on each of three axes.
        prop_assert!(farthest(&back.points, &points) < 1e-2);
    }
}

/// Points and `fa` of the golden files.
fn golden() -> (Tractogram, Vec<f32>) {
    let mut tracts = Tractogram { offsets: vec![0], ..Default::default() };
    let mut fa = Vec::new();
    let mut streamline = 0.0;
    for line in include_str!("../golden/tracts/positions.csv").lines().skip(1) {
        let v: Vec<f32> = line.split(',').map(|word| word.parse().unwrap()).collect();
        if v[0] != streamline {
            tracts.offsets.push(fa.len() as u64);
            streamline = v[0];
        }
        tracts.points.push([v[1], v[2], v[3]]);
        fa.push(v[4]);
    }
    tracts.offsets.push(fa.len() as u64);
    (tracts, fa)
}

#[test]
fn files_of_nibabel_and_trx_python() {
    let (wanted, fa) = golden();
    assert_eq!(wanted.offsets, [0, 5, 6, 14]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tracts");
    let read = |name: &str| {
        let tracts = read_tracts(&folder.join(name)).unwrap();
        assert_eq!(tracts.offsets, wanted.offsets, "{name}");
        if name != "nibabel.tck" {
            let grid = tracts.geometry.as_ref().unwrap();
            assert_eq!(grid.dims, [20, 24, 18], "{name}");
            assert_eq!(bits(&tracts.per_point["fa"].values), bits(&fa), "{name}");
            let weight = &tracts.per_streamline["weight"];
            assert_eq!(weight, &column(1, vec![0.5, 1.5, 2.5]), "{name}");
            let pair = &tracts.per_streamline["pair"];
            assert_eq!(pair, &column(2, vec![0.0, 0.0, 1.0, -1.0, 2.0, -2.0]), "{name}");
        }
        tracts
    };
    for name in ["nibabel.tck", "stored.trx", "deflated.trx"] {
        let tracts = read(name);
        let found = bits(tracts.points.as_flattened());
        assert_eq!(found, bits(wanted.points.as_flattened()), "{name}");
        if name != "nibabel.tck" {
            assert_eq!(tracts.groups["ends"], [0, 2]);
            assert_eq!(tracts.geometry.unwrap().affine[1][3], f64::from(-30.7_f32));
        }
    }
    for name in ["oblique.trk", "flipped.trk", "turned.trk", "lps.trk"] {
        let tracts = read(name);
        // Voxel coordinates of up to 60 mm in float32, made with affines in float32.
        assert!(farthest(&tracts.points, &wanted.points) < 2e-5, "{name}");
    }
}
