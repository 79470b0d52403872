//! Data sets in memory, the order of an epoch, augmentation and configurations.

use inverse_flow::data::{
    load_split, stream, Augmentation, DataConfig, DataName, Dataset, Epoch, Purpose, Split,
};
use std::collections::HashSet;
use tch::Kind;

/// Five 2x3x4 images whose bytes count up.
fn counting() -> Dataset {
    let images = (0..5 * 24).collect();
    Dataset::new("counting", [2, 3, 4], images, vec![7, 8, 9, 0, 1]).unwrap()
}

#[test]
fn an_epoch_resumed_at_any_batch_is_the_tail_of_the_whole() {
    let epoch = Epoch::train(107, 10, 4, 2).unwrap();
    let whole: Vec<&[usize]> = epoch.batches().collect();
    assert_eq!((epoch.len(), whole.len()), (10, 10));
    for start in 0..=11 {
        let again = Epoch::train(107, 10, 4, 2).unwrap();
        let tail: Vec<&[usize]> = again.batches_from(start).collect();
        assert_eq!(tail, whole[start.min(10)..]);
    }
    let seen: HashSet<usize> = whole.concat().into_iter().collect();
    assert_eq!(
        seen.len(),
        100,
        "no image twice, the incomplete batch left out"
    );
}

#[test]
fn evaluation_sees_every_image_once_in_order() {
    let epoch = Epoch::eval(23, 5).unwrap();
    assert_eq!(epoch.len(), 5);
    let batches: Vec<&[usize]> = epoch.batches().collect();
    assert_eq!(batches[4], [20, 21, 22]);
    assert_eq!(batches.concat(), (0..23).collect::<Vec<_>>());
}

#[test]
fn impossible_batch_sizes_say_what_to_do() {
    let large = Epoch::train(64, 100, 0, 0).unwrap_err().to_string();
    assert!(
        large.contains("100") && large.contains("64") && large.contains("--batch-size"),
        "{large}"
    );
    for zero in [Epoch::train(3, 0, 0, 0), Epoch::eval(3, 0)] {
        assert!(zero.unwrap_err().to_string().contains("--batch-size"));
    }
}

#[test]
fn batches_are_tensors_of_the_chosen_images() {
    let data = counting();
    let batch = data.batch(&[3, 0]).unwrap();
    assert_eq!(
        (batch.kind(), batch.size()),
        (Kind::Uint8, vec![2, 2, 3, 4])
    );
    let expected: Vec<u8> = (72..96).chain(0..24).collect();
    assert_eq!(Vec::<u8>::try_from(batch.flatten(0, -1)).unwrap(), expected);
    assert_eq!(data.batch(&[]).unwrap().size(), [0, 2, 3, 4]);
    let outside = data.batch(&[1, 5]).unwrap_err().to_string();
    assert!(
        outside.contains("holds 5") && outside.contains("5 images"),
        "{outside}"
    );
}

#[test]
fn subsets_keep_images_with_their_labels() {
    let data = counting();
    let part = data.subset(1..3);
    assert_eq!((part.len(), &part.labels[..]), (2, &[8, 9][..]));
    assert_eq!(part.image(1).unwrap(), data.image(2).unwrap());
    let outside = part.image(2).unwrap_err().to_string();
    assert!(outside.contains("2 images"), "{outside}");
    assert_eq!(data.subset(4..99).labels, [1]);
    assert!(data.subset(9..99).is_empty());
}

#[test]
fn a_data_set_must_have_as_many_images_as_labels() {
    let err = Dataset::new("x", [1, 2, 2], vec![0; 7], vec![0; 2])
        .unwrap_err()
        .to_string();
    assert!(err.contains("7 bytes") && err.contains("are 8"), "{err}");
    assert!(Dataset::new("x", [1, 0, 2], vec![], vec![]).is_err());
}

/// An image whose pixel values are distinct within a channel, `64 c + 10 y + x`.
fn ramp(h: usize, w: usize) -> Vec<u8> {
    let pixel = |c: usize, y: usize, x: usize| (64 * c + 10 * y + x) as u8;
    let at = |i: usize| pixel(i / (h * w), i / w % h, i % w);
    (0..3 * h * w).map(at).collect()
}

