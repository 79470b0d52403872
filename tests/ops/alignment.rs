//! Where a tensor lies in memory changes not one bit of what the CPU kernels compute.

use crate::common::*;
use crate::cpu::cpu;
use crate::ops_cases::Case;
use crate::shifted::shifted;
use inverse_flow::ops::actnorm::actnorm;
use inverse_flow::ops::coupling::{affine_coupling, AffineForm};
use inverse_flow::ops::spline::{spline, RawSpline};
use inverse_flow::ops::{conv_relu_conv, inv_conv2d, masked_conv2d, Corner, Direction};
use tch::{Kind, Tensor};

/// An operator as a function of all its tensors.
type Operator = Box<dyn Fn(&[Tensor]) -> Vec<Tensor>>;

/// Every operator with arguments, sizes such that images and channels do not fill whole vectors.
fn operators(kind: Kind) -> Vec<(String, Operator, Vec<Tensor>)> {
    let make = |seed, size: &[i64]| (normal(seed, size) * 0.5).to_kind(kind);
    let mut all: Vec<(String, Operator, Vec<Tensor>)> = Vec::new();
    for case in [
        Case::new([17, 12, 16, 15], 3, &[Corner::TopLeft]),
        Case::new([1, 12, 40, 9], 3, &[Corner::BottomRight]),
        Case::new([20, 12, 16, 16], 11, &[Corner::TopRight]),
        Case::new([19, 8, 18, 17], 3, &Corner::ALL),
        Case::new([2, 3, 7, 33], 2, &[Corner::BottomLeft]),
    ] {
        for (name, operator) in [
            ("solve", inv_conv2d as fn(&_, &_, &_) -> _),
            ("convolution", masked_conv2d),
        ] {
            let (x, weight) = case.tensors(kind, 7);
            let what = format!("{name} of {case:?}");
            let corners = case.corners.clone();
            let run: Operator = Box::new(move |t| vec![operator(&t[0], &t[1], &corners).unwrap()]);
            all.push((what, run, vec![x, weight]));
        }
    }
    let image = [5, 6, 7, 9];
    for direction in [Direction::Forward, Direction::Inverse] {
        for form in AffineForm::ALL {
            let run: Operator = Box::new(move |t| {
                let (value, log_det) = affine_coupling(&t[0], &t[1], form, direction).unwrap();
                vec![value, log_det]
            });
            let arguments = vec![make(1, &image), make(2, &image)];
            let what = format!("affine coupling, {form:?}, {direction:?}");
            all.push((what, run, arguments));
        }

        let run: Operator = Box::new(move |t| {
            let (value, log_det) = actnorm(&t[0], &t[1], &t[2], direction).unwrap();
            vec![value, log_det]
        });
        let arguments = vec![make(1, &image), make(2, &[6]), make(3, &[6])];
        all.push((format!("actnorm, {direction:?}"), run, arguments));

        for sets in [1, 6 * 7 * 9] {
            let run: Operator = Box::new(move |t| {
                let raw = RawSpline {
                    widths: &t[1],
                    heights: &t[2],
                    derivatives: &t[3],
                    tail: 1.5,
                };
                let (value, log_det) = spline(&t[0], &raw, direction).unwrap();
                vec![value, log_det]
            });
            let parameters = [(2, 10), (3, 10), (4, 9)].map(|(seed, n)| make(seed, &[sets, n]));
            let arguments = [make(1, &image)].into_iter().chain(parameters).collect();
            all.push((
                format!("spline, {sets} sets, {direction:?}"),
                run,
                arguments,
            ));
        }
    }
    for side in [1, 3] {
        let run: Operator =
            Box::new(|t| vec![conv_relu_conv(&t[0], &t[1], Some(&t[2]), &t[3]).unwrap()]);
        let arguments = vec![
            make(1, &[23, 4, 11, 13]),
            make(2, &[37, 4, 3, 3]),
            make(3, &[37]),
            make(4, &[6, 37, side, side]),
        ];
        all.push((format!("pair of convolutions, {side}"), run, arguments));
    }
    all
}

/// Outputs and the gradients of all arguments, as bits, where argument i begins `shifts[i]` elements beyond a cache line.
fn bits(operator: &Operator, arguments: &[Tensor], shifts: &[i64]) -> Vec<Tensor> {
    let leaves: Vec<Tensor> = arguments
        .iter()
        .zip(shifts)
        .map(|(argument, shift)| shifted(argument, *shift).set_requires_grad(true))
        .collect();
    let outputs = operator(&leaves);
    let losses: Vec<Tensor> = (5..)
        .zip(&outputs)
        .map(|(seed, output)| {
            // the gradient of a part of a joined tensor is a part of the joined gradient, and lies as that part does
            let before = output.new_zeros([shifts[0]], (output.kind(), output.device()));
            let joined = Tensor::cat(&[before, output.reshape([-1])], 0);
            let weights = normal(seed, &output.size())
                .to_kind(output.kind())
                .reshape([-1]);
            let weights = Tensor::cat(&[weights.narrow(0, 0, shifts[0]), weights], 0);
            (joined * weights).sum(output.kind())
        })
        .collect();
    let gradients = Tensor::run_backward(&losses, &leaves, false, false);
    outputs
        .into_iter()
        .chain(gradients)
        .map(|t| {
            let bits = match t.kind() {
                Kind::Float => Kind::Int,
                _ => Kind::Int64,
            };
            t.detach().contiguous().view_dtype(bits)
        })
        .collect()
}

#[test]
fn cpu_results_are_bit_identical_wherever_the_arguments_lie() {
    if !cpu("cpu_results_are_bit_identical_wherever_the_arguments_lie") {
        return;
    }
    for kind in [Kind::Float, Kind::Double] {
        for (what, operator, arguments) in operators(kind) {
            let expected = bits(&operator, &arguments, &[0; 4]);
            for shifts in [[1; 4], [3, 5, 0, 7]] {
                let got = bits(&operator, &arguments, &shifts);
                for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert!(
                        got.equal(expected),
                        "{what}, {kind:?}: result {index} with shifts {shifts:?}"
                    );
                }
            }
        }
    }
}
