//! `bench distributed`, as a user starts it.

use crate::ranks::{environment, free_port};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn bench(rank: Option<usize>, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inverse-flow"));
    command.args(["bench", "distributed", "--device", "cpu", "--threads", "1"]);
    command.args(["--samples", "1", "--size", "1000", "--batch", "2", "--json"]);
    command.env_remove("RANK").env_remove("WORLD_SIZE");
    if let Some(rank) = rank {
        command.envs(environment(rank, 2, &port.to_string()));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn rank_0_prints_the_sums_and_the_step_with_its_control() {
    let port = free_port();
    let children = [0, 1].map(|rank| bench(Some(rank), port).spawn().unwrap());
    let [first, second]: [Output; 2] = children.map(|child| child.wait_with_output().unwrap());
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(text(&second.stdout), "");
    let lines: Vec<Value> = text(&first.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [sum, step] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(sum["what"], "sum");
    assert_eq!((&sum["bytes"], &sum["ranks"]), (&4000.into(), &2.into()));
    // two processes send each other what they have
    assert_eq!(sum["sent_bytes"], 4000.0);
    assert_eq!(sum["exchange"], "gloo");
    assert_eq!(step["what"], "step");
    assert_eq!(step["params"], 86784);
    assert_eq!(step["bytes"], 4 * 86784);
    assert_eq!(step["images_per_rank"], 1);
    for key in ["alone_ms", "control_ms", "step_ms", "efficiency", "sharing"] {
        assert!(step[key].as_f64().unwrap() > 0.0, "{step}");
    }
}

#[test]
fn a_process_alone_is_refused_with_the_command() {
    let output = bench(None, 0).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("torchrun --no-python --nproc-per-node 2 inverse-flow bench distributed"),
        "{said}"
    );
}
