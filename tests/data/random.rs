//! Random streams, noise and permutations.

use inverse_flow::data::{
    evaluation_noise, permutation, standard_normal, standard_normal_after, stream, uniform_below,
    uniform_noise, Purpose,
};
use rand_chacha::rand_core::RngCore;
use std::collections::HashSet;
use tch::{Device, Kind, Tensor};

#[test]
fn streams_are_pinned() {
    // computed by an independent ChaCha8 (8 rounds, 64-bit counter and nonce 0) with the documented key
    let words = |seed, purpose, index| {
        let mut rng = stream(seed, purpose, index);
        [rng.next_u32(), rng.next_u32(), rng.next_u32()]
    };
    assert_eq!(
        words(0, Purpose::Shuffle, 0),
        [0x287f_2f12, 0x5c72_73cb, 0x7cb4_73f0]
    );
    assert_eq!(
        words(u64::MAX, Purpose::Probe, 1 << 40),
        [0x9a9d_8309, 0x1eba_6767, 0xa0eb_84fd]
    );
}

#[test]
fn seed_purpose_and_index_all_matter() {
    let first = |seed, purpose, index| stream(seed, purpose, index).next_u64();
    let values: HashSet<u64> = [
        first(1, Purpose::Shuffle, 0),
        first(2, Purpose::Shuffle, 0),
        first(1, Purpose::Noise, 0),
        first(1, Purpose::EvalNoise, 0),
        first(1, Purpose::Shuffle, 1),
        first(1, Purpose::Shuffle, 2),
    ]
    .into();
    assert_eq!(values.len(), 6);
}

#[test]
fn integers_below_a_bound_are_uniform() {
    let mut rng = stream(3, Purpose::Probe, 0);
    let mut counts = [0u32; 7];
    for _ in 0..70_000 {
        counts[uniform_below(&mut rng, 7) as usize] += 1;
    }
    // standard deviation of a count: sqrt(70000 * 6/49) = 93
    assert!(
        counts.iter().all(|&n| n.abs_diff(10_000) < 500),
        "{counts:?}"
    );
    assert_eq!(uniform_below(&mut rng, 1), 0);
    assert_eq!(uniform_below(&mut rng, 0), 0);
}

#[test]
fn uniform_noise_is_on_the_float32_grid_and_equal_in_both_kinds() {
    let noise = |kind| {
        let mut rng = stream(5, Purpose::Noise, 9);
        uniform_noise(&mut rng, &[13, 2, 41, 43], kind, Device::Cpu).unwrap()
    };
    let (single, double) = (noise(Kind::Float), noise(Kind::Double));
    assert_eq!((single.kind(), double.kind()), (Kind::Float, Kind::Double));
    assert_eq!(single.size(), [13, 2, 41, 43]);
    assert_eq!(single.to_kind(Kind::Double), double);
    let steps = &double * f64::from(1 << 24);
    assert_eq!(steps.floor(), steps);
    assert!(double.min().double_value(&[]) >= 0.0);
    assert!(double.max().double_value(&[]) <= 1.0 - 2f64.powi(-24));
    // 45838 numbers: the mean has standard deviation 0.00135, the variance 0.00035
    let mean = double.mean(Kind::Double).double_value(&[]);
    let variance = double.var(true).double_value(&[]);
    assert!((mean - 0.5).abs() < 0.007, "{mean}");
    assert!((variance - 1.0 / 12.0).abs() < 0.002, "{variance}");
}

#[test]
fn normal_numbers_have_the_moments_of_a_normal() {
    let mut rng = stream(5, Purpose::Latent, 0);
    let z = standard_normal(&mut rng, &[3, 33_333], Kind::Double, Device::Cpu).unwrap();
    assert_eq!(z.size(), [3, 33_333]);
    let moment = |p| z.pow_tensor_scalar(p).mean(Kind::Double).double_value(&[]);
    for (p, expected, tolerance) in [
        (1, 0.0, 0.02),
        (2, 1.0, 0.03),
        (3, 0.0, 0.07),
        (4, 3.0, 0.2),
    ] {
        let found = moment(p);
        assert!((found - expected).abs() < tolerance, "moment {p}: {found}");
    }
    // within one standard deviation: 68.27%
    let share = z
        .abs()
        .le(1.0)
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[]);
    assert!((share - 0.6827).abs() < 0.01, "{share}");
}

