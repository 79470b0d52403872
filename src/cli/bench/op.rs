//! `inverse-flow bench op`: the operator and its gradients beside libtorch's convolution.

use super::head::head;
use super::shape::{plain, standard, Case, Shape};
use crate::cli::compute::Compute;
use crate::cli::doctor::float32;
use crate::cuda::{baseline, check};
use crate::ops::{inv_conv2d, masked_conv2d, Corner};
use crate::train::say;
use crate::train::timing::{compare, Clock, Pace, Timing};
use crate::words::{self, dtype};
use crate::Result;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Time the inverse of a convolution, its gradients and the convolution itself, beside libtorch's convolution
#[derive(Debug, Args)]
#[command(
    after_help = "Example: inverse-flow bench op --shape 100,12,16,16,3 --threads 1
solve and conv are compared with the forward pass of libtorch's convolution of the same sizes, backward (both gradients)
with its backward pass. On a GPU, published is the scheme of the paper's code with correct results. Times are milliseconds
per call, the median of 15 samples taken in turn. On a GPU they are between CUDA events around a batch of calls that the host
has queued while the device was busy, so that launches cost nothing; published waits for the device by itself."
)]
pub struct OpArgs {
    /// Images and kernel size, B,C,H,W,k; may be repeated [default: a list of 22 shapes]
    #[arg(long, value_name = "SHAPE")]
    shape: Vec<Shape>,
    /// Element type of the given shapes: float32 or float64
    #[arg(long, value_name = "DTYPE", default_value = "float32", value_parser = parse_dtype)]
    dtype: Kind,
    /// Give the shapes four groups of channels, one from each corner
    #[arg(long)]
    four_corners: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

fn parse_dtype(text: &str) -> std::result::Result<Kind, String> {
    match text {
        "float32" => Ok(Kind::Float),
        "float64" => Ok(Kind::Double),
        _ => Err("choose float32 or float64".into()),
    }
}

/// One line of the result.
struct Row {
    direction: &'static str,
    ours: Timing,
    reference: Timing,
    flops: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours.median_ms / self.reference.median_ms
    }

    fn gflops(&self) -> f64 {
        self.flops / self.ours.median_ms / 1e6
    }
}

impl OpArgs {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let device = self.compute.start()?;
        let problems = match self.shape.as_slice() {
            [] => standard(),
            shapes => shapes.iter().map(|&shape| self.problem(shape)).collect(),
        };
        if !self.json {
            say(&format!("{}, {}", head(device), Clock::name(device)));
            say("shape                  dtype    corners direction  median ms     iqr  torch ms  ratio  GFLOP/s");
        }
        let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for problem in &problems {
            for row in measure(problem, device)? {
                ratios.entry(row.direction).or_default().push(row.ratio());
                say(&match self.json {
                    true => serde_json::to_string(&to_json(problem, device, &row))?,
                    false => to_text(problem, &row),
                });
            }
        }
        if !self.json {
            for (direction, ratios) in ratios {
                let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
                say(&format!(
                    "{direction}: geometric mean of the ratios {:.3}, largest {:.3}",
                    (logs / ratios.len() as f64).exp(),
                    ratios.iter().copied().fold(0.0, f64::max)
                ));
            }
        }
        Ok(())
    }

    fn problem(&self, shape: Shape) -> Case {
        let plain = plain(shape);
        Case {
            kind: self.dtype,
            corners: if self.four_corners {
                &Corner::ALL
            } else {
                plain.corners
            },
            ..plain
        }
    }
}

/// The tensors of one problem. Taps are as small as a model's first ones, so that the recursion is damped and no
/// denormal number slows anything down.
struct Tensors {
    x: Tensor,
    weight: Tensor,
    /// What libtorch's convolution gets: of the size that makes its result as large as ours.
    torch_x: Tensor,
    padding: i64,
}

