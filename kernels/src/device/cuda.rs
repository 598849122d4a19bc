//! NVIDIA devices through CUDA, in builds with the feature `cuda`.
//!
//! The launchers of the kernel texts belong here, each a function `launch_NAME` with
//! `#[cfg(feature = "cuda")]` that takes the slices of the CPU function of that name. The
//! text is `text/NAME.c` after `text/prelude_cuda.h`; NVRTC compiles it on first use, and
//! the launcher keeps what it compiled for each ordinal.

use super::{Device, DeviceError};

/// Whether device `ordinal` opens.
#[cfg(feature = "cuda")]
pub(super) fn check(ordinal: usize) -> Result<(), DeviceError> {
    candle(ordinal).map(|_| ())
}

/// Without the feature there is no device.
#[cfg(not(feature = "cuda"))]
pub(super) fn check(ordinal: usize) -> Result<(), DeviceError> {
    Err(DeviceError::NotBuilt { device: Device::Cuda { ordinal }, feature: "cuda" })
}

/// Device `ordinal` for Candle.
#[cfg(feature = "cuda")]
pub(super) fn candle(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
    candle_core::Device::new_cuda(ordinal).map_err(|error| DeviceError::Open {
        device: Device::Cuda { ordinal },
        reason: error.to_string(),
    })
}

/// Without the feature there is no device.
#[cfg(all(feature = "graph", not(feature = "cuda")))]
pub(super) fn candle(ordinal: usize) -> Result<candle_core::Device, DeviceError> {
    check(ordinal).map(|()| candle_core::Device::Cpu)
}
