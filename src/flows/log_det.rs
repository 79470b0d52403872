//! Log-dets of layers in a row: zeros that are never made, and one sum for all others.

use crate::{Error, Result};
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// A log-det of zero for a batch like `x`: `[N]` in its kind and on its device.
///
/// All of a thread are views of one number, so that a layer without a log-det starts no work on a GPU: never write into one.
///
/// # Errors
/// A tensor without dimensions.
pub fn zero_log_det(x: &Tensor) -> Result<Tensor> {
    let Some(&n) = x.size().first() else {
        return Err(Error::argument(
            "zero_log_det",
            "x",
            "must have a batch in front",
        ));
    };
    Ok(shared_zero(x.kind(), x.device())?.f_expand([n], false)?)
}

thread_local! {
    /// One number 0 for each kind and device that was asked for.
    static ZEROS: RefCell<Vec<Tensor>> = const { RefCell::new(Vec::new()) };
}

fn shared_zero(kind: Kind, device: Device) -> Result<Tensor> {
    ZEROS.with_borrow_mut(|zeros| {
        let mut all = zeros.iter();
        if let Some(zero) = all.find(|zero| zero.kind() == kind && zero.device() == device) {
            return Ok(zero.shallow_clone());
        }
        let zero = Tensor::f_zeros([0_i64; 0], (kind, device))?;
        zeros.push(zero.shallow_clone());
        Ok(zero)
    })
}

/// Whether this is one of [`zero_log_det`], by its memory.
fn is_shared_zero(log_det: &Tensor) -> bool {
    let place = log_det.data_ptr();
    ZEROS.with_borrow(|zeros| zeros.iter().any(|zero| zero.data_ptr() == place))
}

/// Log-dets to be added up, each `[N]`.
///
/// Adding them as they come takes an operation a layer, and another one in the backward pass; a sum over all of them takes
/// two for the whole model.
#[derive(Debug, Default)]
pub(crate) struct LogDets(Vec<Tensor>);

impl LogDets {
    /// Takes in one more.
    pub(crate) fn push(&mut self, log_det: Tensor) {
        if !is_shared_zero(&log_det) {
            self.0.push(log_det);
        }
    }

    /// The sum, for a batch like `x`.
    ///
    /// # Errors
    /// What libtorch reports for log-dets of different sizes.
    pub(crate) fn sum(mut self, x: &Tensor) -> Result<Tensor> {
        match self.0.len() {
            0 => zero_log_det(x),
            1 => Ok(self.0.remove(0)),
            2 => Ok(self.0[0].f_add(&self.0[1])?),
            _ => Ok(Tensor::f_stack(&self.0, 0)?.f_sum_dim_intlist(
                [0_i64].as_slice(),
                false,
                None::<Kind>,
            )?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).requires_grad_(true)
    }

    #[test]
    fn any_number_of_log_dets_adds_up_and_hands_every_gradient_on() {
        let x = Tensor::zeros([2, 3, 1, 1], (Kind::Double, Device::Cpu));
        for count in 0..5 {
            let all: Vec<_> = (0..count)
                .map(|i| numbers(&[f64::from(i) + 1.0, -2.0]))
                .collect();
            let mut log_dets = LogDets::default();
            for log_det in &all {
                log_dets.push(zero_log_det(&x).unwrap());
                log_dets.push(log_det.shallow_clone());
            }
            let sum = log_dets.sum(&x).unwrap();
            let n = f64::from(count);
            let expected = [n * (n + 1.0) / 2.0, -2.0 * n];
            assert_eq!(Vec::<f64>::try_from(&sum).unwrap(), expected);
            if count > 0 {
                (sum * numbers(&[1.0, 10.0]).detach())
                    .sum(Kind::Double)
                    .backward();
            }
            for log_det in all {
                let grad = Vec::<f64>::try_from(log_det.grad()).unwrap();
                assert_eq!(grad, [1.0, 10.0]);
            }
        }
    }

    #[test]
    fn zeros_are_one_number_for_each_kind() {
        let of = |n: i64, kind| zero_log_det(&Tensor::zeros([n, 2], (kind, Device::Cpu))).unwrap();
        let (few, many) = (of(1, Kind::Float), of(5, Kind::Float));
        assert_eq!(few.data_ptr(), many.data_ptr());
        assert_eq!(many.size(), [5]);
        assert_eq!(many.abs().max().double_value(&[]), 0.0);
        assert_eq!(of(3, Kind::Double).kind(), Kind::Double);
        assert_eq!(of(0, Kind::Float).size(), [0]);
        assert!(is_shared_zero(&few) && !is_shared_zero(&numbers(&[0.0])));
        let scalar = Tensor::zeros([0_i64; 0], (Kind::Float, Device::Cpu));
        let err = zero_log_det(&scalar).unwrap_err().to_string();
        assert!(err.contains("batch in front"), "{err}");
    }
}
