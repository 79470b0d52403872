//! What all plans promise.

use super::*;
use crate::problem::{geometry, Corner};
use tch::Kind;

const KIB: usize = 1024;

#[test]
fn large_batches_stay_within_the_grid() {
    let corners = Corner::ALL;
    let large = geometry([100_000, 4, 1, 1], 4, 1);
    let solve = solve_plan(&large, Kind::Float, &corners, false, 48 * KIB).unwrap();
    assert_eq!(solve.launch.grid, [400_000, 1, 1]);
    assert_eq!(solve.launch.block, [32, 1, 1]);
    assert_eq!(solve.progress_words, 0);
    let apply = apply_plan(&large, Kind::Float, &corners, false).unwrap();
    assert_eq!(apply.launch.grid, [100_000_u32.div_ceil(256), 4, 1]);

    let too_large = geometry([1 << 30, 4, 1, 1], 4, 1);
    let err = solve_plan(&too_large, Kind::Float, &corners, false, 48 * KIB).unwrap_err();
    assert!(err.to_string().contains("images times groups"), "{err}");
    assert!(apply_plan(&too_large, Kind::Float, &corners, false).is_ok());
}

#[test]
fn a_grid_is_empty_where_there_is_nothing_to_compute() {
    for image in [[0, 4, 5, 3], [2, 4, 0, 3], [2, 4, 5, 0]] {
        let geometry = geometry(image, 1, 3);
        let corners = [Corner::TopLeft];
        assert!(
            solve_plan(&geometry, Kind::Float, &corners, false, 48 * KIB)
                .unwrap()
                .launch
                .is_empty()
        );
        assert!(apply_plan(&geometry, Kind::Float, &corners, false)
            .unwrap()
            .launch
            .is_empty());
        let grad = weight_grad_plan(&geometry, Kind::Float, &corners, 48 * KIB).unwrap();
        assert!(grad.partial.is_empty() && !grad.sum.is_empty());
        assert_eq!((grad.workspace_elements, grad.params.chunks), (0, 0));
    }
}

#[test]
fn other_dtypes_are_errors() {
    let geometry = geometry([1, 2, 3, 3], 1, 3);
    let err = apply_plan(&geometry, Kind::Half, &[Corner::TopLeft], false).unwrap_err();
    assert!(
        err.to_string()
            .contains("`input` must be float32 or float64"),
        "{err}"
    );
}
