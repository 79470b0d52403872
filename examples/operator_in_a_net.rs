//! The operator inside an ordinary net of tch: a causal filter with learned feedback, trained by tch's own optimiser.
//!
//! ```text
//! cargo run --release --example operator_in_a_net
//! ```
//!
//! The task: a recursive filter runs over noise from the top left corner, `y[h,w] = x[h,w] + 0.4 y[h-1,w] + 0.3 y[h,w-1]`,
//! and the net has to find its taps from pairs (x, y). A convolution of any size could only approximate it; the inverse
//! of a 2x2 convolution is exactly it.
//!
//! Expected output:
//! ```text
//! loss 0.3 before training, below 1e-6 after
//! feedback from above 0.400, from the left 0.300, from the diagonal 0.000
//! ```

use inverse_flow::ops::{inv_conv2d, Corner};
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// `y = inv_conv2d(x, W)` with a one at the anchor: a layer is a few lines on top of the operator.
#[derive(Debug)]
struct Feedback {
    taps: Tensor,
    /// 1 where the anchor is; for the top left corner that is the last row and column.
    anchor: Tensor,
}

impl Feedback {
    fn new(vs: &nn::Path) -> Result<Self> {
        let anchor = Tensor::zeros([1, 1, 2, 2], F32);
        let (row, column) = Corner::TopLeft.anchor_index(2);
        let _ = anchor.f_select(3, column)?.f_select(2, row)?.f_fill_(1.0)?;
        let taps = vs.f_zeros("taps", &[1, 1, 2, 2])?;
        Ok(Self { taps, anchor })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // the tap at the anchor is fixed, so its raw value is left out and gets gradient 0
        let weight = &self.anchor + &self.taps * (1.0 - &self.anchor);
        Ok(inv_conv2d(x, &weight, &[Corner::TopLeft])?)
    }
}

/// The recursion, pixel by pixel.
fn recursive_filter(x: &Tensor) -> Tensor {
    let y = x.copy();
    let pixel = |h: i64, w: i64| y.select(3, w).select(2, h);
    for (h, w) in (0..8).flat_map(|h| (0..8).map(move |w| (h, w))) {
        if h > 0 {
            let _ = pixel(h, w).g_add_(&(pixel(h - 1, w) * 0.4));
        }
        if w > 0 {
            let _ = pixel(h, w).g_add_(&(pixel(h, w - 1) * 0.3));
        }
    }
    y
}

fn main() -> Result<()> {
    tch::manual_seed(0);
    let x = Tensor::randn([64, 1, 8, 8], F32);
    let y = recursive_filter(&x);

    let vs = nn::VarStore::new(Device::Cpu);
    let net = Feedback::new(&vs.root())?;
    let mut adam = nn::Adam::default().build(&vs, 0.02)?;
    let loss = || -> Result<Tensor> { Ok(net.forward(&x)?.f_mse_loss(&y, tch::Reduction::Mean)?) };
    let before = loss()?.double_value(&[]);
    for _ in 0..400 {
        adam.backward_step(&loss()?);
    }
    let after = loss()?.double_value(&[]);

    let verdict = if after < 1e-6 { "below" } else { "not below" };
    println!("loss {before:.1} before training, {verdict} 1e-6 after");
    // A(W) y = x moves the taps to the other side: the feedback is their negative; adding 0 turns -0.000 into 0.000
    let tap = |rows, columns| {
        let (row, column) = Corner::TopLeft.tap_index(2, rows, columns);
        let value = -net.taps.double_value(&[0, 0, row, column]);
        (value * 1e3).round() / 1e3 + 0.0
    };
    let (above, left, diagonal) = (tap(1, 0), tap(0, 1), tap(1, 1));
    println!(
        "feedback from above {above:.3}, from the left {left:.3}, from the diagonal {diagonal:.3}"
    );
    Ok(())
}
