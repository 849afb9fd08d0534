"""Times the SparseGPT solve of one matrix in the host and in PyTorch, in turn, and prints the ratio.

Both draw a weight and inputs of the same distribution, and use the same number of threads; each run is a fresh
process that reports the median of its own repeats. Gathering statistics is not part of the time.

usage: cargo build --release && python tests/benches/compare_solve.py ROWS COLS [--target 0.5] [--runs 3]
           [--threads N] [--device cpu|gpu]
`--device gpu` takes the host's GPU and PyTorch's `cuda`.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def last_json(command, environment):
    """The JSON object that a command prints last."""
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows")
    parser.add_argument("cols")
    parser.add_argument("--target", default="0.5")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", default=str(os.cpu_count()))
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    args = parser.parse_args()
    environment = {**os.environ, "RAYON_NUM_THREADS": args.threads}
    host = ["cargo", "bench", "-q", "-p", "espalier-tests", "--bench", "solve", "--", args.rows, args.cols,
            "--sparsity", args.target, "--device", args.device]
    pytorch = [sys.executable, str(HERE / "pytorch_solve.py"), args.rows, args.cols, "--target", args.target,
               "--threads", args.threads, "--device", {"cpu": "cpu", "gpu": "cuda"}[args.device]]
    seconds = {"host": [], "pytorch": []}
    for run in range(args.runs):
        for name, command in [("host", host), ("pytorch", pytorch)][:: 1 if run % 2 == 0 else -1]:
            seconds[name].append(last_json(command, environment)["total_s"])
            print(f"run {run} {name:8} {seconds[name][-1]:8.2f} s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(json.dumps(dict(
        rows=int(args.rows), cols=int(args.cols), target=args.target, device=args.device, seconds=seconds,
        host_s=medians["host"], pytorch_s=medians["pytorch"], ratio=medians["host"] / medians["pytorch"])))


if __name__ == "__main__":
    main()
