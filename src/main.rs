//! The `cosmogan` program: see `cosmogan --help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
