//! Geometry files of other programs, and arrays in pieces.

use microtome_datasets::{
    Array, ArrayPieces, ArrayWriter, Values, read_projections, read_rtk_geometry, read_set_up,
    rtk_geometry_text, write_rtk_geometry,
};
use microtome_models::ct::Surface;

/// Written by RTK (`tests/golden/make_exchange.py`).
const RTK: &str = include_str!("../../../tests/golden/exchange_rtk.xml");

#[test]
fn files_of_rtk_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.xml");
    std::fs::write(&path, RTK).unwrap();
    let geometry = read_rtk_geometry(&path).unwrap();
    assert_eq!(geometry.projections.len(), 4);
    let p = geometry.projections[2];
    assert_eq!((p.source_to_isocentre_mm, p.source_to_detector_mm), (210.0, 310.0));
    assert_eq!((p.projection_offset_mm, p.source_offset_mm), ([-4.0, 3.0], [0.0, 1.1]));
    assert_eq!((p.gantry_deg, p.in_plane_deg), (250.0, 12.0));
    write_rtk_geometry(&path, &geometry).unwrap();
    assert_eq!(read_rtk_geometry(&path).unwrap(), geometry);
    // Numbers before the projections are those of all; a radius bends the detector.
    let common = "<?xml version=\"1.0\"?>\n<!-- a <b> -->\n<RTKThreeDCircularGeometry version=\"3\">\n\
        <SourceToIsocenterDistance>20</SourceToIsocenterDistance>\n\
        <SourceToDetectorDistance>30</SourceToDetectorDistance>\n\
        <RadiusCylindricalDetector>30</RadiusCylindricalDetector>\n\
        <Projection><GantryAngle>10</GantryAngle></Projection>\n\
        <Projection><GantryAngle>20</GantryAngle></Projection>\n</RTKThreeDCircularGeometry>\n";
    std::fs::write(&path, common).unwrap();
    let toml = "kind = \"cone3d\"\ndetector = [3, 4]\n[volume]\nshape = [2, 3, 4]\nvoxel_mm = [1, 1, 1]\n\
        [import]\nfile = \"g.xml\"\nformat = \"rtk\"\npixel_mm = [2, 1]\n";
    std::fs::write(folder.path().join("s.toml"), toml).unwrap();
    let set_up = read_set_up(&folder.path().join("s.toml"), None).unwrap();
    assert_eq!(set_up.geometry.surface(), Surface::Cylinder { radius: Some(30.0) });
    let view = set_up.geometry.views()[1];
    // The gantry turns the source from +z to +x.
    let (s, c) = 20_f64.to_radians().sin_cos();
    assert!((view.detector[0] + 10.0 * s).abs() < 1e-12, "{view:?}");
    assert!((view.detector[2] + 10.0 * c).abs() < 1e-12, "{view:?}");
    assert_eq!(view.v, [0.0, 2.0, 0.0]);
    assert!(rtk_geometry_text(&geometry).unwrap().contains("<GantryAngle>250</GantryAngle>"));
}

#[test]
fn damaged_files_of_rtk_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.xml");
    let says = |text: &str, word: &str| {
        std::fs::write(&path, text).unwrap();
        let found = read_rtk_geometry(&path).unwrap_err().to_string();
        assert!(found.contains(word) && found.contains("g.xml"), "{found}");
    };
    says("", "no tag");
    says("<html></html>", "html");
    says(&RTK.replace("version=\"3\"", "version=\"2\""), "version 2");
    says(&RTK[..RTK.len() / 2], "missing");
    says(&RTK.replace("GantryAngle", "GantryAngel"), "GantryAngel");
    says(&RTK.replace("<GantryAngle>250", "<GantryAngle>twelve"), "`twelve`");
    says(&RTK.replace("<GantryAngle>250", "<GantryAngle>inf"), "finite");
    says(&RTK.replace("<GantryAngle>250", "<GantryAngle>251"), "projection 2 (counted from 0)");
    says("<RTKThreeDCircularGeometry version=\"3\"></RTKThreeDCircularGeometry>", "no projection");
    says("<RTKThreeDCircularGeometry version=\"3\"></Projection>", "did not begin");
    says("<RTKThreeDCircularGeometry", "no end");
}