#[test]
fn numbers_further_on_in_a_stream_are_those_of_the_whole_stream() {
    let new = || stream(3, Purpose::Latent, 1);
    let all = standard_normal(&mut new(), &[101], Kind::Float, Device::Cpu).unwrap();
    for (skipped, count) in [
        (0, 101),
        (1, 100),
        (2, 3),
        (15, 7),
        (16, 0),
        (64, 37),
        (100, 1),
    ] {
        let some =
            standard_normal_after(new(), skipped, &[count], Kind::Float, Device::Cpu).unwrap();
        assert_eq!(some, all.narrow(0, skipped as i64, count), "{skipped}");
    }
    // far beyond what could be drawn before
    let far = standard_normal_after(new(), 1 << 40, &[2], Kind::Float, Device::Cpu).unwrap();
    assert_ne!(far, all.narrow(0, 0, 2));
}

#[test]
fn normal_numbers_are_pinned() {
    let mut rng = stream(42, Purpose::Latent, 7);
    let z = standard_normal(&mut rng, &[3], Kind::Float, Device::Cpu).unwrap();
    assert_eq!(
        Vec::<f32>::try_from(z).unwrap(),
        [-1.829_720_6, -0.831_891, 0.105_454_65]
    );
}

/// tests/python/test_evaluation.py holds the lines of docs/evaluation.md, which know nothing of this crate, to the same numbers.
#[test]
fn the_noise_of_an_image_in_evaluation_is_pinned() {
    let words = |noise: &Tensor, places: &[i64]| -> Vec<i64> {
        let words = noise.view(-1) * f64::from(1 << 24);
        let places = places.iter();
        places.map(|&i| words.int64_value(&[i])).collect()
    };
    let noise = evaluation_noise(7, 12..13, 0, [3, 5, 4]).unwrap();
    assert_eq!(
        (noise.size(), noise.kind()),
        (vec![1, 3, 5, 4], Kind::Float)
    );
    assert_eq!(
        words(&noise, &[0, 1, 16, 59]),
        [2_472_355, 14_971_697, 13_913_028, 11_228_545]
    );
    let image = (1 << 33) + 1;
    let noise = evaluation_noise(u64::MAX, image..image + 1, (1 << 40) + 5, [1, 2, 3]).unwrap();
    assert_eq!(words(&noise, &[0, 5]), [3_192_192, 9_296_757]);
}

#[test]
fn the_noise_of_an_image_in_evaluation_is_its_own_in_any_batch() {
    let noise = |images, sample| evaluation_noise(3, images, sample, [1, 3, 5]).unwrap();
    let all = noise(0..9, 2);
    assert_eq!(noise(4..7, 2), all.narrow(0, 4, 3));
    let first = |images, sample| noise(images, sample).double_value(&[0, 0, 0, 0]).to_bits();
    let values = HashSet::from([
        first(0..1, 0),
        first(0..1, 1),
        first(1..2, 0),
        first(1..2, 1),
    ]);
    assert_eq!(values.len(), 4);
    assert_eq!(noise(5..5, 0).size(), [0, 1, 3, 5]);
}

#[test]
fn noise_refuses_half_precision_and_negative_sizes() {
    let mut rng = stream(0, Purpose::Noise, 0);
    let half = uniform_noise(&mut rng, &[2], Kind::Half, Device::Cpu).unwrap_err();
    assert!(
        half.to_string()
            .contains("`kind` must be float32 or float64"),
        "{half}"
    );
    let size = standard_normal(&mut rng, &[2, -1], Kind::Float, Device::Cpu).unwrap_err();
    assert!(size.to_string().contains("`shape`"), "{size}");
}

#[test]
fn permutations_are_complete_and_differ_by_epoch_and_seed() {
    let mut order = permutation(1, 0, 1001);
    assert_eq!(order, permutation(1, 0, 1001));
    assert_ne!(order, permutation(1, 1, 1001));
    assert_ne!(order, permutation(2, 0, 1001));
    assert_ne!(order, (0..1001).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..1001).collect::<Vec<_>>());
    assert!(permutation(1, 0, 0).is_empty());
    assert_eq!(permutation(7, 3, 8), [1, 7, 3, 6, 2, 4, 0, 5]);
}
