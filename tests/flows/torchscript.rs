//! The TorchScript of every layer computes what the layer does, forwards and, read by [`Inverted`], backwards.

use crate::cases::{cases, Case};
use crate::common::*;
use inverse_flow::flows::*;
use inverse_flow::torchscript::{archive, Script, Solve};
use tch::{nn, CModule, IValue, Tensor};

#[test]
fn every_layers_torchscript_computes_what_the_layer_does_and_so_it_does_read_backwards() {
    for case in cases() {
        let x = case.input(3);
        let there = case.layer.forward(&x, Cx::default()).unwrap();
        let back = case.layer.inverse(&there.value, Cx::default()).unwrap();
        let Case {
            name, vs, layer, ..
        } = case;
        let script = layer.torchscript().unwrap();
        let takes_noise = script.takes_noise;
        check_program(&name, &vs, &script, takes_noise, &x, &there, &back.value);

        let forth = layer.forward(&back.value, Cx::default()).unwrap().value;
        let inverted = Inverted(Owned(layer));
        match inverted.torchscript() {
            Err(_) if takes_noise => {} // there is no dequantisation backwards
            script => {
                let (name, script) = (format!("{name}, backwards"), script.unwrap());
                check_program(&name, &vs, &script, false, &there.value, &back, &forth);
            }
        }
    }
}

/// What the program of `script` makes of `x` and of what it became.
fn check_program(
    name: &str,
    vs: &nn::VarStore,
    script: &Script,
    takes_noise: bool,
    x: &Tensor,
    there: &Mapped,
    back: &Tensor,
) {
    let bytes = archive(script, vs, "{}", Solve::Portable);
    let bytes = bytes.unwrap_or_else(|err| panic!("{name}: {err}"));
    let program = CModule::load_data_on_device(&mut bytes.as_slice(), device()).unwrap();
    let mut arguments = vec![IValue::Tensor(x.shallow_clone())];
    if takes_noise {
        arguments.push(IValue::None);
    }
    let mapped = program.method_is("forward", &arguments).unwrap();
    let (value, log_det) = <(Tensor, Tensor)>::try_from(mapped).unwrap();
    let tol = |t: &Tensor| 1e-10 * (1.0 + t.abs().max().double_value(&[]));
    assert_close(name, &value, &there.value, tol(&there.value));
    assert_close(name, &log_det, &there.log_det, tol(&there.log_det));
    let z = IValue::Tensor(there.value.shallow_clone());
    let IValue::Tensor(again) = program.method_is("invert", &[z]).unwrap() else {
        panic!("{name}: invert returns a tensor")
    };
    assert_close(name, &again, back, tol(back));
}

/// A layer whose type is not known.
#[derive(Debug)]
struct Owned(Box<dyn Transform>);

impl Transform for Owned {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, x: &Tensor, cx: Cx<'_>) -> inverse_flow::Result<Mapped> {
        self.0.forward(x, cx)
    }

    fn inverse(&self, z: &Tensor, cx: Cx<'_>) -> inverse_flow::Result<Mapped> {
        self.0.inverse(z, cx)
    }

    fn out_shape(&self, chw: [i64; 3]) -> inverse_flow::Result<[i64; 3]> {
        self.0.out_shape(chw)
    }

    fn torchscript(&self) -> inverse_flow::Result<Script> {
        self.0.torchscript()
    }
}
