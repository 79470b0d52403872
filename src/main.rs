//! The `inverse-flow` program.

fn main() -> std::process::ExitCode {
    inverse_flow::cli::main()
}
