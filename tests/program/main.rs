//! The program as a user calls it, in processes of its own, and what only the program is made of: charts and reports.

#[path = "../common/device.rs"]
mod device;
#[path = "../common/gpu.rs"]
mod gpu;
#[path = "../common/pictures.rs"]
mod pictures;
#[path = "../common/python.rs"]
mod python;
#[path = "../common/skip.rs"]
mod skip;

mod altered;
mod folder;
mod made_up;
mod run;

mod averages;
mod bits;
mod changes;
mod commands;
mod compare;
mod conditional;
mod convert;
mod devices;
mod doctor;
mod evaluate;
mod files;
mod help;
mod init_from;
mod latents;
mod limits;
mod lost_values;
mod models;
mod orders;
mod own_pictures;
mod plot;
mod precision;
mod reproduce;
mod reproduce_passes;
mod reproduce_report;
mod resume;
mod rows;
mod sampling;
mod score;
mod signals;
mod steering;
