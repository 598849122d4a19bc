//! Time of FDK beside that of its backprojection alone:
//! `cargo bench -p microtome-inference --bench fdk`. CPU seconds of one thread, `f32`,
//! medians of three calls each, taken in turn; `-- 2` takes two threads and their sum,
//! `-- 1 128` another size.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_inference::reconstruct::{Filter, FilteredBackprojection, Sharing};
use microtome_models::ct::{GeometryKind, TrajectorySpec, VolumeGrid, VoxelDriven};
use std::hint::black_box;

fn seconds(run: impl FnOnce()) -> f64 {
    let start = ProcessTime::now();
    run();
    start.elapsed().as_secs_f64()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let threads = numbers.next().unwrap_or(1);
    let n = numbers.next().unwrap_or(256);
    let views = 360;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let path = TrajectorySpec {
        source_to_axis_mm: Some(2.0 * n as f64),
        axis_to_detector_mm: Some(n as f64),
        ..TrajectorySpec::circular(views, &[1.8, 1.8])
    };
    let geometry = path.geometry(GeometryKind::Cone3d, [n, n])?;
    let volume = VolumeGrid::new(&[n; 3], &[1.0; 3], &[0.0; 3])?;
    let fdk = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
    let back = VoxelDriven::new(&geometry, &volume)?;
    let y: Vec<f32> = (0..views * n * n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0).collect();
    let ones = vec![1.0; views];
    let mut x = vec![0.0_f32; volume.len()];
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut done = Ok(());
        part.push(seconds(|| done = back.add(0..views, &ones, None, &y, &mut x)));
        done?;
        black_box(&x);
        let mut made = Ok(Vec::new());
        whole.push(seconds(|| made = fdk.reconstruct(&y)));
        black_box(made?);
    }
    for list in [&mut whole, &mut part] {
        list.sort_by(f64::total_cmp);
    }
    let updates = (volume.len() * views) as f64 * 1e-9;
    println!(
        "FDK {n}^3 x {views}, {threads} thread(s): {:.2} s; backprojection alone {:.2} s, {:.2} GUPS; ratio {:.3}",
        whole[1],
        part[1],
        updates / part[1],
        whole[1] / part[1]
    );
    Ok(())
}
