//! A switch: this thread runs the twins in the place of the fused operators.

use std::cell::Cell;

thread_local! {
    static EAGER: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the fused operators of this thread replaced by their twins in plain tensor operations, which autograd
/// then records one by one: for comparing the two, in tests and in `inverse-flow bench model --eager`.
///
/// [`inv_conv2d`](crate::ops::inv_conv2d) and [`masked_conv2d`](crate::ops::masked_conv2d) have no other form and stay.
///
/// ```
/// use inverse_flow::ops::{conv_relu_conv, eagerly};
/// use tch::{Device, Kind, Tensor};
///
/// let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
/// let (x, first, second) = (random(&[2, 3, 5, 7]), random(&[9, 3, 3, 3]), random(&[4, 9, 1, 1]));
/// let run = || conv_relu_conv(&x, &first, None, &second);
/// let difference = (run()? - eagerly(run)?).abs().max();
/// assert!(difference.double_value(&[]) < 1e-12);
/// # Ok::<(), inverse_flow::Error>(())
/// ```
pub fn eagerly<R>(f: impl FnOnce() -> R) -> R {
    /// Puts the flag back when `f` returns or unwinds.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            EAGER.set(self.0);
        }
    }
    let _restore = Restore(EAGER.replace(true));
    f()
}

/// Whether this thread is inside [`eagerly`].
pub fn is_eager() -> bool {
    EAGER.get()
}
