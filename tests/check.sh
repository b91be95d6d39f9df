#!/usr/bin/env bash
# Everything that must hold before a push: formatting, lints, all tests (release build, shared with the program).
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo fmt --check
cargo clippy --release --all-targets -- -D warnings
cargo test --release -- --include-ignored --show-output 2>&1 | tee "$log"
printf 'checks that found no shared data and were skipped: %s\n' "$(grep -c '^skipped:' "$log" || true)"
