//! Stacks of images: files of other programs, layouts, and files that are damaged.

use microtome_datasets::{Array, FrameOptions, Frames, RawLayout, Scan, Values};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/frames").join(name)
}

/// The numbers of `make_frames.py`.
fn stack(n: usize, first: usize, scale: f64, shift: f64) -> Vec<f64> {
    let mut out = Vec::new();
    for k in first..first + n {
        for v in 0..6 {
            out.extend((0..7).map(|u| ((31 * k + 7 * v + 3 * u) % 251) as f64 * scale + shift));
        }
    }
    out
}

fn open(path: &Path) -> Frames {
    Frames::open(path, &FrameOptions::default()).unwrap()
}

#[track_caller]
fn refused(path: &Path, options: &FrameOptions, texts: &[&str]) {
    let error = match Frames::open(path, options).and_then(|mut f| f.read_all()) {
        Ok(_) => panic!("{} was read", path.display()),
        Err(e) => e.to_string(),
    };
    assert!(texts.iter().all(|t| error.contains(t)), "{error}");
}

#[test]
fn tiff_files_of_tifffile_are_read() {
    for (name, scale, shift) in [
        ("u8.tif", 1.0, 0.0),
        ("u16_lzw.tif", 200.0, 0.0),
        ("u16_big_endian.tif", 200.0, 0.0),
        ("f32_deflate.tif", 0.25, -9.0),
        ("f32_tiles.tif", 0.25, -9.0),
        ("f32_bigtiff.tif", 0.25, -9.0),
        ("imagej.tif", 200.0, 0.0),
    ] {
        let mut frames = open(&golden(name));
        assert_eq!(frames.shape(), [5, 6, 7], "{name}");
        assert!(!frames.is_wide());
        assert_eq!(frames.read_all().unwrap(), stack(5, 0, scale, shift), "{name}");
        // Backwards, too.
        let mut one = vec![0.0; 42];
        frames.read(1, &mut one).unwrap();
        assert_eq!(one, stack(1, 1, scale, shift), "{name}");
        assert!(frames.read(5, &mut one).is_err());
    }
    refused(&golden("rgb.tif"), &FrameOptions::default(), &["rgb.tif", "grey"]);
}

#[test]
fn folders_and_patterns_are_read_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    for k in [10, 2, 1] {
        let values = Values::F32(vec![k as f32; 6]);
        let page = Array { shape: vec![2, 3], values };
        microtome_datasets::write_array(
            &page,
            None,
            &folder.path().join(format!("p{k}.tif")),
            false,
        )
        .unwrap();
    }
    for path in [folder.path().to_path_buf(), folder.path().join("p*.tif")] {
        let mut frames = open(&path);
        assert_eq!(frames.shape(), [3, 2, 3]);
        let all = frames.read_all().unwrap();
        assert_eq!([all[0], all[6], all[12]], [1.0, 2.0, 10.0]);
    }
    assert_eq!(open(&folder.path().join("p1*.tif")).shape(), [2, 2, 3]);
    refused(&folder.path().join("q*.tif"), &FrameOptions::default(), &["q*.tif", "no file"]);
    let page = Array { shape: vec![2, 4], values: Values::F32(vec![0.0; 8]) };
    microtome_datasets::write_array(&page, None, &folder.path().join("p3.tif"), false).unwrap();
    refused(folder.path(), &FrameOptions::default(), &["p3.tif", "2 x 4", "2 x 3"]);
}

#[test]
fn raw_bytes_are_read_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    let mut bytes = vec![9_u8; 5];
    bytes.extend((0..24_u16).flat_map(|i| (i * 300).to_be_bytes()));
    std::fs::write(&path, &bytes).unwrap();
    let numbers: Vec<f64> = (0..24).map(|i| f64::from(i * 300)).collect();
    for shape in [&[4, 2, 3][..], &[2, 3]] {
        for (kind, big) in [("uint16", true), (">u2", false)] {
            let raw = Some(RawLayout::new(shape, kind, big, 5).unwrap());
            let options = FrameOptions { raw, ..FrameOptions::default() };
            let mut frames = Frames::open(&path, &options).unwrap();
            assert_eq!(frames.shape(), [4, 2, 3]);
            assert_eq!(frames.read_all().unwrap(), numbers);
        }
    }
    let told = |shape: &[usize], offset| FrameOptions {
        raw: Some(RawLayout::new(shape, "uint16", true, offset).unwrap()),
        ..FrameOptions::default()
    };
    refused(&path, &told(&[5, 2, 3], 5), &["a.raw", "truncated"]);
    refused(&path, &told(&[2, 3], 4), &["a.raw", "--raw-offset"]);
    refused(&path, &FrameOptions::default(), &["a.raw", "--raw-shape"]);
    assert!(
        RawLayout::new(&[2, 3], "uint17", false, 0).unwrap_err().to_string().contains("uint17")
    );
    assert!(RawLayout::new(&[0, 3], "uint16", false, 0).is_err());
    assert!(RawLayout::new(&[3], "uint16", false, 0).is_err());
}

