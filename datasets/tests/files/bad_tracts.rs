//! Bad files of streamlines: every one is a clear error that names the file.

use std::path::Path;

use microtome_datasets::{TractFormat, read_tracts, write_tracts};
use proptest::prelude::*;

use crate::bytes::put;
use crate::tracts::{data_of, example, folder, tck};

/// The bytes of a good file with some of them changed.
fn with(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    bytes
}

#[test]
fn bad_files_are_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for name in ["good.trx", "good.tck", "good.trk"] {
        write_tracts(&d.join(name), &example()).unwrap();
    }
    let good = |name: &str| std::fs::read(d.join(name)).unwrap();
    let (trx, tck_bytes, trk_bytes) = (good("good.trx"), good("good.tck"), good("good.trk"));
    let floats = |v: &[f32]| v.iter().map(|v| v.to_le_bytes().to_vec()).collect::<Vec<_>>();
    let (n, i) = (f32::NAN, f32::INFINITY);
    let le = "datatype: Float32LE\n";
    let positions = data_of(&trx, "positions.3.float32");
    let int =
        |at: usize, v: i32| move |b: &mut Vec<u8>| b[at..at + 4].copy_from_slice(&v.to_le_bytes());
    let short =
        |at: usize, v: i16| move |b: &mut Vec<u8>| b[at..at + 2].copy_from_slice(&v.to_le_bytes());
    let gigantic =
        String::from_utf8_lossy(&tck_bytes[..128]).replace("00000000000003", "99999999999999");
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.trx", vec![], &["does not begin"]),
        ("text.tck", b"these are not the tracks you are looking for".to_vec(), &["these are"]),
        ("cut.trx", trx[..trx.len() - 30].to_vec(), &["cut short"]),
        ("half.trx", trx[..trx.len() / 2].to_vec(), &["cut short"]),
        ("bits.trx", with(&trx, |b| b[positions + 5] ^= 1), &["positions", "checksum"]),
        ("cut.tck", tck_bytes[..tck_bytes.len() - 12].to_vec(), &["truncated", "3 streamlines"]),
        ("mid.tck", tck_bytes[..160].to_vec(), &["truncated"]),
        ("head.tck", tck_bytes[..60].to_vec(), &["no END"]),
        (
            "count.tck",
            [gigantic.as_bytes(), &tck_bytes[128..]].concat(),
            &["counts", "there are 3"],
        ),
        ("type.tck", tck("datatype: Int16LE\n", []), &["line 2", "Int16LE"]),
        ("none.tck", tck("", []), &["no `datatype`"]),
        ("other.tck", tck("datatype: Float32LE\nfile: data.dat 0\n", []), &["another file"]),
        (
            "far.tck",
            b"mrtrix tracks\ndatatype: Float32LE\nfile: . 99999999999\nEND\n".to_vec(),
            &["truncated", "99999999999"],
        ),
        (
            "near.tck",
            b"mrtrix tracks\ndatatype: Float32LE\nfile: . 7\nEND\n".to_vec(),
            &["inside its header"],
        ),
        ("open.tck", tck(le, floats(&[1.0, 2.0, 3.0, i, i, i])), &["streamline 0 has no end"]),
        (
            "nan.tck",
            tck(le, floats(&[1.0, 2.0, 3.0, 1.0, n, 3.0, n, n, n, i, i, i])),
            &["point 1 of streamline 0"],
        ),
        (
            "inf.tck",
            tck(le, floats(&[n, n, n, 1.0, i, 3.0, n, n, n, i, i, i])),
            &["point 0 of streamline 1"],
        ),
        ("head.trk", trk_bytes[..900].to_vec(), &["truncated", "1000", "900"]),
        ("cut.trk", trk_bytes[..trk_bytes.len() - 1].to_vec(), &["truncated", "streamline 2 of 3"]),
        ("size.trk", with(&trk_bytes, int(996, 1001)), &["1000 bytes"]),
        ("version.trk", with(&trk_bytes, int(992, 1)), &["version 1"]),
        ("negative.trk", with(&trk_bytes, int(988, -1)), &["counts -1"]),
        ("many.trk", with(&trk_bytes, int(988, i32::MAX)), &["truncated", "2147483647"]),
        ("few.trk", with(&trk_bytes, int(988, 2)), &["counts 2", "follow"]),
        ("points.trk", with(&trk_bytes, int(1000, i32::MAX)), &["truncated", "streamline 0"]),
        ("minus.trk", with(&trk_bytes, int(1000, -5)), &["streamline 0 has -5 points"]),
        (
            "nan.trk",
            with(&trk_bytes, |b| b[1004..1008].copy_from_slice(&n.to_le_bytes())),
            &["point 0 of streamline 0"],
        ),
        ("scalars.trk", with(&trk_bytes, short(36, -2)), &["-2 scalars"]),
        ("names.trk", with(&trk_bytes, short(36, 2)), &["names 4 scalars", "counts 2"]),
        ("name.trk", with(&trk_bytes, |b| b[42] = b'x'), &["damaged"]),
        ("order.trk", with(&trk_bytes, |b| b[948] = b'Q'), &["voxel order", "QAS"]),
        ("turned.trk", with(&trk_bytes, |b| b[948..951].copy_from_slice(b"ALS")), &["ALS", "LAS"]),
        ("voxel.trk", with(&trk_bytes, int(12, 0)), &["voxels of"]),
        ("grid.trk", with(&trk_bytes, short(6, -4)), &["grid"]),
        ("affine.trk", with(&trk_bytes, |b| b[440..488].fill(0)), &["no inverse"]),
        ("nowhere.trk", with(&trk_bytes, int(500, 0)), &["no vox_to_ras"]),
    ];
    for (name, bytes, words) in cases {
        let e = read_tracts(&put(d, name, bytes)).unwrap_err().to_string();
        assert!(e.contains(name), "{name} is not named: {e}");
        for word in words {
            assert!(e.contains(word), "{name}: `{word}` is not in: {e}");
        }
    }
    let e = read_tracts(&d.join("missing.trx")).unwrap_err().to_string();
    assert!(e.contains("cannot open"), "{e}");
    assert!(TractFormat::of(Path::new("a.fib")).is_err());
}

