//! The TOML file of a simulated substrate.
//!
//! Validated by `tests/cli/simulate.rs`.

use std::path::Path;

use microtome_models::substrate::{Substrate, SubstrateError, SubstrateSpec};

use crate::error::{DatasetError, Result};
use crate::text::read_text;

/// Reads a substrate.
///
/// # Errors
/// A file that cannot be read, and whatever is wrong with the substrate; the message names
/// the file.
pub fn read_substrate(path: &Path) -> Result<Substrate> {
    let wrong = |e: SubstrateError| DatasetError::format(path, e.to_string());
    SubstrateSpec::from_toml(&read_text(path)?).map_err(wrong)?.build().map_err(wrong)
}
