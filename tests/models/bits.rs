//! Densities of fewer than 8 bits of a pixel.

use crate::common::*;
use crate::support::*;
use inverse_flow::flows::{Bits, Cx};
use inverse_flow::models::*;
use std::f64::consts::LN_2;
use tch::{Kind, Tensor};

fn with(noise: &Tensor) -> Cx<'_> {
    Cx {
        noise: Some(noise),
        ..Cx::default()
    }
}

/// What is a bin of `s` grey levels for the one is `s` bins for the other: the densities of the same continuous image differ
/// by the size of the bin.
#[test]
fn a_density_of_five_bits_is_that_of_eight_times_the_size_of_a_bin() {
    let image = [3, 12, 8];
    let size = [5, 3, 12, 8];
    let (x, noise) = (images(1, &size), uniform(2, &size));
    let five = Bits::new(5).unwrap();
    for (name, config) in families(image, 2, 1) {
        let vs = store(Kind::Double);
        let mut flow = seeded(|| build(&vs.root(), &config.into())).unwrap();
        flow.initialize(&x, with(&noise)).unwrap();
        shake(&vs, 7, 0.02);

        let (coarse, _) = five.split(&x).unwrap();
        let continuous = coarse + &noise * 8.0;
        let (floor, rest) = Bits::ALL.split(&continuous).unwrap();
        let of_eight = flow.log_prob(&floor, with(&rest)).unwrap();

        flow.set_bits(five).unwrap();
        let of_five = flow.log_prob(&x, with(&noise)).unwrap();
        let expected = of_eight + (3 * 12 * 8) as f64 * 3.0 * LN_2;
        assert_close(&name, &of_five, &expected, 1e-12);

        // the bits that do not count change nothing
        let others = (x.f_div_scalar(8.0).unwrap().floor() * 8.0) + (&x + 3.0).fmod(8.0);
        let same = flow.log_prob(&others, with(&noise)).unwrap();
        assert_eq!(max_diff(&same, &of_five), 0.0, "{name}");

        let latents = flow.encode(&x, with(&noise)).unwrap().latents;
        let back = flow.decode(&latents, Cx::default()).unwrap().value;
        assert_close(&name, &back, &continuous, 1e-7);
    }
}

#[test]
fn a_model_without_dequantisation_has_all_bits() {
    let vs = store(Kind::Float);
    let mut model = MultiScale::builder(&vs.root(), [1, 4, 4]).unwrap();
    model.layer("scale", inverse_flow::flows::Scale).unwrap();
    let mut model = model.finish().unwrap();
    model.set_bits(Bits::ALL).unwrap();
    let err = model.set_bits(Bits::new(3).unwrap()).unwrap_err();
    assert!(err.to_string().contains("`dequantize` layer"), "{err}");
    assert_eq!(model.bits(), Bits::ALL);
}
