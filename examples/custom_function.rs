//! An autograd function of your own, in Rust: what tch has no API for.
//!
//! ```text
//! cargo run --release --example custom_function
//! ```
//!
//! Quantisation has gradient 0 almost everywhere, so nothing in front of it can learn. The straight-through estimator
//! passes the gradient on as if it were the identity, where the input is in range. This is a function whose gradient is
//! not what autograd would find: it needs a backward of its own.
//!
//! Expected output:
//! ```text
//! y        = [-1.00, -0.25, 0.50, 1.00]
//! dL/dx    = [0.00, 1.00, 1.00, 0.00]
//! error    : libtorch: quantize: `inputs` must be one tensor, got 2
//! learned  : 0.75
//! ```

use inverse_flow::autograd::{apply, CustomFn, Saved};
use inverse_flow::{Error, Result};
use tch::{Device, Kind, Tensor};

/// `y = round(x / step) step` within `-1..=1`, with `dL/dx = dL/dy` where `|x| <= 1`, else 0.
///
/// The fields are what forward and backward share besides tensors.
struct Quantize {
    step: f64,
}

impl CustomFn for Quantize {
    /// Runs without recording: anything may be done to tensors here.
    fn forward(&self, saved: &mut Saved, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let [x] = inputs else {
            let problem = format!("must be one tensor, got {}", inputs.len());
            return Err(Error::Argument {
                op: "quantize",
                arg: "inputs",
                problem,
            });
        };
        saved.save(x); // torch keeps it, checks that nobody changes it, and frees it with the graph
        let steps = x.f_clamp(-1.0, 1.0)?.f_div_scalar(self.step)?.f_round()?;
        Ok(vec![steps.f_mul_scalar(self.step)?])
    }

    /// `None` for a gradient that is zero or not wanted.
    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(grad) = &grads[0] else {
            return Ok(vec![None]);
        };
        let inside = saved[0].f_abs()?.f_le(1.0)?;
        Ok(vec![Some(grad.f_mul(&inside)?)])
    }
}

/// The function as its users call it.
fn quantize(x: &Tensor, step: f64) -> Result<Tensor> {
    Ok(apply(Quantize { step }, &[x])?.remove(0))
}

fn show(values: &Tensor) -> String {
    let values = Vec::<f64>::try_from(values).expect("a vector of numbers");
    let values: Vec<_> = values.iter().map(|v| format!("{v:.2}")).collect();
    format!("[{}]", values.join(", "))
}

fn main() -> Result<()> {
    let x = Tensor::from_slice(&[-3.0, -0.3, 0.45, 1.2]).set_requires_grad(true);
    let y = quantize(&x, 0.25)?;
    y.f_sum(Kind::Double)?.f_backward()?;
    println!("y        = {}", show(&y));
    println!("dL/dx    = {}", show(&x.grad()));

    // errors and panics of forward and backward come out as errors, at the call or at `f_backward`
    let error = apply(Quantize { step: 0.25 }, &[&x, &x]).expect_err("two inputs");
    println!("error    : {error}");

    // gradient descent through the quantiser: the input moves until its quantised value is right
    let mut p = Tensor::zeros([1], (Kind::Double, Device::Cpu)).set_requires_grad(true);
    for _ in 0..100 {
        (quantize(&p, 0.25)? - 0.75)
            .square()
            .f_sum(Kind::Double)?
            .f_backward()?;
        tch::no_grad(|| p -= p.grad() * 0.1);
        p.zero_grad();
    }
    println!("learned  : {:.2}", quantize(&p, 0.25)?.double_value(&[0]));
    Ok(())
}
