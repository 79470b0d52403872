//! How accurate the operator is, and where the recursion itself leaves the range of floating point.
//!
//! ```text
//! cargo run --release --example accuracy -- OUT_DIR
//! ```
//!
//! writes `OUT_DIR/accuracy.md`, the tables of docs/accuracy.md, and `OUT_DIR/accuracy.png`. Under a minute on 2 cores.
//!
//! Every problem is drawn in float32 and widened, so both dtypes solve the same one. The truth is the operator as a dense
//! float64 matrix, ordered by pixels so that it is triangular, and solved by libtorch; where that matrix would have more
//! than 3000 rows the truth is the operator itself in float64, and the row is marked.

use inverse_flow::ops::{inv_conv2d, masked_conv2d, reference, Corner};
use inverse_flow::plot::{curves, Series};
use std::fmt::Write as _;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const CORNER: [Corner; 1] = [Corner::TopLeft];
/// Rows of the largest dense matrix.
const LARGEST_DENSE: i64 = 3000;
/// Images of a problem: enough for a tile, so that large filters are solved by spectra, where they lose most.
const IMAGES: i64 = 16;
const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// One problem: `layers` inverse convolutions in series, unit diagonal, other taps of deviation `std`.
#[derive(Clone, Copy)]
struct Case {
    channels: i64,
    side: i64,
    kernel: i64,
    layers: usize,
    std: f64,
}

const USUAL: Case = Case {
    channels: 8,
    side: 12,
    kernel: 3,
    layers: 1,
    std: 0.01,
};

/// A solution and the gradients of `<x, g>`.
struct Solution {
    x: Tensor,
    dy: Tensor,
    /// Of the first layer's weight.
    dw: Tensor,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: accuracy OUT_DIR")?);
    std::fs::create_dir_all(&folder)?;
    let mut points = [(); 4].map(|()| Vec::new());
    let mut text = String::new();
    for (title, cases) in sweeps() {
        writeln!(text, "### {title}\n\n{HEAD}")?;
        for case in cases {
            text += &row(case, &mut points)?;
        }
        text.push('\n');
    }
    writeln!(text, "### Where the recursion overflows\n\n{}", overflow()?)?;
    std::fs::write(folder.join("accuracy.md"), &text)?;
    let labels = ["float32 x", "float32 dL/dy", "float64 x", "float64 dL/dy"];
    let series = labels.iter().zip(points).map(|(label, mut points)| {
        // beyond, no digit is left to be seen
        points.retain(|point: &(f64, f64)| point.0 < 16.0);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series::markers(*label, points)
    });
    let title = "What the growth of the recursion costs: digits of the input that the result keeps";
    curves(
        &series.collect::<Vec<_>>(),
        title,
        "log10 of the growth, max|x| / max|y| (of the gradient: max|dL/dy| / max|dL/dx|)",
        "decimal digits: -log10(max|error| / max|y|)",
        folder.join("accuracy.png"),
    )?;
    print!("{text}");
    Ok(())
}

fn sweeps() -> Vec<(&'static str, Vec<Case>)> {
    let stds = [
        0.001, 0.003, 0.01, 0.03, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1.0,
    ];
    let both = [0.01, 0.1];
    let grid = |vary: &[Case]| {
        both.iter()
            .flat_map(|&std| vary.iter().map(move |&case| Case { std, ..case }))
            .collect()
    };
    vec![
        (
            "Tap magnitude (k = 3, 8 x 12 x 12)",
            stds.map(|std| Case { std, ..USUAL }).to_vec(),
        ),
        (
            "Kernel side (8 x 12 x 12)",
            grid(&[2, 3, 5, 7, 11].map(|kernel| Case { kernel, ..USUAL })),
        ),
        (
            "Image size (k = 3, 8 channels)",
            grid(&[4, 8, 16, 32, 64].map(|side| Case { side, ..USUAL })),
        ),
        (
            "Depth: layers in series (k = 3, 6 x 10 x 10)",
            grid(&[1, 4, 16, 32].map(|layers| Case {
                layers,
                channels: 6,
                side: 10,
                ..USUAL
            })),
        ),
    ]
}

const HEAD: &str = "\
| k | image | layers | tap std | growth of x | float32: x | to y | dL/dy | dL/dW | float64: x | to y | dL/dy | dL/dW |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// One line of a table; adds to the points of the plot.
fn row(case: Case, points: &mut [Vec<(f64, f64)>; 4]) -> Result<String> {
    let (y, g, weights) = problem(case);
    let dense = case.channels * case.side * case.side <= LARGEST_DENSE;
    let truth = match dense {
        true => dense_solution(&y, &g, &weights)?,
        false => solution(&y, &g, &weights, Kind::Double)?,
    };
    let (growth, growth_back) = (
        largest(&truth.x) / largest(&y),
        largest(&truth.dy) / largest(&g),
    );
    let Case {
        channels,
        side,
        kernel,
        layers,
        std,
    } = case;
    let mark = if dense { "" } else { " *" };
    let mut line = format!(
        "| {kernel} | {channels}x{side}x{side}{mark} | {layers} | {std} | {} |",
        short(growth)
    );
    for (index, kind) in [Kind::Float, Kind::Double].into_iter().enumerate() {
        if !dense && kind == Kind::Double {
            line += " - | - | - | - |";
            continue;
        }
        let got = solution(&y, &g, &weights, kind)?;
        let error = |got: &Tensor, truth: &Tensor| largest(&(got.to_kind(Kind::Double) - truth));
        let (x, dy) = (error(&got.x, &truth.x), error(&got.dy, &truth.dy));
        write!(
            line,
            " {} | {} | {} | {} |",
            short(x / largest(&truth.x)),
            short(x / largest(&y)),
            short(dy / largest(&truth.dy)),
            short(error(&got.dw, &truth.dw) / largest(&truth.dw)),
        )?;
        points[2 * index].push((growth.log10(), -(x / largest(&y)).log10()));
        points[2 * index + 1].push((growth_back.log10(), -(dy / largest(&g)).log10()));
    }
    Ok(line + "\n")
}

