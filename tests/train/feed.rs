//! The batches of a run: on a GPU they are those of the CPU, to the bit.

use crate::device::device;
use crate::gpu::gpu;
use inverse_flow::data::{
    load_split, pack, stream, DataName, Dataset, Epoch, Purpose, Source, Split,
};
use inverse_flow::train::{presets, Batches, Feed, RunConfig};
use rand_chacha::rand_core::RngCore;
use std::sync::Arc;
use tch::{Device, Tensor};

const IMAGES: usize = 23;

fn data(chw: [i64; 3]) -> Dataset {
    let mut images = vec![0; IMAGES * chw.iter().product::<i64>() as usize];
    stream(11, Purpose::Probe, 0).fill_bytes(&mut images);
    Dataset::new("test", chw, images, vec![0; IMAGES]).unwrap()
}

/// A run on `name`, whose bytes may lie on a GPU or not.
fn config(name: DataName, augment: bool, resident: bool) -> RunConfig {
    let mut config = presets::by_name(presets::DEFAULT).unwrap();
    config.seed = u64::MAX - 3;
    config.data.name = name.into();
    config.data.augment = augment;
    config.train.device_data_mib = if resident { 1 } else { 0 };
    config
}

fn epoch(config: &RunConfig, data: &Dataset, device: Device, order: &Epoch) -> Batches {
    let feed = Feed::new(config, data, device).unwrap();
    feed.epoch(order.clone(), 40).unwrap()
}

fn assert_equal(got: (Tensor, Tensor), expected: &(Tensor, Tensor), what: &str) {
    let on_cpu = |tensor: &Tensor| tensor.to_device(Device::Cpu);
    // tensors are equal where their sizes and all of their numbers are
    assert!(on_cpu(&got.0) == expected.0, "images of {what}");
    assert!(on_cpu(&got.1) == expected.1, "noise of {what}");
}

#[test]
fn cuda_batches_are_those_of_the_cpu_to_the_bit() {
    let test = "cuda_batches_are_those_of_the_cpu_to_the_bit";
    let Some(gpu) = gpu(test) else { return };
    for (name, chw) in [
        (DataName::Glyphs, [1, 28, 28]),
        (DataName::Cifar10, [3, 32, 32]),
        (DataName::Cifar10, [2, 5, 3]),
        (DataName::Mnist, [3, 1, 2]),
    ] {
        let data = data(chw);
        // a shuffled one, and one with a last batch of two images
        let orders = [
            Epoch::train(IMAGES, 5, 2, 3).unwrap(),
            Epoch::eval(IMAGES, 7).unwrap(),
        ];
        for order in &orders {
            for augment in [false, true] {
                let expected = epoch(&config(name, augment, true), &data, Device::Cpu, order);
                for resident in [true, false] {
                    let got = epoch(&config(name, augment, resident), &data, gpu, order);
                    assert_eq!(got.len(), expected.len());
                    // a run that goes on in the middle of an epoch asks for later batches only
                    for number in (0..got.len()).rev() {
                        let what = format!(
                            "{name} {chw:?}, augmented {augment}, resident {resident}, batch {number}"
                        );
                        let expected = expected.get(&data, number).unwrap();
                        assert_equal(got.get(&data, number).unwrap(), &expected, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn batches_differ_from_step_to_step_and_are_the_same_when_asked_for_again() {
    let data = data([1, 28, 28]);
    let config = config(DataName::Mnist, true, true);
    // one image again and again: what differs is the noise and the change
    let data = data.subset(0..1);
    let feed = Feed::new(&config, &data, device()).unwrap();
    let one = || Epoch::eval(1, 1).unwrap();
    let at = |step: u64| {
        let (x, noise) = feed.epoch(one(), step).unwrap().get(&data, 0).unwrap();
        (x.to_device(Device::Cpu), noise.to_device(Device::Cpu))
    };
    let (first, again) = (at(7), at(7));
    assert!(first == again);
    let images: Vec<_> = (0..20).map(at).collect();
    assert!(images.iter().any(|(x, _)| *x != first.0));
    assert!(images.iter().filter(|(_, noise)| *noise == first.1).count() == 1);
}

#[test]
fn a_batch_past_the_end_is_an_error() {
    let data = data([1, 28, 28]);
    let config = config(DataName::Mnist, false, true);
    let feed = Feed::new(&config, &data, device()).unwrap();
    let batches = feed.epoch(Epoch::eval(IMAGES, 7).unwrap(), 0).unwrap();
    assert_eq!(batches.len(), 4);
    let err = batches.get(&data, 4).unwrap_err().to_string();
    assert!(err.contains("less than 4, got 4"), "{err}");
}

#[test]
fn batches_made_ahead_are_those_that_are_asked_for() {
    let data = Arc::new(data([3, 8, 6]));
    let order = Epoch::eval(IMAGES, 4).unwrap();
    for resident in [true, false] {
        let config = config(DataName::Cifar10, true, resident);
        let feed = Feed::new(&config, &data, device()).unwrap();
        let epoch = || feed.epoch(order.clone(), 40).unwrap();
        let asked = epoch();
        for first in [0, 2, 6] {
            let mut ahead = epoch().ahead(&data, first).unwrap();
            for number in first..6 {
                let expected = asked.get(&data, number).unwrap();
                let expected = (
                    expected.0.to_device(Device::Cpu),
                    expected.1.to_device(Device::Cpu),
                );
                let what = format!("batch {number} from {first}, resident {resident}");
                assert_equal(ahead.take().unwrap(), &expected, &what);
            }
            let err = ahead.take().unwrap_err().to_string();
            assert!(err.contains("less than 6, got 6"), "{err}");
        }
        // the others are not waited for
        drop(epoch().ahead(&data, 0).unwrap());
    }
}

#[test]
fn a_file_that_ends_while_its_images_are_made_is_an_error_of_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("own.pack");
    let mut config = config(DataName::Glyphs, false, false);
    config.data.limit = Some(12);
    pack(&config.data, config.seed, &packed).unwrap();
    config.data.name = Source::Own(packed.clone());
    let train = Arc::new(load_split(&config.data, config.seed, Split::Train).unwrap());
    let feed = Feed::new(&config, &train, device()).unwrap();
    let epoch = feed.epoch(Epoch::eval(train.len(), 1).unwrap(), 0).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&packed)
        .unwrap()
        .set_len(10)
        .unwrap();
    let mut ahead = epoch.ahead(&train, 0).unwrap();
    let err = ahead.take().unwrap_err().to_string();
    assert!(
        err.contains("own.pack") && err.contains("cannot be read any more"),
        "{err}"
    );
}
