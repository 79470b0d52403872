//! Times of calls: by the host's clock, or by the events of a GPU.

use crate::device::device;
use inverse_flow::train::timing::{compare_samples, Clock, Pace};
use inverse_flow::{Error, Result};
use tch::{Kind, Tensor};

#[test]
fn times_are_those_of_the_work_whatever_the_pace() {
    let options = (Kind::Float, device());
    let matrix = |n: i64| Tensor::ones([n, n], options);
    let (small, large) = (matrix(4), matrix(512));
    for pace in [Pace::Host, Pace::Device] {
        let mut calls = [0; 2];
        let [short, long] = &mut calls;
        let multiply = |matrix: &Tensor, calls: &mut usize| -> Result<()> {
            *calls += 1;
            let _ = matrix.f_mm(matrix)?;
            Ok(())
        };
        let mut first = || multiply(&small, short);
        let mut second = || multiply(&large, long);
        let times = compare_samples(device(), pace, 3, [&mut first, &mut second]);
        let [short_time, long_time] = times.unwrap();
        assert!(short_time.median_ms > 0.0, "{pace:?}: {short_time:?}");
        // 2 million times the work
        assert!(
            long_time.median_ms > short_time.median_ms,
            "{pace:?}: {short_time:?} {long_time:?}"
        );
        assert!(calls[0] > calls[1] && calls[1] >= 3, "{pace:?}: {calls:?}");
        let mut fails = || Err(Error::config("no"));
        assert!(compare_samples(device(), pace, 3, [&mut fails]).is_err());
    }
}

#[test]
fn a_clock_gives_the_time_of_one_piece_of_work_and_its_result() {
    let clock = Clock::of(device()).unwrap();
    let x = Tensor::ones([3, 5], (Kind::Float, device()));
    let (time, sum) = clock.time(|| Ok(x.f_sum(Kind::Float)?)).unwrap();
    assert!(time > 0.0);
    assert_eq!(sum.double_value(&[]), 15.0);
    let name = match device().is_cuda() {
        true => "cuda events",
        false => "host clock",
    };
    assert_eq!(Clock::name(device()), name);
}
