//! The device text of the kernels and what a launcher needs to run it.
//!
//! Each text in `text/` is one C-like file, compiled as it stands by NVRTC, by
//! Metal at run time and by the host C compiler in tests, after one of three
//! preludes; `text/README.md` has the macros. [`source`] joins prelude and text:
//! that string is the seam at which the launchers of [`crate::device`] start.
//! Those come later; today only the host executes the texts, in tests, and no
//! result of this library comes from them.
//!
//! A launcher passes the argument struct as buffer 0 and the arrays, in the
//! shapes that the text documents, as buffers 1 and following.
//!
//! Validated by `tests/suite/text_parity.rs` (the text executed on the host against the
//! Rust loops, and its shape as Metal and as CUDA) and by the tests below.

mod arguments;

pub use arguments::{
    INDEX_LIMIT, Layout, ORTHOTROPIC_DEGREES, PhiloxArguments, SeriesArguments, SignalArguments,
    TextError,
};

use crate::plan::Plan;

/// The compiler that reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A C99 compiler of this machine, in tests.
    Host,
    /// NVRTC.
    Cuda,
    /// The run-time compiler of Metal.
    Metal,
}

impl Backend {
    /// Every back-end.
    pub const ALL: [Backend; 3] = [Backend::Host, Backend::Cuda, Backend::Metal];

    /// The macros that turn a text into the language of this back-end.
    pub fn prelude(self) -> &'static str {
        match self {
            Backend::Host => include_str!("../text/prelude_host.h"),
            Backend::Cuda => include_str!("../text/prelude_cuda.h"),
            Backend::Metal => include_str!("../text/prelude_metal.h"),
        }
    }
}

/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// Signals in closed form and their pullbacks: the twin of
    /// [`crate::family::isotropic`], [`quadratic`](crate::family::quadratic) and
    /// [`tensor`](crate::family::tensor).
    Signal,
    /// Signals as series and their pullbacks: the twin of [`crate::family::zonal`] and
    /// [`orthotropic`](crate::family::orthotropic).
    Series,
    /// Random words: the twin of [`crate::philox`].
    Philox,
}

impl Text {
    /// Every text.
    pub const ALL: [Text; 3] = [Text::Signal, Text::Series, Text::Philox];

    /// The text without a prelude.
    pub fn body(self) -> &'static str {
        match self {
            Text::Signal => include_str!("../text/signal.c"),
            Text::Series => include_str!("../text/series.c"),
            Text::Philox => include_str!("../text/philox.c"),
        }
    }

    /// The kernels that the text defines, in its order.
    pub fn kernels(self) -> &'static [&'static str] {
        match self {
            Text::Signal => &[
                "isotropic_signal",
                "isotropic_pullback",
                "quadratic_signal",
                "quadratic_pullback",
                "quadratic_axis",
                "tensor_signal",
                "tensor_pullback",
            ],
            Text::Series => &[
                "zonal_signal",
                "zonal_pullback",
                "zonal_axis",
                "orthotropic_signal",
                "orthotropic_pullback",
                "orthotropic_frame",
            ],
            Text::Philox => &["philox_words"],
        }
    }
}

/// The whole source that a compiler of `backend` gets.
///
/// # Example
/// ```
/// use microtome_kernels::text::{Backend, Text, source};
/// assert!(source(Backend::Cuda, Text::Signal).contains("KERNEL(quadratic_signal,"));
/// ```
pub fn source(backend: Backend, text: Text) -> String {
    format!("{}\n{}", backend.prelude(), text.body())
}

/// The input `shell_of` of [`Text::Signal`] and [`Text::Series`]: the shell of every slot (0 in
/// padding, where nothing reads it but the signal, which no one reads).
pub fn shell_of(plan: &Plan) -> Vec<u32> {
    let mut shells = vec![0; plan.slots()];
    for (s, range) in plan.shell_slots().iter().enumerate() {
        shells[range.clone()].fill(s as u32);
    }
    shells
}

/// The input `shell_slots` of [`Text::Signal`] and [`Text::Series`]: the first slot of every
/// shell and the slot after its last.
pub fn shell_slots(plan: &Plan) -> Vec<u32> {
    plan.shell_slots().iter().flat_map(|r| [r.start as u32, r.end as u32]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The macros that a prelude defines.
    fn macros(prelude: &str) -> BTreeSet<&str> {
        prelude
            .lines()
            .filter_map(|line| line.strip_prefix("#define "))
            .map(|rest| rest.split(['(', ' ']).next().unwrap_or(rest))
            .collect()
    }

    #[test]
    fn preludes_define_the_documented_macros() {
        let table: BTreeSet<&str> = include_str!("../text/README.md")
            .lines()
            .skip_while(|line| *line != "## The macros")
            .take_while(|line| *line != "## Rules of a text")
            .filter_map(|line| line.strip_prefix("| `"))
            .flat_map(|row| row.split(" | ").next().unwrap_or(row).split('`'))
            .map(|name| name.split('(').next().unwrap_or(name).trim())
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(table.len(), 27);
        for backend in Backend::ALL {
            assert_eq!(macros(backend.prelude()), table, "{backend:?}");
        }
    }

    #[test]
    fn kernels_are_those_of_the_text() {
        for text in Text::ALL {
            let found: Vec<&str> = text
                .body()
                .lines()
                .filter_map(|line| line.strip_prefix("KERNEL(")?.strip_suffix(','))
                .collect();
            assert_eq!(found, text.kernels());
        }
    }

    #[test]
    fn shells_of_slots_follow_the_plan() {
        // Shell 1 has no measurement; shell 0 is packed behind shell 2.
        let shell_of_measurement = [0, 2, 2, 2, 2, 2, 2, 2, 2, 2];
        let plan = Plan::new(3, &shell_of_measurement, &[[0.0, 0.0, 1.0]; 10], &[1.0; 10]);
        let mut expected = [0; 24];
        expected[..9].fill(2);
        assert_eq!(shell_of(&plan), expected);
        assert_eq!(shell_slots(&plan), [16, 17, 17, 17, 0, 9]);
    }
}
