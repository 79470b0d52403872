//! A zero on the diagonal is an error on every device: on the CPU that of the call, on a GPU that of a check after it.

use crate::device::device;
use crate::ops_cases::Case;
use inverse_flow::cuda::check;
use inverse_flow::ops::{inv_conv2d, Corner};
use inverse_flow::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{Kind, Tensor};

/// A device has one word about zeros: these tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The solution, once all that it took is known to be right.
fn solved(x: &Tensor, weight: &Tensor, corners: &[Corner]) -> Result<Tensor> {
    let y = inv_conv2d(x, weight, corners)?;
    check(x.device()).map(|()| y)
}

/// Writes `value` on the diagonal of the anchor at `channel`.
fn set_diagonal(case: &Case, weight: &Tensor, channel: i64, value: f64) {
    let group = case.channels / case.corners.len() as i64;
    let (row, column) = case.corners[(channel / group) as usize].anchor_index(case.kernel);
    let entry = weight.get(channel).get(channel % group).get(row);
    let _ = entry.get(column).fill_(value);
}

/// Every kind of kernel that solves, of one image and several, of groups, in bands.
fn shapes() -> Vec<Case> {
    use Corner::{BottomLeft, BottomRight, TopLeft, TopRight};
    vec![
        Case::new([2, 4, 3, 5], 2, &[TopLeft]),
        Case::new([3, 12, 5, 4], 3, &[BottomRight]),
        Case::new([1, 8, 3, 4], 3, &Corner::ALL),
        Case::new([2, 6, 5, 3], 5, &[TopRight, BottomLeft]),
        Case::new([1, 36, 3, 2], 2, &[BottomLeft]),
        Case::new([2, 12, 40, 9], 3, &[BottomRight]),
        Case::new([1, 200, 2, 3], 2, &[TopLeft]),
    ]
}

#[test]
fn a_zero_on_the_diagonal_is_an_error_with_the_lowest_channel_and_is_forgotten_then() {
    let _alone = alone();
    for case in shapes() {
        for kind in [Kind::Float, Kind::Double] {
            let (x, good) = case.tensors(kind, 12);
            let what = format!("{case:?} {kind:?}");
            assert!(solved(&x, &good, &case.corners).is_ok(), "{what}");
            let last = case.channels - 1;
            for zeros in [
                vec![last],
                vec![0, last],
                vec![last - 1, last],
                vec![last / 2],
            ] {
                let weight = good.copy();
                for &channel in &zeros {
                    set_diagonal(&case, &weight, channel, -0.0);
                }
                let err = solved(&x, &weight, &case.corners).unwrap_err();
                assert!(matches!(err, Error::Singular { .. }), "{what}: {err:?}");
                assert_eq!(
                    err.to_string(),
                    format!(
                        "inv_conv2d: `weight` has a zero on the diagonal of the anchor tap at channel {}: the convolution \
                         has no inverse",
                        zeros[0]
                    ),
                    "{what}"
                );
            }
            assert!(solved(&x, &good, &case.corners).is_ok(), "{what}");
        }
    }
}

#[test]
fn zeros_elsewhere_and_numbers_that_are_none_are_no_error() {
    let _alone = alone();
    let case = Case::new([2, 4, 3, 5], 2, &[Corner::TopLeft]);
    let (x, weight) = case.tensors(Kind::Float, 12);
    let plain = Tensor::zeros(weight.size(), (Kind::Float, device()));
    for channel in 0..case.channels {
        set_diagonal(&case, &plain, channel, 1.0);
    }
    assert_eq!(solved(&x, &plain, &case.corners).unwrap(), x);
    // a NaN spoils what depends on it, and a number that is nearly 0 makes large ones
    set_diagonal(&case, &weight, 2, f64::NAN);
    let spoilt = solved(&x, &weight, &case.corners).unwrap();
    assert_eq!(spoilt.isnan().any().int64_value(&[]), 1);
    set_diagonal(&case, &weight, 2, 1e-30);
    assert!(solved(&x, &weight, &case.corners).is_ok());
    // nothing to solve: nobody looks
    let none = Tensor::zeros([0, 4, 3, 5], (Kind::Float, device()));
    set_diagonal(&case, &weight, 2, 0.0);
    assert!(solved(&none, &weight, &case.corners).is_ok());
}
