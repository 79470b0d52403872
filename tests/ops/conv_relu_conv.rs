//! The fused pair of convolutions against its twin in plain tensor operations, and against central differences.

use crate::alone::alone;
use crate::common::*;
use crate::gpu::gpu;
use inverse_flow::ops::conv_relu_conv::{conv_relu_conv, reference};
use tch::{Kind, Tensor};

type Operator = fn(&Tensor, &Tensor, Option<&Tensor>, &Tensor) -> inverse_flow::Result<Tensor>;

struct Case {
    what: String,
    x: Tensor,
    first: Tensor,
    bias: Option<Tensor>,
    second: Tensor,
}

impl Case {
    fn new(
        [n, c, h, w]: [i64; 4],
        middle: i64,
        outputs: i64,
        [k, l]: [i64; 2],
        bias: bool,
        kind: Kind,
    ) -> Self {
        let make = |seed, size: &[i64], std: f64| {
            (normal(seed, size) * std)
                .to_kind(kind)
                .set_requires_grad(true)
        };
        Self {
            what: format!(
                "{:?} {middle} {outputs} {k} {l} {bias} {kind:?}",
                [n, c, h, w]
            ),
            x: make(1, &[n, c, h, w], 1.0),
            first: make(2, &[middle, c, k, k], 0.5),
            bias: bias.then(|| make(3, &[middle], 0.5)),
            second: make(4, &[outputs, middle, l, l], 0.5),
        }
    }

    fn variables(&self) -> Vec<(String, Tensor)> {
        let mut variables = vec![
            ("x", &self.x),
            ("first", &self.first),
            ("second", &self.second),
        ];
        variables.extend(self.bias.as_ref().map(|bias| ("bias", bias)));
        let named = variables.into_iter();
        named
            .map(|(name, t)| (format!("{} {name}", self.what), t.shallow_clone()))
            .collect()
    }

    fn run(&self, operator: Operator) -> Tensor {
        operator(&self.x, &self.first, self.bias.as_ref(), &self.second).unwrap()
    }

    fn loss(&self, operator: Operator) -> Tensor {
        let y = self.run(operator);
        let kind = y.kind();
        // not linear: the gradient that comes in depends on the call too
        (y.sin() * normal(9, &y.size()).to_kind(kind)).sum(kind)
    }

    fn gradients(&self, operator: Operator) -> Vec<Tensor> {
        let variables = self.variables();
        let leaves: Vec<&Tensor> = variables.iter().map(|(_, t)| t).collect();
        Tensor::run_backward(&[self.loss(operator)], &leaves, false, false)
    }
}

/// Odd and unequal sizes; one pixel, one row, one channel; several tiles and partial sums; filters larger than the image.
fn cases(kind: Kind) -> Vec<Case> {
    vec![
        Case::new([3, 2, 5, 7], 13, 4, [3, 1], false, kind),
        Case::new([2, 3, 4, 3], 5, 7, [3, 3], true, kind),
        Case::new([1, 1, 1, 1], 1, 1, [1, 1], true, kind),
        Case::new([25, 2, 1, 9], 24, 3, [3, 3], false, kind),
        Case::new([23, 4, 20, 22], 17, 2, [1, 3], true, kind),
        Case::new([2, 1, 2, 3], 6, 2, [5, 3], true, kind),
        Case::new([0, 2, 3, 4], 6, 2, [3, 1], true, kind),
    ]
}

#[track_caller]
fn assert_relative(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    let scale = if expected.numel() == 0 {
        0.0
    } else {
        expected.abs().max().double_value(&[])
    };
    assert_close(what, got, expected, tolerance * (1.0 + scale));
}

