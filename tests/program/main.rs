//! The program as a user calls it, in processes of its own, and what only the program is made of: charts and reports.

#[path = "../common/python.rs"]
mod python;

mod run;

mod commands;
mod convert;
mod doctor;
mod files;
mod help;
mod models;
mod plot;
mod reproduce;
mod reproduce_report;
mod resume;
mod signals;
