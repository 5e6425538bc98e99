//! The `weir` program.

fn main() -> std::process::ExitCode {
    weir::cli::run(std::env::args_os())
}
