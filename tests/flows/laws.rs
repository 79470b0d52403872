//! The laws of `Transform`, for every layer.

use crate::cases::cases;
use crate::common::*;
use inverse_flow::flows::*;
use tch::{Kind, Tensor};
#[test]
fn forward_and_inverse_undo_each_other_for_batches_of_0_1_and_3() {
    for case in cases() {
        for n in [0, 1, 3] {
            let name = format!("{} batch {n}", case.name);
            assert_bijective(&name, case.layer.as_ref(), &case.input(n), 1e-9);
        }
    }
}

#[test]
fn log_dets_are_those_of_the_jacobian() {
    for case in cases() {
        assert_log_det(&case.name, case.layer.as_ref(), &case.input(2), 1e-9);
    }
}

#[test]
fn gradients_with_respect_to_parameters_and_input_are_central_differences() {
    for case in cases() {
        let x = case.input(2).set_requires_grad(true);
        let z = tch::no_grad(|| case.layer.forward(&x, Cx::default()).unwrap().value);
        let z = z.set_requires_grad(true);
        for (direction, leaf) in [("forward", &x), ("inverse", &z)] {
            let mut variables = trainable(&case.vs);
            variables.push((direction.to_owned(), leaf.shallow_clone()));
            for (name, _) in &mut variables {
                *name = format!("{}, {direction}: {name}", case.name);
            }
            // a spline's single bin has no inner knot
            variables.retain(|(_, variable)| variable.numel() > 0);
            assert_gradients(&variables, 1e-6, || {
                let mapped = match direction {
                    "forward" => case.layer.forward(leaf, Cx::default()),
                    _ => case.layer.inverse(leaf, Cx::default()),
                };
                probe(&mapped.unwrap(), 31)
            });
        }
    }
}

#[test]
fn a_strided_input_gives_what_its_contiguous_copy_gives() {
    for case in cases() {
        let [c, h, w] = case.chw;
        let wide = (case.domain)(normal(8, &[w + 2, h, 3, c])).permute([2, 3, 1, 0]);
        let strided = wide.narrow(3, 1, w);
        assert!(!strided.is_contiguous());
        let dense = strided.contiguous();
        for inverse in [false, true] {
            let run = |x: &Tensor| match inverse {
                false => case.layer.forward(x, Cx::default()).unwrap(),
                true => case.layer.inverse(x, Cx::default()).unwrap(),
            };
            if inverse && case.layer.name() == "squeeze" {
                continue; // its latent has another shape
            }
            let (a, b) = (run(&strided), run(&dense));
            assert_close(&case.name, &a.value, &b.value, 1e-12);
            assert_close(&case.name, &a.log_det, &b.log_det, 1e-12);
        }
    }
}

#[test]
fn a_wrong_input_is_an_error_that_names_the_layer() {
    for case in cases() {
        if case.name == "empty sequential" {
            continue;
        }
        let flat = normal(1, &[2, 3]);
        let whole = case.input(2).to_kind(Kind::Int64);
        for (bad, part) in [
            (flat, "4 dimensions"),
            (whole, "must be float32 or float64"),
        ] {
            let err = case
                .layer
                .forward(&bad, Cx::default())
                .unwrap_err()
                .to_string();
            assert!(err.contains(part), "{}: {err}", case.name);
        }
        if !case.vs.is_empty() {
            let single = case.input(2).to_kind(Kind::Float);
            let err = case
                .layer
                .forward(&single, Cx::default())
                .unwrap_err()
                .to_string();
            let part = format!("must be float64 on {}", device_name());
            assert!(err.contains(&part), "{}: {err}", case.name);
        }
    }
}
