//! The drawn digits.

use inverse_flow::data::{load, load_split, DataConfig, DataName, Dataset, Split};
use std::collections::HashSet;
use tch::{Kind, Tensor};

fn limited(limit: usize) -> DataConfig {
    DataConfig {
        limit: Some(limit),
        ..DataConfig::new(DataName::Glyphs)
    }
}

#[test]
fn glyphs_are_a_function_of_seed_split_and_index() {
    let whole = load(&DataConfig::new(DataName::Glyphs), 3).unwrap();
    let sizes = [&whole.train, &whole.val, &whole.test].map(Dataset::len);
    assert_eq!(sizes, [10_000, 1_000, 1_000]);
    let part = load(&limited(17), 3).unwrap();
    for (whole, part) in [
        (&whole.train, &part.train),
        (&whole.val, &part.val),
        (&whole.test, &part.test),
    ] {
        assert_eq!(part, &whole.subset(0..17));
    }
    let pixels = |data: &Dataset| data.pixels().unwrap();
    let other_seed = load(&limited(17), 4).unwrap();
    assert_ne!(pixels(&part.train), pixels(&other_seed.train));
    assert_ne!(pixels(&part.train), pixels(&part.val));
    let images = (0..10_000).map(|i| whole.train.image(i).unwrap());
    let distinct: HashSet<Vec<u8>> = images.collect();
    assert_eq!(distinct.len(), 10_000);
}

#[test]
fn glyphs_are_pinned() {
    let data = load_split(&limited(8), 0, Split::Train).unwrap();
    let crc = {
        let mut crc = flate2::Crc::new();
        crc.update(&data.pixels().unwrap());
        crc.sum()
    };
    assert_eq!(data.labels, [1, 6, 6, 4, 6, 4, 3, 4]);
    assert_eq!(crc, 0x3c2e_1690, "{crc:#010x}");
}

#[test]
fn glyphs_look_like_digits_on_paper() {
    let data = load_split(&DataConfig::new(DataName::Glyphs), 1, Split::Train).unwrap();
    for digit in 0..10 {
        let count = data.labels.iter().filter(|&&label| label == digit).count();
        assert!((850..1150).contains(&count), "digit {digit}: {count}");
    }
    for i in 0..data.len() {
        let image = data.image(i).unwrap();
        let ink = image.iter().filter(|&&pixel| pixel > 128).count();
        assert!(
            (12..300).contains(&ink),
            "image {i} has {ink} pixels of ink"
        );
        assert!(image.iter().max() > Some(&180), "image {i} is pale");
    }
}

/// Digits can be told apart by the nearest mean image of each digit, which knows nothing of strokes.
#[test]
fn glyphs_can_be_recognised() {
    let splits = load(&DataConfig::new(DataName::Glyphs), 1).unwrap();
    let matrix = |data: &Dataset| {
        let all: Vec<usize> = (0..data.len()).collect();
        data.batch(&all)
            .unwrap()
            .to_kind(Kind::Float)
            .flatten(1, -1)
    };
    let labels = |data: &Dataset| {
        let labels: Vec<i64> = data.labels.iter().map(|&label| label.into()).collect();
        Tensor::from_slice(&labels)
    };
    let (train, test) = (matrix(&splits.train), matrix(&splits.test));
    let means: Vec<Tensor> = (0..10)
        .map(|digit| {
            let rows = labels(&splits.train).eq(digit).nonzero().squeeze_dim(1);
            train.index_select(0, &rows).mean_dim(0, false, Kind::Float)
        })
        .collect();
    let means = Tensor::stack(&means, 0);
    let guess = Tensor::cdist(&test, &means, 2.0, None).argmin(1, false);
    let hits = guess.eq_tensor(&labels(&splits.test)).to_kind(Kind::Float);
    let accuracy = hits.mean(Kind::Float).double_value(&[]);
    assert!(accuracy > 0.7, "{accuracy}");
}
