//! The bridge: autograd functions written in Rust, through torch's engine and back.

use crate::device::device;
use inverse_flow::autograd::{apply, CustomFn, Saved};
use inverse_flow::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// `(x y, x + y)`, counting its own drops.
struct ProductAndSum(Arc<AtomicUsize>);

impl Drop for ProductAndSum {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl CustomFn for ProductAndSum {
    fn forward(&self, saved: &mut Saved, xs: &[Tensor]) -> Result<Vec<Tensor>> {
        saved.save(&xs[0]);
        saved.save(&xs[1]);
        Ok(vec![&xs[0] * &xs[1], &xs[0] + &xs[1]])
    }

    fn backward(
        &self,
        saved: &[Tensor],
        grads: &[Option<Tensor>],
        needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let gradient = |input: usize| {
            let product = grads[0].as_ref().map(|g| g * &saved[1 - input]);
            let sum = grads[1].as_ref().map(Tensor::shallow_clone);
            match (product, sum) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        };
        Ok((0..2)
            .map(|i| needs[i].then(|| gradient(i)).flatten())
            .collect())
    }
}

fn leaf(value: f64) -> Tensor {
    Tensor::from_slice(&[value])
        .to_device(device())
        .set_requires_grad(true)
}

fn value(x: &Tensor) -> f64 {
    x.double_value(&[0])
}

#[test]
fn gradients_flow_through_every_output_also_when_one_is_unused() {
    for (use_product, use_sum, dx, dy) in [
        (true, true, 4.0, 3.0),
        (true, false, 3.0, 2.0),
        (false, true, 1.0, 1.0),
    ] {
        let (x, y) = (leaf(2.0), leaf(3.0));
        let outputs = apply(ProductAndSum(Arc::default()), &[&x, &y]).unwrap();
        let used = outputs
            .iter()
            .zip([use_product, use_sum])
            .filter(|(_, used)| *used);
        used.map(|(o, _)| o).sum::<Tensor>().backward();
        assert_eq!((value(&x.grad()), value(&y.grad())), (dx, dy));
    }
}

#[test]
fn what_needs_no_gradient_gets_none_and_costs_none() {
    let (x, y) = (leaf(2.0), Tensor::from_slice(&[3.0]).to_device(device()));
    apply(ProductAndSum(Arc::default()), &[&x, &y]).unwrap()[0].backward();
    assert_eq!(value(&x.grad()), 3.0);
    assert!(!y.grad().defined());
    let frozen = apply(ProductAndSum(Arc::default()), &[&y, &y]).unwrap();
    assert!(!frozen[0].requires_grad());
    let _guard = tch::no_grad_guard();
    assert!(!apply(ProductAndSum(Arc::default()), &[&x, &y]).unwrap()[0].requires_grad());
}

#[test]
fn state_lives_as_long_as_the_graph_and_is_freed_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let x = leaf(1.0);
    let outputs = apply(ProductAndSum(drops.clone()), &[&x, &x]).unwrap();
    assert_eq!(drops.load(SeqCst), 0);
    outputs[0].backward();
    drop(outputs);
    assert_eq!(drops.load(SeqCst), 1);
    // without a graph it is freed at once
    tch::no_grad(|| apply(ProductAndSum(drops.clone()), &[&x, &x]).unwrap());
    assert_eq!(drops.load(SeqCst), 2);
}

#[test]
fn a_differentiable_backward_gives_second_derivatives() {
    let (x, y) = (leaf(2.0), leaf(3.0));
    let product = apply(ProductAndSum(Arc::default()), &[&x, &y])
        .unwrap()
        .remove(0);
    let first = Tensor::run_backward(&[product.square()], &[&x], true, true).remove(0);
    assert_eq!(value(&first), 2.0 * 2.0 * 9.0);
    let second = Tensor::run_backward(&[first], &[&x, &y], false, false);
    assert_eq!((value(&second[0]), value(&second[1])), (18.0, 24.0));
}

