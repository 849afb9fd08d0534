"""Runs the host and the PyTorch baseline in turn on the same work, and compares wall time and memory.

Both get the same model, windows and number of threads. Each run is a fresh process; wall time is taken around
it and peak memory from its `wait4` resource usage, so start-up, loading and saving count for both. Peak memory is the
resident set, which includes the touched pages of mapped checkpoint files. Order alternates, so that a drift of the
machine strikes both alike. The first pair is left out when `--warm-up` is given.

usage: python tests/benches/compare.py --host target/release/host --model DIR --windows DIR/windows.jsonl
           [--plugin wanda] [--method wanda] [--sparsity 0.5] [--runs 5] [--threads N] [--dtype auto] [--warm-up]
`--plugin` is what the host is given (a name or a path), `--method` the baseline's name for the same. Prints a table of
medians with their spread and the ratios, and one JSON line with every single measurement. Outputs go to a temporary
folder (TMPDIR), one model for each side. Above the table stand the processor and the rate at which each side multiplies, so
that a slow machine can be told from a slow program: the host's of a profiled run, PyTorch's of 1024 x 1024 x 1024 in f32.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASELINE = Path(__file__).resolve().parent / "pytorch_prune.py"


def measure(command, threads, log):
    """Runs a command to its end: {wall_s, cpu_s, rss_mb}; stops everything with its log's end if it fails."""
    environment = {**os.environ, **{name: str(threads) for name in (
        "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
    with open(log, "w") as sink:
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with {process.returncode}:\n{Path(log).read_text()[-2000:]}")
    return dict(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime, rss_mb=usage.ru_maxrss / 1024)


def window_shape(path):
    """(number of windows, tokens of the first) in a JSONL of input_ids."""
    with open(path) as lines:
        first = json.loads(next(lines))["input_ids"]
        return 1 + sum(1 for _ in lines), len(first)


def commands(args, folder):
    """The host's and the baseline's command lines for the same work."""
    samples, seqlen = window_shape(args.windows)
    host = [args.host, "prune", "--plugin", args.plugin, "--model", args.model, "--calibration", args.windows,
            "--out", f"{folder}/host", "--overwrite", "--device", "cpu", "--sparsity", args.sparsity,
            "--samples", str(samples), "--seqlen", str(seqlen)]
    baseline = [sys.executable, str(BASELINE), args.model, args.windows, args.method, args.sparsity,
                f"{folder}/pytorch", "--threads", str(args.threads), "--dtype", args.dtype, "--batch", str(args.batch)]
    return {"host": host, "pytorch": baseline}


def run_pairs(args, folder):
    """All measurements, {"host": [...], "pytorch": [...]}."""
    results = {"host": [], "pytorch": []}
    work = commands(args, folder)
    for run in range(args.runs + args.warm_up):
        names = list(work) if run % 2 == 0 else list(work)[::-1]
        for name in names:
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)
            result = measure(work[name], args.threads, f"{folder}/{name}.log")
            print(f"run {run} {name:8} {result['wall_s']:8.2f} s {result['rss_mb']:8.0f} MB", file=sys.stderr)
            if run >= args.warm_up:
                results[name].append(result)
    return results


def processor():
    """The processor's name, with family and model where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict([part.strip() for part in line.split(":", 1)] for line in lines if ":" in line)
    return f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')} model {facts.get('model')})"


RATE = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
def once():
    begin = time.perf_counter()
    a @ b
    return time.perf_counter() - begin
print(2 * 1024**3 / min(once() for _ in range(30)) / 1e9)
"""


def rates(args, folder):
    """GFLOP/s of products with weights in a run of the host, and of PyTorch's product."""
    log = f"{folder}/profile.log"
    measure(commands(args, folder)["host"] + ["--profile", f"{folder}/profile.json"], args.threads, log)
    row = next((line.split() for line in Path(log).read_text().splitlines() if line.startswith("linear ")), [])
    host = next((f"{number} {unit}" for number, unit in zip(row, row[1:]) if unit.endswith("FLOP/s")), "not measured")
    log = f"{folder}/rate.log"
    measure([sys.executable, "-c", RATE, str(args.threads)], args.threads, log)
    return host, f"{float(Path(log).read_text()):.0f} GFLOP/s"


def print_table(results):
    """Medians, spreads and how many times more the baseline takes."""
    print(f"{'':10}{'host':>30}{'PyTorch':>30}{'PyTorch / host':>18}")
    for key, unit in (("wall_s", "s"), ("cpu_s", "s"), ("rss_mb", "MB")):
        cells, medians = [], []
        for name in ("host", "pytorch"):
            values = [r[key] for r in results[name]]
            medians.append(statistics.median(values))
            cells.append(f"{medians[-1]:.2f} ({min(values):.2f}-{max(values):.2f}) {unit}")
        print(f"{key:10}{cells[0]:>30}{cells[1]:>30}{medians[1] / medians[0]:>17.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--windows", required=True)
    parser.add_argument("--plugin", default="wanda")
    parser.add_argument("--method", default="wanda")
    parser.add_argument("--sparsity", default="0.5")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", default="auto", help="the baseline's dtype; auto is the checkpoint's")
    parser.add_argument("--batch", type=int, default=1, help="the baseline's windows a forward pass")
    parser.add_argument("--warm-up", action="store_true", help="run one pair first that does not count")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run_pairs(args, folder)
        host, pytorch = rates(args, folder)
    print(f"{processor()}, {args.threads} threads; products: host {host}, PyTorch {pytorch}")
    print_table(results)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
