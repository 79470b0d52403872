//! Processes that do not find each other: an error that says who is missing or wrong.

use crate::ranks::{free_port, is_rank_of, Ended, Ranks};
use inverse_flow::distributed::{Group, Place};
use std::net::TcpListener;
use std::time::Duration;

/// Joins within two seconds, and prints the error.
fn fail_to_join() {
    let place = Place::from_env().unwrap().unwrap();
    let err = Group::join(&place, Duration::from_secs(2)).unwrap_err();
    println!("error: {err}");
}

/// What process `index` printed, which ended well.
#[track_caller]
fn said(ended: &[Ended], index: usize, part: &str) {
    ended[index].is_well();
    ended[index].says(part);
}

#[test]
fn a_rank_that_was_not_started_is_named() {
    const TEST: &str = "a_rank_that_was_not_started_is_named";
    if is_rank_of(TEST) {
        return fail_to_join();
    }
    let ended = Ranks::new(module_path!(), TEST, 3).without_the_last().run();
    for (rank, ended) in ended.iter().enumerate() {
        ended.is_well();
        // rank 0 may have given up first, and the store with it
        if rank == 0 || !ended.text.contains("libtorch") {
            ended.says(&format!(
                "error: rank {rank} of 3: rank 2 did not come within 2 s"
            ));
        }
    }
}

#[test]
fn two_processes_of_one_rank_are_refused() {
    const TEST: &str = "two_processes_of_one_rank_are_refused";
    if is_rank_of(TEST) {
        return fail_to_join();
    }
    let ended = Ranks::new(module_path!(), TEST, 3)
        .with(2, "RANK", "1")
        .run();
    let twice = "error: rank 1 of 3: another process is rank 1 too: give each its own RANK";
    assert_eq!(
        ended
            .iter()
            .filter(|ended| ended.text.contains(twice))
            .count(),
        1,
        "{ended:?}"
    );
    said(
        &ended,
        0,
        "error: rank 0 of 3: rank 2 did not come within 2 s",
    );
}

#[test]
fn ranks_that_were_told_another_number_are_refused() {
    const TEST: &str = "ranks_that_were_told_another_number_are_refused";
    if is_rank_of(TEST) {
        return fail_to_join();
    }
    let ended = Ranks::new(module_path!(), TEST, 2)
        .with(1, "WORLD_SIZE", "3")
        .run();
    said(
        &ended,
        0,
        "rank 1 was started with WORLD_SIZE=3, this one with 2",
    );
}

#[test]
fn a_port_that_is_taken_and_one_where_nobody_answers() {
    const TEST: &str = "a_port_that_is_taken_and_one_where_nobody_answers";
    if is_rank_of(TEST) {
        return fail_to_join();
    }
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Ranks::new(module_path!(), TEST, 2)
        .with(0, "MASTER_PORT", &port)
        .with(1, "MASTER_PORT", &free_port().to_string())
        .run();
    said(&ended, 0, "error: rank 0 of 2: cannot listen at");
    said(&ended, 0, "take another MASTER_PORT");
    said(
        &ended,
        1,
        "error: rank 1 of 2: nobody answers at 127.0.0.1:",
    );
}
