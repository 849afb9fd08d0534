"""Fails every point at which a small run hands something to the GPU or takes something from it, one at a time.

The host counts its submissions (uploads, kernels and readbacks reach the device with them) and its new buffers, and fails the
one whose number is in ESPALIER_TEST_LOSE_DEVICE, as if the device was lost, or in ESPALIER_TEST_OUT_OF_MEMORY. A run must end
with the bytes of an undisturbed one, or with an error, nothing at the output, and the right bytes when it is started again.

    python tests/scripts/device_faults.py --host target/release/host [--all | --runs N] [--plugin sparsegpt]
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
KINDS = {"ESPALIER_TEST_LOSE_DEVICE": "submissions", "ESPALIER_TEST_OUT_OF_MEMORY": "new buffers"}


def prune(args, out, faults=None):
    command = [args.host, "--plugin", args.plugin, "--device", "gpu", "--samples", "4", "--seqlen", "64", "--out", str(out)]
    command += ["--model", str(TESTS / "models/tiny-instruct"), "--calibration", str(TESTS / "models/data/c4.jsonl")]
    return subprocess.run(command, env={**os.environ, **(faults or {})}, capture_output=True, text=True, timeout=300)


def digest(out):
    path = out / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def clear(folder):
    for path in folder.iterdir():
        shutil.rmtree(path)


def strike(args, folder, variable, numbers, whole):
    """What is wrong with a run in which these points fail; None if nothing is. Whether they were reached."""
    out = folder / "out"
    found = prune(args, out, {variable: ",".join(map(str, numbers))})
    reached = "opened again" in found.stderr or "fewer tokens" in found.stderr or found.returncode != 0
    problem = None
    if found.returncode == 0:
        problem = None if digest(out) == whole else "other bytes"
    elif out.exists():
        problem = f"exit {found.returncode}, and something is at the output"
    elif "panicked" in found.stderr or found.returncode < 0:
        panic = found.stderr.find("panicked")
        problem = f"exit {found.returncode}: {found.stderr[panic:][:300] if panic >= 0 else found.stderr[-300:]}"
    elif prune(args, out).returncode != 0 or digest(out) != whole:
        problem = "started again, it does not end with the right bytes"
    clear(folder)
    return problem, reached


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--plugin", default="sparsegpt")
    parser.add_argument("--all", action="store_true", help="every point, not a sample")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=2000, help="where to stop looking for the last point")
    args = parser.parse_args()
    args.host = str(Path(args.host).resolve())
    failed = 0
    print("| points | runs | survived |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        undisturbed = prune(args, root / "whole")
        if undisturbed.returncode != 0:
            sys.exit(f"an undisturbed run fails: {undisturbed.stderr}")
        whole = digest(root / "whole")
        clear(root)
        for variable, kind in KINDS.items():
            # The last point, by halving: what is beyond it disturbs nothing.
            low, high = 0, args.most
            while low + 1 < high:
                middle = (low + high) // 2
                problem, reached = strike(args, root, variable, range(middle, middle + 4), whole)
                low, high = (middle, high) if reached else (low, middle)
            points = list(range(1, low + 1))
            if not args.all:
                points = random.Random(args.seed).sample(points, min(args.runs, len(points)))
            survived = 0
            for number in points:
                # Four in a row: more than a run asks for again.
                for numbers in ([number], list(range(number, number + 4))):
                    problem, _ = strike(args, root, variable, numbers, whole)
                    survived += problem is None
                    if problem:
                        failed += 1
                        print(f"{variable}={numbers}: {problem}", file=sys.stderr)
            print(f"| {low} {kind} | {2 * len(points)} | {survived} |", flush=True)
    sys.exit(1 if failed else 0)


main()
