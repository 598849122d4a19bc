//! Bad files: every one is a clear error that names the file.

use std::path::Path;

use microtome_datasets::{
    FslTimes, ParameterTable, SignalSource, read_fsl, read_matrix, read_scheme, read_table,
};
use proptest::prelude::*;

use crate::bytes::{Nifti, gzip, npy, put};

fn image() -> Nifti {
    let noise = (0..240).map(|i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 20)).collect();
    Nifti::new(&[5, 4, 3, 4], 4, noise)
}

fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = image().bytes();
    change(&mut bytes);
    bytes
}

fn doubles(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (i as f64).to_le_bytes()).collect()
}

#[test]
fn signals() {
    let packed = gzip(&image().bytes());
    let mut corrupted = packed.clone();
    let middle = corrupted.len() / 2;
    corrupted[middle..middle + 40].fill(0x55);
    let mut wrong_sum = packed.clone();
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    let not_nifti2 = with(|b| b[..4].copy_from_slice(&540_i32.to_le_bytes()));
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.nii", vec![], &["0 bytes"]),
        ("empty.npy", vec![], &["0 bytes"]),
        ("text.nii", b"these are not the voxels you are looking for\n".repeat(20), &["neither"]),
        ("short.nii", image().bytes()[..200].to_vec(), &["200 bytes"]),
        ("truncated.nii", image().bytes()[..700].to_vec(), &["truncated", "832", "700"]),
        ("truncated.nii.gz", packed[..packed.len() / 2].to_vec(), &["gzip", "truncated"]),
        ("head.nii.gz", packed[..12].to_vec(), &["gzip"]),
        ("corrupted.nii.gz", corrupted, &["gzip"]),
        ("checksum.nii.gz", wrong_sum, &["gzip"]),
        ("short.nii.gz", gzip(&image().bytes()[..700]), &["truncated", "832", "700"]),
        ("text.nii.gz", gzip(&b"text".repeat(200)), &["neither"]),
        ("nifti2.nii", not_nifti2, &["NIfTI-2"]),
        ("pair.nii", with(|b| b[344..348].copy_from_slice(b"ni1\0")), &["pair"]),
        ("magic.nii", with(|b| b[344] = b'x'), &["neither"]),
        ("rank0.nii", with(|b| b[40] = 0), &["dimensions"]),
        ("zero.nii", with(|b| b[42..44].fill(0)), &["dimensions"]),
        (
            "rank5.nii",
            with(|b| {
                b[40] = 5;
                b[50] = 2
            }),
            &["3 or 4 dimensions"],
        ),
        ("complex.nii", with(|b| b[70] = 32), &["data type 32"]),
        ("rgb.nii", with(|b| b[70] = 128), &["data type 128"]),
        ("offset.nii", with(|b| b[108..112].copy_from_slice(&f32::NAN.to_le_bytes())), &["offset"]),
        (
            "offset2.nii",
            with(|b| b[108..112].copy_from_slice(&12.0_f32.to_le_bytes())),
            &["offset"],
        ),
        ("truncated.npy", npy("<f8", false, "(3, 4)", &doubles(11)), &["truncated"]),
        ("header.npy", npy("<f8", false, "(3, 4)", &[])[..40].to_vec(), &["truncated"]),
        ("shape.npy", npy("<f8", false, "(x, 4)", &doubles(12)), &["header"]),
        ("huge.npy", npy("<f8", false, "(4611686018427387904, 16)", &doubles(12)), &["more bytes"]),
        ("one.npy", npy("<f8", false, "(12,)", &doubles(12)), &["[voxel, measurement]"]),
        ("three.npy", npy("<f8", false, "(2, 3, 2)", &doubles(12)), &["[2, 3, 2]"]),
        ("none.npy", npy("<f8", false, "(0, 4)", &[]), &["no signals"]),
        ("complex.npy", npy("<c16", false, "(1, 4)", &doubles(8)), &["<c16"]),
        ("object.npy", npy("|O", false, "(1, 4)", &doubles(8)), &["|O"]),
        ("archive.npz", b"PK\x03\x04".repeat(200), &["neither"]),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, words) in cases {
        let path = put(dir.path(), name, bytes);
        let text = SignalSource::open(&path, None).unwrap_err().to_string();
        check(name, &text, words);
    }
    let missing =
        SignalSource::open(&dir.path().join("missing.nii"), None).unwrap_err().to_string();
    check("missing.nii", &missing, &["cannot open"]);
    let folder = dir.path().join("folder.nii.gz");
    std::fs::create_dir(&folder).unwrap();
    check(
        "folder.nii.gz",
        &SignalSource::open(&folder, None).unwrap_err().to_string(),
        &["cannot"],
    );
}

