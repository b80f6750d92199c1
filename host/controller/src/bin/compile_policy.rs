//! The compiler child as a program of its own, so that this crate's tests compile policies as `hookhost` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookhost_sandbox::compile_child_main()
}