#[test]
fn pieces_are_the_array() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let numbers: Vec<f64> = (0..7 * 300 * 500).map(|i| f64::from(i % 1013) / 7.0).collect();
    let array = Array { shape: vec![7, 300, 500], values: Values::F64(numbers.clone()) };
    let mut writer = ArrayWriter::create::<f64>(&path, &array.shape).unwrap();
    for piece in numbers.chunks(99_999) {
        writer.append(piece).unwrap();
    }
    assert!(!path.exists());
    writer.finish().unwrap().commit().unwrap();
    assert_eq!(Array::read(&path).unwrap(), array);
    let mut pieces = ArrayPieces::open(&path).unwrap();
    assert!(!pieces.is_f32() && pieces.shape() == [7, 300, 500]);
    for range in [5..7, 0..3, 3..5, 2..2] {
        let mut out = vec![0.0; range.len() * 150_000];
        pieces.read(range.clone(), &mut out).unwrap();
        assert_eq!(out, numbers[range.start * 150_000..range.end * 150_000]);
    }
    assert!(pieces.read(6..8, &mut vec![0.0; 300_000]).is_err());
    assert!(pieces.read(0..1, &mut [0.0]).is_err());
    // Too few and too many numbers; a number that is none, by its place.
    let mut writer = ArrayWriter::create::<f32>(&path, &[2, 3]).unwrap();
    writer.append(&[1.0_f32, 2.0]).unwrap();
    assert!(writer.append(&[0.0_f32; 5]).is_err());
    let mut writer = ArrayWriter::create::<f32>(&path, &[2, 3]).unwrap();
    writer.append(&[1.0_f32, 2.0, 3.0, 4.0, f32::NAN]).unwrap();
    assert!(writer.finish().is_err());
    let values = Values::F32(vec![1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
    Array { shape: vec![2, 3], values }.write(&path).unwrap();
    let mut pieces = ArrayPieces::open(&path).unwrap();
    pieces.read(0..1, &mut [0.0; 3]).unwrap();
    let found = pieces.read(1..2, &mut [0.0; 3]).unwrap_err().to_string();
    assert!(found.contains("[1, 1]") && found.contains("finite"), "{found}");
}

#[test]
fn whole_projections_are_cropped_and_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "kind = \"parallel2d\"\ndetector = [6]\nbin = [2]\n\
        crop = { views = [1, 3], u = [2, 6] }\n[volume]\nshape = [4, 5]\nvoxel_mm = [1, 1]\n\
        [trajectory]\nkind = \"circular\"\nviews = 4\npixel_mm = [1]\n";
    std::fs::write(folder.path().join("s.toml"), toml).unwrap();
    let set_up = read_set_up(&folder.path().join("s.toml"), None).unwrap();
    let path = folder.path().join("p.npy");
    let write = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let values = Values::F32((0..n).map(|i| i as f32).collect());
        Array { shape: shape.to_vec(), values }.write(&path).unwrap();
    };
    write(&[4, 6]);
    let found = read_projections(&path, &set_up).unwrap();
    assert_eq!(found.shape, [2, 2]);
    assert_eq!(found.values, Values::F32(vec![8.5, 10.5, 14.5, 16.5]));
    write(&[2, 2]);
    assert_eq!(read_projections(&path, &set_up).unwrap(), Array::read(&path).unwrap());
    write(&[4, 5]);
    let found = read_projections(&path, &set_up).unwrap_err().to_string();
    assert!(found.contains("[2, 2]") && found.contains("[4, 6]"), "{found}");
}
