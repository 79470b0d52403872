//! Names of the kernels in `kernels/*.cu`: `<operation>_<dtype>_k<side>`, without `_k` for filters of any side; a solve
//! has more of them, see [`Solver`].

use tch::Kind;

use crate::words::dtype;
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
                format!("must be float32 or float64 on CUDA, got {}", dtype(other)),
            )),
        }
    }

    /// Elements of a 16-byte vector.
    pub const fn vector(self) -> i64 {
        16 / self.bytes() as i64
    }

    /// Bytes of one element, and of its accumulator.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }
}

/// How a kernel that solves holds its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solver {
    /// In registers: for float32, filters of side 2 and 3, and up to `channels` channels in `slices` slices of `slice`;
    /// a team of lanes owns `outputs` of them. `inv_conv_solve.cu`.
    Registers {
        /// Number of the shape in [`REGISTER_SHAPES`].
        shape: RegisterShape,
        /// Filter side.
        kernel: i64,
    },
    /// In shared memory, for float32, filters of side 5, 7 and 11, and 5 to 16 channels; `rows` rows of pixels a thread.
    /// `inv_conv_solve.cu`.
    Side {
        /// Filter side: one of [`SIDES`].
        kernel: i64,
        /// 1, 2 or 4.
        rows: i64,
    },
    /// In shared memory, for any filter: `slices` slices, `rows` rows of pixels a thread. `inv_conv_solve.cu`.
    Shared {
        /// 1 or 4.
        slices: i64,
        /// 1, or with 4 slices 2 or 4.
        rows: i64,
    },
    /// Nowhere: from global memory, for any size. `inv_conv_solve_wide.cu`.
    Wide,
}

/// Filter sides of [`Solver::Side`].
pub const SIDES: [i64; 3] = [5, 7, 11];
/// Its kernels: 1, 2 and 4 rows for each side; twin: the list in `inv_conv_solve.cu`.
const SIDE_KERNELS: [[&str; 3]; 3] = [
    [
        "inv_conv_solve_f32_k5_j1",
        "inv_conv_solve_f32_k5_j2",
        "inv_conv_solve_f32_k5_j4",
    ],
    [
        "inv_conv_solve_f32_k7_j1",
        "inv_conv_solve_f32_k7_j2",
        "inv_conv_solve_f32_k7_j4",
    ],
    [
        "inv_conv_solve_f32_k11_j1",
        "inv_conv_solve_f32_k11_j2",
        "inv_conv_solve_f32_k11_j4",
    ],
];

/// The template arguments of a solve with its matrices in registers, beside the filter side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterShape {
    /// Channels of a slice.
    pub slice: i64,
    /// Slices: lanes of a team.
    pub slices: i64,
    /// Output channels of a team.
    pub outputs: i64,
    /// Threads of a block at most.
    pub threads: i64,
    names: [&'static str; 2],
}

impl RegisterShape {
    /// Channels that it has room for.
    pub const fn channels(self) -> i64 {
        self.slice * self.slices
    }
}

