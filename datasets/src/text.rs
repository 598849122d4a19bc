//! Text files of numbers.

use std::path::Path;

use crate::error::{DatasetError, Result};

/// The whole of a text file, without a byte-order mark.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(DatasetError::io(path, "read"))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        DatasetError::format(path, "is not a text file (it holds bytes that are not UTF-8)")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The numbers of one line, separated by white space.
pub(crate) fn numbers(path: &Path, line: u64, text: &str) -> Result<Vec<f64>> {
    text.split_whitespace()
        .map(|word| {
            word.parse().map_err(|_| {
                DatasetError::line(path, line, format!("`{}` is not a number", shorten(word)))
            })
        })
        .collect()
}

/// At most 40 characters of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 {
        return text.to_owned();
    }
    text.chars().take(40).chain("...".chars()).collect()
}
