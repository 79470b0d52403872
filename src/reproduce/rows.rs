//! The presets that stand for the rows of a table.

use super::{PaperRow, Table};
use crate::models::Mixing;
use crate::train::presets;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a row is compared on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The method's own backbone and recipe, as published.
    Faithful,
    /// The backbone and recipe that all methods have in common, small coupling net.
    Harness,
    /// The same with the wide coupling net.
    HarnessWide,
    /// A model of the published size with settings of our own.
    Tuned,
}

impl Mode {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 4] = [
        Self::Faithful,
        Self::Harness,
        Self::HarnessWide,
        Self::Tuned,
    ];

    /// The end of the names of its rows.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Faithful => "",
            Self::Harness => "-harness",
            Self::HarnessWide => "-harness-wide",
            Self::Tuned => "-tuned",
        }
    }

    /// The word that stands for all of its rows where rows are chosen.
    fn word(self) -> &'static str {
        match self {
            Self::Faithful => "published",
            Self::Harness => "harness",
            Self::HarnessWide => "harness-wide",
            Self::Tuned => "tuned",
        }
    }

    /// Whether all methods have one backbone there, so that those without a row of the paper's have one too.
    fn is_common(self) -> bool {
        matches!(self, Self::Harness | Self::HarnessWide)
    }

    /// For reports.
    pub fn text(self) -> &'static str {
        match self {
            Self::Faithful => "as published",
            Self::Harness => "common backbone, small coupling",
            Self::HarnessWide => "common backbone, wide coupling",
            Self::Tuned => "the published size, settings of our own",
        }
    }
}

/// A row to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name, for `--row` and as a folder.
    pub name: String,
    /// The configuration it starts from.
    pub preset: String,
    /// What it is compared on.
    pub mode: Mode,
    /// The printed row of the same method or size.
    pub paper: PaperRow,
    /// Measured only when asked for by name.
    pub extra: bool,
}

/// Further settings of a method that its count leaves open.
const ALTERNATIVES: [(&str, &str); 3] = [
    ("cinc-quad", "cinc"),
    ("macow-16", "macow"),
    ("woodbury-w", "woodbury"),
];

/// All rows of a table: those of the paper as published, then on the common backbone, where the methods that the paper's
/// table leaves out come last.
pub fn rows(table: Table) -> Vec<Row> {
    let modes: &[(Mode, bool)] = match table {
        Table::Table3 => &[
            (Mode::Faithful, false),
            (Mode::Harness, false),
            (Mode::HarnessWide, false),
            (Mode::Tuned, true),
        ],
        Table::Table6 => &[
            (Mode::Faithful, false),
            (Mode::Harness, false),
            (Mode::HarnessWide, true),
            (Mode::Tuned, true),
        ],
        Table::Table7 | Table::Table9 | Table::Table10 => &[(Mode::Faithful, false)],
    };
    let known: Vec<_> = presets::all()
        .into_iter()
        .map(|preset| preset.name)
        .collect();
    let mut rows = Vec::new();
    for &(mode, extra) in modes {
        let printed = table.paper();
        let left_out = match mode.is_common() {
            true => unprinted(&printed),
            false => Vec::new(),
        };
        for paper in printed.into_iter().chain(left_out) {
            let extra = extra || paper.cells.is_empty();
            let name = format!("{}{}", paper.name, mode.suffix());
            let preset = format!("{table}/{name}");
            // MintNet has no place on the common backbone
            if known.contains(&preset) {
                rows.push(Row {
                    name,
                    preset,
                    mode,
                    paper,
                    extra,
                });
            }
        }
    }
    for (name, method) in ALTERNATIVES {
        let preset = format!("{table}/{name}");
        let paper = table.paper().into_iter().find(|row| row.name == method);
        if let (true, Some(paper)) = (known.contains(&preset), paper) {
            rows.push(Row {
                name: name.into(),
                preset,
                mode: Mode::Faithful,
                paper,
                extra: true,
            });
        }
    }
    rows
}

/// The methods of the common backbone that are not in `printed`.
fn unprinted(printed: &[PaperRow]) -> Vec<PaperRow> {
    let methods = Mixing::all().into_iter().map(|mixing| mixing.name());
    methods
        .filter(|name| printed.iter().all(|row| row.name != *name))
        .map(|name| PaperRow {
            name,
            cells: Vec::new(),
        })
        .collect()
}

/// The rows called `names`, in the order of the table; without names all but the extra ones. `published`, `harness`,
/// `harness-wide` and `tuned` stand for all rows of a [`Mode`].
///
/// # Errors
/// A name that no row has; the message lists those there are.
pub fn select(table: Table, names: &[String]) -> Result<Vec<Row>> {
    let all = rows(table);
    let is_called = |row: &Row, name: &str| row.name == name || row.mode.word() == name;
    if let Some(wrong) = names
        .iter()
        .find(|name| !all.iter().any(|row| is_called(row, name)))
    {
        let of_a_kind = |mode: &&Mode| all.iter().any(|row| row.mode == **mode);
        let kinds = Mode::ALL.iter().filter(of_a_kind).map(|mode| mode.word());
        let known: Vec<_> = kinds
            .chain(all.iter().map(|row| row.name.as_str()))
            .collect();
        return Err(Error::config(format!(
            "{table} has no row `{wrong}`; there are: {}",
            known.join(", ")
        )));
    }
    let chosen = |row: &Row| match names {
        [] => !row.extra,
        names => names.iter().any(|name| is_called(row, name)),
    };
    Ok(all.into_iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printed_row_is_there_and_every_preset_exists() {
        for table in Table::ALL {
            let rows = rows(table);
            for paper in table.paper() {
                assert!(
                    rows.iter().any(|row| row.name == paper.name),
                    "{table} {}",
                    paper.name
                );
            }
            for row in &rows {
                presets::by_name(&row.preset).unwrap();
            }
        }
        let count = |table| select(table, &[]).unwrap().len();
        // MintNet stands on its own backbone only
        assert_eq!(Table::ALL.map(count), [5 + 4 + 4, 8 + 7, 5, 8, 6]);
    }

    #[test]
    fn rows_are_chosen_by_name_and_an_unknown_one_is_answered_with_all() {
        let names = ["macow-16".to_owned(), "snf".to_owned()];
        let chosen = select(Table::Table6, &names).unwrap();
        let chosen: Vec<_> = chosen.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(chosen, ["snf", "macow-16"]);
        let harness = |table| -> Vec<String> {
            let rows = select(table, &["harness".to_owned()]).unwrap();
            assert!(rows.iter().all(|row| row.mode == Mode::Harness));
            rows.into_iter().map(|row| row.name).collect()
        };
        for table in [Table::Table3, Table::Table6] {
            assert_eq!(harness(table).len(), Mixing::all().len(), "{table}");
        }
        // those that the paper's table has come first
        assert_eq!(harness(Table::Table6).last().unwrap(), "emerging-harness");
        let message = select(Table::Table7, &names).unwrap_err().to_string();
        assert!(message.contains("256"), "{message}");
    }
}
