//! A program of someone else that uses the crate: scripts/dependent.sh builds it with the lines that docs/library.md gives to
//! users, and runs it without LD_LIBRARY_PATH.

use inverse_flow::ops::{inv_conv2d, masked_conv2d, Corner};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // before the first tensor: libtorch looks for its CUDA half once
    match inverse_flow::cuda::libtorch::load() {
        Ok(()) => println!("CUDA: loaded"),
        Err(why) => println!("{why}"),
    }
    let weight = Tensor::zeros([2, 2, 2, 2], (Kind::Float, Device::Cpu));
    weight
        .select(3, 1)
        .select(2, 1)
        .copy_(&Tensor::eye(2, (Kind::Float, Device::Cpu)));
    let weight = weight.set_requires_grad(true);
    let image = Tensor::randn([2, 2, 5, 7], (Kind::Float, Device::Cpu));
    let latent = inv_conv2d(&image, &weight, &[Corner::TopLeft])?;
    let again = masked_conv2d(&latent, &weight, &[Corner::TopLeft])?;
    latent.square().sum(Kind::Float).f_backward()?;
    let worst = (again - image).abs().max().double_value(&[]);
    assert!(worst < 1e-6 && weight.grad().isfinite().all().int64_value(&[]) == 1);
    println!("dependent: ok");
    Ok(())
}
