#!/usr/bin/env bash
# Builds everything and passes every test, setting up what they need: a software Vulkan driver where there is no other.
#
# The WGSL kernels run on every software driver that is found: Mesa's lavapipe (also under the Khronos validation layer,
# if that is installed) and SwiftShader (inside Debian's chromium). The study's report is opened in a Chromium, if there is
# one, and system calls are made to fail if there are strace and Python. ESPALIER_REQUIRE lists what must be there:
#   ESPALIER_REQUIRE="lavapipe validation swiftshader browser strace" tests/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."

icd_dirs=(/usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /etc/vulkan/icd.d)
# Folders that are not there are no fault.
find_icd() { { find "${icd_dirs[@]}" -name "$1" 2>/dev/null || true; } | head -1; }
lavapipe() { find_icd 'lvp_icd*.json'; }
swiftshader() { { find /usr/lib/chromium /usr/lib64/chromium /opt/swiftshader -name 'vk_swiftshader_icd.json' 2>/dev/null || true; } | head -1; }
validation() { { find /usr/share/vulkan/explicit_layer.d /etc/vulkan/explicit_layer.d -name 'VkLayer_khronos_validation.json' 2>/dev/null || true; } | head -1; }
browser() {
    if [ -n "${ESPALIER_CHROMIUM:-}" ]; then echo "$ESPALIER_CHROMIUM"; return; fi
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v "$name" && return; done
    return 0
}

strace() { type -P strace >/dev/null && type -P python3; return 0; }

numpy() { if python3 -c 'import numpy' 2>/dev/null; then type -P python3; fi; return 0; }

# macOS has Metal; on Linux any driver will do, and lavapipe is one that runs everywhere.
if [ "$(uname)" = Linux ] && [ -z "$(find_icd '*.json')" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "no Vulkan driver: install Mesa's lavapipe (the package is called mesa-vulkan-drivers or vulkan-swrast)" >&2
        exit 1
    fi
    sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q
    $sudo apt-get install -q -y --no-install-recommends mesa-vulkan-drivers
fi

for needed in ${ESPALIER_REQUIRE:-}; do
    [ -n "$("$needed")" ] || { echo "ESPALIER_REQUIRE asks for $needed, which is not installed" >&2; exit 1; }
done

# Plugins are loaded as libraries, so they are built before any test runs.
cargo build --workspace --locked

# The tests that run WGSL; named here so that it shows when one of them did not run.
kernel_tests=(gpu_forward gpu_prune_ops algebra_ops logits gradients generate)
gpu_tests=("${kernel_tests[@]}" device_faults)
gpu_flags=(); for name in "${gpu_tests[@]}"; do gpu_flags+=(--test "$name"); done

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
check_gpu_tests_ran() {
    local name
    for name in "${gpu_tests[@]}"; do
        awk -v name="$name" '
            /Running/ { current = index($0, "tests/" name ".rs") + index($0, "tests/" name "/main.rs") > 0 }
            current && /^test result: ok\. [1-9]/ { ran = 1 }
            END { exit !ran }' "$log" || { echo "the WGSL tests of $name did not run ($1)" >&2; exit 1; }
    done
}

# Where there is no GPU but lavapipe, everything runs on it at once, under the validation layer if that is there: its
# complaints fail the test that caused them. Where there is a GPU, everything runs on that, and the kernels on lavapipe too.
checked=(); what="the default driver"
[ -z "$(lavapipe)" ] || { checked=(VK_DRIVER_FILES="$(lavapipe)"); what=lavapipe; }
[ -z "$(lavapipe)" ] || [ -z "$(validation)" ] || { checked+=(WGPU_VALIDATION=1); what+=" under the Khronos validation layer"; }

# run_tests WHAT CARGO-TEST-ARGUMENTS... -- ENVIRONMENT...
run_tests() {
    local what=$1 arguments=(); shift
    while [ "$1" != -- ]; do arguments+=("$1"); shift; done
    shift
    echo "== tests on $what: ${arguments[*]}"
    env "$@" cargo test --locked "${arguments[@]}" 2>&1 | tee "$log"
    check_gpu_tests_ran "$what"
}
if target/debug/host devices | grep -q '^--device auto takes: .*(native,'; then
    run_tests "$what" --workspace -- ${checked[@]+"${checked[@]}"}
else
    run_tests "this machine's GPU" --workspace --
    [ -z "$(lavapipe)" ] || run_tests "$what" --workspace "${gpu_flags[@]}" -- ${checked[@]+"${checked[@]}"}
fi
if [ -n "$(swiftshader)" ]; then
    # Faults are put between the host and wgpu, where one driver is like another.
    gpu_tests=("${kernel_tests[@]}"); gpu_flags=("${gpu_flags[@]:0:2 * ${#kernel_tests[@]}}")
    run_tests SwiftShader --workspace "${gpu_flags[@]}" -- VK_DRIVER_FILES="$(swiftshader)"
fi
missing=""
if [ -n "$(lavapipe)" ] && type -P python3 >/dev/null; then
    echo "== faults: a lost device, and no memory for a buffer"
    env "${checked[@]:0:1}" python3 tests/scripts/device_faults.py --host target/debug/host --runs 3
    echo "== tests/gpu.sh, with small sizes"
    tests/gpu.sh pack dev
    env "${checked[@]:0:1}" GPU_SIZE=small tests/gpu.sh run "$scratch/gpu"
else
    missing+="; no device was made to fail, and tests/gpu.sh did not run: there is no lavapipe, or no Python"
fi
if [ -n "$(strace)" ]; then
    echo "== faults: system calls that fail, and kills"
    python3 tests/scripts/faults.py --runs 120
else
    missing+="; no system call was made to fail: there is no strace, or no Python"
fi
if [ -n "$(numpy)" ]; then
    echo "== archives, as numpy reads them"
    python3 tests/scripts/check_archive.py --host target/debug/host
else
    missing+="; no archive was read by another program: there is no Python with numpy"
fi
[ -n "$(browser)" ] || missing+="; the study's report was not opened in a browser: there is no Chromium"
echo "all tests passed$missing"
