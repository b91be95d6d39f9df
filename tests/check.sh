#!/usr/bin/env bash
# Everything that must hold before a push: formatting, lints, all tests (release build, shared with the program).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --check
cargo clippy --release --all-targets -- -D warnings
cargo test --release -- --include-ignored
