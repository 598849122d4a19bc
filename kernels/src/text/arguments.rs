//! Buffer 0 of the kernels: one `#[repr(C)]` struct of 32-bit words each.
//!
//! Sizes and offsets are asserted here and in the texts; `tests/suite/text_parity.rs`
//! also compiles these numbers into the texts. The constructors refuse what
//! 32-bit indices can't count, so a kernel never wraps.
//!
//! Validated by the test below.

use crate::harmonic::pairs;
use crate::philox::ITEM_BITS;
use crate::plan::Plan;
use std::mem::{offset_of, size_of};

/// Why a launch can't be described in the 32-bit numbers of a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// An array would pass the indices.
    #[error(
        "the array {array} of this launch has {length} numbers, but a kernel text counts to {INDEX_LIMIT}; split the batch"
    )]
    TooLarge {
        /// Which array, with its shape.
        array: &'static str,
        /// How long it would be.
        length: u128,
    },
    /// The slots are not whole blocks.
    #[error("{slots} slots are not whole blocks of {lanes}; take the slots of a Plan", lanes = crate::simd::LANES)]
    Blocks {
        /// Number of slots.
        slots: usize,
    },
    /// A series that single precision can't hold.
    #[error(
        "an orthotropic series of {degrees} degrees passes single precision, which holds {ORTHOTROPIC_DEGREES}; evaluate it on the CPU"
    )]
    Degrees {
        /// Number of degrees.
        degrees: usize,
    },
    /// Global items beyond the counter of Philox.
    #[error(
        "items {first} to {first} + {items} pass the {ITEM_BITS} bits that the random counter has for a global item"
    )]
    Items {
        /// First global item.
        first: u64,
        /// How many.
        items: usize,
    },
}

/// Longest array of a launch: leaves room for the grid stride in 32 bits.
pub const INDEX_LIMIT: u32 = i32::MAX as u32;

/// Checks `counts`, multiplied, against [`INDEX_LIMIT`].
fn length(array: &'static str, counts: &[usize]) -> Result<u32, TextError> {
    let length = counts.iter().fold(1u128, |product, &n| product.saturating_mul(n as u128));
    match u32::try_from(length) {
        Ok(n) if n <= INDEX_LIMIT => Ok(n),
        _ => Err(TextError::TooLarge { array, length }),
    }
}

/// Buffer 0 of every kernel of [`super::Text::Signal`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalArguments {
    sets: u32,
    shells: u32,
    slots: u32,
}

const _: () = assert!(
    size_of::<SignalArguments>() == 12
        && offset_of!(SignalArguments, sets) == 0
        && offset_of!(SignalArguments, shells) == 4
        && offset_of!(SignalArguments, slots) == 8
);

impl SignalArguments {
    /// Name, size and field offsets of the struct, for the check against the text.
    pub const LAYOUT: Layout = Layout {
        name: "SignalArguments",
        size: size_of::<Self>(),
        fields: &[
            ("sets", offset_of!(Self, sets)),
            ("shells", offset_of!(Self, shells)),
            ("slots", offset_of!(Self, slots)),
        ],
    };

    /// The sizes of a batch of `sets` parameter sets over a plan.
    ///
    /// # Errors
    /// If an array of a kernel of this text would pass [`INDEX_LIMIT`] numbers.
    pub fn for_plan(plan: &Plan, sets: usize) -> Result<Self, TextError> {
        Self::new(sets, plan.shells(), plan.slots())
    }

    /// The sizes of a batch.
    ///
    /// # Errors
    /// If an array of a kernel of this text would pass [`INDEX_LIMIT`] numbers, or if
    /// the slots are not whole blocks.
    pub fn new(sets: usize, shells: usize, slots: usize) -> Result<Self, TextError> {
        if !slots.is_multiple_of(crate::simd::LANES) {
            return Err(TextError::Blocks { slots });
        }
        length("signal [set, slot]", &[sets, slots])?;
        length("axis_part [set, shell, 3]", &[sets, shells, 3])?;
        length("weighting [6, slot]", &[6, slots])?;
        length("sums [set, 7]", &[sets, 7])?;
        Ok(Self {
            sets: length("set", &[sets])?,
            shells: length("shell", &[shells])?,
            slots: length("slot", &[slots])?,
        })
    }

    /// The struct as the 32-bit words that a kernel reads.
    pub fn words(self) -> [u32; 3] {
        [self.sets, self.shells, self.slots]
    }
}

