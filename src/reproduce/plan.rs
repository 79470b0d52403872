//! What a result folder was begun with.

use super::folder::{read_json, write_json};
use super::{Budget, Pass, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All that the rows of a result folder have in common; it cannot be changed once there are results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The table.
    pub table: Table,
    /// What a row gets.
    pub budget: Budget,
    /// Whether the published code's clamp of the weights is on.
    pub clamp: bool,
    /// `auto`, `cpu`, `cuda` or `cuda:i`.
    pub device: String,
    /// CPU threads; all cores if `None`.
    pub threads: Option<i32>,
    /// Folder of the data files.
    pub data_dir: PathBuf,
}

impl Plan {
    /// Writes the plan into `dir`, or checks that the one that is there is the same. A pass of its own may run on another
    /// machine: it brings its own device, threads and data folder.
    ///
    /// # Errors
    /// Another plan, a folder with something else in it, or one that cannot be written.
    pub fn settle(&self, dir: &Path, only: Option<Pass>) -> Result<()> {
        if let Some(old) = Self::read(dir)? {
            let expected = match only {
                None => self.clone(),
                Some(_) => Self {
                    device: old.device.clone(),
                    threads: old.threads,
                    data_dir: old.data_dir.clone(),
                    ..self.clone()
                },
            };
            if old != expected {
                let problem = format!(
                    "holds results of {} ({}, {}, {}{}): choose another --out, or give the same settings",
                    old.table,
                    old.budget.text(),
                    old.device,
                    old.data_dir.display(),
                    if old.clamp { ", clamped" } else { "" },
                );
                return Err(Error::file(dir, problem));
            }
            return Ok(());
        }
        let empty = |entries: std::fs::ReadDir| entries.count() == 0;
        if dir.exists() && !std::fs::read_dir(dir).is_ok_and(empty) {
            let problem = "is not empty and holds no results: choose another folder for --out";
            return Err(Error::file(dir, problem));
        }
        write_json(&dir.join("plan.json"), self)
    }

    /// The plan of a folder, if it has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        read_json(&dir.join("plan.json"))
    }

    /// The folder of a row.
    pub fn row_dir(dir: &Path, row: &str) -> PathBuf {
        dir.join("rows").join(row)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BudgetName;
    use super::*;

    fn plan(budget: BudgetName) -> Plan {
        Plan {
            table: Table::Table3,
            budget: Budget::new(budget, Table::Table3).unwrap(),
            clamp: false,
            device: "cpu".into(),
            threads: None,
            data_dir: "data".into(),
        }
    }

    #[test]
    fn a_folder_keeps_its_plan_and_refuses_another() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new/out");
        plan(BudgetName::Smoke).settle(&out, None).unwrap();
        plan(BudgetName::Smoke).settle(&out, None).unwrap();
        for only in [None, Some(Pass::Times)] {
            let full = plan(BudgetName::Full).settle(&out, only);
            let message = full.unwrap_err().to_string();
            assert!(
                message.contains("smoke") && message.contains("--out"),
                "{message}"
            );
        }
        // a pass of its own may have another machine, and leaves the plan as it is
        let elsewhere = Plan {
            device: "cuda:0".into(),
            threads: Some(3),
            data_dir: "elsewhere".into(),
            ..plan(BudgetName::Smoke)
        };
        assert!(elsewhere.settle(&out, None).is_err());
        elsewhere.settle(&out, Some(Pass::Times)).unwrap();
        assert_eq!(Plan::read(&out).unwrap(), Some(plan(BudgetName::Smoke)));
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(plan(BudgetName::Smoke).settle(dir.path(), None).is_err());
    }
}