#[test]
fn masks_and_scalars() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let dwi = put(d, "dwi.nii", image().bytes());
    let zeros = Nifti::new(&[5, 4, 3], 2, vec![0.0; 60]).bytes();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "other.nii",
            Nifti::new(&[5, 3, 4], 2, vec![1.0; 60]).bytes(),
            &["[5, 3, 4]", "dwi.nii", "[5, 4, 3]"],
        ),
        ("volumes.nii", image().bytes(), &["4 volumes"]),
        ("nobody.nii", zeros, &["no voxel"]),
        ("count.npy", npy("<f8", false, "(59,)", &doubles(59)), &["59 values", "60"]),
        ("grid.npy", npy("<f8", false, "(5, 4, 3)", &doubles(60)), &["[5, 4, 3]"]),
        ("text.npy", b"0 1 1".to_vec(), &["5 bytes"]),
    ];
    for (name, bytes, words) in cases {
        let path = put(d, name, bytes);
        check(name, &SignalSource::open(&dwi, Some(&path)).unwrap_err().to_string(), words);
    }
    let source = SignalSource::open(&dwi, None).unwrap();
    for (name, text, words) in [
        ("count.csv", "1\n2\n3\n", &["3 values", "60"][..]),
        ("two.csv", "1,2\n3,4\n", &["more than one column"]),
        ("word.csv", "sigma\n1\nx\n", &["line 3", "`x`"]),
        ("empty.csv", "", &["no numbers"]),
    ] {
        let path = put(d, name, text);
        check(name, &source.read_scalars(&path).unwrap_err().to_string(), words);
    }
    check("dwi.nii", &source.read_rows(50..61).unwrap_err().to_string(), &["50 to 61", "60"]);
    let array = put(d, "dwi.npy", npy("<f8", false, "(60, 4)", &doubles(240)));
    let mask = put(d, "mask.nii", Nifti::new(&[5, 4, 3], 2, vec![1.0; 60]).bytes());
    let text = SignalSource::open(&array, Some(&mask)).unwrap_err().to_string();
    check("mask.nii", &text, &["dwi.npy", "60 voxels"]);
    // A file that shrinks after it was opened.
    let source = SignalSource::open(&dwi, None).unwrap();
    put(d, "dwi.nii", &image().bytes()[..600]);
    check("dwi.nii", &source.read_rows(0..60).unwrap_err().to_string(), &["cannot read voxels"]);
}

