//! Names of the kernels in `kernels/*.cu`: `<operation>_<dtype>_k<side>`, without `_k` for filters of any side.

use tch::Kind;

use crate::{Error, Result};

/// Filter sides that have a kernel of their own; the others take theirs at run time.
pub const SPECIALISED: [i64; 5] = [1, 2, 3, 5, 7];

/// An element type that has kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// float32.
    F32,
    /// float64.
    F64,
}

impl Element {
    /// Both.
    pub const ALL: [Element; 2] = [Element::F32, Element::F64];

    /// The element type of images of dtype `kind`.
    ///
    /// # Errors
    /// [`Error::Argument`] for any other dtype.
    pub fn of(op: &'static str, kind: Kind) -> Result<Self> {
        match kind {
            Kind::Float => Ok(Element::F32),
            Kind::Double => Ok(Element::F64),
            other => Err(Error::argument(
                op,
                "input",
                format!("must be float32 or float64 on CUDA, got {other:?}"),
            )),
        }
    }

    /// Bytes of one element, and of its accumulator.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }
}

/// What a kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `inv_conv_solve.cu`.
    Solve,
    /// `inv_conv_apply.cu`.
    Apply,
    /// `inv_conv_weight_grad.cu`, first launch.
    WeightGrad,
    /// `inv_conv_weight_grad.cu`, second launch: the same for every filter side.
    WeightGradSum,
}

/// The kernel of one operation and dtype for a filter side, ending in the one for any side.
macro_rules! by_side {
    ($name:literal, $side:expr) => {
        match $side {
            1 => concat!($name, "_k1"),
            2 => concat!($name, "_k2"),
            3 => concat!($name, "_k3"),
            5 => concat!($name, "_k5"),
            7 => concat!($name, "_k7"),
            _ => $name,
        }
    };
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 4] = [
        Operation::Solve,
        Operation::Apply,
        Operation::WeightGrad,
        Operation::WeightGradSum,
    ];

    /// The name of the kernel for filters of side `kernel`; every combination has one.
    pub const fn kernel(self, element: Element, kernel: i64) -> &'static str {
        match (self, element) {
            (Operation::Solve, Element::F32) => by_side!("inv_conv_solve_f32", kernel),
            (Operation::Solve, Element::F64) => by_side!("inv_conv_solve_f64", kernel),
            (Operation::Apply, Element::F32) => by_side!("inv_conv_apply_f32", kernel),
            (Operation::Apply, Element::F64) => by_side!("inv_conv_apply_f64", kernel),
            (Operation::WeightGrad, Element::F32) => by_side!("inv_conv_weight_grad_f32", kernel),
            (Operation::WeightGrad, Element::F64) => by_side!("inv_conv_weight_grad_f64", kernel),
            (Operation::WeightGradSum, Element::F32) => "inv_conv_weight_grad_sum_f32",
            (Operation::WeightGradSum, Element::F64) => "inv_conv_weight_grad_sum_f64",
        }
    }

    /// The file under `kernels/` that defines the operation's kernels, without its ending: the name of its module.
    pub const fn module(self) -> &'static str {
        match self {
            Operation::Solve => "inv_conv_solve",
            Operation::Apply => "inv_conv_apply",
            Operation::WeightGrad | Operation::WeightGradSum => "inv_conv_weight_grad",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(operation: Operation) -> &'static str {
        match operation {
            Operation::Solve => include_str!("../../kernels/inv_conv_solve.cu"),
            Operation::Apply => include_str!("../../kernels/inv_conv_apply.cu"),
            Operation::WeightGrad | Operation::WeightGradSum => {
                include_str!("../../kernels/inv_conv_weight_grad.cu")
            }
        }
    }

    #[test]
    fn every_combination_names_a_kernel_of_its_source() {
        for operation in Operation::ALL {
            for element in Element::ALL {
                for side in 1..20 {
                    let name = operation.kernel(element, side);
                    let entries = source(operation)
                        .lines()
                        .filter(|line| line.ends_with(&format!(" {name})")))
                        .count();
                    assert_eq!(entries, 1, "{name}");
                    let specialised = name.ends_with(&format!("_k{side}"));
                    let expected =
                        SPECIALISED.contains(&side) && operation != Operation::WeightGradSum;
                    assert_eq!(specialised, expected, "{name}");
                }
            }
        }
    }
}
