//! One file a compartment.

mod ball;
mod capped_cylinder_callaghan;
mod capped_cylinder_sgp;
mod cylinder_callaghan;
mod cylinder_gpd;
mod cylinder_sgp;
mod dot;
mod plane_callaghan;
mod plane_sgp;
mod sphere_callaghan;
mod sphere_gpd;
mod sphere_sgp;
mod stick;
mod temporal_zeppelin;
mod tensor;
mod zeppelin;

pub use ball::Ball;
pub use capped_cylinder_callaghan::CappedCylinderCallaghan;
pub use capped_cylinder_sgp::CappedCylinderSgp;
pub use cylinder_callaghan::CylinderCallaghan;
pub use cylinder_gpd::CylinderGpd;
pub use cylinder_sgp::CylinderSgp;
pub use dot::Dot;
pub use plane_callaghan::PlaneCallaghan;
pub use plane_sgp::PlaneSgp;
pub use sphere_callaghan::SphereCallaghan;
pub use sphere_gpd::SphereGpd;
pub use sphere_sgp::SphereSgp;
pub use stick::Stick;
pub use temporal_zeppelin::TemporalZeppelin;
pub use tensor::DiffusionTensor;
pub use zeppelin::Zeppelin;
