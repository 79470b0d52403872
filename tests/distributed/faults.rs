//! A rank that dies, hangs or gives up ends the others, with an error that names it.

use crate::ranks::{is_rank_of, Ended, Ranks};
use inverse_flow::distributed::{Group, Place};
use inverse_flow::Error;
use std::process::Command;
use std::time::{Duration, Instant};
use tch::Tensor;

/// How long a group waits for one that hangs; those that are dead are noticed at once.
const TIMEOUT: Duration = Duration::from_secs(4);
/// More than what finding the cause takes after that.
const END: Duration = Duration::from_secs(15);

/// Sums until it fails, and prints the error; the rank that INVERSE_FLOW_TEST_CULPRIT names does `fault` after some.
fn sums(fault: impl Fn(&Group)) {
    let place = Place::from_env().unwrap().unwrap();
    let group = Group::join(&place, TIMEOUT).unwrap();
    let culprit = std::env::var("INVERSE_FLOW_TEST_CULPRIT").unwrap();
    let x = Tensor::from_slice(&[1.0; 1000]);
    for _ in 0..5 {
        group.sum(&x).unwrap();
    }
    if place.rank.to_string() == culprit {
        return fault(&group);
    }
    let started = Instant::now();
    let err = group.sum(&x).unwrap_err();
    assert!(started.elapsed() < END, "{:?}", started.elapsed());
    println!("error: {err}");
    assert!(matches!(err, Error::Group { .. }), "{err:?}");
    let again = group.barrier().unwrap_err();
    assert_eq!(err.to_string(), again.to_string());
}

/// Three ranks, of which `culprit` is at fault.
fn three(test: &'static str, culprit: usize) -> Ranks {
    let name = culprit.to_string();
    (0..3).fold(Ranks::new(module_path!(), test, 3), |ranks, process| {
        ranks.with(process, "INVERSE_FLOW_TEST_CULPRIT", &name)
    })
}

/// Every rank but `culprit` ended with an error that has `part`.
#[track_caller]
fn others_say(ended: &[Ended], culprit: usize, part: &str) {
    for (rank, ended) in ended
        .iter()
        .enumerate()
        .filter(|(rank, _)| *rank != culprit)
    {
        ended.is_well();
        ended.says(&format!("error: rank {rank} of 3: the sum failed: {part}"));
    }
}

#[test]
fn a_rank_that_dies() {
    const TEST: &str = "a_rank_that_dies";
    if is_rank_of(TEST) {
        return sums(|_| std::process::abort());
    }
    let ended = three(TEST, 1).run();
    assert!(!ended[1].well);
    others_say(&ended, 1, "rank 1 left no word");
}

#[test]
fn the_rank_that_keeps_the_store_dies() {
    const TEST: &str = "the_rank_that_keeps_the_store_dies";
    if is_rank_of(TEST) {
        return sums(|_| std::process::abort());
    }
    others_say(&three(TEST, 0).run(), 0, "rank 0 does not answer");
}

/// Stops this process as a hang would: none of its threads goes on.
fn stop() {
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-STOP", &pid]).status().unwrap();
}

#[test]
fn a_rank_that_hangs() {
    const TEST: &str = "a_rank_that_hangs";
    if is_rank_of(TEST) {
        return sums(|_| stop());
    }
    let ended = three(TEST, 2).hanging(2).run();
    others_say(&ended, 2, "rank 2 left no word");
}

#[test]
fn the_rank_that_keeps_the_store_hangs() {
    const TEST: &str = "the_rank_that_keeps_the_store_hangs";
    if is_rank_of(TEST) {
        return sums(|_| stop());
    }
    let ended = three(TEST, 0).hanging(0).run();
    others_say(&ended, 0, "rank 0 does not answer");
}

#[test]
fn a_rank_that_gives_up_says_why() {
    const TEST: &str = "a_rank_that_gives_up_says_why";
    if is_rank_of(TEST) {
        return sums(|group| group.abandon("runs/a: no space left on the disk").unwrap());
    }
    for culprit in [2, 0] {
        let ended = three(TEST, culprit).run();
        ended[culprit].is_well();
        let part = format!("rank {culprit} failed: runs/a: no space left on the disk");
        others_say(&ended, culprit, &part);
    }
}