impl Tensors {
    fn new(problem: &Case, device: Device) -> Result<Self> {
        tch::manual_seed(0);
        let options = (problem.kind, device);
        let (groups, k) = (problem.corners.len() as i64, problem.shape.kernel);
        let [batch, channels, height, width] = problem.shape.images;
        let n = channels / groups;
        let x = Tensor::f_randn([batch, channels, height, width], options)?;
        let weight = Tensor::f_randn([channels, n, k, k], options)?.f_mul_scalar(0.01)?;
        for (group, corner) in (0..).zip(problem.corners) {
            let (row, column) = corner.anchor_index(k);
            weight
                .f_narrow(0, group * n, n)?
                .f_select(3, column)?
                .f_select(2, row)?
                .f_copy_(&Tensor::f_eye(n, options)?)?;
        }
        // an even filter has no symmetric padding: its input comes padded, which costs the reference nothing
        let (torch_x, padding) = if k % 2 == 1 {
            (x.copy(), (k - 1) / 2)
        } else {
            (x.f_constant_pad_nd([k - 1, 0, k - 1, 0])?, 0)
        };
        Ok(Self {
            x: x.set_requires_grad(true),
            weight: weight.set_requires_grad(true),
            torch_x: torch_x.set_requires_grad(true),
            padding,
        })
    }

    fn torch_conv(&self, groups: i64) -> Result<Tensor> {
        let pad = [self.padding; 2];
        Ok(self
            .torch_x
            .f_conv2d(&self.weight, None::<Tensor>, [1, 1], pad, [1, 1], groups)?)
    }
}

fn measure(problem: &Case, device: Device) -> Result<Vec<Row>> {
    let tensors = Tensors::new(problem, device)?;
    let (x, weight, corners) = (&tensors.x, &tensors.weight, problem.corners);
    let groups = corners.len() as i64;
    let [solve, conv, reference] = tch::no_grad(|| {
        compare(
            device,
            Pace::Device,
            [
                &mut || inv_conv2d(x, weight, corners).map(drop),
                &mut || masked_conv2d(x, weight, corners).map(drop),
                &mut || tensors.torch_conv(groups).map(drop),
            ],
        )
    })?;
    let ours = inv_conv2d(x, weight, corners)?;
    let theirs = tensors.torch_conv(groups)?;
    let gradients = |of: &Tensor, x: &Tensor| -> Result<()> {
        Tensor::f_run_backward(&[of], &[x, weight], true, false)?;
        Ok(())
    };
    let [backward, reference_backward] = compare(
        device,
        Pace::Device,
        [&mut || gradients(&ours, x), &mut || {
            gradients(&theirs, &tensors.torch_x)
        }],
    )?;
    let [batch, channels, height, width] = problem.shape.images;
    let taps = problem.shape.kernel.pow(2) * channels / groups;
    let flops = 2.0 * (batch * channels * height * width * taps) as f64;
    let row = |direction, ours, reference, flops| Row {
        direction,
        ours,
        reference,
        flops,
    };
    let mut rows = vec![
        row("solve", solve, reference, flops),
        row("conv", conv, reference, flops),
        row("backward", backward, reference_backward, 2.0 * flops),
    ];
    if let (Device::Cuda(_), &[corner]) = (device, corners) {
        // the published scheme, one launch and one wait for each diagonal and channel: what the solve is to beat
        let published = || baseline::solve(&x.detach(), &weight.detach(), corner).map(drop);
        let [published] = tch::no_grad(|| compare(device, Pace::Host, [&mut { published }]))?;
        rows.push(row("published", published, reference, flops));
    }
    check(device)?;
    Ok(rows)
}

fn to_json(problem: &Case, device: Device, row: &Row) -> serde_json::Value {
    json!({
        "bench": "op",
        "device": words::device(device),
        "threads": tch::get_num_threads(),
        "timer": Clock::name(device),
        "float32": float32(device),
        "shape": problem.shape.images,
        "dtype": dtype(problem.kind),
        "kernel": problem.shape.kernel,
        "corners": problem.corners.iter().map(|corner| corner.name()).collect::<Vec<_>>(),
        "direction": row.direction,
        "median_ms": row.ours.median_ms,
        "iqr_ms": row.ours.iqr_ms,
        "reference_ms": row.reference.median_ms,
        "ratio": row.ratio(),
        "gflops": row.gflops(),
    })
}

fn to_text(problem: &Case, row: &Row) -> String {
    format!(
        "{:<22} {:<8} {:>7} {:<9} {:>10.4} {:>7.4} {:>9.4} {:>6.3} {:>8.1}",
        problem.shape.to_string(),
        dtype(problem.kind),
        problem.corners.len(),
        row.direction,
        row.ours.median_ms,
        row.ours.iqr_ms,
        row.reference.median_ms,
        row.ratio(),
        row.gflops()
    )
}
