//! Sums and broadcasts.

use crate::ranks;
use inverse_flow::distributed::Group;
use inverse_flow::Error;
use tch::{Kind, Tensor};

/// Runs `test` in `ranks` processes, where `work` is what each does in the group; all of them end well.
#[track_caller]
fn in_a_group(test: &'static str, ranks: usize, work: impl FnOnce(&Group)) {
    ranks::in_a_group(module_path!(), test, ranks, |team| {
        work(team.group().unwrap())
    });
}

#[test]
fn sums_are_those_of_all_ranks_and_have_the_same_bits() {
    const TEST: &str = "sums_are_those_of_all_ranks_and_have_the_same_bits";
    in_a_group(TEST, 3, |group| {
        // more than a message, and not divisible by the number of ranks
        const N: i64 = 100_003;
        for kind in [Kind::Float, Kind::Double] {
            let part = |rank: u32| {
                let x = Tensor::arange(N, (Kind::Double, tch::Device::Cpu));
                (x * f64::from(rank + 1)).sin().to_kind(kind)
            };
            let sum = part(group.rank());
            group.sum(&sum).unwrap();
            let expected = part(0) + part(1) + part(2);
            let eps = if kind == Kind::Float { 1e-6 } else { 1e-15 };
            let error = (&sum - &expected).abs().max().double_value(&[]);
            assert!(error < eps, "{kind:?}: {error:e}");
            let of_rank_0 = sum.copy();
            group.broadcast(&of_rank_0).unwrap();
            assert!(sum.equal(&of_rank_0), "{kind:?}");
        }
        let scalar = Tensor::from(f64::from(group.rank()));
        group.sum(&scalar).unwrap();
        assert_eq!(scalar.double_value(&[]), 3.0);
    });
}

#[test]
fn broadcasts_are_those_of_rank_0() {
    const TEST: &str = "broadcasts_are_those_of_rank_0";
    in_a_group(TEST, 2, |group| {
        for kind in [Kind::Float, Kind::Double, Kind::Int64, Kind::Uint8] {
            let start = i64::from(group.rank()) * 100;
            let x = Tensor::arange_start(start, start + 7, (kind, tch::Device::Cpu));
            group.broadcast(&x).unwrap();
            assert!(
                x.equal(&Tensor::arange(7, (kind, tch::Device::Cpu))),
                "{kind:?}"
            );
        }
        for content in [b"".to_vec(), b"checkpoint\0\xff".to_vec(), vec![7; 1 << 20]] {
            let mut bytes = match group.rank() {
                0 => content.clone(),
                _ => b"something else".to_vec(),
            };
            group.broadcast_bytes(&mut bytes).unwrap();
            assert!(bytes == content);
        }
    });
}

#[test]
fn an_exchange_counts_as_a_change_of_the_parameter() {
    const TEST: &str = "an_exchange_counts_as_a_change_of_the_parameter";
    in_a_group(TEST, 2, |group| counts_as_a_change(group, tch::Device::Cpu));
}

/// Autograd sees that a broadcast has changed a parameter of `device`.
pub fn counts_as_a_change(group: &Group, device: tch::Device) {
    let parameter = Tensor::from_slice(&[2.0, 3.0]).to_device(device);
    let parameter = parameter.set_requires_grad(true);
    // the square keeps its argument for the backward pass, which must not see another one
    let loss = parameter.square().sum(Kind::Double);
    group.broadcast(&parameter).unwrap();
    let err = loss.f_backward().unwrap_err().to_string();
    assert!(err.contains("modified by an inplace operation"), "{err}");
    assert!(parameter.requires_grad() && parameter.is_leaf());
}

#[test]
fn tensors_that_cannot_be_exchanged_are_refused_and_the_group_goes_on() {
    const TEST: &str = "tensors_that_cannot_be_exchanged_are_refused_and_the_group_goes_on";
    in_a_group(TEST, 2, |group| {
        let x = Tensor::ones([2, 3], (Kind::Float, tch::Device::Cpu));
        let refused = |result: Result<(), Error>, problem: &str| {
            let err = result.unwrap_err();
            assert!(matches!(err, Error::Argument { .. }), "{err:?}");
            assert!(err.to_string().contains(problem), "{err}");
        };
        refused(
            group.sum(&x.to_kind(Kind::Int64)),
            "is Int64: it must be one of [Float, Double]",
        );
        refused(group.sum(&x.tr()), "is not contiguous");
        refused(group.broadcast(&x.to_kind(Kind::Bool)), "is Bool");
        group.sum(&x).unwrap();
        assert_eq!(x.double_value(&[1, 2]), 2.0);
    });
}
