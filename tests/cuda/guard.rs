//! What is queued on another device than the thread's current one leaves that one as it was: on a machine with two GPUs.

use crate::ops_cases::{random, Case};
use crate::skip::skip;
use cudarc::driver::result::ctx::get_current;
use inverse_flow::cuda::baseline;
use inverse_flow::flows::Cx;
use inverse_flow::ops::spline::{spline, RawSpline};
use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner, Direction};
use inverse_flow::train::{build_model, presets, prior_latents, Learner};
use inverse_flow::Result;
use tch::{Device, Kind, Tensor};

const SECOND: Device = Device::Cuda(1);

/// Whether there are two GPUs, else a note that `test` is skipped.
fn two_gpus(test: &str) -> bool {
    let Some(_) = crate::gpu::gpu(test) else {
        return false;
    };
    let two = tch::Cuda::device_count() > 1;
    if !two {
        skip(test, "one GPU, and two are needed");
    }
    two
}

/// The context that is current on this thread, 0 for none: each device has one.
fn current() -> usize {
    get_current().unwrap().map_or(0, |context| context as usize)
}

/// Makes device 0 the thread's current one, as torch does for a new thread's first tensor.
fn on_the_first() -> usize {
    let _ = Tensor::zeros([3], (Kind::Float, Device::Cuda(0)));
    tch::Cuda::synchronize(0);
    current()
}

type Call = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// Every operator that has kernels, with its arguments.
fn operators() -> Vec<(&'static str, Vec<Tensor>, Call)> {
    let tensors = |sizes: &[&[i64]]| -> Vec<Tensor> {
        let seeds = 1..;
        let made = sizes.iter().zip(seeds);
        made.map(|(size, seed)| random(size, Kind::Double, seed) * 0.1)
            .collect()
    };
    let case = |images, corners: &[Corner]| {
        let (x, weight) = Case::new(images, 3, corners).tensors(Kind::Double, 1);
        vec![x, weight]
    };
    let images = [3, 4, 5, 6];
    let corners = [Corner::TopLeft, Corner::BottomRight];
    let solve: Call = Box::new(move |t| inv_conv2d(&t[0], &t[1], &corners));
    let conv: Call = Box::new(move |t| masked_conv2d(&t[0], &t[1], &corners));
    let bands: Call = Box::new(|t| inv_conv2d(&t[0], &t[1], &[Corner::TopLeft]));
    let published: Call =
        Box::new(|t| tch::no_grad(|| baseline::solve(&t[0], &t[1], Corner::TopRight)));
    let spline: Call = Box::new(|t| {
        let raw = RawSpline {
            widths: &t[1],
            heights: &t[2],
            derivatives: &t[3],
            tail: 3.0,
        };
        let (value, log_det) = spline(&t[0], &raw, Direction::Forward)?;
        Ok(value.sum(Kind::Double) + log_det.sum(Kind::Double))
    });
    vec![
        ("solve", case(images, &corners), solve),
        // bands tell each other through memory that is cleared first how far they are
        (
            "solve in bands",
            case([2, 12, 40, 9], &[Corner::TopLeft]),
            bands,
        ),
        ("conv", case(images, &corners), conv),
        ("published", case(images, &[Corner::TopRight]), published),
        (
            "spline",
            tensors(&[&images, &[120, 5], &[120, 5], &[120, 4]]),
            spline,
        ),
    ]
}

#[test]
fn cuda_operators_on_the_second_gpu_leave_the_current_one_alone() {
    if !two_gpus("cuda_operators_on_the_second_gpu_leave_the_current_one_alone") {
        return;
    }
    let first = on_the_first();
    assert_ne!(first, 0);
    for (name, arguments, call) in operators() {
        let there = |t: &Tensor| t.to_device(SECOND).set_requires_grad(true);
        let arguments: Vec<_> = arguments.iter().map(there).collect();
        let out = call(&arguments).unwrap();
        assert_eq!(current(), first, "{name}: forward");
        assert_eq!(out.device(), SECOND, "{name}");
        if out.requires_grad() {
            out.sum(Kind::Double).backward();
            assert_eq!(current(), first, "{name}: backward");
            assert!(
                arguments[0].grad().isfinite().all().double_value(&[]) == 1.0,
                "{name}"
            );
        }
    }
    // and what is made afterwards lies where it should
    assert_eq!(current(), first);
}

/// Losses of two steps and images of the prior on `device`.
fn trained(device: Device) -> (Vec<f64>, Tensor) {
    let mut config = presets::by_name("quick/inverse-flow").unwrap();
    config.train.device = "cpu".into();
    let (mut model, vs) = build_model(&config, Device::Cpu).unwrap();
    let [c, h, w] = config.model.image();
    let x = (random(&[4, c, h, w], Kind::Float, 1).sigmoid() * 255.0).floor();
    let noise = random(&[4, c, h, w], Kind::Float, 2).sigmoid();
    let [x, noise] = [x, noise].map(|tensor| tensor.to_device(Device::Cpu));
    let cx = Cx {
        noise: Some(&noise),
        ..Cx::default()
    };
    tch::no_grad(|| model.initialize(&x, cx)).unwrap();
    let (there, mut its) = build_model(&config, device).unwrap();
    its.copy(&vs).unwrap();
    let (x, noise) = (x.to_device(device), noise.to_device(device));
    let mut learner = Learner::new(there, its, &config.train).unwrap();
    let losses = (0..2).map(|_| learner.step(&x, &noise, 1e-3).unwrap().nll);
    let losses = losses.collect();
    let latents = prior_latents(&learner.model, 2, 0, device).unwrap();
    let images = tch::no_grad(|| learner.model.decode(&latents, Cx::default())).unwrap();
    (losses, images.value.to_device(Device::Cpu))
}

#[test]
fn cuda_a_model_on_the_second_gpu_trains_while_the_first_is_current() {
    if !two_gpus("cuda_a_model_on_the_second_gpu_trains_while_the_first_is_current") {
        return;
    }
    let first = on_the_first();
    let (losses, images) = trained(SECOND);
    assert_eq!(current(), first);
    let (expected, expected_images) = trained(Device::Cpu);
    for (loss, expected) in losses.iter().zip(&expected) {
        assert!(
            (loss - expected).abs() < 1e-5 * expected.abs(),
            "{losses:?} {expected:?}"
        );
    }
    let error = (images - expected_images).abs().max().double_value(&[]);
    assert!(error < 1e-2, "{error:e}");
}
