//! Tables that grow while blocks are finished.
//!
//! Parts arrive in the order in which they are finished and are taken in the order of
//! their rows, so that a table is written once and its parts are not read back. A part
//! that was found finished, or that is far ahead of the others, is read from its file.
//!
//! Validated by `the_same_line_again_does_nothing` and
//! `killed_fits_resume_to_the_same_bytes` in `tests/cli/`.

use super::fod;
use arrow_array::RecordBatch;
use microtome_datasets::{Join, MatrixWriter, PartStore};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The rows of a part, table by table.
type PartRows = Vec<Vec<RecordBatch>>;

/// Tables under construction; files appear when they are complete.
pub(crate) struct GrowingTables<'a> {
    store: &'a PartStore,
    /// Names and paths.
    tables: Vec<(&'static str, PathBuf)>,
    metadata: Vec<(String, String)>,
    /// Most parts that wait in memory for those before them.
    waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next part that the tables take.
    next: usize,
    /// Parts that came early.
    waiting: BTreeMap<usize, (String, Option<PartRows>)>,
    open: Vec<Join>,
    /// `fod.npy`.
    array: Option<MatrixWriter>,
}

impl<'a> GrowingTables<'a> {
    /// Begins tables. `array` takes the coefficients of the table `fod`; `waiting` parts at
    /// most wait in memory for those before them.
    pub(crate) fn new(
        store: &'a PartStore,
        tables: Vec<(&'static str, PathBuf)>,
        metadata: Vec<(String, String)>,
        array: Option<MatrixWriter>,
        waiting: usize,
    ) -> Self {
        let state = Mutex::new(State { array, ..State::default() });
        Self { store, tables, metadata, waiting, state }
    }

    /// Adds the part with a number: its rows, or where they are in the store.
    pub(crate) fn add(
        &self,
        at: usize,
        part: String,
        rows: Option<PartRows>,
    ) -> anyhow::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let far = at != state.next && state.waiting.len() >= self.waiting;
        state.waiting.insert(at, (part, rows.filter(|_| !far)));
        loop {
            let next = state.next;
            let Some((part, rows)) = state.waiting.remove(&next) else { return Ok(()) };
            state.next += 1;
            self.take(&mut state, &part, rows)?;
        }
    }

    fn take(&self, state: &mut State, part: &str, rows: Option<PartRows>) -> anyhow::Result<()> {
        let mut rows = rows.map(Vec::into_iter);
        for (k, (table, path)) in self.tables.iter().enumerate() {
            let batches = match rows.as_mut().and_then(Iterator::next) {
                Some(batches) => batches,
                None => self.store.read(part, table)?,
            };
            for batch in batches {
                if state.open.len() == k {
                    state.open.push(Join::new(path, &batch.schema(), &self.metadata));
                }
                if let (Some(array), fod::TABLE) = (&mut state.array, *table) {
                    fod::push(array, &batch)?;
                }
                state.open[k].push(batch)?;
            }
        }
        Ok(())
    }

    /// Completes the files.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for table in state.open {
            table.finish()?;
        }
        if let Some(array) = state.array {
            array.finish()?;
        }
        Ok(())
    }
}
