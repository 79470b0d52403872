//! Reports of results that are made up: what stands in a cell, and what may be said of it.

use inverse_flow::reproduce::{
    draw, html, markdown, rows, Authors, Budget, BudgetName, Environment, Pass, Passes, Plan,
    RebuiltStep, Row, RowState, SampleTimes, SeedState, Sound, Status, StepTimes, Table,
    TableReport, Test,
};

fn plan(table: Table, budget: BudgetName) -> Plan {
    Plan {
        table,
        budget: Budget::new(budget, table).unwrap(),
        clamp: false,
        device: "cpu".into(),
        threads: None,
        data_dir: "data".into(),
    }
}

fn sound(ms: f64, images: i64) -> Sound {
    Sound {
        median_ms: ms,
        iqr_ms: 0.1 * ms,
        calls: 50,
        images,
    }
}

/// A finished row with these bits per dimension of its seeds and this sampling time.
fn done(row: &Row, bpd: &[f64], st: f64, complete: bool) -> RowState {
    let seeds = bpd.iter().enumerate().map(|(seed, &bpd)| SeedState {
        seed: seed as u64,
        steps: 100,
        seconds: 60.0,
        val_bpd: Some(bpd),
        complete,
        test: Some(Test {
            images: 10_000,
            bpd: vec![bpd],
            nll_nats: vec![bpd * 784.0 * std::f64::consts::LN_2],
        }),
        problem: None,
    });
    RowState {
        status: Status::Done,
        preset: row.preset.clone(),
        params: Some(1_640_968),
        batch_size: 100,
        data: "mnist".into(),
        own_data: true,
        clamp: Some(0.01),
        step: Some(StepTimes {
            params: 1_640_968,
            ft: Authors::of(&[500.0; 60], 10),
            step: sound(490.0, 100),
            forward: sound(200.0, 100),
            peak_bytes: Some(2_000_000_000),
            memory_is: "resident".into(),
            rebuilt: Some(RebuiltStep {
                step: sound(735.0, 100),
                peak_bytes: Some(500_000_000),
                gradient_difference: 2.5e-6,
            }),
        }),
        seeds: seeds.collect(),
        sampling: Some(SampleTimes {
            st: Authors::of(&[st; 100], 20),
            one: sound(st, 1),
            many: sound(10.0 * st, 100),
            problem: None,
            fresh: false,
        }),
        environment: Environment {
            hardware: "a card".into(),
            commit: "abc".into(),
            facts: vec![("libtorch".into(), "2.11.0".into())],
        },
        ..RowState::default()
    }
}

fn report(table: Table, budget: BudgetName, fill: impl Fn(&Row) -> RowState) -> TableReport {
    let states: Vec<_> = rows(table)
        .into_iter()
        .map(|row| {
            let state = fill(&row);
            (row, state)
        })
        .collect();
    TableReport::of(&plan(table, budget), &states, &Environment::default())
}

