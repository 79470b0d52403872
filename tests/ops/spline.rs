//! The fused spline against its twin in plain tensor operations, and against central differences.

use crate::alone::alone;
use crate::common::*;
use crate::gpu::gpu;
use inverse_flow::ops::spline::{reference, spline, RawSpline};
use inverse_flow::ops::Direction;
use tch::{Device, Kind, Tensor};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Inverse];

/// An operator and its twin have the same signature.
type Operator = fn(&Tensor, &RawSpline<'_>, Direction) -> inverse_flow::Result<(Tensor, Tensor)>;

/// Samples, size of one, bins, shared: batches of 0, 1 and more than partial sums, elements that fill no vector or
/// several, one bin and many.
fn cases() -> Vec<(i64, [i64; 3], i64, bool)> {
    vec![
        (3, [2, 3, 5], 5, true),
        (3, [2, 3, 5], 4, false),
        (1, [1, 4, 4], 10, true),
        (0, [2, 3, 1], 3, false),
        (37, [1, 7, 5], 2, false),
        (18, [3, 5, 7], 32, true),
        (2, [1, 1, 3], 1, true),
        (2, [1, 2, 1], 1, false),
        (2, [0, 2, 3], 4, true),
        (3, [2, 1, 1], 500, true),
    ]
}

struct Case {
    tensors: [Tensor; 4],
    tail: f64,
}

impl Case {
    /// Some elements lie in the tails, some on the ends and on a knot of the equal bins.
    fn new((n, [c, h, w], bins, shared): (i64, [i64; 3], i64, bool), kind: Kind) -> Self {
        let sets = if shared { 1 } else { c * h * w };
        let tail = 1.5;
        let x = normal(1, &[n, c, h, w]);
        for (at, value) in [tail, -tail, 0.0, 40.0].into_iter().enumerate() {
            if x.numel() > 2 * at {
                let _ = x.view([-1]).get(2 * at as i64).fill_(value);
            }
        }
        let tensors = [
            x,
            normal(2, &[sets, bins]),
            normal(3, &[sets, bins]),
            normal(4, &[sets, bins - 1]),
        ];
        Self {
            tensors: tensors.map(|t| t.to_kind(kind).set_requires_grad(true)),
            tail,
        }
    }

    fn run(&self, operator: Operator, direction: Direction) -> (Tensor, Tensor) {
        let [x, widths, heights, derivatives] = &self.tensors;
        let raw = RawSpline {
            widths,
            heights,
            derivatives,
            tail: self.tail,
        };
        operator(x, &raw, direction).unwrap()
    }

    /// A scalar that depends on every output.
    fn loss(&self, operator: Operator, direction: Direction) -> Tensor {
        let (value, log_det) = self.run(operator, direction);
        let kind = value.kind();
        // not linear: the gradients that come in depend on the call too
        let weigh = |t: &Tensor, seed| (t.sin() * normal(seed, &t.size()).to_kind(kind)).sum(kind);
        weigh(&value, 11) + weigh(&log_det, 12)
    }

    fn gradients(&self, operator: Operator, direction: Direction) -> Vec<Tensor> {
        let loss = self.loss(operator, direction);
        Tensor::run_backward(&[loss], &self.tensors, false, false)
    }
}

#[track_caller]
fn assert_relative(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    let scale = if expected.numel() == 0 {
        1.0
    } else {
        1.0 + expected.abs().max().double_value(&[])
    };
    assert_close(what, got, expected, tolerance * scale);
}

#[test]
fn values_log_dets_and_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in [(Kind::Double, 1e-10), (Kind::Float, 1e-3)] {
        for sizes in cases() {
            let case = Case::new(sizes, kind);
            for direction in DIRECTIONS {
                let what = |part: &str| format!("{sizes:?} {kind:?} {direction:?} {part}");
                let (value, log_det) = case.run(spline, direction);
                let (expected, expected_log_det) = case.run(reference::spline, direction);
                assert_relative(&what("value"), &value, &expected, tolerance);
                assert_relative(&what("log-det"), &log_det, &expected_log_det, tolerance);
                let got = case.gradients(spline, direction);
                let expected = case.gradients(reference::spline, direction);
                for (part, (got, expected)) in ["x", "widths", "heights", "derivatives"]
                    .iter()
                    .zip(got.iter().zip(&expected))
                {
                    assert_relative(&what(part), got, expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for sizes in [(2, [2, 1, 3], 4, true), (3, [1, 2, 2], 3, false)] {
        let mut case = Case::new(sizes, Kind::Double);
        // on a knot the second derivative jumps
        case.tensors[0] = normal(8, &case.tensors[0].size()).set_requires_grad(true);
        for direction in DIRECTIONS {
            let names = ["x", "widths", "heights", "derivatives"];
            let variables: Vec<_> = names
                .iter()
                .zip(&case.tensors)
                .map(|(name, t)| (format!("{sizes:?} {direction:?} {name}"), t.shallow_clone()))
                .collect();
            assert_gradients(&variables, 1e-6, || case.loss(spline, direction));
        }
    }
}

#[test]
fn second_derivatives_are_those_of_the_twin() {
    let case = Case::new((2, [2, 1, 3], 4, false), Kind::Double);
    for direction in DIRECTIONS {
        let second = |operator: Operator| {
            let loss = case.loss(operator, direction);
            let first = Tensor::run_backward(&[loss], &case.tensors, true, true);
            let norm: Tensor = first.iter().map(|g| g.square().sum(Kind::Double)).sum();
            Tensor::run_backward(&[norm], &case.tensors, false, false)
        };
        for (got, expected) in second(spline).iter().zip(second(reference::spline)) {
            assert!(expected.abs().max().double_value(&[]) > 1e-3);
            assert_relative("second derivative", got, &expected, 1e-9);
        }
    }
}

#[test]
fn only_one_output_may_matter() {
    let case = Case::new((3, [2, 3, 5], 5, true), Kind::Double);
    for direction in DIRECTIONS {
        for output in 0..2 {
            let of = |operator: Operator| {
                let (value, log_det) = case.run(operator, direction);
                let loss = [value, log_det][output].square().sum(Kind::Double);
                Tensor::run_backward(&[loss], &case.tensors, false, false)
            };
            for (got, expected) in of(spline).iter().zip(of(reference::spline)) {
                assert_relative("gradient", got, &expected, 1e-10);
            }
        }
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
    for sizes in [(37, [1, 7, 5], 5, true), (37, [1, 7, 5], 2, false)] {
        let case = Case::new(sizes, Kind::Float);
        let all = |threads| {
            tch::set_num_threads(threads);
            let (value, log_det) = case.run(spline, Direction::Forward);
            let mut all = case.gradients(spline, Direction::Forward);
            all.extend([value.detach(), log_det.detach()]);
            all
        };
        let one = all(1);
        for threads in [2, 3] {
            assert_eq!(all(threads), one, "{sizes:?} {threads}");
        }
    }
}

#[test]
fn a_nan_stays_visible_in_both_outputs() {
    let case = Case::new((2, [1, 2, 9], 5, true), Kind::Float);
    let x = case.tensors[0].detach().copy();
    let _ = x.view([-1]).get(3).fill_(f64::NAN);
    let case = Case {
        tensors: [
            x.set_requires_grad(true),
            case.tensors[1].shallow_clone(),
            case.tensors[2].shallow_clone(),
            case.tensors[3].shallow_clone(),
        ],
        ..case
    };
    for direction in DIRECTIONS {
        let (value, log_det) = case.run(spline, direction);
        assert_eq!(value.isnan().sum(Kind::Int64).int64_value(&[]), 1);
        assert!(log_det.double_value(&[0]).is_nan() && log_det.double_value(&[1]).is_finite());
        let gradient = &case.gradients(spline, direction)[1];
        assert!(gradient.isnan().any().int64_value(&[]) == 1);
    }
}

#[test]
fn arguments_that_do_not_fit_together_are_errors_that_name_them() {
    let x = normal(1, &[2, 3, 4]);
    let [w, h, d] = [[1, 5], [1, 5], [1, 4]].map(|size| normal(2, &size));
    let run = |x: &Tensor, w: &Tensor, h: &Tensor, d: &Tensor, tail| {
        let raw = RawSpline {
            widths: w,
            heights: h,
            derivatives: d,
            tail,
        };
        spline(x, &raw, Direction::Forward).unwrap_err().to_string()
    };
    let single = h.to_kind(Kind::Float);
    for (text, part) in [
        (
            run(&x.to_kind(Kind::Int64), &w, &h, &d, 1.0),
            "`x` must be float32 or float64",
        ),
        (
            run(&x.sum(Kind::Double), &w, &h, &d, 1.0),
            "`x` must be [N, ...]",
        ),
        (
            run(&x, &w.view([-1]), &h, &d, 1.0),
            "`widths` must be [P, bins]",
        ),
        (
            run(&x, &w.repeat([2, 1]), &h, &d, 1.0),
            "or 12 as a sample has elements, got 2",
        ),
        (run(&x, &w, &d, &d, 1.0), "`heights` must be [1, 5]"),
        (run(&x, &w, &h, &h, 1.0), "`derivatives` must be [1, 4]"),
        (
            run(&x, &w, &single, &d, 1.0),
            "`heights` must be [1, 5] float64",
        ),
        (
            run(&x, &w, &h, &d, -1.0),
            "`tail` must be a positive number",
        ),
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn cuda_spline_equals_that_of_the_cpu() {
    if gpu("cuda_spline_equals_that_of_the_cpu").is_none() {
        return;
    }
    for (kind, tolerance) in [(Kind::Double, 1e-10), (Kind::Float, 1e-3)] {
        for sizes in cases() {
            let case = Case::new(sizes, kind);
            let on_cpu = Case {
                tensors: case.tensors.each_ref().map(|t| {
                    let copy = t.detach().to_device(Device::Cpu);
                    copy.set_requires_grad(true)
                }),
                ..case
            };
            for direction in DIRECTIONS {
                let all = |case: &Case| {
                    let (value, log_det) = case.run(spline, direction);
                    let seeds = [11, 12].into_iter();
                    let parts = seeds.zip([&value, &log_det]).map(|(seed, t)| {
                        let weights = normal(seed, &t.size()).to_kind(kind).to_device(t.device());
                        (t * weights).sum(kind)
                    });
                    let loss: Tensor = parts.sum();
                    let mut all = Tensor::run_backward(&[loss], &case.tensors, false, false);
                    all.extend([value.detach(), log_det.detach()]);
                    all
                };
                let expected = all(&on_cpu);
                for (got, expected) in all(&case).iter().zip(&expected) {
                    let got = got.to_device(Device::Cpu);
                    assert_relative(&format!("{sizes:?}"), &got, expected, tolerance);
                }
                assert_eq!(all(&case), all(&case), "bit-identical from run to run");
            }
        }
    }
}
