//! The functions that layers share.

/// How a program solves the triangular systems of the inverse convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Solve {
    /// In plain TorchScript, one anti-diagonal of all images after the other: runs wherever torch does.
    #[default]
    Portable,
    /// By `inverse_flow::inv_conv2d` of our operator library: torch refuses to load the file unless the
    /// library has been loaded before.
    Operator,
}

/// The text of the functions that every method may call.
pub fn functions(solve: Solve) -> String {
    let operators = match solve {
        Solve::Portable => include_str!("convolutions.torchscript.py"),
        Solve::Operator => include_str!("operators.torchscript.py"),
    };
    // definitions come before their use
    [
        include_str!("functions.torchscript.py"),
        operators,
        include_str!("spline.torchscript.py"),
    ]
    .join("\n")
}
