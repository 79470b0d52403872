//! The spline on the GPU.

mod plan;
mod run;

pub use plan::{spline_plan, SplineParams, SplinePlan};
pub(crate) use run::SplineOnGpu;