#[test]
fn cells_hold_paper_measurement_ratio_verdict_and_basis() {
    let report = report(Table::Table3, BudgetName::Full, |row| {
        match row.name.as_str() {
            "inverse-flow" => done(row, &[1.30, 1.32, 1.34], 26.0, true),
            "snf" => done(row, &[1.50], 99.0, false),
            _ => RowState::default(),
        }
    });
    let cell = |row: &str, key: &str| {
        let row = report.rows.iter().find(|own| own.row == row).unwrap();
        row.cells[key].clone()
    };
    let bpd = cell("inverse-flow", "bpd");
    assert_eq!(
        (bpd.paper, bpd.n, bpd.verdict.as_str()),
        (Some(1.31), 3, "agrees")
    );
    assert!((bpd.spread.unwrap() - 0.02).abs() < 1e-12 && bpd.spread_is == "sd over seeds");
    let st = cell("inverse-flow", "st_ms");
    assert_eq!(
        (st.ratio, st.n, st.verdict.as_str()),
        (Some(0.5), 60, "ratio only")
    );
    assert_eq!(cell("snf", "bpd").verdict, "budget too small");
    assert_eq!(cell("snf", "params_m").verdict, "differs");
    assert_eq!(cell("emerging", "bpd").verdict, "not run");
    // both rows as published: the faster one is the faster one in the paper
    let order = report
        .orders
        .iter()
        .find(|order| order.quantity == "st_ms")
        .unwrap();
    assert_eq!((order.same, order.pairs), (1, 1));
    assert_eq!(
        (report.hardware.as_str(), report.commit.as_str()),
        ("a card", "abc")
    );

    let text = markdown(&report);
    for expected in [
        "| inverse-flow | BPD | 1.31 | 1.32 ± 0.02 | 3 | 1.008× | agrees |",
        "not run",
        "| emerging | all | BPD 1.09; NLL, nats 640; ST, ms 814 ± 6.2; parameters, millions 11.4 | not run |",
        "clamped to ±0.01",
        "10000 images, 1 dequantisation sample",
        "1.205 for FInC Flow",
        "libtorch: 2.11.0",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn a_smoke_run_is_never_compared() {
    let report = report(Table::Table3, BudgetName::Smoke, |row| {
        done(row, &[1.31], 52.0, true)
    });
    // methods that the table leaves out have nothing to be compared with in any run
    let printed = |name: &str| {
        let rows = rows(Table::Table3);
        rows.iter()
            .any(|row| row.name == name && !row.paper.cells.is_empty())
    };
    for row in report.rows.iter().filter(|row| printed(&row.row)) {
        for key in ["bpd", "nll_nats"] {
            assert_eq!(
                row.cells[key].verdict, "not comparable",
                "{} {key}",
                row.row
            );
        }
        assert_eq!(row.cells["st_ms"].verdict, "smoke");
    }
}

#[test]
fn a_report_survives_json_and_says_why_a_row_failed() {
    let report = report(Table::Table7, BudgetName::Full, |row| {
        match row.name.as_str() {
            "256" => RowState {
                status: Status::Failed,
                error: Some("out of memory".into()),
                ..RowState::default()
            },
            _ => RowState::default(),
        }
    });
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<TableReport>(&text).unwrap(), report);
    let failed = report.rows.iter().find(|row| row.row == "256").unwrap();
    assert_eq!(
        (
            failed.status.as_str(),
            failed.cells["ft_ms"].verdict.as_str()
        ),
        ("failed", "failed")
    );
    assert!(markdown(&report).contains("failed: out of memory"));
}

#[test]
fn steps_that_rebuild_their_activations_stand_beside_the_others_and_the_paper() {
    let report = report(Table::Table7, BudgetName::Full, |row| {
        match row.name.as_str() {
            "128" => done(row, &[9.0], 20.0, true),
            _ => RowState::default(),
        }
    });
    let row = report.rows.iter().find(|row| row.row == "128").unwrap();
    let memory = &row.cells["memory_rebuilt_gb"];
    assert_eq!((memory.measured, memory.paper), (Some(0.5), Some(3.822)));
    assert_eq!(row.cells["step_rebuilt_ms"].measured, Some(735.0));
    let expected = "| 128 | 100 | 490 | 735 | 1.5 | 2 (paper 3.822) | 0.5 | 2.5e-6 |";
    let text = markdown(&report);
    assert!(text.contains(expected), "{expected} in\n{text}");
}

#[test]
fn sampling_is_compared_on_one_backbone_and_within_the_spread() {
    let report = report(Table::Table3, BudgetName::ShortCpu, |row| {
        let st = match row.name.as_str() {
            "inverse-flow-harness" => 10.0,
            "snf-harness" => 11.0,
            "finc-harness" => 20.0,
            // of another backbone
            "emerging-harness-wide" => 99.0,
            _ => return RowState::default(),
        };
        done(row, &[1.4], st, false)
    });
    let text = markdown(&report);
    for expected in [
        "| snf-harness | 100 | 110 ± 11 | 100 ± 10 | neither faster nor slower |",
        "| finc-harness | 100 | 200 ± 20 | 100 ± 10 | 2 times faster |",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(!text.contains("| emerging-harness-wide | 100 | 990"));
}

#[test]
fn a_row_that_is_worse_than_no_model_does_not_flatten_the_picture() {
    let report = report(Table::Table3, BudgetName::Full, |row| {
        match row.name.as_str() {
            "inverse-flow" => done(row, &[1.3], 10.0, true),
            "snf" => done(row, &[1e22], 10.0, false),
            _ => RowState::default(),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    draw(&report, &plan(Table::Table3, BudgetName::Full), dir.path()).unwrap();
    let chart = std::fs::read_to_string(dir.path().join("plots/bpd-sampling.svg")).unwrap();
    assert!(chart.contains("1 above 8 bits not shown"));
    assert!(chart.contains("inverse-flow"));
}

#[test]
fn a_row_without_numbers_has_a_reason() {
    let report = report(Table::Table3, BudgetName::ShortCpu, |_| RowState::default());
    for row in &report.rows {
        let reason = match row.mode == "as published" {
            true => "common backbone only".to_owned(),
            false => format!("--row {}", row.row),
        };
        assert!(row.notes[0].contains(&reason), "{:?}", row.notes);
        assert!(row.cells.values().all(|cell| cell.basis.contains(&reason)));
    }
}

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
        assert_eq!(read.passes.of(pass), [state.environment.clone()]);
        assert!(read.has(pass));
    }
    assert_eq!(read.seeds, state.seeds);
    // a row that never ran has none
    let never = RowState::read(dir.path(), "finc").unwrap();
    assert_eq!(never, RowState::default());
}
