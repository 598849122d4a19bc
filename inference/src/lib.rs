//! The searches of microtome: Levenberg-Marquardt on argmin, NUTS on nuts-rs,
//! diagnostics, Arrow record batches in and out.

pub mod dense;
pub mod diagnostics;
pub mod fit;
pub mod sample;
