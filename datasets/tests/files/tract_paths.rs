//! What is made of streamlines: fewer points, tables, densities, connectomes.

use std::collections::BTreeMap;

use microtome_datasets::{
    ImageGeometry, Parcels, SignalSource, TractDensity, VoxelPath, linearise, read_table,
    tract_batch, write_connectivity, write_tract_table,
};

use crate::bytes::{Nifti, names, put};
use crate::tracts::{bits, example, oblique};

/// The distance of a point from a segment by minimising over many of its points.
fn off(p: [f32; 3], a: [f32; 3], b: [f32; 3]) -> f64 {
    (0..=2000)
        .map(|k| {
            let t = f64::from(k) / 2000.0;
            let d = |c: usize| {
                f64::from(a[c]) + t * (f64::from(b[c]) - f64::from(a[c])) - f64::from(p[c])
            };
            (d(0) * d(0) + d(1) * d(1) + d(2) * d(2)).sqrt()
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn linearised_streamlines_stay_within_the_tolerance() {
    let helix: Vec<[f32; 3]> = (0..400)
        .map(|k| {
            let t = k as f32 * 0.05;
            [20.0 * t.cos(), 20.0 * t.sin(), 3.0 * t]
        })
        .collect();
    for (tolerance, longest, steps) in
        [(0.25, 10.0, 6), (0.08, 10.0, 3), (0.02, 10.0, 1), (0.5, 4.0, 3)]
    {
        let kept = linearise(&helix, tolerance, longest);
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 399));
        for w in kept.windows(2) {
            let (a, b) = (helix[w[0]], helix[w[1]]);
            let length = (0..3).map(|c| f64::from(a[c] - b[c]).powi(2)).sum::<f64>().sqrt();
            assert!(length <= longest + 1e-5);
            for p in &helix[w[0]..w[1]] {
                // The minimum over 2001 points is at most 1e-5 too far.
                assert!(off(*p, a, b) <= tolerance + 1e-5);
            }
        }
        // A chord c of a circle of radius R = 20 (1 + 0.15^2) is c^2 / 8R off in its middle; the
        // steps are 1.011 mm, and `steps` of them are the most that are near and short enough.
        assert_eq!(kept.len(), 1 + 399_usize.div_ceil(steps), "{tolerance}");
    }
    assert_eq!(linearise(&helix[..2], 1.0, 10.0), [0, 1]);
    assert!(linearise(&[], 1.0, 10.0).is_empty());
    // A line that turns back is not cut short.
    let back = [[0.0; 3], [5.0, 0.0, 0.0], [1.0, 0.0, 0.0]];
    assert_eq!(linearise(&back, 0.1, 10.0), [0, 1, 2]);
}

#[test]
fn tables_hold_the_same_numbers() {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float32Type;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let tracts = example();
    write_tract_table(&path, &tracts).unwrap();
    let batches = read_table(&path).unwrap();
    let [batch] = &batches[..] else { panic!("{} batches", batches.len()) };
    assert_eq!(batch.num_rows(), 3);
    let schema = batch.schema();
    assert!(schema.metadata()["dimensions"].contains("[91, 109, 64]"));
    let kind = schema.field_with_name("streamline").unwrap().data_type().to_string();
    assert!(kind.contains("element"), "{kind}");
    let numbers =
        |array: &dyn Array| -> Vec<u32> { bits(array.as_primitive::<Float32Type>().values()) };
    let points = batch["streamline"].as_list::<i32>();
    assert_eq!(points.value_offsets(), [0, 4, 5, 11]);
    let flat = points.values().as_fixed_size_list().values().clone();
    assert_eq!(numbers(&flat), bits(tracts.points.as_flattened()));
    let fod = batch["fod"].as_list::<i32>().values().clone();
    assert_eq!(numbers(&fod), bits(&tracts.per_point["fod"].values));
    let tangent = batch["tangent"].as_list::<i32>().values().clone();
    assert_eq!(
        numbers(tangent.as_fixed_size_list().values()),
        bits(&tracts.per_point["tangent"].values)
    );
    assert_eq!(numbers(&batch["seed"]), bits(&tracts.per_streamline["seed"].values));
    let stop = batch["stop"].as_fixed_size_list().values().clone();
    assert_eq!(numbers(&stop), bits(&tracts.per_streamline["stop"].values));
    let part = tract_batch(&tracts, 1..3).unwrap();
    assert_eq!(part["streamline"].as_list::<i32>().value(1).len(), 6);
    assert!(tract_batch(&tracts, 1..4).is_err());
}

#[test]
fn density_counts_every_voxel_of_a_path() {
    let last = [0.0, 0.0, 0.0, 1.0];
    let unit = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], last];
    let grid = ImageGeometry::new([4, 4, 4], unit);
    let mut path = VoxelPath::new(&grid).unwrap();
    let mut follow = |points: &[[f32; 3]]| {
        let mut found = Vec::new();
        path.follow(points, |voxel, mm| found.push((voxel, mm)));
        found
    };
    // One long step: every voxel on the way, with its length; what is outside is left out.
    let (a, b) = (0.75, 1.0);
    let wanted = vec![(0, a), (1, b), (2, b), (3, b)];
    assert_eq!(follow(&[[-0.25, 0.0, 0.0], [30.0, 0.0, 0.0]]), wanted);
    // Through corners: only the voxels of the diagonal.
    let diagonal: Vec<usize> = follow(&[[0.0; 3], [3.0; 3]]).into_iter().map(|v| v.0).collect();
    assert_eq!(diagonal, [0, 21, 42, 63]);
    assert_eq!(follow(&[[1.0, 0.0, 2.0]]), [(33, 0.0)]);
    assert_eq!(follow(&[[1.0, 0.0, 2.0]; 3]), [(33, 0.0)]);
    assert_eq!(follow(&[[-1.0, 0.0, 0.0]]), []);
    assert_eq!(follow(&[[1e30, 1e30, 1e30], [-1e30, 1e30, 1e30]]), []);
    assert_eq!(follow(&[]), []);

    // Against points that are sampled densely, on a sheared grid.
    let grid = oblique();
    let mut path = VoxelPath::new(&grid).unwrap();
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    for _ in 0..40 {
        let p = [0; 3].map(|_| random() * 160.0 - 80.0);
        let q = p.map(|v| v + random() * 20.0 - 10.0);
        let length = (0..3).map(|k| f64::from(p[k] - q[k]).powi(2)).sum::<f64>().sqrt();
        let mut found: BTreeMap<usize, f64> = BTreeMap::new();
        path.follow(&[p, q], |voxel, mm| *found.entry(voxel).or_default() += mm);
        let n = 4000;
        let mut sampled: BTreeMap<usize, f64> = BTreeMap::new();
        for k in 0..n {
            let t = (k as f32 + 0.5) / n as f32;
            let at = [0, 1, 2].map(|c| p[c] + t * (q[c] - p[c]));
            if let Some(voxel) = path.voxel(at) {
                *sampled.entry(voxel).or_default() += length / f64::from(n);
            }
        }
        // A sample of length/n more or less at each end, and the rounding of its place.
        let slack = 2.0 * length / f64::from(n) + 1e-4;
        for voxel in found.keys().chain(sampled.keys()) {
            let (a, b) = (found.get(voxel).unwrap_or(&0.0), sampled.get(voxel).unwrap_or(&0.0));
            assert!((a - b).abs() <= slack, "{voxel}: {a} {b}");
        }
    }
}

