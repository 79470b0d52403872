//! The order in which a GPU runs its threads and blocks changes not one bit of a training step.
//!
//! The emulated GPU (scripts/emulated_gpu.sh) takes the order from its environment; a real one has its own each time.

use crate::devices::gpu_name;
use crate::gpu::gpu;
use crate::resume::same;
use std::path::Path;
use std::process::Command;

/// Order of a block's threads, number of blocks that run in turns.
const ORDERS: [(&str, &str); 4] = [("0", "1"), ("1", "1"), ("7", "3"), ("0", "3")];

fn train(model: &str, folder: &Path, (order, resident): (&str, &str)) {
    let flags = "--limit 3 --batch-size 3 --steps 2 --width 16 --max-steps 2 --quiet";
    let output = Command::new(env!("CARGO_BIN_EXE_inverse-flow"))
        .args(["train", "--preset", &format!("quick/{model}")])
        .args(flags.split_whitespace())
        .args(["--device", &gpu_name(), "--out"])
        .arg(folder)
        .env("OMP_NUM_THREADS", "1")
        .env("EMULATED_GPU_ORDER", order)
        .env("EMULATED_GPU_RESIDENT", resident)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{model}, order {order}: {output:?}"
    );
}

#[test]
fn cuda_steps_are_the_same_to_the_last_bit_whatever_runs_first() {
    if gpu("cuda_steps_are_the_same_to_the_last_bit_whatever_runs_first").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // the solve in training, and in sampling
    for model in ["inverse-flow", "finc"] {
        let [first, others @ ..] = ORDERS;
        let expected = dir.path().join(model);
        train(model, &expected, first);
        for (index, order) in others.into_iter().enumerate() {
            let folder = dir.path().join(format!("{model}-{index}"));
            train(model, &folder, order);
            same(&expected, &folder);
        }
    }
}