#[test]
fn gradient_tables() {
    let good_vec = "0 1 0\n0 0 1\n1 0 0\n";
    for (bval, bvec, at_fault, words) in [
        ("0 1000", good_vec, "x.bvec", &["3 directions", "2 b-values", "x.bval"][..]),
        ("0 1000 1000", "0 1 0\n0 0 1\n", "x.bvec", &["2 directions", "3 b-values"]),
        ("0 1000 1000", "0 1 0\n0 0 1\n1 0\n", "x.bvec", &["[3, 3, 2]"]),
        ("0 1000 1000", "", "x.bvec", &["0 lines"]),
        ("", good_vec, "x.bval", &["no b-values"]),
        ("0 1000 word", good_vec, "x.bval", &["line 1", "`word`"]),
        ("0 1000 1000", "0 1 0\n0 zero 1\n1 0 0\n", "x.bvec", &["line 2", "`zero`"]),
        ("0 1000 nan", good_vec, "x.bval", &["NaN", "measurement 2"]),
        ("0 1000 -5", good_vec, "x.bval", &["-0.005"]),
        ("0 1000 inf", good_vec, "x.bval", &["wrong unit"]),
        ("0 1e9 1e9", good_vec, "x.bval", &["1000000000 s/mm2", "wrong unit"]),
        ("0 1 2", good_vec, "x.bval", &["2 s/mm2", "wrong unit"]),
        ("0 1000 1000", "0 nan 0\n0 nan 1\n1 nan 0\n", "x.bvec", &["measurement 1", "NaN"]),
        ("0 1000 1000", "0 0 0\n0 0 1\n1 0 0\n", "x.bvec", &["measurement 1", "length 0"]),
        ("0 1000 1000", "0 1.1 0\n0 0 1\n1 0 0\n", "x.bvec", &["length 1.1"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (put(dir.path(), "x.bval", bval), put(dir.path(), "x.bvec", bvec));
        let text = read_fsl(&a, &b, FslTimes::default()).unwrap_err().to_string();
        check(at_fault, &text, words);
    }
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (put(dir.path(), "x.bval", "0 1000 1000"), put(dir.path(), "x.bvec", good_vec));
    let half = FslTimes { delta_ms: Some(10.0), ..FslTimes::default() };
    check("x.bval", &read_fsl(&a, &b, half).unwrap_err().to_string(), &["both"]);
    let swapped =
        FslTimes { delta_ms: Some(40.0), big_delta_ms: Some(10.0), ..FslTimes::default() };
    check("x.bval", &read_fsl(&a, &b, swapped).unwrap_err().to_string(), &["delta <= Delta"]);
    let missing = dir.path().join("none.bval");
    check(
        "none.bval",
        &read_fsl(&missing, &b, FslTimes::default()).unwrap_err().to_string(),
        &["cannot read"],
    );
    let folder = read_fsl(&a, dir.path(), FslTimes::default()).unwrap_err().to_string();
    check(dir.path().to_str().unwrap(), &folder, &["cannot read"]);
    let binary = put(dir.path(), "b.bval", [0xff, 0xfe, 0, 1]);
    check(
        "b.bval",
        &read_fsl(&binary, &b, FslTimes::default()).unwrap_err().to_string(),
        &["not a text file"],
    );
}

#[test]
fn tables_and_matrices() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, words) in [
        ("empty.parquet", &b""[..], &["cannot read"][..]),
        ("text.parquet", b"PAR1 and then nothing of the kind PAR1", &["cannot read"]),
    ] {
        check(name, &read_table(&put(dir.path(), name, bytes)).unwrap_err().to_string(), words);
    }
    check(
        "none.parquet",
        &read_table(&dir.path().join("none.parquet")).unwrap_err().to_string(),
        &["cannot open"],
    );
    let folder = dir.path().join("folder.parquet");
    std::fs::create_dir(&folder).unwrap();
    check("folder.parquet", &read_table(&folder).unwrap_err().to_string(), &["folder"]);
    for (name, text, words) in [
        ("a.csv", "1,2\n3\n", &["line 2"][..]),
        ("b.csv", "1,2\n3,x\n", &["line 2", "column `2`"]),
        ("c.csv", "", &["no numbers"]),
        ("d.txt", "1 2\n", &[".npy or .csv"]),
    ] {
        check(name, &read_matrix(&put(dir.path(), name, text)).unwrap_err().to_string(), words);
    }
    let garbage = put(dir.path(), "g.csv", [b'a', b'\n', 0xff]);
    check("g.csv", &ParameterTable::read(&garbage).unwrap_err().to_string(), &["UTF-8"]);
}

fn check(file: &str, text: &str, words: &[&str]) {
    assert!(text.contains(file), "{file} is not named: {text}");
    for word in words {
        assert!(text.contains(word), "{file}: `{word}` is not in: {text}");
    }
}

/// Reads a file in every way; only that nothing panics counts.
fn read_in_every_way(path: &Path) {
    if let Ok(source) = SignalSource::open(path, None) {
        let _ = source.read_rows(0..source.n_rows().min(64));
    }
    let _ = read_scheme(path);
    let _ = read_fsl(path, path, FslTimes::default());
    let _ = ParameterTable::read(path);
    let _ = read_table(path);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_bytes_never_panic(
        kind in 0..5,
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..6),
        cut in 0_usize..900,
    ) {
        let mut bytes = match kind {
            0 => image().bytes(),
            1 => gzip(&image().bytes()),
            2 => npy("<f8", false, "(3, 4)", &doubles(12)),
            3 => b"VERSION: 1\n1 0 0 0.06 0.04 0.01 0.1\n".to_vec(),
            _ => b"b_s_per_m2,gx,gy,gz\n1e9,0,0,1\n".to_vec(),
        };
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if cut < bytes.len() && cut % 3 == 0 {
            bytes.truncate(cut);
        }
        let dir = tempfile::tempdir().unwrap();
        read_in_every_way(&put(dir.path(), "x.bin", bytes));
    }
}
