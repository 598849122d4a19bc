//! Maps, read back by the crate nifti.

use microtome_datasets::{ImageGeometry, MapWriter, SignalSource};
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

use crate::bytes::{Nifti, names, put};

fn geometry() -> ImageGeometry {
    let dir = tempfile::tempdir().unwrap();
    let mut image = Nifti::new(&[70, 50, 3], 2, vec![0.0; 10_500]);
    image.codes = (1, 2);
    image.orientation[..6].copy_from_slice(&[0.1, 0.2, 0.3, 4.0, 5.0, 6.0]);
    let path = put(dir.path(), "x.nii", image.bytes());
    SignalSource::open(&path, None).unwrap().geometry().unwrap().clone()
}

#[test]
fn a_scalar_map_keeps_grid_and_orientation() {
    let dir = tempfile::tempdir().unwrap();
    let g = geometry();
    let value = |v: usize| 0.5 * v as f64 - 7.0;
    for name in ["m.nii.gz", "m.nii"] {
        let path = dir.path().join(name);
        let mut map = MapWriter::create(&path, &g, 1).unwrap();
        for v in (100..9000).step_by(17) {
            map.push(v as i64, &[value(v)]).unwrap();
        }
        assert!(!path.exists(), "a map must not appear before it is complete");
        map.finish().unwrap();
        let object = ReaderOptions::new().read_file(&path).unwrap();
        let header = object.header().clone();
        assert_eq!((header.qform_code, header.sform_code, header.pixdim[0]), (1, 2, -1.0));
        assert_eq!((header.quatern_b, header.quatern_z), (0.1, 6.0));
        assert_eq!(header.srow_x, [-2.0, 0.0, 0.0, 5.0]);
        let volume = object.into_volume().into_ndarray::<f32>().unwrap();
        assert_eq!(volume.shape(), [70, 50, 3]);
        for v in 0..10_500 {
            let wanted =
                if (100..9000).contains(&v) && (v - 100) % 17 == 0 { value(v) as f32 } else { 0.0 };
            assert_eq!(volume[[v % 70, v / 70 % 50, v / 3500]], wanted);
        }
        let again = SignalSource::open(&path, None).unwrap();
        assert_eq!(again.geometry().unwrap(), &g);
    }
    assert_eq!(names(dir.path()), ["m.nii", "m.nii.gz"]);
}

#[test]
fn a_vector_map_has_three_volumes_and_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let g = geometry();
    let write = |name: &str| {
        let path = dir.path().join(name);
        let mut map = MapWriter::create(&path, &g, 3).unwrap();
        for v in [0, 5, 10_499] {
            map.push(v, &[v as f64, 1.0, -2.0]).unwrap();
        }
        map.finish().unwrap();
        path
    };
    let (a, b) = (write("a.nii.gz"), write("b.nii.gz"));
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    let source = SignalSource::open(&a, None).unwrap();
    assert_eq!(source.n_measurements(), 3);
    assert_eq!(source.read_rows(5..7).unwrap().signals, [5.0, 1.0, -2.0, 0.0, 0.0, 0.0]);
    assert_eq!(source.read_rows(10_499..10_500).unwrap().signals, [10_499.0, 1.0, -2.0]);
}

#[test]
fn wrong_use_is_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let g = geometry();
    let path = dir.path().join("m.nii.gz");
    let mut map = MapWriter::create(&path, &g, 1).unwrap();
    map.push(5, &[1.0]).unwrap();
    for (voxel, values) in
        [(5, &[1.0][..]), (4, &[1.0]), (10_500, &[1.0]), (-1, &[1.0]), (6, &[1.0, 2.0])]
    {
        assert!(map.push(voxel, values).unwrap_err().to_string().contains("m.nii.gz"));
    }
    drop(map);
    assert!(MapWriter::create(&dir.path().join("m.img"), &g, 1).is_err());
    assert!(MapWriter::create(&dir.path().join("none/m.nii"), &g, 1).is_err());
    assert!(MapWriter::create(&path, &ImageGeometry::new([40_000, 1, 1], g.affine), 1).is_err());
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}
