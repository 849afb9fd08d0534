"""Kills pruning runs at random moments, continues them, and compares the result with an undisturbed run's.

usage: python tests/scripts/kill.py [--host target/release/host] [--model tests/models/tiny-instruct]
           [--calibration tests/models/data/c4.jsonl] [--plugin sparsegpt] [--kills 100] [--seed 0] [-- FLAGS OF PRUNE]
Every run is killed (SIGKILL) at a moment drawn evenly from its length, then continued with --resume; a run that was
killed may be killed again while it is continued. Prints a table: kills, runs that ended with the same bytes, and the
share of work that was done again, which is the layers that were pruned more than once.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def digest(folder):
    """The hash of every file but the manifest, which tells of times."""
    files = sorted(path for path in folder.iterdir() if path.name != "espalier.json")
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def main():
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=str(ROOT / "target/release/host"))
    parser.add_argument("--model", default=str(ROOT / "tests/models/tiny-instruct"))
    parser.add_argument("--calibration", default=str(ROOT / "tests/models/data/c4.jsonl"))
    parser.add_argument("--plugin", default="sparsegpt")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="further flags of prune")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    root = Path(tempfile.mkdtemp(prefix="espalier-kill-"))
    environment = {**os.environ, "ESPALIER_PLUGIN_PATH": str(Path(args.host).resolve().parent)}

    def start(out):
        command = [args.host, "prune", "-v", "--plugin", args.plugin, "--model", args.model, "--calibration",
                   args.calibration, "--device", "cpu", "--out", str(out), "--resume", *args.flags]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    begin = time.monotonic()
    process = start(root / "whole")
    log = process.communicate()[1]
    if process.returncode != 0:
        sys.exit(f"the undisturbed run fails:\n{log}")
    length = time.monotonic() - begin
    whole, layers = digest(root / "whole"), log.count(": sparsity ")

    kills = same = pruned = runs = 0
    while kills < args.kills:
        out = root / "out"
        runs += 1
        while True:
            process = start(out)
            try:
                log = process.communicate(timeout=draw.uniform(0, length))[1]
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                log = process.communicate()[1]
                kills += 1
            pruned += log.count(": sparsity ")
            if process.returncode == 0:
                break
            if process.returncode != -signal.SIGKILL:
                sys.exit(f"a run that was continued fails:\n{log}")
            if out.exists() and digest(out) != whole:
                sys.exit("the target is there and not whole")
        same += digest(out) == whole
        left = [path.name for path in root.iterdir() if path.name not in ("whole", "out")]
        if left:
            sys.exit(f"left behind: {left}")
        shutil.rmtree(out)
    redone = (pruned - runs * layers) / (runs * layers)
    manifest = json.loads((root / "whole/espalier.json").read_text())
    shutil.rmtree(root)
    print("| method | run | kills | runs | same bytes | layers pruned again |\n|---|---:|---:|---:|---:|---:|")
    print(f"| {manifest['method']['name']} | {length:.2f} s | {kills} | {runs} | {same} | {redone:.1%} |")
    sys.exit(0 if same == runs else 1)


if __name__ == "__main__":
    main()
