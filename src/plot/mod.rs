//! Pictures of a run: grids of images and curves of its metrics, as PNG files.

mod canvas;
mod curves;
mod grid;
mod range;

pub use curves::{curves, Series, Style};
pub use grid::{save_grid, save_pairs};
