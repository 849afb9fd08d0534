"""What isolation and the journal cost: the same runs with and without, one after the other in turn.

usage: python tests/benches/overhead.py --host target/release/host --model DIR --calibration FILE
           [--plugin wanda --plugin sparsegpt] [--runs 5] [--without-sync LIBRARY] [-- FLAGS OF PRUNE]
Isolation is `--isolate=always` beside `--isolate=never`. The journal is a run beside one that keeps no hidden states
and for which fsync and fdatasync do nothing, as LIBRARY makes them (libeatmydata.so of the package of that name);
without LIBRARY it is left out. Prints a table: median seconds, and the median of the differences of the pairs.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--plugin", action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--without-sync", metavar="LIBRARY")
    parser.add_argument("flags", nargs="*", help="further flags of prune")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="espalier-overhead-", dir="."))
    plugins = {"ESPALIER_PLUGIN_PATH": str(Path(args.host).resolve().parent)}

    def run(plugin, flags, environment):
        command = [args.host, "prune", "--device", "cpu", "--plugin", plugin, "--model", args.model, "--calibration",
                   args.calibration, "--out", str(root / "out"), *flags, *args.flags]
        begin = time.monotonic()
        done = subprocess.run(command, env={**os.environ, **plugins, **environment}, capture_output=True, text=True)
        seconds = time.monotonic() - begin
        if done.returncode != 0:
            sys.exit(done.stderr)
        shutil.rmtree(root / "out")
        return seconds

    sides = {"isolation": ((["--isolate=never"], {}), (["--isolate=always"], {}))}
    if args.without_sync:
        sides["journal"] = ((["--no-keep-hidden"], {"LD_PRELOAD": args.without_sync}), ([], {}))
    print("| cost of | method | pairs | without | with | difference |\n|---|---|---:|---:|---:|---:|")
    for plugin in args.plugin or ["wanda", "sparsegpt"]:
        for what, (without, with_it) in sides.items():
            pairs = []
            for number in range(args.runs):
                # Each comes first in every second pair.
                order = [without, with_it][:: 1 if number % 2 == 0 else -1]
                seconds = [run(plugin, *side) for side in order]
                pairs.append(seconds if number % 2 == 0 else seconds[::-1])
            before, after = (statistics.median(side) for side in zip(*pairs))
            ratio = statistics.median(b / a - 1 for a, b in pairs)
            print(f"| {what} | {plugin} | {args.runs} | {before:.2f} s | {after:.2f} s | {ratio:+.1%} |", flush=True)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
