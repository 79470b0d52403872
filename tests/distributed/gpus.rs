//! Groups of GPUs, each process with one of its own.

use crate::exchange::counts_as_a_change;
use crate::gpu::gpu;
use crate::ranks::{is_rank_of, Ended, Ranks};
use crate::skip::skip;
use inverse_flow::distributed::{Group, Place};
use inverse_flow::Error;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

const TIMEOUT: Duration = Duration::from_secs(30);
const SETTING: &str = "INVERSE_FLOW_GPU_EXCHANGE";

/// The rank's group and its GPU, which is not connected yet.
fn join() -> (Group, Device) {
    let place = Place::from_env().unwrap().unwrap();
    // first of all: libtorch looks for its CUDA half at the first tensor
    let device = place.gpu().unwrap();
    (Group::join(&place, TIMEOUT).unwrap(), device)
}

/// Runs `test` in two processes for each setting of the exchange, where `work` is what each does with its GPU.
#[track_caller]
fn on_two_gpus(test: &'static str, work: impl FnOnce(&Group, Device)) {
    if is_rank_of(test) {
        let (group, device) = join();
        group.connect(device).unwrap();
        work(&group, device);
        return group.barrier().unwrap();
    }
    if two_gpus(test) {
        for setting in ["nccl", "gloo"] {
            for ended in two(test, [setting; 2]) {
                ended.is_well();
            }
        }
    }
}

pub fn two_gpus(test: &str) -> bool {
    let Some(_) = gpu(test) else { return false };
    let enough = tch::Cuda::device_count() >= 2;
    if !enough {
        skip(test, "needs two GPUs");
    }
    enough
}

fn two(test: &'static str, settings: [&str; 2]) -> Vec<Ended> {
    let ranks = Ranks::new(module_path!(), test, 2);
    (0..2)
        .fold(ranks, |ranks, rank| {
            ranks.with(rank, SETTING, settings[rank])
        })
        .run()
}

#[test]
fn cuda_sums_and_broadcasts_are_those_of_all_ranks() {
    const TEST: &str = "cuda_sums_and_broadcasts_are_those_of_all_ranks";
    on_two_gpus(TEST, |group, device| {
        const N: i64 = 10_007;
        for kind in [Kind::Float, Kind::Double] {
            let part = |rank: u32| {
                let x = Tensor::arange(N, (Kind::Double, device));
                (x * f64::from(rank + 1)).sin().to_kind(kind)
            };
            let sum = part(group.rank());
            group.sum(&sum).unwrap();
            assert_eq!(sum.device(), device);
            // two numbers have one sum
            assert!(sum.equal(&(part(0) + part(1))), "{kind:?}");
        }
        for kind in [Kind::Float, Kind::Double, Kind::Int64, Kind::Uint8] {
            let start = i64::from(group.rank()) * 100;
            let x = Tensor::arange_start(start, start + 7, (kind, device));
            group.broadcast(&x).unwrap();
            assert!(x.equal(&Tensor::arange(7, (kind, device))), "{kind:?}");
        }
        // tensors of the CPU go on as before
        let mut bytes = vec![group.rank() as u8; 5];
        group.broadcast_bytes(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 5]);
    });
}

#[test]
fn cuda_an_exchange_counts_as_a_change_of_the_parameter() {
    const TEST: &str = "cuda_an_exchange_counts_as_a_change_of_the_parameter";
    on_two_gpus(TEST, counts_as_a_change);
}

#[test]
fn cuda_tensors_of_another_gpu_are_refused_and_the_group_goes_on() {
    const TEST: &str = "cuda_tensors_of_another_gpu_are_refused_and_the_group_goes_on";
    on_two_gpus(TEST, |group, device| {
        let other = Device::Cuda(1 - group.rank() as usize);
        let err = group
            .sum(&Tensor::ones([3], (Kind::Float, other)))
            .unwrap_err();
        assert!(matches!(err, Error::Argument { .. }), "{err:?}");
        let own = format!("exchanges tensors of the CPU and of cuda:{}", group.rank());
        assert!(err.to_string().contains(&own), "{err}");
        let x = Tensor::ones([3], (Kind::Float, device));
        group.sum(&x).unwrap();
        assert_eq!(x.double_value(&[2]), 2.0);
    });
}

#[test]
fn cuda_tensors_need_a_connected_gpu() {
    const TEST: &str = "cuda_tensors_need_a_connected_gpu";
    if is_rank_of(TEST) {
        let (group, device) = join();
        let err = group
            .sum(&Tensor::ones([3], (Kind::Float, device)))
            .unwrap_err();
        assert!(matches!(err, Error::Argument { .. }), "{err:?}");
        assert!(err.to_string().contains("call `Group::connect`"), "{err}");
        return group.barrier().unwrap();
    }
    if two_gpus(TEST) {
        for ended in two(TEST, ["nccl"; 2]) {
            ended.is_well();
        }
    }
}

#[test]
fn cuda_ranks_that_exchange_in_different_ways_are_refused() {
    const TEST: &str = "cuda_ranks_that_exchange_in_different_ways_are_refused";
    if is_rank_of(TEST) {
        let (group, device) = join();
        return println!("error: {}", group.connect(device).unwrap_err());
    }
    if two_gpus(TEST) {
        for ended in two(TEST, ["nccl", "gloo"]) {
            ended.is_well();
            ended.says("1 rank over NCCL, 1 rank over Gloo by way of the CPU");
        }
        let ended = two(TEST, ["nccl", "mpi"]);
        ended[0].is_well();
        ended[0].says("rank 1 failed: INVERSE_FLOW_GPU_EXCHANGE=mpi: choose nccl or gloo");
        ended[1].is_well();
        ended[1].says("error: INVERSE_FLOW_GPU_EXCHANGE=mpi: choose nccl or gloo");
    }
}

#[test]
fn cuda_two_ranks_on_one_gpu_are_refused_by_nccl() {
    const TEST: &str = "cuda_two_ranks_on_one_gpu_are_refused_by_nccl";
    if is_rank_of(TEST) {
        let (group, _) = join();
        return println!("error: {}", group.connect(Device::Cuda(0)).unwrap_err());
    }
    if two_gpus(TEST) {
        let ended = two(TEST, ["nccl"; 2]);
        for ended in &ended {
            ended.is_well();
            ended.says("could not be connected");
        }
        assert!(ended
            .iter()
            .any(|ended| ended.text.to_lowercase().contains("duplicate gpu")));
    }
}

#[test]
fn cuda_a_rank_that_dies_ends_the_other_in_its_next_exchange() {
    const TEST: &str = "cuda_a_rank_that_dies_ends_the_other_in_its_next_exchange";
    if is_rank_of(TEST) {
        let (group, device) = join();
        group.connect(device).unwrap();
        let x = Tensor::ones([1000], (Kind::Float, device));
        for _ in 0..3 {
            group.sum(&x).unwrap();
        }
        if group.rank() == 1 {
            std::process::abort();
        }
        let err = group.sum(&x).unwrap_err();
        assert!(matches!(err, Error::Group { .. }), "{err:?}");
        return println!("error: {err}");
    }
    if two_gpus(TEST) {
        for setting in ["nccl", "gloo"] {
            let ended = two(TEST, [setting; 2]);
            assert!(!ended[1].well);
            ended[0].is_well();
            ended[0].says("error: rank 0 of 2: the sum failed: rank 1 left no word");
        }
    }
}
