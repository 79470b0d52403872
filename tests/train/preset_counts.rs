//! Trainable parameters of the presets against the paper's tables and against formulas.

use inverse_flow::models::parameter_count;
use inverse_flow::train::{build_model, presets};
use tch::Device;

/// Parameters of a layer over so many channels of squares with this side.
type Formula = fn(i64, i64) -> i64;

fn count(preset: &str) -> i64 {
    let config = presets::by_name(preset).unwrap();
    let (_model, vs) = build_model(&config, Device::Cpu).unwrap();
    parameter_count(&vs)
}

#[test]
fn the_rows_of_the_tables_have_the_derived_counts() {
    for (preset, expected) in [
        ("table3/inverse-flow", 1_640_968),
        ("table3/inverse-flow-tuned", 1_380_584),
        ("table3/snf", 10_042_824),
        ("table3/emerging", 11_401_216),
        ("table3/finc", 10_411_432),
        ("table6/inverse-flow", 1_760_416),
        // at most the 1.76 million that the paper prints
        ("table6/inverse-flow-tuned", 1_759_456),
        ("table6/snf", 1_681_504),
        ("table6/finc", 2_718_336),
        ("table6/cinc", 2_770_176),
        ("table6/macow", 2_682_796),
        ("table6/macow-16", 2_677_680),
        ("table6/woodbury", 12_485_100),
        ("table6/woodbury-w", 12_624_364),
        ("table6/butterfly", 12_579_072),
        ("table6/mintnet", 12_461_550),
        ("table3/mintnet", 805_272),
    ] {
        assert_eq!(count(preset), expected, "{preset}");
    }
}

#[test]
fn the_scaling_tables_have_the_counts_that_table_10_prints() {
    // 23,040 k^2 = 32 (12^2 + 24^2) k^2 beside couplings, split and splines
    for (kernel, expected) in [
        (2, 3_371_840),
        (3, 3_487_040),
        (5, 3_855_680),
        (7, 4_408_640),
        (9, 5_145_920),
        (11, 6_067_520),
    ] {
        assert_eq!(count(&format!("table10/{kernel}")), expected, "{kernel}");
    }
    // neither the size of the image nor that of the batch is in it
    for preset in ["table7/16", "table7/256", "table9/1", "table9/128"] {
        assert_eq!(count(preset), 3_487_040, "{preset}");
    }
}

#[test]
fn the_common_backbone_differs_only_in_the_families_own_layers() {
    let small = |c: i64| 9 * c / 2 * 512 + 512 * c;
    let wide = |c: i64| 9 * c / 2 * 512 + 512 + 512 * 512 + 512 + 9 * 512 * c + 2 * c;
    let layers: [(&str, Formula); 8] = [
        ("inverse-flow", |c, _| 9 * c * c),
        ("snf", |c, _| 2 * c * c + c),
        ("emerging", |c, _| 9 * c * c + 2 * c),
        ("finc", |c, _| 9 * c * c / 4),
        ("cinc", |c, _| 9 * c * c + c),
        ("woodbury", |c, side| 2 * 16 * (c + 2 * side)),
        ("butterfly", |c, side| c * c + 2 * c * side * side),
        ("macow", |c, _| {
            let hidden = 4 * c;
            let masked = 6 * c * hidden + 2 * hidden + 2 * c * hidden + 4 * c;
            // two units of two ActNorms each; the ActNorm before the 1x1 convolution stands in for the step's
            2 * (4 * c + 4 * masked) + c * c
        }),
    ];
    // channels and side of the first level, of the second: twice as many, half as long
    for (table, c, side) in [("table3", 4, 14), ("table6", 12, 16)] {
        for (model, layer) in layers {
            let expected = |coupling: &dyn Fn(i64) -> i64| {
                let step = |c, side| coupling(c) + layer(c, side) + 2 * c + 29;
                16 * (step(c, side) + step(2 * c, side / 2)) + coupling(c)
            };
            let preset = format!("{table}/{model}-harness");
            assert_eq!(count(&preset), expected(&small), "{preset}");
            let preset = format!("{preset}-wide");
            assert_eq!(count(&preset), expected(&wide), "{preset}");
        }
    }
}
