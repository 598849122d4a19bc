//! Apple devices through Metal, in builds with the feature `metal`.
//!
//! The launchers of the kernel texts belong here, each a function `launch_NAME` with
//! `#[cfg(feature = "metal")]` that takes the slices of the CPU function of that name. The
//! text is `text/NAME.c` after `text/prelude_metal.h`; Metal compiles it on first use, and
//! the launcher keeps what it compiled for each ordinal.

use super::{Device, DeviceError};

/// Whether device `ordinal` opens.
#[cfg(feature = "metal")]
pub(super) fn check(ordinal: usize) -> Result<(), DeviceError> {
    candle(ordinal).map(|_| ())
}

/// Without the feature there is no device.
#[cfg(not(feature = "metal"))]
pub(super) fn check(ordinal: usize) -> Result<(), DeviceError> {
    Err(DeviceError::NotBuilt { device: Device::Metal { ordinal }, feature: "metal" })
}

/// Device `ordinal` for Candle.
#[cfg(feature = "metal")]
pub(super) fn candle(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
    candle_core::Device::new_metal(ordinal).map_err(|error| DeviceError::Open {
        device: Device::Metal { ordinal },
        reason: error.to_string(),
    })
}

/// Without the feature there is no device.
#[cfg(all(feature = "graph", not(feature = "metal")))]
pub(super) fn candle(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
    check(ordinal).map(|()| candle_core::Device::Cpu)
}
