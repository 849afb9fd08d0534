#!/usr/bin/env bash
# The tests that load plugins, under AddressSanitizer: host, plugins and test binaries are all instrumented, so that memory
# that one side of the FFI boundary misuses is reported, whichever side it belongs to.
#
#   tests/scripts/sanitize.sh [NAME OF A TEST BINARY...]
#
# On Linux, with the compiler of rust-toolchain.toml. It builds everything once more, in a target folder of its own
# (SANITIZE_TARGET, or else target/sanitize; 5 GB), and takes about an hour on two cores, which is why .ci/run leaves it out.
# The standard library and the C code of dependencies are not instrumented, but their allocations and copies are watched.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests=("$@")
# Left out: `versions` and `new_plugin`, which run cargo themselves and would need a sanitizer in procedural macros.
[ $# -gt 0 ] || tests=(isolate plugin_check published selection)

triple=$(rustc -vV | sed -n 's/^host: //p')
# A sanitizer is an unstable option of the stable compiler.
export RUSTC_BOOTSTRAP=1
# Libraries take the sanitizer's functions from the program that loads them, which must therefore export them.
export RUSTFLAGS="-Zsanitizer=address -Clink-arg=-rdynamic"
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1
export CARGO_TARGET_DIR=${SANITIZE_TARGET:-target/sanitize}
cargo=(--locked --target "$triple" --config 'profile.dev.package."*".opt-level=1')
# Test binaries find the host and the plugins in the folder above their own.
flags=(); for name in "${tests[@]}"; do flags+=(--test "$name"); done
cargo build "${cargo[@]}" --workspace
cargo test "${cargo[@]}" -p espalier-tests "${flags[@]}" --no-run

reports=$(mktemp -d); trap 'rm -rf "$reports"' EXIT
# Reports go to files, because the host turns the end of an isolated plugin into an error. Plugins are never unloaded, so
# what they hold at the end is no leak. Faults that the tests provoke reach the handlers that they have without a sanitizer.
export ASAN_OPTIONS="detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0"
ASAN_OPTIONS+=":exitcode=86:log_path=$reports/report"
status=0
cargo test "${cargo[@]}" -p espalier-tests "${flags[@]}" --no-fail-fast || status=$?
found=$(find "$reports" -type f | wc -l)
[ "$found" = 0 ] || find "$reports" -type f -exec head -60 {} +
echo "AddressSanitizer: $found reports"
[ "$found" = 0 ] && exit "$status"
exit 1
