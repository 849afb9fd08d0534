#!/usr/bin/env bash
# The tests that load plugins, under AddressSanitizer: the host, the plugins and the test binaries are instrumented, so that
# memory that one side of the FFI boundary misuses is reported, whichever side it belongs to.
#
#   tests/scripts/sanitize.sh [NAME OF A TEST BINARY...]
#
# On Linux, with the compiler of rust-toolchain.toml, in a target folder of its own (SANITIZE_TARGET, or target/sanitize).
# Only this repository's crates are instrumented, with what they inline of others; of the allocations and copies of all
# other code, the sanitizer sees every one. It takes too long for .ci/run.
set -euo pipefail
if [ -n "${SANITIZE_ROOT:-}" ]; then
    # Called by cargo as the compiler. A sanitizer is an unstable option of the stable one. Libraries take its functions from
    # the program that loads them, which must therefore export them.
    case "${CARGO_MANIFEST_DIR:-}" in
        "$SANITIZE_ROOT"/*) set -- "$@" -Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer -Clink-arg=-rdynamic
            export RUSTC_BOOTSTRAP=1 ;;
    esac
    exec rustc "$@"
fi
cd "$(dirname "$0")/../.."
tests=("$@")
[ $# -gt 0 ] || tests=(isolate plugin_check published selection)
flags=(); for name in "${tests[@]}"; do flags+=(--test "$name"); done

export SANITIZE_ROOT="$PWD" RUSTC="$PWD/tests/scripts/sanitize.sh"
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=${CARGO_PROFILE_DEV_OPT_LEVEL:-0}
export CARGO_TARGET_DIR=${SANITIZE_TARGET:-target/sanitize}
reports=$(mktemp -d); trap 'rm -rf "$reports"' EXIT
# Plugins are never unloaded, so what they hold at the end is no leak. Faults that the tests provoke reach the handlers that
# they have without a sanitizer. Reports go to files, because the host turns the end of an isolated plugin into an error.
export ASAN_OPTIONS="detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0"
ASAN_OPTIONS+=":exitcode=86:log_path=$reports/report"

# Test binaries find the host and the plugins in the folder above their own.
cargo build --workspace --locked
status=0
cargo test --workspace --locked "${flags[@]}" --no-fail-fast || status=$?
found=$(find "$reports" -type f | wc -l)
[ "$found" = 0 ] || find "$reports" -type f -exec head -60 {} +
echo "AddressSanitizer: $found reports"
[ "$found" = 0 ] && exit "$status"
exit 1
