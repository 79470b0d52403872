//! Reports of results that are made up: what stands in a cell, and what may be said of it.

use crate::made_up::{done, plan, report};
use inverse_flow::reproduce::{
    draw, markdown, rows, BudgetName, RowState, Status, Table, TableReport,
};

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
