//! Reading of signals from images and arrays.

use microtome_datasets::SignalSource;
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
use proptest::prelude::*;

use crate::bytes::{Nifti, gzip, npy, put};

const SHAPE: [usize; 4] = [5, 4, 3, 6];
const VOXELS: usize = 60;

fn stored(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 37) % 101) as f64).collect()
}

fn all(source: &SignalSource) -> Vec<f64> {
    source.read_rows(0..source.n_rows()).unwrap().signals
}

/// `[voxel, measurement]` from numbers in file order.
fn by_voxel(file_order: &[f64], voxels: usize) -> Vec<f64> {
    let n = file_order.len() / voxels;
    (0..voxels * n).map(|i| file_order[i / n + voxels * (i % n)]).collect()
}

#[test]
fn every_number_type_and_byte_order() {
    let dir = tempfile::tempdir().unwrap();
    for datatype in [2, 256, 4, 512, 8, 768, 1024, 1280, 16, 64] {
        for big_endian in [false, true] {
            let mut image = Nifti::new(&SHAPE, datatype, stored(360));
            image.big_endian = big_endian;
            image.scale = (0.5, 10.0);
            let wanted: Vec<f64> =
                by_voxel(&image.stored, VOXELS).iter().map(|v| v * 0.5 + 10.0).collect();
            let plain = put(dir.path(), "x.nii", image.bytes());
            let packed = put(dir.path(), "x.nii.gz", gzip(&image.bytes()));
            for path in [&plain, &packed] {
                let source = SignalSource::open(path, None).unwrap();
                assert_eq!((source.n_rows(), source.n_measurements()), (VOXELS, 6));
                assert_eq!(all(&source), wanted, "data type {datatype}, big-endian {big_endian}");
                assert_eq!(source.geometry().unwrap().dims, [5, 4, 3]);
            }
        }
    }
}

#[test]
fn agrees_with_the_nifti_crate() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = Nifti::new(&SHAPE, 4, stored(360));
    image.scale = (0.25, -3.0);
    let path = put(dir.path(), "x.nii.gz", gzip(&image.bytes()));
    let theirs =
        ReaderOptions::new().read_file(&path).unwrap().into_volume().into_ndarray::<f64>().unwrap();
    let source = SignalSource::open(&path, None).unwrap();
    let rows = source.read_rows(0..VOXELS).unwrap();
    for (r, ijk) in rows.ijk.unwrap().iter().enumerate() {
        for m in 0..6 {
            let [i, j, k] = ijk.map(|v| v as usize);
            assert_eq!(rows.signals[r * 6 + m], theirs[[i, j, k, m]]);
        }
    }
}

#[test]
fn no_scaling_without_a_slope() {
    let dir = tempfile::tempdir().unwrap();
    for slope in [0.0, f32::NAN, f32::INFINITY] {
        let mut image = Nifti::new(&[2, 1, 1, 2], 16, vec![1.0, 2.0, 3.0, 4.0]);
        image.scale = (slope, 5.0);
        let source = SignalSource::open(&put(dir.path(), "x.nii", image.bytes()), None).unwrap();
        assert_eq!(all(&source), [1.0, 3.0, 2.0, 4.0]);
    }
}

#[test]
fn affines_agree_with_nibabel() {
    let dir = tempfile::tempdir().unwrap();
    let golden = include_str!("../golden/affines.csv");
    let mut cases = 0;
    for line in golden.lines().filter(|l| !l.starts_with('#')) {
        let f: Vec<f64> = line.split(',').map(|v| v.parse().unwrap()).collect();
        let shape: Vec<usize> = f[..3].iter().map(|v| *v as usize).collect();
        let mut image = Nifti::new(&shape, 2, vec![0.0; shape.iter().product()]);
        image.pixdim = [f[3], f[4], f[5], f[6]].map(|v| v as f32);
        image.codes = (f[7] as i16, f[8] as i16);
        for (slot, v) in image.orientation.iter_mut().zip(&f[9..27]) {
            *slot = *v as f32;
        }
        let path = put(dir.path(), "x.nii", image.bytes());
        let source = SignalSource::open(&path, None).unwrap();
        let affine = source.geometry().unwrap().affine;
        for (a, b) in affine.iter().flatten().zip(&f[27..]) {
            assert!((a - b).abs() < 1e-7 * (1.0 + b.abs()), "{affine:?} is not {:?}", &f[27..]);
        }
        cases += 1;
    }
    assert_eq!(cases, 24);
}