#[test]
fn density_is_written_as_a_map() {
    let dir = tempfile::tempdir().unwrap();
    let affine =
        [[-2.0, 0.0, 0.0, 6.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let grid = ImageGeometry::new([4, 3, 2], affine);
    let mut density = TractDensity::new(&grid).unwrap();
    // From voxel 3 to voxel 0 along x, and back: once for each voxel.
    density.add(&[[0.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
    density.add(&[[6.0, 0.0, 0.0], [6.0, 4.0, 0.0]]);
    let wanted = [2, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(density.visits()[..12], wanted);
    let path = dir.path().join("tdi.nii.gz");
    density.write(&path).unwrap();
    let source = SignalSource::open(&path, None).unwrap();
    let rows = source.read_rows(0..12).unwrap();
    assert_eq!(rows.signals, wanted.map(f64::from));
}

#[test]
fn streamlines_connect_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let mut labels = vec![0.0; 60];
    (labels[0], labels[4], labels[59]) = (7.0, 3.0, 3.0);
    let image = put(d, "labels.nii", Nifti::new(&[5, 4, 3], 4, labels.clone()).bytes());
    let parcels = Parcels::read(&image, None).unwrap();
    assert_eq!((parcels.n_nodes(), parcels.labels()), (2, &[3, 7][..]));
    assert_eq!(parcels.names(), ["3", "7"]);
    // Voxels of 2 x 2 x 3 mm, x reversed, voxel (0, 0, 0) at (5, -6, 7).
    assert_eq!(parcels.node([5.9, -6.9, 8.4]), Some(1));
    assert_eq!(parcels.node([-3.0, -6.0, 7.0]), Some(0));
    assert_eq!(parcels.node([3.0, -6.0, 7.0]), None);
    assert_eq!(parcels.node([7.0, -6.0, 7.0]), None);
    let line = [[5.0, -6.0, 7.0], [1.0, 0.0, 7.0], [-3.0, 0.0, 13.0]];
    assert_eq!(parcels.ends(&line), Some((1, 0)));
    assert_eq!(parcels.ends(&line[..2]), None);
    assert_eq!(parcels.ends(&[]), None);

    let table = put(d, "names.csv", "label,name\n3, front\n7,\"back\"\n9,none\n");
    let named = Parcels::read(&image, Some(&table)).unwrap();
    assert_eq!(named.names(), ["front", "back"]);
    for (text, words) in [
        ("3,a\n", &["names.csv", "label 7", "labels.nii"][..]),
        ("3,a\n7,a\n", &["two labels"]),
        ("3,a\n3,b\n", &["line 2", "twice"]),
        ("3,a\nx,b\n", &["line 2", "whole number"]),
        ("3;a\n", &["line 1", "label,name"]),
        ("3,\n", &["line 1", "at least one"]),
    ] {
        let table = put(d, "names.csv", text);
        let e = Parcels::read(&image, Some(&table)).unwrap_err().to_string();
        assert!(words.iter().all(|w| e.contains(w)), "{e}");
    }
    for (name, image, word) in [
        ("none.nii", Nifti::new(&[5, 4, 3], 4, vec![0.0; 60]), "0 labels"),
        ("minus.nii", Nifti::new(&[5, 4, 3], 4, vec![-1.0; 60]), "-1"),
        ("half.nii", Nifti::new(&[5, 4, 3], 16, vec![0.5; 60]), "0.5"),
        ("nan.nii", Nifti::new(&[5, 4, 3], 16, vec![f64::NAN; 60]), "NaN"),
        ("two.nii", Nifti::new(&[5, 4, 3, 2], 4, vec![1.0; 120]), "2 volumes"),
    ] {
        let e = Parcels::read(&put(d, name, image.bytes()), None).unwrap_err().to_string();
        assert!(e.contains(name) && e.contains(word), "{e}");
    }
}

#[test]
fn matrices_of_nodes_come_back() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    let dir = tempfile::tempdir().unwrap();
    let nodes = ["front".to_owned(), "back".to_owned()];
    let (mean, sd) = ([1.0, 0.1, 0.1, 4.0], [0.0, 1e-300, 0.5, 2.0]);
    let csv = dir.path().join("c.csv");
    write_connectivity(&csv, &nodes, &[("mean", &mean)]).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(text, "node,front,back\nfront,1.0,0.1\nback,0.1,4.0\n");
    let table = dir.path().join("c.parquet");
    write_connectivity(&table, &nodes, &[("mean", &mean), ("sd", &sd)]).unwrap();
    let batch = &read_table(&table).unwrap()[0];
    let words = |name: &str| -> Vec<String> {
        batch[name].as_string::<i32>().iter().map(|w| w.unwrap().to_owned()).collect()
    };
    assert_eq!(words("node_a"), ["front", "front", "back", "back"]);
    assert_eq!(words("node_b"), ["front", "back", "front", "back"]);
    assert_eq!(batch["mean"].as_primitive::<Float64Type>().values()[..], mean);
    assert_eq!(batch["sd"].as_primitive::<Float64Type>().values()[..], sd);
    for (name, columns, word) in [
        ("x.csv", &[("mean", &mean[..]), ("sd", &sd[..])][..], "one matrix"),
        ("x.csv", &[("mean", &mean[..3])], "3 values for 2 x 2"),
        ("x.txt", &[("mean", &mean[..])], ".csv or .parquet"),
    ] {
        let e = write_connectivity(&dir.path().join(name), &nodes, columns).unwrap_err();
        assert!(e.to_string().contains(word), "{e}");
    }
    assert_eq!(names(dir.path()), ["c.csv", "c.parquet"]);
}