/// Most degrees of an orthotropic table that single precision holds: beyond, the factors
/// of a harmonic overflow and underflow.
pub const ORTHOTROPIC_DEGREES: usize = 64;

/// Buffer 0 of every kernel of [`super::Text::Series`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesArguments {
    sets: u32,
    shells: u32,
    slots: u32,
    degrees: u32,
    stride: u32,
}

const _: () = assert!(
    size_of::<SeriesArguments>() == 20
        && offset_of!(SeriesArguments, sets) == 0
        && offset_of!(SeriesArguments, shells) == 4
        && offset_of!(SeriesArguments, slots) == 8
        && offset_of!(SeriesArguments, degrees) == 12
        && offset_of!(SeriesArguments, stride) == 16
);

impl SeriesArguments {
    /// Name, size and field offsets of the struct, for the check against the text.
    pub const LAYOUT: Layout = Layout {
        name: "SeriesArguments",
        size: size_of::<Self>(),
        fields: &[
            ("sets", offset_of!(Self, sets)),
            ("shells", offset_of!(Self, shells)),
            ("slots", offset_of!(Self, slots)),
            ("degrees", offset_of!(Self, degrees)),
            ("stride", offset_of!(Self, stride)),
        ],
    };

    /// The sizes of a batch of `sets` zonal series of `stride` coefficients a shell.
    ///
    /// # Errors
    /// If an array of a zonal kernel would pass [`INDEX_LIMIT`] numbers.
    pub fn zonal(plan: &Plan, sets: usize, stride: usize) -> Result<Self, TextError> {
        Self::new([sets, plan.shells(), plan.slots()], stride, stride)
    }

    /// The sizes of a batch of `sets` orthotropic series of `degrees` degrees.
    ///
    /// # Errors
    /// If an array of an orthotropic kernel would pass [`INDEX_LIMIT`] numbers, or if
    /// the degrees pass [`ORTHOTROPIC_DEGREES`].
    pub fn orthotropic(plan: &Plan, sets: usize, degrees: usize) -> Result<Self, TextError> {
        if degrees > ORTHOTROPIC_DEGREES {
            return Err(TextError::Degrees { degrees });
        }
        Self::new([sets, plan.shells(), plan.slots()], degrees, pairs(degrees))
    }

    fn new(
        [sets, shells, slots]: [usize; 3],
        degrees: usize,
        stride: usize,
    ) -> Result<Self, TextError> {
        if !slots.is_multiple_of(crate::simd::LANES) {
            return Err(TextError::Blocks { slots });
        }
        length("signal [set, slot]", &[sets, slots])?;
        length("terms [set, shell]", &[sets, shells])?;
        length("moments [set, shell, stride]", &[sets, shells, stride])?;
        length("direction [3, slot]", &[3, slots])?;
        length("frame [set, 3, 3]", &[sets, 3, 3])?;
        Ok(Self {
            sets: length("set", &[sets])?,
            shells: length("shell", &[shells])?,
            slots: length("slot", &[slots])?,
            degrees: length("degree", &[degrees])?,
            stride: length("stride", &[stride])?,
        })
    }

    /// The struct as the 32-bit words that a kernel reads.
    pub fn words(self) -> [u32; 5] {
        [self.sets, self.shells, self.slots, self.degrees, self.stride]
    }
}

/// Buffer 0 of the kernel of [`super::Text::Philox`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhiloxArguments {
    seed_low: u32,
    seed_high: u32,
    draw: u32,
    step: u32,
    item_low: u32,
    item_high: u32,
    stream: u32,
    items: u32,
}

const _: () = assert!(
    size_of::<PhiloxArguments>() == 32
        && offset_of!(PhiloxArguments, seed_low) == 0
        && offset_of!(PhiloxArguments, seed_high) == 4
        && offset_of!(PhiloxArguments, draw) == 8
        && offset_of!(PhiloxArguments, step) == 12
        && offset_of!(PhiloxArguments, item_low) == 16
        && offset_of!(PhiloxArguments, item_high) == 20
        && offset_of!(PhiloxArguments, stream) == 24
        && offset_of!(PhiloxArguments, items) == 28
);

