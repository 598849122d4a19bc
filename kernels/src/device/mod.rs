//! The device that a computation runs on, as a value.
//!
//! | text of `--device` | means |
//! |---|---|
//! | `cpu` | this machine's processors |
//! | `cuda`, `cuda:N` | NVIDIA device number N (0 where not given), feature `cuda` |
//! | `metal`, `metal:N` | Apple device number N (0 where not given), feature `metal` |
//! | `auto` | the first of CUDA and Metal that is built in and opens, or else the CPU |
//!
//! # Where a launcher goes
//! The CPU needs none: its kernels are the functions of this crate. The launcher of a
//! kernel text (`text/*.c`) stands in [`cuda`] and in [`metal`], one function
//! `launch_NAME` each, behind the feature of that name, with the same arguments: plain
//! slices in the shapes of the CPU function. The caller matches on [`Device`] once per
//! batch.
//!
//! Validated by the tests below.

pub mod cuda;
pub mod metal;

use std::fmt;
use std::str::FromStr;

/// A place to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// This machine's processors.
    #[default]
    Cpu,
    /// An NVIDIA device.
    Cuda {
        /// Its number, from 0.
        ordinal: usize,
    },
    /// An Apple device.
    Metal {
        /// Its number, from 0.
        ordinal: usize,
    },
}

/// What a user asked for, before it is known what this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The best device that works.
    #[default]
    Auto,
    /// This device or an error.
    Only(Device),
}

/// Why a device can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text names no device.
    #[error(
        "the device `{text}` is not known; use auto, cpu, cuda, metal, or a numbered one such as cuda:1"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// The back-end was left out when this binary was built.
    #[error(
        "device {device}: this binary was built without the feature `{feature}`; \
         build it with `cargo build --release --features {feature}`, or use `--device cpu`"
    )]
    NotBuilt {
        /// The device asked for.
        device: Device,
        /// The cargo feature that brings it.
        feature: &'static str,
    },
    /// The back-end is there, but the device does not open.
    #[error(
        "device {device} does not open: {reason}; check its driver and number, or use `--device cpu`"
    )]
    Open {
        /// The device asked for.
        device: Device,
        /// What the back-end said.
        reason: String,
    },
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda { ordinal } => write!(f, "cuda:{ordinal}"),
            Device::Metal { ordinal } => write!(f, "metal:{ordinal}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { text: text.to_owned() };
        let (kind, ordinal) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, ordinal) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Only(Device::Cpu)),
            ("cuda", n) => Ok(Self::Only(Device::Cuda { ordinal: n.unwrap_or(0) })),
            ("metal", n) => Ok(Self::Only(Device::Metal { ordinal: n.unwrap_or(0) })),
            _ => Err(unknown()),
        }
    }
}

impl DeviceChoice {
    /// The device to use.
    ///
    /// # Errors
    /// A device that was asked for by name and can't be used; `auto` never fails.
    pub fn resolve(self) -> Result<Device, DeviceError> {
        let accelerators = [Device::Cuda { ordinal: 0 }, Device::Metal { ordinal: 0 }];
        match self {
            Self::Auto => Ok(accelerators
                .into_iter()
                .find(|device| device.check().is_ok())
                .unwrap_or(Device::Cpu)),
            Self::Only(device) => device.check().map(|()| device),
        }
    }
}

impl Device {
    /// The device of a text such as `auto` or `cuda:1`, ready to use.
    ///
    /// # Errors
    /// The text names no device, or one that this binary or machine does not have.
    ///
    /// # Example
    /// ```
    /// use microtome_kernels::device::Device;
    /// assert_eq!(Device::parse("cpu").unwrap(), Device::Cpu);
    /// assert!(Device::parse("gpu").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        text.parse::<DeviceChoice>()?.resolve()
    }

    /// Whether the device can be used by this binary on this machine.
    ///
    /// # Errors
    /// [`DeviceError::NotBuilt`] or [`DeviceError::Open`].
    pub fn check(self) -> Result<(), DeviceError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda { ordinal } => cuda::check(ordinal),
            Device::Metal { ordinal } => metal::check(ordinal),
        }
    }

    /// The same device for Candle.
    ///
    /// # Errors
    /// As [`Device::check`].
    #[cfg(feature = "graph")]
    pub fn to_candle(self) -> Result<candle_core::Device, DeviceError> {
        match self {
            Device::Cpu => Ok(candle_core::Device::Cpu),
            Device::Cuda { ordinal } => cuda::candle(ordinal),
            Device::Metal { ordinal } => metal::candle(ordinal),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_round_trip() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        for device in [Device::Cpu, Device::Cuda { ordinal: 3 }, Device::Metal { ordinal: 0 }] {
            let choice: DeviceChoice = device.to_string().parse().unwrap();
            assert_eq!(choice, DeviceChoice::Only(device));
        }
        for text in ["", "CPU", "gpu", "cpu:0", "auto:1", "cuda:", "cuda:-1", "cuda:x"] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error, DeviceError::Unknown { text: text.to_owned() });
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_back_end_says_what_to_do() {
        let error = Device::parse("cuda").unwrap_err();
        assert_eq!(
            error.to_string(),
            "device cuda:0: this binary was built without the feature `cuda`; \
             build it with `cargo build --release --features cuda`, or use `--device cpu`"
        );
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn auto_is_the_cpu_of_a_plain_build() {
        assert_eq!(DeviceChoice::default().resolve().unwrap(), Device::Cpu);
        assert!(matches!(Device::parse("metal:1"), Err(DeviceError::NotBuilt { .. })));
    }

    #[cfg(feature = "graph")]
    #[test]
    fn candle_gets_the_same_device() {
        assert!(Device::Cpu.to_candle().unwrap().is_cpu());
        if let Ok(device) = Device::parse("cuda") {
            assert!(device.to_candle().unwrap().is_cuda());
        }
    }
}
