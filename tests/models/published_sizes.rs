//! The networks of MaCow, ButterflyFlow, Woodbury-Glow and MintNet as published: their sizes, and what is refused.

use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::models::*;
use inverse_flow::Result;
use tch::{nn, Kind};

fn count(build: impl FnOnce(&nn::Path) -> Result<MultiScale>) -> i64 {
    let vs = store(Kind::Float);
    build(&vs.root()).unwrap();
    parameter_count(&vs)
}

#[test]
fn parameter_counts_are_those_of_the_tables_and_of_the_published_networks() {
    for (expected, config) in [
        (2_682_796, MaCowConfig::table6()),
        (2_677_680, MaCowConfig::table6_sixteen_steps()),
        (37_197_547, MaCowConfig::published_cifar10()),
        (2_824_608, MaCowConfig::mnist()),
    ] {
        assert_eq!(count(|vs| config.build(vs)), expected, "{config:?}");
    }
    for (expected, config) in [
        (12_579_072, ButterflyConfig::table6()),
        (44_378_016, ButterflyConfig::published_cifar10()),
        (9_812_864, ButterflyConfig::mnist()),
    ] {
        assert_eq!(count(|vs| config.build(vs)), expected, "{config:?}");
    }
    for (expected, config) in [
        (12_485_100, WoodburyConfig::table6()),
        (12_624_364, WoodburyConfig::table6_plain()),
        (11_101_236, WoodburyConfig::published_cifar10()),
        (9_810_724, WoodburyConfig::mnist()),
    ] {
        assert_eq!(count(|vs| config.build(vs)), expected, "{config:?}");
    }
    for (expected, config) in [
        (12_461_550, MintNetConfig::table6()),
        (27_460_944, MintNetConfig::published_cifar10()),
        (805_272, MintNetConfig::mnist()),
    ] {
        assert_eq!(count(|vs| config.build(vs)), expected, "{config:?}");
    }
}

#[test]
fn mixing_layers_have_the_sizes_they_add_to_the_common_backbone() {
    // 16 steps at 12x16x16 and at 24x8x8
    let added = |mixing: &dyn Fn(&nn::Path, [i64; 3]) -> Result<Sequential>| -> i64 {
        [[12, 16, 16], [24, 8, 8]]
            .into_iter()
            .map(|chw| {
                let vs = store(Kind::Float);
                let layers = seeded(|| mixing(&vs.root(), chw)).unwrap();
                assert_eq!(layers.out_shape(chw).unwrap(), chw);
                16 * parameter_count(&vs)
            })
            .sum()
    };
    let base = 1_763_112;
    let actnorm = 16 * 2 * (12 + 24);
    let identity = ButterflyInit::Identity;
    let butterfly = |at: [u32; 2]| {
        added(&|vs, chw| butterfly_mixing(vs, chw, at[usize::from(chw[0] == 24)], identity))
    };
    assert_eq!(base + butterfly([0, 0]), 1_774_632);
    assert_eq!(base + butterfly([1, 0]), 1_872_936);
    assert_eq!(base + butterfly([1, 1]), 1_922_088);
    assert_eq!(
        base + added(&|vs, chw| woodbury_mixing(vs, chw, WoodburyConfig::table6().ranks)),
        1_806_120
    );
    assert_eq!(
        base + added(&|vs, chw| woodbury_mixing(vs, chw, WoodburyConfig::table6_plain().ranks)),
        1_945_384
    );
    let macow = |units| added(&|vs, chw| macow_mixing(vs, chw, units, [2, 3]));
    assert_eq!(base - actnorm + macow(1), 3_279_144);
    assert_eq!(base - actnorm + macow(2), 4_783_656);
}

#[test]
fn impossible_networks_say_what_to_change() {
    let vs = store(Kind::Float);
    let root = vs.root();
    let one_channel = MaCowConfig {
        image: [1, 28, 28],
        ..MaCowConfig::table6()
    };
    let many_splits = MaCowConfig {
        internal: vec![MaCowSplitBlock {
            steps: vec![1, 1],
            factor: 2,
            width: 5,
        }],
        ..MaCowConfig::table6()
    };
    let odd_image = MintNetConfig {
        image: [1, 27, 28],
        ..MintNetConfig::mnist()
    };
    let few_latents = MintNetConfig {
        latent: 15,
        layers: 3,
        ..MintNetConfig::mnist()
    };
    let few_layers = MintNetConfig {
        layers: 2,
        ..MintNetConfig::mnist()
    };
    let many_factors = ButterflyConfig {
        factors: 9,
        ..ButterflyConfig::mnist()
    };
    let mixing = macow_mixing(&root, [3, 8, 8], 1, [2, 3]).map(|_| unreachable!());
    for (built, part) in [
        (one_channel.build(&root), "no bottom block"),
        (many_splits.build(&root), "`factor` above 2"),
        (odd_image.build(&root), "27x28"),
        (few_latents.build(&root), "latent multiplicity"),
        (few_layers.build(&root), "`layers` must be more"),
        (many_factors.build(&root), "use fewer factors"),
        (mixing, "even number of channels"),
    ] {
        let err = built.unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn configurations_are_read_back_from_json_and_refuse_unknown_keys() {
    fn check<T>(config: &T)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut json = serde_json::to_value(config).unwrap();
        assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), config);
        json["unknown"] = 1.into();
        assert!(serde_json::from_value::<T>(json).is_err());
    }
    check(&MaCowConfig::published_cifar10());
    check(&ButterflyConfig::table6());
    check(&WoodburyConfig::table6());
    check(&MintNetConfig::mnist());
}
