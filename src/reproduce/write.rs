//! The files of a report.

use super::folder::{write_json, write_text};
use super::report::TableReport;
use super::{html, markdown};
use crate::Result;
use std::path::Path;

impl TableReport {
    /// Writes `report.json` and `report.md`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write_numbers(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join("report.json"), self)?;
        write_text(&dir.join("report.md"), &markdown(self))
    }

    /// Writes `report.html` with the pictures that are in the folder.
    ///
    /// # Errors
    /// A picture cannot be read, or the page not be written.
    pub fn write_page(&self, dir: &Path) -> Result<()> {
        write_text(&dir.join("report.html"), &html(self, dir)?)
    }
}
