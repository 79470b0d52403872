//! Groups of processes: each rank is this test program, started once more for the one test.

#[path = "../common/process.rs"]
mod process;

mod ranks;

mod exchange;
mod faults;
mod meeting;