#[test]
fn bad_folders_are_clear_errors() {
    let ok = r#"{"DIMENSIONS": [4, 5, 6], "VOXEL_TO_RASMM": [[1,0,0,0],[0,1,0,0],[0,0,1,0],
        [0,0,0,1]], "NB_VERTICES": 3, "NB_STREAMLINES": 2}"#;
    let header = |from: &str, to: &str| ok.replace(from, to).into_bytes();
    let offsets = |v: [u32; 2]| v.map(u32::to_le_bytes).concat();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("header.json", b"{".to_vec(), &["header.json is wrong"]),
        ("header.json", header("\"NB_VERTICES\": 3,", ""), &["NB_VERTICES"]),
        (
            "header.json",
            header("NB_VERTICES\": 3", "NB_VERTICES\": 18446744073709551615"),
            &["dpv/"],
        ),
        ("header.json", header("NB_VERTICES\": 3", "NB_VERTICES\": 4"), &["4 points"]),
        ("header.json", header("NB_STREAMLINES\": 2", "NB_STREAMLINES\": 9"), &["9 streamlines"]),
        ("header.json", header("[4, 5, 6]", "[4, 0, 6]"), &["[4, 0, 6]"]),
        ("header.json", header("[4, 5, 6]", "[4, 5, 99999999999]"), &["grid"]),
        ("header.json", header("[0,1,0,0]", "[0,0,0,0]"), &["no inverse"]),
        ("header.json", header("[0,0,0,1]", "[0,0,1,1]"), &["affine"]),
        ("offsets.uint32", offsets([0, 9]), &["do not rise"]),
        ("offsets.uint32", offsets([1, 2]), &["do not rise"]),
        ("offsets.uint32", vec![0; 3], &["offsets.uint32", "3 bytes"]),
        ("positions.3.float64", f64::NAN.to_le_bytes().repeat(9), &["point 0 of streamline 0"]),
        ("positions.3.float64", vec![0; 71], &["71 bytes"]),
        ("dps/pair.2.int16", vec![0; 6], &["dps/pair", "6 bytes"]),
        ("dps/pair.float32", vec![0; 8], &["two arrays `dps/pair`"]),
        ("dpv/x.y.float32", vec![0; 12], &["NAME.WIDTH.TYPE"]),
        ("dpv/x.complex64", vec![0; 24], &["NAME.WIDTH.TYPE"]),
        ("dpv/x.0.float32", vec![], &["dpv/x"]),
        ("groups/one.uint32", 2_u32.to_le_bytes().to_vec(), &["group `one`", "streamline 2 of 2"]),
        ("groups/bad.float32", 0.5_f32.to_le_bytes().to_vec(), &["no indices"]),
    ];
    for (name, bytes, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path());
        put(dir.path(), name, bytes);
        let e = read_tracts(dir.path()).unwrap_err().to_string();
        for word in words {
            assert!(e.contains(word), "{name}: `{word}` is not in: {e}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(read_tracts(dir.path()).unwrap_err().to_string().contains("no header.json"));
    for name in ["positions.3.float64", "offsets.uint32"] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path());
        std::fs::remove_file(dir.path().join(name)).unwrap();
        let e = read_tracts(dir.path()).unwrap_err().to_string();
        assert!(e.contains("has no "), "{e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_bytes_of_tracts_never_panic(
        kind in 0_usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let name = ["a.trx", "a.tck", "a.trk"][kind];
        let path = dir.path().join(name);
        write_tracts(&path, &example()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(e) = read_tracts(&put(dir.path(), name, bytes)) {
            prop_assert!(e.to_string().contains(name), "{}", e);
        }
    }
}
