//! The program: everything is in the library.

fn main() {
    std::process::exit(phangs_script::cli::main());
}
