//! Pictures of runs and reports: grids of images and charts, as PNG and SVG files.

mod axis;
mod backend;
mod canvas;
mod chart;
mod compare;
mod curves;
mod dashes;
mod film;
mod frame;
mod grid;
mod histogram;
mod legend;
mod range;

pub use chart::{chart, Chart, Mark, Marked};
pub use compare::{compare, Compared};
pub use curves::{curves, Series, Style};
pub use film::save_film;
pub use grid::{check_grid, save_grid, save_pairs};
pub use histogram::{histogram, Counted};
