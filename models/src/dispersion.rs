//! Orientation dispersion: an axisymmetric compartment averaged over a
//! distribution of axes.
//!
//! $$E(g) = \int_{S^2} p(n\,|\,\mu)\,E_0(g\cdot n)\,dn$$
//!
//! On the sphere this is a convolution, so each Legendre coefficient of the
//! compartment is multiplied by one of the distribution; a distribution that is
//! not axisymmetric spreads each over the orders of its degree.

mod bingham;
mod concentration;
mod watson;

pub use bingham::BinghamDispersed;
pub use concentration::{concentration, dispersion_index, dispersion_index_slope};
pub use watson::WatsonDispersed;
