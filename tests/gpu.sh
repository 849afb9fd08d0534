#!/usr/bin/env bash
# Everything that only a real GPU can show.
#
#   tests/gpu.sh pack [PROFILE]   here: builds the binaries and kernel tests into target/gpu-pack
#   tests/gpu.sh run OUT          there: runs them, and writes OUT/gpu.md, OUT/gpu.json and OUT/gpu.log
#
# The folder is all that the other machine needs, beside a Vulkan driver and Python; PyTorch, transformers and safetensors
# there are what it is compared with. `run` takes eight minutes at most (GPU_SECONDS), and small sizes on a software
# driver or with GPU_SIZE=small.
set -euo pipefail
scripts="$(dirname "$0")/scripts"
case "${1:-}" in
    pack) exec python3 "$scripts/gpu_pack.py" "${@:2}" ;;
    run) exec python3 "$scripts/gpu.py" "${@:2}" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
