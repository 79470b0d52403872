//! Reports of rows whose likelihoods and times are of different passes, and of rows that the paper does not have.

use crate::made_up::{done, report};
use inverse_flow::reproduce::{
    html, markdown, rows, BudgetName, Environment, Pass, Passes, RowState, Status, Table,
    TableReport,
};

#[test]
fn methods_that_the_paper_leaves_out_stand_there_without_a_printed_number() {
    let report = report(Table::Table3, BudgetName::Full, |row| {
        match row.name.as_str() {
            "butterfly-harness" => done(row, &[1.40, 1.42], 20.0, false),
            "snf-harness" => done(row, &[1.5], 30.0, false),
            _ => RowState::default(),
        }
    });
    let row = |name: &str| report.rows.iter().find(|row| row.row == name).unwrap();
    let cells = &row("butterfly-harness").cells;
    for key in ["bpd", "nll_nats", "st_ms", "ft_ms", "params_m", "memory_gb"] {
        let cell = &cells[key];
        assert_eq!((cell.paper, cell.ratio), (None, None), "{key}");
        assert!(cell.measured.is_some(), "{key}");
        assert_eq!(cell.verdict, "not in the paper", "{key}");
    }
    assert_eq!((cells["bpd"].n, row("snf-harness").cells["bpd"].n), (2, 1));
    assert_eq!(row("snf-harness").cells["bpd"].paper, Some(1.28));
    let text = markdown(&report);
    let line =
        "| butterfly-harness | BPD | not in the paper | 1.41 ± 0.01414 | 2 |  | not in the paper |";
    assert!(text.contains(line), "{line} in\n{text}");
    assert!(!text.contains("| snf-harness | BPD | not in the paper"));
    let dir = tempfile::tempdir().unwrap();
    let page = html(&report, dir.path()).unwrap();
    assert!(page.contains("butterfly-harness") && page.contains("not in the paper"));
    // a filter's size has no printed likelihood, and a measured one all the same
    let report = report_of_table_10();
    let bpd = &report.rows[0].cells["bpd"];
    assert_eq!((bpd.paper, bpd.measured), (None, Some(4.5)));
    assert!(markdown(&report).contains("| 2 | BPD |  | 4.5 | 1 |"));
}

fn report_of_table_10() -> TableReport {
    report(Table::Table10, BudgetName::Full, |row| {
        match row.name.as_str() {
            "2" => done(row, &[4.5], 20.0, false),
            _ => RowState::default(),
        }
    })
}

fn environment(commit: &str) -> Environment {
    Environment {
        hardware: format!("the machine of {commit}"),
        commit: commit.into(),
        facts: Vec::new(),
    }
}

#[test]
fn numbers_say_which_pass_they_are_from_and_what_it_ran_on() {
    let report = report(Table::Table3, BudgetName::Full, |row| {
        let state = done(row, &[1.3], 26.0, true);
        match row.name.as_str() {
            "inverse-flow" => RowState {
                passes: Passes {
                    likelihood: vec![environment("aaa"), environment("bbb")],
                    times: vec![environment("ccc")],
                },
                ..state
            },
            // both in one
            "snf" => RowState {
                passes: Passes {
                    likelihood: vec![environment("ddd")],
                    times: vec![environment("ddd")],
                },
                ..state
            },
            "finc" => RowState {
                status: Status::OnePass,
                step: None,
                sampling: None,
                passes: Passes {
                    likelihood: vec![environment("eee")],
                    times: Vec::new(),
                },
                ..state
            },
            "emerging" => {
                let mut state = state;
                state.sampling.as_mut().unwrap().fresh = true;
                state.seeds.clear();
                state.status = Status::OnePass;
                state.passes.times = vec![environment("fff")];
                state
            }
            _ => RowState::default(),
        }
    });
    let row = |name: &str| report.rows.iter().find(|row| row.row == name).unwrap();
    let cells = &row("inverse-flow").cells;
    for (key, pass) in [
        ("bpd", "likelihood"),
        ("nll_nats", "likelihood"),
        ("st_ms", "times"),
        ("memory_gb", "times"),
        ("sample_100_ms", "times"),
        ("params_m", ""),
    ] {
        assert_eq!(cells[key].pass, pass, "{key}");
    }
    assert_eq!(row("inverse-flow").passes.likelihood.len(), 2);
    let missing = &row("finc").cells["st_ms"];
    assert_eq!(
        (missing.verdict.as_str(), missing.pass.as_str()),
        ("not measured", "")
    );
    assert!(missing.basis.contains("--only times"), "{}", missing.basis);
    let missing = &row("emerging").cells["bpd"];
    assert!(missing.basis.contains("--only likelihood"));
    assert_eq!(
        report.commit.matches("bbb").count(),
        1,
        "every one once: {}",
        report.commit
    );

    let text = markdown(&report);
    for expected in [
        "| inverse-flow | likelihood | aaa | the machine of aaa |",
        "| inverse-flow | likelihood | bbb | the machine of bbb |",
        "| inverse-flow | times | ccc | the machine of ccc |",
        "| finc | likelihood | eee | the machine of eee |",
        "those of a freshly initialised model",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(!text.contains("| snf | likelihood |"));
    let dir = tempfile::tempdir().unwrap();
    assert!(html(&report, dir.path())
        .unwrap()
        .contains("the machine of ccc"));
}

#[test]
fn a_state_of_a_program_without_passes_is_read_as_both_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let row = rows(Table::Table3).remove(0);
    let state = done(&row, &[1.3], 26.0, true);
    let mut text = serde_json::to_value(&state).unwrap();
    text.as_object_mut().unwrap().remove("passes").unwrap();
    let sampling = text["sampling"].as_object_mut().unwrap();
    sampling.remove("fresh").unwrap();
    let path = dir.path().join("rows").join(&row.name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("state.json"), text.to_string()).unwrap();
    let read = RowState::read(dir.path(), &row.name).unwrap();
    for pass in Pass::ALL {
        assert_eq!(
            read.passes.of(pass),
            std::slice::from_ref(&state.environment)
        );
        assert!(read.has(pass));
    }
    assert_eq!(read.seeds, state.seeds);
    // a row that never ran has none
    let never = RowState::read(dir.path(), "finc").unwrap();
    assert_eq!(never, RowState::default());
}
