//! What a training step asks of the host: it waits for nothing but readings.

use crate::bindings::{emulated, Counts, Driver};
use inverse_flow::data::{DataName, Dataset, Epoch};
use inverse_flow::flows::Cx;
use inverse_flow::models::MODELS;
use inverse_flow::train::{build_model, presets, Feed, Learner, RunConfig};
use tch::Device;

const IMAGES: usize = 6;

fn data(chw: [i64; 3]) -> Dataset {
    let bytes = IMAGES as i64 * chw.iter().product::<i64>();
    let images = (0..bytes).map(|i| (37 * i % 251) as u8).collect();
    Dataset::new("test", chw, images, vec![0; IMAGES]).unwrap()
}

fn order() -> Epoch {
    Epoch::train(IMAGES, 2, 0, 1).unwrap()
}

/// Launches, waits, uploads, downloads.
fn count(driver: &Driver, work: impl FnOnce()) -> [u64; 4] {
    let Counts {
        launches,
        waits,
        uploads,
        downloads,
    } = driver.count(work);
    [launches, waits, uploads, downloads]
}

#[test]
fn cuda_a_batch_is_one_launch_and_no_wait() {
    let Some((_turn, driver, [device, _])) = emulated("cuda_a_batch_is_one_launch_and_no_wait")
    else {
        return;
    };
    let mut config = presets::by_name(presets::DEFAULT).unwrap();
    config.data.name = DataName::Cifar10.into();
    config.data.augment = true;
    let data = data([3, 32, 32]);
    for (mib, uploads) in [(1, 0), (0, 1)] {
        config.train.device_data_mib = mib;
        let feed = Feed::new(&config, &data, device).unwrap();
        let mut batches = None;
        let of_epoch = count(&driver, || batches = Some(feed.epoch(order(), 0).unwrap()));
        assert_eq!(of_epoch, [0, 0, 1, 0]);
        let batches = batches.unwrap();
        for number in 0..batches.len() {
            let of_batch = count(&driver, || drop(batches.get(&data, number).unwrap()));
            assert_eq!(of_batch, [1, 0, uploads, 0], "{mib} MiB");
        }
    }
}

/// Steps of a fresh model, and what those after the first one count up; then a reading's.
fn counts_of(config: &RunConfig, device: Device, driver: &Driver) -> [[u64; 4]; 2] {
    tch::manual_seed(5);
    let (mut model, vs) = build_model(config, device).unwrap();
    let data = data(model.image_shape());
    let feed = Feed::new(config, &data, device).unwrap();
    let batches = feed.epoch(order(), 0).unwrap();
    let (x, noise) = batches.get(&data, 0).unwrap();
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&x, cx)).unwrap();
    let mut learner = Learner::new(model, vs, &config.train).unwrap();
    let mut step = |number: u64| {
        let (x, noise) = batches.get(&data, number).unwrap();
        learner.queue(&x, &noise, 1e-4).unwrap();
    };
    step(0);
    let of_steps = count(driver, || (1..batches.len()).for_each(step));
    let of_reading = count(driver, || {
        let totals = learner.read().unwrap().unwrap();
        assert_eq!((totals.steps, totals.taken), (batches.len(), batches.len()));
    });
    [of_steps, of_reading]
}

#[test]
fn cuda_a_step_waits_for_nothing_and_a_reading_once() {
    let test = "cuda_a_step_waits_for_nothing_and_a_reading_once";
    let Some((_turn, driver, [device, _])) = emulated(test) else {
        return;
    };
    let kept = MODELS.iter().map(|family| (*family, false));
    // an inverse that iterates looks whether it is done
    let rebuilt = ["inverse-flow", "finc"].map(|family| (family, true));
    for (family, rebuild) in kept.chain(rebuilt) {
        let config = RunConfig::resolve(Some(&format!("quick/{family}")), None);
        let mut config = config.unwrap();
        config.train.rebuild_activations = rebuild;
        let [of_steps, of_reading] = counts_of(&config, device, &driver);
        let what = format!("{family}, rebuilt {rebuild}");
        assert!(of_steps[0] > 0, "{what}");
        assert_eq!(of_steps[1..], [0, 0, 0], "{what}");
        assert_eq!(of_reading, [1, 1, 0, 1], "{what}");
    }
}
