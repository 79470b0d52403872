//! What the options and the changes of a configuration do to a model.

use crate::common::*;
use crate::support::*;
use inverse_flow::models::*;
use tch::Kind;

#[test]
fn the_last_spline_can_be_left_out_and_the_mixing_repeated() {
    let config = GlowConfig {
        mix_twice: true,
        last_spline: false,
        ..small([1, 4, 8], 2, 2)
    };
    let vs = store(Kind::Float);
    let layers = glow(&vs, &config).unwrap().layers();
    let of_step = |step: &str| -> Vec<&str> {
        let prefix = format!("{step}.");
        let names = layers
            .iter()
            .filter_map(|(name, _)| name.strip_prefix(&prefix));
        names.collect()
    };
    let mut step = vec![
        "actnorm",
        "inv_conv",
        "spline",
        "again.inv_conv",
        "reverse_channels",
        "coupling",
    ];
    for name in ["levels.0.steps.0", "levels.0.steps.1", "levels.1.steps.0"] {
        assert_eq!(of_step(name), step);
    }
    step.remove(2);
    assert_eq!(of_step("levels.1.steps.1"), step);
}

#[test]
fn changes_reach_the_model_and_another_family_keeps_the_backbone() {
    let before = small([1, 28, 28], 2, 3);
    let changed = |changes: Overrides| -> inverse_flow::Result<GlowConfig> {
        let mut config = ModelConfig::from(before.clone());
        config.change(&changes)?;
        match config {
            ModelConfig::Glow(glow) => Ok(glow),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(changed(Overrides::default()).unwrap(), before);
    let all = changed(Overrides {
        model: Some("finc".into()),
        image: Some([3, 32, 32]),
        levels: Some(3),
        steps: Some(5),
        kernel: Some(2),
        width: Some(40),
    });
    let all = all.unwrap();
    assert_eq!(
        (all.image, all.levels, all.steps, all.split_prior),
        ([3, 32, 32], 3, 5, Some(40))
    );
    let finc = inverse_flow::flows::FincConfig {
        kernel: 2,
        ..Default::default()
    };
    assert_eq!(all.mixing, Mixing::Finc(finc));
    assert_eq!((all.coupling.width, all.coupling.net), (40, Net::Z));
    assert!(all.reverse_channels);
    let model = |name: &str| {
        changed(Overrides {
            model: Some(name.into()),
            ..Default::default()
        })
    };
    assert!(!model("snf").unwrap().reverse_channels);
    // the same family keeps its options
    assert_eq!(model("inverse-flow").unwrap(), before);
    let message = model("glow").unwrap_err().to_string();
    for model in MODELS {
        assert!(message.contains(model), "{message}");
    }
}

#[test]
fn macow_has_its_own_actnorm_in_the_place_of_the_steps() {
    for actnorm in [true, false] {
        let config = GlowConfig {
            actnorm,
            mixing: Mixing::by_name("macow").unwrap(),
            ..small([1, 4, 8], 1, 1)
        };
        let vs = store(Kind::Float);
        let layers = glow(&vs, &config).unwrap().layers();
        let names: Vec<_> = layers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[4], "levels.0.steps.0.units.0.actnorm.0");
        let own = |name: &&&str| **name == "levels.0.steps.0.actnorm";
        assert_eq!(names.iter().filter(own).count(), 1, "{names:?}");
    }
}

#[test]
fn networks_of_their_own_take_the_changes_they_have_a_place_for() {
    fn changed(
        config: impl Into<ModelConfig>,
        changes: Overrides,
    ) -> inverse_flow::Result<ModelConfig> {
        let mut config = config.into();
        config.change(&changes)?;
        Ok(config)
    }
    let all = Overrides {
        image: Some([3, 16, 16]),
        levels: Some(3),
        steps: Some(5),
        width: Some(40),
        ..Default::default()
    };
    let (image, levels, steps, width) = ([3, 16, 16], 3, 5, 40);
    let woodbury = WoodburyConfig {
        image,
        levels,
        steps,
        width,
        ..WoodburyConfig::table6()
    };
    let got = changed(WoodburyConfig::table6(), all.clone()).unwrap();
    assert_eq!(got, woodbury.into());
    let butterfly = ButterflyConfig {
        image,
        levels,
        steps,
        width,
        ..ButterflyConfig::table6()
    };
    let got = changed(ButterflyConfig::table6(), all.clone()).unwrap();
    assert_eq!(got, butterfly.into());

    let without_levels = Overrides {
        levels: None,
        ..all.clone()
    };
    let block = MaCowBlock { steps, width };
    let macow = MaCowConfig {
        image,
        bottom: Some(block.clone()),
        internal: vec![
            MaCowSplitBlock {
                steps: vec![5, 5],
                factor: 4,
                width,
            };
            2
        ],
        top: block,
        ..MaCowConfig::published_cifar10()
    };
    let got = changed(MaCowConfig::published_cifar10(), without_levels).unwrap();
    assert_eq!(got, macow.into());

    let mintnet = |levels, steps| {
        let changes = Overrides {
            levels,
            steps,
            ..Default::default()
        };
        match changed(MintNetConfig::mnist(), changes).unwrap() {
            ModelConfig::MintNet(config) => (config.layers, config.subsamplings),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(mintnet(None, None), (20, 2));
    assert_eq!(mintnet(Some(2), None), (12, 1));
    assert_eq!(mintnet(None, Some(4)), (12, 2));
    assert_eq!(mintnet(Some(1), Some(7)), (7, 0));

    let model = |name: &str| Overrides {
        model: Some(name.into()),
        ..Default::default()
    };
    let with_kernel = Overrides {
        kernel: Some(3),
        ..Default::default()
    };
    let with_levels = Overrides {
        levels: Some(0),
        ..Default::default()
    };
    let own =
        |config: ModelConfig| changed(config.clone(), model(config.name())).unwrap() == config;
    assert!(own(MintNetConfig::mnist().into()) && own(MaCowConfig::mnist().into()));
    let snf = GlowConfig {
        mixing: Mixing::by_name("snf").unwrap(),
        ..small([1, 28, 28], 2, 2)
    };
    for (got, part) in [
        (changed(MintNetConfig::mnist(), all.clone()), "`width`"),
        (changed(MintNetConfig::mnist(), with_kernel.clone()), "3x3"),
        (changed(MintNetConfig::mnist(), with_levels), "`levels`"),
        (changed(MaCowConfig::table6(), all), "`internal`"),
        (
            changed(MaCowConfig::table6(), with_kernel.clone()),
            "two sides",
        ),
        (
            changed(WoodburyConfig::table6(), with_kernel.clone()),
            "no filters",
        ),
        (
            changed(ButterflyConfig::table6(), with_kernel),
            "no filters",
        ),
        (changed(WoodburyConfig::table6(), model("snf")), "quick/snf"),
        (
            changed(WoodburyConfig::table6(), model("glow")),
            "expected one of",
        ),
        (changed(snf, model("mintnet")), "quick/mintnet"),
    ] {
        let message = got.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
