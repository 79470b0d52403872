//! `inverse-flow inspect --presets`: all named settings, with what is known of each without building it.

use crate::train::{presets, say};
use serde_json::{json, Value};

/// Trainable scalars of every preset; a test compares them with the models.
const PARAMETERS: &[(&str, u64)] = &[
    ("quick/inverse-flow", 86_784),
    ("quick/mnist", 126_332),
    ("quick/mnist-conditional", 182_468),
    ("quick/snf", 84_592),
    ("quick/emerging", 86_880),
    ("quick/finc", 84_624),
    ("quick/cinc", 86_832),
    ("quick/woodbury", 84_308),
    ("quick/butterfly", 87_552),
    ("quick/macow", 67_968),
    ("quick/mintnet", 46_110),
    ("table3/inverse-flow", 1_640_968),
    ("table3/inverse-flow-tuned", 1_380_584),
    ("table3/snf", 10_042_824),
    ("table3/emerging", 11_401_216),
    ("table3/finc", 10_411_432),
    ("table3/mintnet", 805_272),
    ("table6/inverse-flow", 1_760_416),
    ("table6/inverse-flow-tuned", 1_759_456),
    ("table6/snf", 1_681_504),
    ("table6/finc", 2_718_336),
    ("table6/cinc", 2_770_176),
    ("table6/cinc-quad", 33_680_024),
    ("table6/macow", 2_682_796),
    ("table6/macow-16", 2_677_680),
    ("table6/woodbury", 12_485_100),
    ("table6/woodbury-w", 12_624_364),
    ("table6/butterfly", 12_579_072),
    ("table6/mintnet", 12_461_550),
    ("table3/inverse-flow-harness", 564_768),
    ("table3/snf-harness", 556_000),
    ("table3/emerging-harness", 565_152),
    ("table3/finc-harness", 556_128),
    ("table3/cinc-harness", 564_960),
    ("table3/woodbury-harness", 580_896),
    ("table3/butterfly-harness", 592_160),
    ("table3/macow-harness", 902_176),
    ("table3/inverse-flow-harness-wide", 10_052_520),
    ("table3/snf-harness-wide", 10_043_752),
    ("table3/emerging-harness-wide", 10_052_904),
    ("table3/finc-harness-wide", 10_043_880),
    ("table3/cinc-harness-wide", 10_052_712),
    ("table3/woodbury-harness-wide", 10_068_648),
    ("table3/butterfly-harness-wide", 10_079_912),
    ("table3/macow-harness-wide", 10_389_928),
    ("table6/inverse-flow-harness", 1_761_568),
    ("table6/snf-harness", 1_681_504),
    ("table6/emerging-harness", 1_762_720),
    ("table6/finc-harness", 1_683_808),
    ("table6/cinc-harness", 1_762_144),
    ("table6/woodbury-harness", 1_700_896),
    ("table6/butterfly-harness", 1_816_864),
    ("table6/macow-harness", 4_678_432),
    ("table6/inverse-flow-harness-wide", 12_855_736),
    ("table6/snf-harness-wide", 12_775_672),
    ("table6/emerging-harness-wide", 12_856_888),
    ("table6/finc-harness-wide", 12_777_976),
    ("table6/cinc-harness-wide", 12_856_312),
    ("table6/woodbury-harness-wide", 12_795_064),
    ("table6/butterfly-harness-wide", 12_911_032),
    ("table6/macow-harness-wide", 15_772_600),
    ("table7/16", 3_487_040),
    ("table7/32", 3_487_040),
    ("table7/64", 3_487_040),
    ("table7/128", 3_487_040),
    ("table7/256", 3_487_040),
    ("table9/1", 3_487_040),
    ("table9/2", 3_487_040),
    ("table9/4", 3_487_040),
    ("table9/8", 3_487_040),
    ("table9/16", 3_487_040),
    ("table9/32", 3_487_040),
    ("table9/64", 3_487_040),
    ("table9/128", 3_487_040),
    ("table10/2", 3_371_840),
    ("table10/3", 3_487_040),
    ("table10/5", 3_855_680),
    ("table10/7", 4_408_640),
    ("table10/9", 5_145_920),
    ("table10/11", 6_067_520),
];

/// Minutes of whole runs that were timed, and the machine.
const MEASURED: &[(&str, f64, &str)] = &[
    ("quick/inverse-flow", 8.0, "2 cores of a Zen 1 at 2.0 GHz"),
    ("quick/mnist", 12.6, "2 cores of an AMD EPYC (Zen 4)"),
];

/// One line of the list.
struct Row {
    name: String,
    model: &'static str,
    data: String,
    parameters: Option<u64>,
    measured: Option<(f64, &'static str)>,
    about: String,
}

fn rows() -> crate::Result<Vec<Row>> {
    let row = |preset: presets::Preset| {
        let config = presets::by_name(&preset.name)?;
        let known = PARAMETERS.iter().find(|(name, _)| *name == preset.name);
        let timed = MEASURED.iter().find(|(name, ..)| *name == preset.name);
        Ok(Row {
            model: config.model.name(),
            data: config.data.name.to_string(),
            parameters: known.map(|&(_, parameters)| parameters),
            measured: timed.map(|&(_, minutes, machine)| (minutes, machine)),
            about: preset.about,
            name: preset.name,
        })
    };
    presets::all().into_iter().map(row).collect()
}

/// Prints the list, as a table or as one JSON object.
pub fn print(as_json: bool) -> anyhow::Result<()> {
    let rows = rows()?;
    if as_json {
        let listed: Vec<Value> = rows.iter().map(to_json).collect();
        say(&serde_json::to_string(&json!({ "presets": listed }))?);
        return Ok(());
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    say(&format!(
        "{:width$}  {:<8}  {:>10}  {:>7}  model",
        "preset", "data", "parameters", "minutes"
    ));
    for row in &rows {
        let parameters = row.parameters.map_or("-".into(), |count| count.to_string());
        let minutes = row
            .measured
            .map_or("-".into(), |(minutes, _)| format!("{minutes:.0}"));
        say(&format!(
            "{:width$}  {:<8}  {parameters:>10}  {minutes:>7}  {}",
            row.name, row.data, row.about
        ));
    }
    let machines = MEASURED
        .iter()
        .map(|(name, _, machine)| format!("{name} on {machine}"));
    say(&format!(
        "minutes are of a whole run, where one was timed: {}",
        machines.collect::<Vec<_>>().join(", ")
    ));
    Ok(())
}

fn to_json(row: &Row) -> Value {
    json!({
        "name": row.name,
        "model": row.model,
        "data": row.data,
        "params": row.parameters,
        "minutes": row.measured.map(|(minutes, _)| minutes),
        "machine": row.measured.map(|(_, machine)| machine),
        "about": row.about,
    })
}