/// The `(flip, dy, dx)` that turn `before` into `after`, by trying all; border pixels follow `border`.
fn explain(
    before: &[u8],
    after: &[u8],
    (h, w): (i64, i64),
    border: fn(i64, i64) -> i64,
) -> Option<(bool, i64, i64)> {
    let moves = |flip: bool, dy: i64, dx: i64| {
        (0..3 * h * w).all(|i| {
            let (c, y, x) = (i / (h * w), i / w % h, i % w);
            let x = if flip { w - 1 - x } else { x };
            let from = (c * h + border(y + dy, h)) * w + border(x + dx, w);
            after[i as usize] == before[from as usize]
        })
    };
    let range = -3..=3;
    [false, true]
        .into_iter()
        .flat_map(|flip| range.clone().map(move |dy| (flip, dy)))
        .flat_map(|(flip, dy)| range.clone().map(move |dx| (flip, dy, dx)))
        .find(|&(flip, dy, dx)| moves(flip, dy, dx))
}

#[test]
fn augmentation_moves_by_what_it_says_and_no_more() {
    let edge = |at: i64, size: i64| at.clamp(0, size - 1);
    let reflect = |at: i64, size: i64| (size - 1 - (size - 1 - at.abs()).abs()).abs();
    type Border = fn(i64, i64) -> i64;
    let cases: [(DataName, Border, i64, usize); 2] = [
        (DataName::Cifar10, edge, 2, 2 * 5 * 5),
        (DataName::Mnist, reflect, 1, 3 * 3),
    ];
    let (h, w) = (5, 6);
    let before = ramp(h, w);
    for (name, border, reach, kinds) in cases {
        let mut seen = HashSet::new();
        for step in 0..600 {
            let mut after = before.clone();
            let mut rng = stream(1, Purpose::Augment, step);
            let chw = [3, h as i64, w as i64];
            Augmentation::of(name)
                .apply(&mut after, chw, &mut rng)
                .unwrap();
            let (flip, dy, dx) = explain(&before, &after, (h as i64, w as i64), border)
                .unwrap_or_else(|| panic!("{name}: not a shift of the original: {after:?}"));
            assert!(dy.abs() <= reach && dx.abs() <= reach, "{name}: {dy} {dx}");
            seen.insert((flip, dy, dx));
        }
        assert_eq!(seen.len(), kinds, "{name}: every change happens");
    }
}

#[test]
fn augmented_images_depend_on_the_stream_alone() {
    let data = load_split(&limited(9), 0, Split::Train).unwrap();
    let batch = |step| {
        let mut rng = stream(1, Purpose::Augment, step);
        let augmentation = Augmentation::of(DataName::Glyphs);
        data.augmented(&[4, 2, 8], augmentation, &mut rng).unwrap()
    };
    assert_eq!(batch(0), batch(0));
    assert_ne!(batch(0), batch(1));
    assert_eq!(batch(0).len(), 3 * 28 * 28);
}

#[test]
fn augmentation_checks_the_size_of_the_image() {
    let mut rng = stream(1, Purpose::Augment, 0);
    let augmentation = Augmentation::of(DataName::Mnist);
    assert!(augmentation
        .apply(&mut [0; 11], [1, 3, 4], &mut rng)
        .is_err());
    // smaller than the shift: nothing to mirror, nothing to fail
    augmentation.apply(&mut [5], [1, 1, 1], &mut rng).unwrap();
}

fn limited(limit: usize) -> DataConfig {
    DataConfig {
        limit: Some(limit),
        ..DataConfig::new(DataName::Glyphs)
    }
}

#[test]
fn names_and_configurations_read_and_write() {
    for name in ["glyphs", "mnist", "cifar10", "noise32"] {
        assert_eq!(name.parse::<DataName>().unwrap().to_string(), name);
    }
    for split in ["train", "val", "test"] {
        assert_eq!(split.parse::<Split>().unwrap().to_string(), split);
    }
    let err = "imagenet".parse::<DataName>().unwrap_err().to_string();
    assert!(err.contains("glyphs, mnist or cifar10"), "{err}");
    for wrong in ["noise", "noise0", "noise-1", "noise5000", "noise3x3"] {
        assert!(wrong.parse::<DataName>().is_err(), "{wrong}");
    }
    let config: DataConfig = serde_json::from_str(r#"{"name":"cifar10","dir":"x"}"#).unwrap();
    assert_eq!((config.limit, config.augment), (None, false));
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<DataConfig>(&text).unwrap(), config);
    assert!(serde_json::from_str::<DataConfig>(r#"{"name":"mnist","limits":3}"#).is_err());
    let none = load_split(&limited(0), 0, Split::Val)
        .unwrap_err()
        .to_string();
    assert!(none.contains("--limit"), "{none}");
}