#[test]
fn arrays_in_both_orders() {
    let dir = tempfile::tempdir().unwrap();
    let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    let c = put(dir.path(), "c.npy", npy("<f4", false, "(3, 2)", &little));
    let b = put(dir.path(), "b.npy", npy(">f4", false, "(3, 2)", &big));
    let f = put(dir.path(), "f.npy", npy("<f4", true, "(3, 2)", &little));
    for (path, wanted) in [
        (&c, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (&b, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (&f, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
    ] {
        let source = SignalSource::open(path, None).unwrap();
        let rows = source.read_rows(0..3).unwrap();
        assert_eq!(rows.signals, wanted);
        assert_eq!((rows.voxel, rows.ijk, source.geometry()), (vec![0, 1, 2], None, None));
        assert_eq!(source.read_rows(1..2).unwrap().signals, wanted[2..4]);
        let mask = put(dir.path(), "m.npy", npy("|b1", false, "(3,)", &[0, 1, 1]));
        let source = SignalSource::open(path, Some(&mask)).unwrap();
        let rows = source.read_rows(0..2).unwrap();
        assert_eq!((rows.voxel, rows.signals), (vec![1, 2], wanted[2..].to_vec()));
    }
}

#[test]
fn scalars_come_through_the_mask() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let dwi = put(d, "x.nii", Nifti::new(&[2, 2, 1, 3], 16, stored(12)).bytes());
    let mask = put(
        d,
        "m.nii.gz",
        gzip(&Nifti::new(&[2, 2, 1], 16, vec![0.0, 2.0, f64::NAN, -1.0]).bytes()),
    );
    let source = SignalSource::open(&dwi, Some(&mask)).unwrap();
    assert_eq!(source.n_rows(), 2);
    assert_eq!(source.read_rows(0..2).unwrap().ijk.unwrap(), [[1, 0, 0], [1, 1, 0]]);
    let image = put(d, "s.nii", Nifti::new(&[2, 2, 1], 64, vec![1.5, 2.5, 3.5, 4.5]).bytes());
    let array: Vec<u8> = [1.5_f64, 2.5, 3.5, 4.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let array = put(d, "s.npy", npy("<f8", false, "(4,)", &array));
    let whole = put(d, "s.csv", "sigma\n1.5\n2.5\n3.5\n4.5\n");
    let inside = put(d, "t.csv", "2.5\n4.5\n");
    for path in [image, array, whole, inside] {
        assert_eq!(source.read_scalars(&path).unwrap(), [2.5, 4.5], "{}", path.display());
    }
}

#[test]
fn threads_may_share_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "x.nii", Nifti::new(&[40, 30, 2, 5], 64, stored(12_000)).bytes());
    let source = SignalSource::open(&path, None).unwrap();
    let wanted = all(&source);
    std::thread::scope(|scope| {
        for t in 0..4 {
            let (source, wanted) = (&source, &wanted);
            scope.spawn(move || {
                for block in (t..2400 / 16).step_by(4) {
                    let rows = source.read_rows(block * 16..block * 16 + 16).unwrap();
                    assert_eq!(rows.signals, wanted[block * 80..block * 80 + 80]);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any mask and any cutting into blocks give what plain indexing gives.
    #[test]
    fn masks_and_blocks(seed in 0_u64..1 << 40, density in 1_u64..100, block in 1_usize..700, order in 0..3) {
        let (nx, ny, nz, n) = (37, 29, 11, 3);
        let voxels = nx * ny * nz;
        let inside = |v: usize| {
            let mixed = (v as u64 / 40 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            mixed % 100 < density && !(v % 7 == 3 && seed % 2 == 0)
        };
        let flags: Vec<u8> = (0..voxels).map(|v| u8::from(inside(v))).collect();
        let index: Vec<usize> = (0..voxels).filter(|&v| inside(v)).collect();
        prop_assume!(!index.is_empty());
        let dir = tempfile::tempdir().unwrap();
        let file_order = stored(voxels * n);
        let little: Vec<u8> = file_order.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = format!("({voxels}, {n})");
        let (dwi, table) = match order {
            0 => (put(dir.path(), "x.nii", Nifti::new(&[nx, ny, nz, n], 16, file_order.clone()).bytes()), by_voxel(&file_order, voxels)),
            1 => (put(dir.path(), "x.npy", npy("<f8", true, &shape, &little)), by_voxel(&file_order, voxels)),
            _ => (put(dir.path(), "x.npy", npy("<f8", false, &shape, &little)), file_order.clone()),
        };
        let mask = put(dir.path(), "m.npy", npy("|u1", false, &format!("({voxels},)"), &flags));
        let source = SignalSource::open(&dwi, Some(&mask)).unwrap();
        prop_assert_eq!(source.n_rows(), index.len());
        let mut start = 0;
        while start < index.len() {
            let end = (start + block).min(index.len());
            let rows = source.read_rows(start..end).unwrap();
            for (r, &v) in index[start..end].iter().enumerate() {
                prop_assert_eq!(rows.voxel[r], v as i64);
                prop_assert_eq!(&rows.signals[r * n..r * n + n], &table[v * n..v * n + n]);
            }
            start = end;
        }
    }
}
