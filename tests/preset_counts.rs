//! Trainable parameters of the presets against the paper's tables and against formulas.

use inverse_flow::models::parameter_count;
use inverse_flow::train::{build_model, presets};
use tch::Device;

/// Parameters of a layer over so many channels.
type Formula = fn(i64) -> i64;

fn count(preset: &str) -> i64 {
    let config = presets::by_name(preset).unwrap();
    let (_model, vs) = build_model(&config, Device::Cpu).unwrap();
    parameter_count(&vs)
}

#[test]
fn the_rows_of_the_tables_have_the_derived_counts() {
    for (preset, expected) in [
        ("table3/inverse-flow", 1_640_968),
        ("table3/snf", 10_042_824),
        ("table3/emerging", 11_401_216),
        ("table3/finc", 10_411_432),
        ("table6/inverse-flow", 1_760_416),
        ("table6/snf", 1_681_504),
        ("table6/finc", 2_718_336),
        ("table6/cinc", 2_770_176),
    ] {
        assert_eq!(count(preset), expected, "{preset}");
    }
}

#[test]
fn the_common_backbone_differs_only_in_the_families_own_layers() {
    let small = |c: i64| 9 * c / 2 * 512 + 512 * c;
    let wide = |c: i64| 9 * c / 2 * 512 + 512 + 512 * 512 + 512 + 9 * 512 * c + 2 * c;
    let layers: [(&str, Formula); 5] = [
        ("inverse-flow", |c| 9 * c * c),
        ("snf", |c| 2 * c * c + c),
        ("emerging", |c| 9 * c * c + 2 * c),
        ("finc", |c| 9 * c * c / 4),
        ("cinc", |c| 9 * c * c + c),
    ];
    // channels of the two levels: 4 and 8 of MNIST, 12 and 24 of CIFAR-10
    for (table, c) in [("table3", 4), ("table6", 12)] {
        for (model, layer) in layers {
            let expected = |coupling: &dyn Fn(i64) -> i64| {
                let step = |c| coupling(c) + layer(c) + 2 * c + 29;
                16 * (step(c) + step(2 * c)) + coupling(c)
            };
            let preset = format!("{table}/{model}-harness");
            assert_eq!(count(&preset), expected(&small), "{preset}");
            let preset = format!("{preset}-wide");
            assert_eq!(count(&preset), expected(&wide), "{preset}");
        }
    }
}
