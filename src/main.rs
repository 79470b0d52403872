//! The `inverse-flow` program.

#[global_allocator]
static ALLOCATOR: inverse_flow::cli::OrEnd = inverse_flow::cli::OrEnd;

fn main() -> std::process::ExitCode {
    inverse_flow::cli::main()
}