/// `y`, the cotangent `g` and the weights, float64 with values that float32 has too.
fn problem(case: Case) -> (Tensor, Tensor, Vec<Tensor>) {
    tch::manual_seed(0);
    let image = [IMAGES, case.channels, case.side, case.side];
    let draw = || Tensor::randn(image, F32).to_kind(Kind::Double);
    let weights = (0..case.layers).map(|_| weight(case)).collect();
    (draw(), draw(), weights)
}

fn weight(case: Case) -> Tensor {
    let Case {
        channels, kernel, ..
    } = case;
    let weight = Tensor::randn([channels, channels, kernel, kernel], F32) * case.std;
    let (row, column) = CORNER[0].anchor_index(kernel);
    let mut anchor = weight.select(3, column).select(2, row);
    anchor.copy_(&(anchor.tril(-1) + Tensor::eye(channels, F32)));
    weight.to_kind(Kind::Double)
}

/// By the operator, in `kind`.
fn solution(y: &Tensor, g: &Tensor, weights: &[Tensor], kind: Kind) -> Result<Solution> {
    let leaf = |t: &Tensor| t.to_kind(kind).copy().set_requires_grad(true);
    let y = leaf(y);
    let weights: Vec<_> = weights.iter().map(leaf).collect();
    let mut x = y.shallow_clone();
    for weight in &weights {
        x = inv_conv2d(&x, weight, &CORNER)?;
    }
    (&x * g.to_kind(kind)).sum(kind).f_backward()?;
    Ok(Solution {
        x: x.detach(),
        dy: y.grad(),
        dw: weights[0].grad(),
    })
}

/// By dense triangular matrices.
fn dense_solution(y: &Tensor, g: &Tensor, weights: &[Tensor]) -> Result<Solution> {
    let size = y.size();
    let (batch, c, pixels) = (size[0], size[1], size[2] * size[3]);
    // [B, C, H, W] to columns in the order of the recursion: pixel by pixel, and channel by channel within
    let columns = |t: &Tensor| {
        t.view([batch, c, pixels])
            .permute([2, 1, 0])
            .reshape([-1, batch])
    };
    let images = |t: &Tensor| {
        let t = t.view([pixels, c, batch]).permute([2, 1, 0]);
        t.reshape(&size)
    };
    let matrices = weights.iter().map(|weight| {
        let matrix = reference::dense_matrix(weight, &CORNER, size[2], size[3])?;
        let matrix = matrix.view([c, pixels, c, pixels]).permute([1, 0, 3, 2]);
        Ok(matrix.reshape([c * pixels, c * pixels]))
    });
    let matrices = matrices.collect::<Result<Vec<_>>>()?;
    let mut x = columns(y);
    let mut first = None;
    for matrix in &matrices {
        x = matrix.f_linalg_solve_triangular(&x, false, true, false)?;
        first = first.or_else(|| Some(x.shallow_clone()));
    }
    let mut u = columns(g);
    for matrix in matrices.iter().rev() {
        u = matrix
            .tr()
            .f_linalg_solve_triangular(&u, true, true, false)?;
    }
    let (first, dy) = (images(&first.ok_or("no layer")?), images(&u));
    let dw = reference::weight_grad(&first, &dy, weights[0].size()[3], &CORNER)?;
    Ok(Solution {
        x: images(&x),
        dy,
        dw: -dw,
    })
}

/// Growth by tap magnitude and image size, as float64 finds it, and what float32 makes of it.
fn overflow() -> Result<String> {
    let sides = [8, 16, 32, 64, 128, 256];
    let mut text = String::from("| tap std |");
    for side in sides {
        write!(text, " 12x{side}x{side} |")?;
    }
    writeln!(text, "\n|---|{}", "---|".repeat(sides.len()))?;
    for std in [0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0] {
        write!(text, "| {std} |")?;
        for side in sides {
            tch::manual_seed(0);
            let case = Case {
                channels: 12,
                side,
                std,
                ..USUAL
            };
            let w = weight(case);
            let y = Tensor::randn([1, 12, side, side], F32).to_kind(Kind::Double);
            let single = |t: &Tensor| t.to_kind(Kind::Float);
            let wide = largest(&inv_conv2d(&y, &w, &CORNER)?);
            let narrow = inv_conv2d(&single(&y), &single(&w), &CORNER)?;
            if !wide.is_finite() {
                text += " float64 overflows |";
            } else if !largest(&narrow).is_finite() {
                write!(text, " {}, float32 overflows |", short(wide / largest(&y)))?;
            } else {
                // what sampling would give back of the image in float32
                let back = masked_conv2d(&narrow, &single(&w), &CORNER)?;
                let lost = largest(&(back.to_kind(Kind::Double) - &y)) / largest(&y);
                write!(text, " {} ({}) |", short(wide / largest(&y)), short(lost))?;
            }
        }
        text.push('\n');
    }
    Ok(text)
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// Two digits.
fn short(value: f64) -> String {
    match value {
        v if !v.is_finite() => "overflow".into(),
        v if (0.1..100.0).contains(&v) => format!("{v:.1}"),
        v => format!("{v:.1e}"),
    }
}