const fn register_shape(
    [slice, slices, outputs, threads]: [i64; 4],
    names: [&'static str; 2],
) -> RegisterShape {
    RegisterShape {
        slice,
        slices,
        outputs,
        threads,
        names,
    }
}

/// All of them, in the order of their channels; twin: the list in `inv_conv_solve.cu`.
pub const REGISTER_SHAPES: [RegisterShape; 6] = [
    register_shape(
        [4, 1, 1, 384],
        ["inv_conv_solve_f32_k2_n4", "inv_conv_solve_f32_k3_n4"],
    ),
    register_shape(
        [4, 2, 2, 384],
        ["inv_conv_solve_f32_k2_n8", "inv_conv_solve_f32_k3_n8"],
    ),
    register_shape(
        [3, 4, 4, 384],
        ["inv_conv_solve_f32_k2_n12", "inv_conv_solve_f32_k3_n12"],
    ),
    register_shape(
        [4, 4, 4, 256],
        ["inv_conv_solve_f32_k2_n16", "inv_conv_solve_f32_k3_n16"],
    ),
    register_shape(
        [6, 4, 2, 384],
        ["inv_conv_solve_f32_k2_n24", "inv_conv_solve_f32_k3_n24"],
    ),
    register_shape(
        [12, 4, 1, 384],
        ["inv_conv_solve_f32_k2_n48", "inv_conv_solve_f32_k3_n48"],
    ),
];

impl Solver {
    /// The file that defines the kernel, without its ending, and the kernel's name; nothing where there is none.
    pub fn kernel(self, element: Element) -> Option<(&'static str, &'static str)> {
        let name = match (self, element) {
            (Solver::Registers { shape, kernel: 2 }, Element::F32) => shape.names[0],
            (Solver::Registers { shape, kernel: 3 }, Element::F32) => shape.names[1],
            (Solver::Side { kernel, rows }, Element::F32) => {
                let side = SIDES.iter().position(|&side| side == kernel)?;
                let rows = [1, 2, 4].iter().position(|&known| known == rows)?;
                SIDE_KERNELS[side][rows]
            }
            (Solver::Shared { slices: 1, rows: 1 }, Element::F32) => "inv_conv_solve_f32_s1",
            (Solver::Shared { slices: 4, rows: 1 }, Element::F32) => "inv_conv_solve_f32_s4_j1",
            (Solver::Shared { slices: 4, rows: 2 }, Element::F32) => "inv_conv_solve_f32_s4_j2",
            (Solver::Shared { slices: 4, rows: 4 }, Element::F32) => "inv_conv_solve_f32_s4_j4",
            (Solver::Shared { slices: 1, rows: 1 }, Element::F64) => "inv_conv_solve_f64_s1",
            (Solver::Shared { slices: 4, rows: 1 }, Element::F64) => "inv_conv_solve_f64_s4_j1",
            (Solver::Shared { slices: 4, rows: 2 }, Element::F64) => "inv_conv_solve_f64_s4_j2",
            (Solver::Shared { slices: 4, rows: 4 }, Element::F64) => "inv_conv_solve_f64_s4_j4",
            (Solver::Wide, Element::F32) => {
                return Some(("inv_conv_solve_wide", "inv_conv_solve_wide_f32"))
            }
            (Solver::Wide, Element::F64) => {
                return Some(("inv_conv_solve_wide", "inv_conv_solve_wide_f64"))
            }
            _ => return None,
        };
        Some(("inv_conv_solve", name))
    }
}

/// What a kernel computes, besides solving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
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
    pub const ALL: [Operation; 3] = [
        Operation::Apply,
        Operation::WeightGrad,
        Operation::WeightGradSum,
    ];

    /// The name of the kernel for filters of side `kernel`; every combination has one.
    pub const fn kernel(self, element: Element, kernel: i64) -> &'static str {
        match (self, element) {
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

    #[test]
    fn every_solver_names_a_kernel_of_its_source() {
        let solve = include_str!("../../kernels/inv_conv_solve.cu");
        let wide = include_str!("../../kernels/inv_conv_solve_wide.cu");
        for kernel in [2, 3] {
            for shape in REGISTER_SHAPES {
                let (_, name) = Solver::Registers { shape, kernel }
                    .kernel(Element::F32)
                    .unwrap();
                let RegisterShape {
                    slice,
                    slices,
                    outputs,
                    threads,
                    ..
                } = shape;
                let line = format!("({name}, {threads}, {kernel}, {slice}, {slices}, {outputs})");
                assert_eq!(solve.matches(&line).count(), 1, "{line}");
                assert!(
                    name.ends_with(&format!("_k{kernel}_n{}", shape.channels())),
                    "{name}"
                );
            }
        }
        for kernel in SIDES {
            for rows in [1, 2, 4] {
                let (_, name) = Solver::Side { kernel, rows }.kernel(Element::F32).unwrap();
                let line = format!("({kernel}, {rows}, {name})");
                assert_eq!(solve.matches(&line).count(), 1, "{line}");
                assert!(name.ends_with(&format!("_k{kernel}_j{rows}")), "{name}");
            }
        }
        for (element, cuda) in [(Element::F32, "float"), (Element::F64, "double")] {
            for (slices, rows) in [(1, 1), (4, 1), (4, 2), (4, 4)] {
                let (_, name) = Solver::Shared { slices, rows }.kernel(element).unwrap();
                let line = format!("({name}, {cuda}, {slices}, {rows})");
                assert_eq!(solve.matches(&line).count(), 1, "{line}");
            }
            let (_, name) = Solver::Wide.kernel(element).unwrap();
            assert_eq!(
                wide.matches(&format!("({cuda}, {name})")).count(),
                1,
                "{name}"
            );
        }
        let shape = REGISTER_SHAPES[0];
        assert_eq!(
            Solver::Registers { shape, kernel: 2 }.kernel(Element::F64),
            None
        );
        assert_eq!(
            Solver::Registers { shape, kernel: 5 }.kernel(Element::F32),
            None
        );
    }
}