#[test]
fn values_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
        for case in cases(kind) {
            assert_relative(
                &case.what,
                &case.run(conv_relu_conv),
                &case.run(reference::conv_relu_conv),
                tolerance,
            );
            let got = case.gradients(conv_relu_conv);
            let expected = case.gradients(reference::conv_relu_conv);
            for ((name, _), (got, expected)) in
                case.variables().iter().zip(got.iter().zip(&expected))
            {
                assert_relative(name, got, expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for case in cases(Kind::Double).iter().take(2) {
        assert_gradients(&case.variables(), 1e-6, || case.loss(conv_relu_conv));
    }
}

#[test]
fn second_derivatives_are_those_of_the_twin() {
    let case = Case::new([2, 3, 4, 3], 5, 7, [3, 3], true, Kind::Double);
    let variables = case.variables();
    let leaves: Vec<&Tensor> = variables.iter().map(|(_, t)| t).collect();
    let second = |operator: Operator| {
        let first = Tensor::run_backward(&[case.loss(operator)], &leaves, true, true);
        let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
        Tensor::run_backward(&[norm], &leaves, false, false)
    };
    for (got, expected) in second(conv_relu_conv)
        .iter()
        .zip(second(reference::conv_relu_conv))
    {
        assert_relative("second derivative", got, &expected, 1e-10);
    }
}

#[test]
fn gradients_of_some_arguments_are_those_among_all() {
    let case = || Case::new([2, 3, 4, 3], 5, 7, [3, 3], true, Kind::Double);
    let all = case().gradients(conv_relu_conv);
    for wanted in 1..1 << all.len() {
        let is_wanted = |at: usize| wanted >> at & 1 == 1;
        let mut case = case();
        let arguments = [&mut case.x, &mut case.first, &mut case.second];
        let arguments = arguments.into_iter().chain(&mut case.bias).enumerate();
        for (_, argument) in arguments.filter(|(at, _)| !is_wanted(*at)) {
            *argument = argument.detach();
        }
        let variables = case.variables();
        let of_wanted = variables.iter().zip(&all).enumerate();
        let of_wanted = of_wanted.filter(|(at, _)| is_wanted(*at));
        let (leaves, expected): (Vec<_>, Vec<_>) = of_wanted
            .map(|(_, ((_, leaf), expected))| (leaf, expected))
            .unzip();
        let got = Tensor::run_backward(&[case.loss(conv_relu_conv)], &leaves, false, false);
        for (got, expected) in got.iter().zip(expected) {
            assert_relative(&format!("{wanted:04b}"), got, expected, 1e-12);
        }
    }
}

/// On a GPU a batch goes through in parts where its middle is large: here 126 MB, in three.
#[test]
fn cuda_a_batch_in_parts_is_that_of_the_twin() {
    if gpu("cuda_a_batch_in_parts_is_that_of_the_twin").is_none() {
        return;
    }
    let case = Case::new([5, 1, 64, 64], 1536, 2, [3, 1], true, Kind::Float);
    let values = [conv_relu_conv, reference::conv_relu_conv].map(|operator| case.run(operator));
    assert_relative("value", &values[0], &values[1], 2e-5);
    let gradients = [conv_relu_conv, reference::conv_relu_conv].map(|op| case.gradients(op));
    for (got, expected) in gradients[0].iter().zip(&gradients[1]) {
        assert_relative(&case.what, got, expected, 1e-4);
    }
}

#[test]
fn cpu_results_do_not_depend_on_the_number_of_threads() {
    alone(
        module_path!(),
        "cpu_results_do_not_depend_on_the_number_of_threads",
        with_any_number_of_threads,
    );
}

fn with_any_number_of_threads() {
    for case in cases(Kind::Float) {
        let all = |threads| {
            tch::set_num_threads(threads);
            let mut all = case.gradients(conv_relu_conv);
            all.push(case.run(conv_relu_conv).detach());
            all
        };
        let one = all(1);
        for threads in [2, 3] {
            assert_eq!(all(threads), one, "{}", case.what);
        }
    }
}

#[test]
fn a_strided_input_and_a_nan_are_no_special_cases() {
    let case = Case::new([3, 2, 5, 7], 13, 4, [3, 1], false, Kind::Double);
    let x = case.x.detach().transpose(2, 3).contiguous().transpose(2, 3);
    assert!(!x.is_contiguous());
    let got = conv_relu_conv(&x, &case.first, None, &case.second).unwrap();
    assert_close("strided", &got, &case.run(conv_relu_conv), 0.0);
    let _ = x.get(1).fill_(f64::NAN);
    let nan = conv_relu_conv(&x, &case.first, None, &case.second)
        .unwrap()
        .isnan();
    assert_eq!(nan.sum(Kind::Int64).int64_value(&[]), 4 * 5 * 7);
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let x = normal(1, &[2, 3, 4, 4]);
    let (first, second) = (normal(2, &[5, 3, 3, 3]), normal(3, &[2, 5, 1, 1]));
    let bias = normal(4, &[5]);
    let text = |x: &Tensor, first: &Tensor, bias: &Tensor, second: &Tensor| {
        conv_relu_conv(x, first, Some(bias), second)
            .unwrap_err()
            .to_string()
    };
    for (text, part) in [
        (
            text(&x.get(0), &first, &bias, &second),
            "must have 4 dimensions",
        ),
        (
            text(&x.to_kind(Kind::Half), &first, &bias, &second),
            "`x` must be float32 or float64",
        ),
        (
            text(&x, &first.narrow(1, 0, 2), &bias, &second),
            "`first` must be [M, 3, k, k]",
        ),
        (
            text(&x, &first.narrow(3, 0, 2), &bias, &second),
            "`first` must be [M, 3, k, k]",
        ),
        (
            text(&x, &first, &bias.narrow(0, 0, 4), &second),
            "`bias` must be [5]",
        ),
        (
            text(&x, &first, &bias, &second.narrow(1, 0, 4)),
            "`second` must be [C', 5, k, k]",
        ),
        (
            text(&x, &first, &bias, &second.to_kind(Kind::Float)),
            "`second` must be float64",
        ),
    ] {
        assert!(text.contains(part), "{text}");
    }
}
