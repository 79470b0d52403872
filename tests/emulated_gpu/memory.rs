//! What a training step leaves on the device between its passes.

use crate::bindings::{emulated, Driver, SUCCESS};
use inverse_flow::flows::{Coupling, Cx, Transform};
use inverse_flow::nn::{CouplingConfig, CouplingNet, Net, Precision};
use tch::{nn, Device, Kind, Tensor};

const WIDTH: i64 = 256;
const SIZE: [i64; 4] = [2, 4, 16, 16];

/// Bytes of the first device that are in use.
fn in_use(driver: &Driver) -> usize {
    driver.enter(0);
    let (mut free, mut total) = (0, 0);
    assert_eq!(driver.memory(&mut free, &mut total), SUCCESS);
    total - free
}

fn coupling(vs: &nn::Path, net: Net, precision: Precision) -> Coupling {
    let config = CouplingConfig {
        net,
        width: WIDTH,
        zero_init_last: false,
    };
    let net = |vs: &nn::Path, inputs, outputs| CouplingNet::new(vs, inputs, outputs, &config);
    let mut coupling = Coupling::new(vs, SIZE[1], net).unwrap();
    coupling.set_precision(precision).unwrap();
    coupling
}

#[test]
fn cuda_the_hidden_channels_of_a_coupling_are_not_kept() {
    let test = "cuda_the_hidden_channels_of_a_coupling_are_not_kept";
    let Some((_turn, driver, [device, _])) = emulated(test) else {
        return;
    };
    let [images, _, height, width] = SIZE;
    // in bfloat16, the smallest
    let hidden = 2 * (images * WIDTH * height * width) as usize;
    for net in [Net::N, Net::T, Net::Z] {
        for precision in Precision::ALL {
            let vs = nn::VarStore::new(device);
            let coupling = coupling(&vs.root(), net, precision);
            let x = Tensor::randn(SIZE, (Kind::Float, device)).set_requires_grad(true);
            let before = in_use(&driver);
            let mapped = coupling.forward(&x, Cx::default()).unwrap();
            let kept = in_use(&driver) - before;
            assert!(kept > 0, "{net:?}");
            assert!(
                kept < hidden / 2,
                "{net:?} in {precision}: {kept} bytes, and its hidden channels are {hidden}"
            );
            mapped.value.sum(Kind::Float).backward();
            assert!(x.grad().device() == Device::Cuda(0));
        }
    }
}
