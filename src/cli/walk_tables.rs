//! Tables of single walkers: where they went, and their phases.
//!
//! Validated by `tests/cli/simulate.rs`.

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use microtome_models::substrate::Simulation;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Numbers that a table of paths may hold.
const MOST: u64 = 200_000_000;

fn number(name: &str, unit: &str) -> Field {
    let unit = HashMap::from([("unit".to_string(), unit.to_string())]);
    Field::new(name, DataType::Float64, false).with_metadata(unit)
}

fn count(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// One row a (walker, node).
pub(super) fn trajectories(
    simulation: &Simulation,
    walkers: Range<u64>,
) -> anyhow::Result<(Arc<Schema>, RecordBatch)> {
    let times = simulation.times();
    let size = 3 * times.len() as u64 * (walkers.end - walkers.start);
    anyhow::ensure!(
        size <= MOST,
        "--trajectories: {size} numbers are too many for one table; lower --keep-walkers"
    );
    let nodes: Vec<usize> = (0..times.len()).collect();
    let points = simulation.paths(&nodes, walkers.clone());
    let of_walker = walkers.flat_map(|w| times.iter().map(move |_| w as i64));
    let axis =
        |a: usize| -> ArrayRef { Arc::new(points.iter().map(|p| p[a]).collect::<Float64Array>()) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(of_walker.collect::<Int64Array>()),
        Arc::new((0..points.len()).map(|i| (i % nodes.len()) as i64).collect::<Int64Array>()),
        Arc::new((0..points.len()).map(|i| times[i % nodes.len()]).collect::<Float64Array>()),
        axis(0),
        axis(1),
        axis(2),
    ];
    let fields = vec![
        count("walker"),
        count("step"),
        number("time_ms", "ms"),
        number("x_um", "um"),
        number("y_um", "um"),
        number("z_um", "um"),
    ];
    let schema = Arc::new(Schema::new(fields));
    Ok((schema.clone(), RecordBatch::try_new(schema, columns)?))
}

/// One row a (walker, measurement).
pub(super) fn phases(
    simulation: &Simulation,
    measurements: usize,
    walkers: Range<u64>,
) -> anyhow::Result<(Arc<Schema>, RecordBatch)> {
    let first = walkers.start;
    let phases = simulation.phases(walkers);
    let rows = 0..phases.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            rows.clone()
                .map(|i| (first + (i / measurements) as u64) as i64)
                .collect::<Int64Array>(),
        ),
        Arc::new(rows.map(|i| (i % measurements) as i64).collect::<Int64Array>()),
        Arc::new(phases.into_iter().collect::<Float64Array>()),
    ];
    let fields = vec![count("walker"), count("measurement"), number("phase_rad", "rad")];
    let schema = Arc::new(Schema::new(fields));
    Ok((schema.clone(), RecordBatch::try_new(schema, columns)?))
}
