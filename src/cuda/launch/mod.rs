//! Launch plans: which kernel, on what grid, with how much shared memory. Pure functions of the sizes.
//!
//! A plan depends on nothing that varies from run to run, so neither do the results. The caller fills the pointers of
//! `params` in, raises the kernel's shared memory limit where `shared_bytes` exceeds 48 KiB, and skips a launch that
//! [`Launch::is_empty`].

mod apply;
mod grid;
mod solve;
#[cfg(test)]
mod tests;
mod weight_grad;

pub use apply::{apply_plan, ApplyPlan};
pub use grid::Launch;
pub(crate) use grid::{div_up, MAX_GRID_X};
pub use solve::{solve_plan, solve_plans, SolveLimits, SolvePlan};
pub use weight_grad::{weight_grad_plan, WeightGradPlan};