#[test]
fn arrays_are_stacks_in_both_orders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let put = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        let values = Values::F32((0..n).map(|i| i as f32).collect());
        Array { shape: shape.to_vec(), values }.write(&path).unwrap();
    };
    put(&[4, 2, 3]);
    assert_eq!(open(&path).read_all().unwrap()[7], 7.0);
    let turned = FrameOptions { sinograms: true, ..FrameOptions::default() };
    let mut frames = Frames::open(&path, &turned).unwrap();
    assert_eq!(frames.shape(), [2, 4, 3]);
    // View 1, row 2 is sinogram 2, view 1.
    let mut view = vec![0.0; 12];
    frames.read(1, &mut view).unwrap();
    assert_eq!(view[6..9], [15.0, 16.0, 17.0]);
    put(&[4, 6]);
    assert_eq!(open(&path).shape(), [4, 1, 6]);
    let image = |size| FrameOptions { image: Some(size), ..FrameOptions::default() };
    assert_eq!(Frames::open(&path, &image([4, 6])).unwrap().shape(), [1, 4, 6]);
    assert_eq!(Frames::open(&path, &image([1, 6])).unwrap().shape(), [4, 1, 6]);
    put(&[6]);
    assert_eq!(Frames::open(&path, &image([1, 6])).unwrap().shape(), [1, 1, 6]);
    refused(&path, &FrameOptions::default(), &["a.npy", "[6]", "[view, u]"]);
    put(&[0, 2, 3]);
    refused(&path, &FrameOptions::default(), &["a.npy", "nothing in it"]);
}

#[cfg(feature = "hdf5")]
#[test]
fn scans_of_h5py_are_read() {
    let mut scan = Scan::open(&golden("exchange.h5")).unwrap();
    assert_eq!(scan.layout, "DXchange");
    assert_eq!(scan.projections.shape(), [5, 6, 7]);
    assert_eq!(scan.projections.read_all().unwrap(), stack(5, 0, 200.0, 0.0));
    assert_eq!(scan.flats.unwrap().read_all().unwrap(), stack(3, 9, 1.0, 0.0));
    assert_eq!(scan.darks.unwrap().read_all().unwrap(), stack(2, 7, 1.0, 0.0));
    let angles = scan.angles_rad.unwrap();
    assert!((angles[1] - 36_f64.to_radians()).abs() < 1e-15, "{angles:?}");
    let mut scan = Scan::open(&golden("nexus.nxs")).unwrap();
    assert_eq!(scan.layout, "NXtomo");
    let every = stack(9, 0, 200.0, 0.0);
    let of = |list: &[usize]| {
        list.iter().flat_map(|k| every[42 * k..][..42].to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(scan.projections.read_all().unwrap(), of(&[2, 3, 5, 7]));
    assert_eq!(scan.flats.unwrap().read_all().unwrap(), of(&[1, 4, 8]));
    assert_eq!(scan.flat_after, Some(vec![0, 2, 4]));
    assert_eq!(scan.darks.unwrap().read_all().unwrap(), of(&[0]));
    assert!((scan.pixel_mm.unwrap() - 3.25e-3).abs() < 1e-15);
    let angles = scan.angles_rad.unwrap();
    assert_eq!(angles.len(), 4);
    assert!((angles[0] - std::f64::consts::PI / 4.0).abs() < 1e-15);
    // A dataset by its name.
    let name = format!("{}:/exchange/data", golden("exchange.h5").display());
    assert_eq!(open(Path::new(&name)).read_all().unwrap(), stack(5, 0, 200.0, 0.0));
    for (dataset, text) in
        [("/other/text", "no plain numbers"), ("/none", "none"), ("/exchange/theta", "[5]")]
    {
        let name = format!("{}:{dataset}", golden("exchange.h5").display());
        refused(Path::new(&name), &FrameOptions::default(), &["exchange.h5", text]);
    }
    refused(&golden("exchange.h5"), &FrameOptions::default(), &["exchange.h5", "scan"]);
}

#[test]
fn files_cut_anywhere_are_refused_not_misread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tif");
    for (name, scale, shift) in
        [("u16_lzw.tif", 200.0, 0.0), ("f32_deflate.tif", 0.25, -9.0), ("imagej.tif", 200.0, 0.0)]
    {
        let bytes = std::fs::read(golden(name)).unwrap();
        let (mut refused, mut truncated, mut whole) = (0, 0, 0);
        for at in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..at]).unwrap();
            match Frames::open(&path, &FrameOptions::default()).and_then(|mut f| f.read_all()) {
                Ok(all) => {
                    // Bytes behind the last page may be missing: then the numbers are there.
                    assert_eq!(all, stack(5, 0, scale, shift), "{name} cut at {at}");
                    whole += 1;
                }
                Err(e) => {
                    assert!(e.to_string().contains("cut.tif"), "{e}");
                    refused += 1;
                    truncated += usize::from(e.to_string().contains("truncated"));
                }
            }
        }
        assert!(refused > 5 * whole, "{name}: {refused} refused, {whole} read");
        assert!(10 * truncated >= 9 * refused, "{name}: {truncated} of {refused}");
    }
}

#[cfg(feature = "hdf5")]
#[test]
fn damaged_scans_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.h5");
    let read = |path: &Path| -> Result<Vec<f64>, String> {
        let mut scan = Scan::open(path).map_err(|e| e.to_string())?;
        scan.projections.read_all().map_err(|e| e.to_string())
    };
    let bytes = std::fs::read(golden("exchange.h5")).unwrap();
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(97) {
        std::fs::write(&path, &bytes[..at]).unwrap();
        match read(&path) {
            Ok(all) => assert_eq!(all, stack(5, 0, 200.0, 0.0), "cut at {at}"),
            Err(e) => {
                assert!(e.contains("cut.h5"), "{e}");
                assert!(at < 48 || e.contains("truncated"), "cut at {at}: {e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
    std::fs::write(&path, b"no such format at all").unwrap();
    assert!(read(&path).unwrap_err().contains("cut.h5"));
    assert!(Scan::open(&folder.path().join("none.h5")).is_err());
}