impl PhiloxArguments {
    /// Name, size and field offsets of the struct, for the check against the text.
    pub const LAYOUT: Layout = Layout {
        name: "PhiloxArguments",
        size: size_of::<Self>(),
        fields: &[
            ("seed_low", offset_of!(Self, seed_low)),
            ("seed_high", offset_of!(Self, seed_high)),
            ("draw", offset_of!(Self, draw)),
            ("step", offset_of!(Self, step)),
            ("item_low", offset_of!(Self, item_low)),
            ("item_high", offset_of!(Self, item_high)),
            ("stream", offset_of!(Self, stream)),
            ("items", offset_of!(Self, items)),
        ],
    };

    /// The words of `items` global items from `first` on.
    ///
    /// # Errors
    /// If the output would pass [`INDEX_LIMIT`] words, or an item its 56 bits.
    pub fn new(
        seed: u64,
        draw: u32,
        step: u32,
        first: u64,
        stream: u8,
        items: usize,
    ) -> Result<Self, TextError> {
        length("words [item, 4]", &[items, 4])?;
        let items_u32 = length("item", &[items])?;
        if first.checked_add(u64::from(items_u32)).is_none_or(|end| end > 1 << ITEM_BITS) {
            return Err(TextError::Items { first, items });
        }
        Ok(Self {
            seed_low: seed as u32,
            seed_high: (seed >> 32) as u32,
            draw,
            step,
            item_low: first as u32,
            item_high: (first >> 32) as u32,
            stream: u32::from(stream),
            items: items_u32,
        })
    }

    /// The struct as the 32-bit words that the kernel reads.
    pub fn words(self) -> [u32; 8] {
        [
            self.seed_low,
            self.seed_high,
            self.draw,
            self.step,
            self.item_low,
            self.item_high,
            self.stream,
            self.items,
        ]
    }
}

/// How Rust lays out an argument struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The name of the struct, in Rust and in the text.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields with their offsets in bytes.
    pub fields: &'static [(&'static str, usize)],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_refuse_what_32_bits_can_not_count() {
        assert_eq!(SignalArguments::new(50, 4, 96).map(SignalArguments::words), Ok([50, 4, 96]));
        let too_large = SignalArguments::new(1 << 20, 4, 1 << 12);
        assert_eq!(
            too_large,
            Err(TextError::TooLarge { array: "signal [set, slot]", length: 1 << 32 })
        );
        assert!(too_large.is_err_and(|e| e.to_string().contains("split the batch")));
        assert!(SignalArguments::new(1 << 10, 1 << 20, 8).is_err());
        assert!(SignalArguments::new(1, 1, 1 << 29).is_err());
        assert!(SignalArguments::new(1 << 29, 0, 0).is_err());
        assert_eq!(SignalArguments::new(1, 1, 9), Err(TextError::Blocks { slots: 9 }));
        let series = |sizes| SeriesArguments::new(sizes, 12, 78);
        assert_eq!(series([50, 4, 96]).map(SeriesArguments::words), Ok([50, 4, 96, 12, 78]));
        assert_eq!(
            series([1 << 20, 1 << 6, 8]),
            Err(TextError::TooLarge { array: "moments [set, shell, stride]", length: 78 << 26 })
        );
        assert!(series([1 << 20, 0, 1 << 12]).is_err());
        assert!(SeriesArguments::new([1 << 20, 1 << 12, 8], 0, 0).is_err());
        assert!(series([1, 1, 1 << 30]).is_err());
        assert!(series([1 << 28, 0, 0]).is_err());
        assert_eq!(series([1, 1, 9]), Err(TextError::Blocks { slots: 9 }));
        let plan = Plan::new(1, &[0], &[[0.0, 0.0, 1.0]], &[1.0]);
        assert!(SeriesArguments::zonal(&plan, 1, 96).is_ok());
        assert!(SeriesArguments::orthotropic(&plan, 1, 64).is_ok());
        assert_eq!(
            SeriesArguments::orthotropic(&plan, 1, 65),
            Err(TextError::Degrees { degrees: 65 })
        );
        assert!(PhiloxArguments::new(0, 0, 0, (1 << 56) - 4, 0, 4).is_ok());
        assert_eq!(
            PhiloxArguments::new(0, 0, 0, (1 << 56) - 4, 0, 5),
            Err(TextError::Items { first: (1 << 56) - 4, items: 5 })
        );
        assert!(PhiloxArguments::new(0, 0, 0, u64::MAX, 0, 1).is_err());
        assert!(PhiloxArguments::new(0, 0, 0, 0, 0, 1 << 29).is_err());
    }
}
