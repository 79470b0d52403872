//! Results that are made up, for reports of them.

use inverse_flow::reproduce::{
    rows, Authors, Budget, BudgetName, Environment, Plan, RebuiltStep, Row, RowState, SampleTimes,
    SeedState, Sound, Status, StepTimes, Table, TableReport, Test,
};

/// The plan of a folder without settings of its own.
pub fn plan(table: Table, budget: BudgetName) -> Plan {
    Plan {
        table,
        budget: Budget::new(budget, table).unwrap(),
        clamp: false,
        device: "cpu".into(),
        threads: None,
        data_dir: "data".into(),
    }
}

/// A time of the sound protocol.
pub fn sound(ms: f64, images: i64) -> Sound {
    Sound {
        median_ms: ms,
        iqr_ms: 0.1 * ms,
        calls: 50,
        images,
    }
}

/// A finished row with these bits per dimension of its seeds and this sampling time.
pub fn done(row: &Row, bpd: &[f64], st: f64, complete: bool) -> RowState {
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

/// The report of a table whose rows have the states that `fill` gives them.
pub fn report(table: Table, budget: BudgetName, fill: impl Fn(&Row) -> RowState) -> TableReport {
    let states: Vec<_> = rows(table)
        .into_iter()
        .map(|row| {
            let state = fill(&row);
            (row, state)
        })
        .collect();
    TableReport::of(&plan(table, budget), &states, &Environment::default())
}
