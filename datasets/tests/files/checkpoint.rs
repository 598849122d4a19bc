//! Checkpoints: the same bits back, and nothing from a damaged file.

use microtome_datasets::{Checkpoint, Values};

#[test]
fn checkpoints_survive_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.checkpoint");
    assert_eq!(Checkpoint::read(&path), None);
    let state = Checkpoint {
        identity: "abc".into(),
        numbers: vec![("t".into(), vec![0.1, -0.0, f64::INFINITY]), ("none".into(), vec![])],
        arrays: vec![
            ("x".into(), Values::F32((0..70_001).map(|i| (i as f32).sin()).collect())),
            ("y".into(), Values::F64(vec![1.0 / 3.0])),
        ],
    };
    state.write(&path).unwrap();
    assert_eq!(Checkpoint::read(&path), Some(state.clone()));
    assert_eq!(Checkpoint::read(&path).unwrap().numbers[0].1[1].to_bits(), (-0.0_f64).to_bits());
    // Cut anywhere, or with a bit turned, it is no checkpoint.
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 10, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(Checkpoint::read(&path), None, "cut at {at}");
        let mut turned = whole.clone();
        turned[at] ^= 4;
        std::fs::write(&path, &turned).unwrap();
        assert_eq!(Checkpoint::read(&path), None, "turned at {at}");
    }
    // A new one replaces it.
    state.write(&path).unwrap();
    assert!(Checkpoint::read(&path).is_some());
}