/// Fails where it is told to.
#[derive(Clone, Copy)]
enum Fails {
    Forward,
    ForwardPanic,
    Backward,
    BackwardPanic,
    WrongCount,
}

impl CustomFn for Fails {
    fn forward(&self, _saved: &mut Saved, xs: &[Tensor]) -> Result<Vec<Tensor>> {
        match self {
            Fails::Forward => Err(Error::config("no such luck")),
            Fails::ForwardPanic => panic!("forward {}", "broke"),
            _ => Ok(vec![&xs[0] * 2.0]),
        }
    }

    fn backward(
        &self,
        _saved: &[Tensor],
        _grads: &[Option<Tensor>],
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        match self {
            Fails::Backward => Err(Error::config("no way back")),
            Fails::BackwardPanic => panic!("backward broke"),
            _ => Ok(vec![]),
        }
    }
}

#[test]
fn errors_and_panics_of_forward_are_errors() {
    let x = leaf(1.0);
    let text = |f: Fails| apply(f, &[&x]).unwrap_err().to_string();
    assert_eq!(text(Fails::Forward), "libtorch: no such luck");
    assert_eq!(
        text(Fails::ForwardPanic),
        "libtorch: panic in a Rust callback: forward broke"
    );
}

#[test]
fn errors_and_panics_of_backward_come_out_of_the_backward_call() {
    for (f, expected) in [
        (Fails::Backward, "no way back"),
        (
            Fails::BackwardPanic,
            "panic in a Rust callback: backward broke",
        ),
        (Fails::WrongCount, "returned 0 gradients for 1 inputs"),
    ] {
        let x = leaf(1.0);
        let y = apply(f, &[&x]).unwrap().remove(0);
        let text = Error::from(y.f_backward().unwrap_err()).to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn functions_may_be_used_from_many_threads() {
    let threads: Vec<_> = (0..4)
        .map(|i| {
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let (x, y) = (leaf(f64::from(i)), leaf(3.0));
                    apply(ProductAndSum(Arc::default()), &[&x, &y]).unwrap()[0].backward();
                    assert_eq!((value(&x.grad()), value(&y.grad())), (3.0, f64::from(i)));
                    let z = apply(Fails::Backward, &[&x]).unwrap().remove(0);
                    assert!(z.f_backward().is_err());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn an_output_may_be_saved() {
    struct Exp;
    impl CustomFn for Exp {
        fn forward(&self, saved: &mut Saved, xs: &[Tensor]) -> Result<Vec<Tensor>> {
            let y = xs[0].exp();
            saved.save(&y);
            Ok(vec![y])
        }
        fn backward(
            &self,
            saved: &[Tensor],
            grads: &[Option<Tensor>],
            _: &[bool],
        ) -> Result<Vec<Option<Tensor>>> {
            Ok(vec![grads[0].as_ref().map(|g| g * &saved[0])])
        }
    }
    let x = leaf(0.5);
    let y = apply(Exp, &[&x]).unwrap().remove(0);
    y.sum(Kind::Double).backward();
    assert_eq!(value(&x.grad()), 0.5f64.exp());
}

/// Returns no tensor where one is expected.
struct Nothing;

impl CustomFn for Nothing {
    fn forward(&self, saved: &mut Saved, _xs: &[Tensor]) -> Result<Vec<Tensor>> {
        saved.save(&Tensor::new());
        Ok(vec![Tensor::new()])
    }

    fn backward(
        &self,
        _saved: &[Tensor],
        _grads: &[Option<Tensor>],
        _needs: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[test]
fn an_undefined_output_is_undefined_or_an_error_and_never_a_null_pointer() {
    for x in [leaf(1.0), Tensor::from_slice(&[1.0]).to_device(device())] {
        if let Ok(outputs) = apply(Nothing, &[&x]) {
            assert!(outputs.iter().all(|output| !output.defined()));
        }
    }
    assert!(apply(Nothing, &[&Tensor::new()]).is_err());
}
