"""Walks through the points at which a system call of a run can fail, and checks that nothing is lost.

For small runs of prune, select, eval and study, every system call that makes, writes, syncs, renames or removes a file
fails once (with EIO or ENOSPC), and at every one the process is killed once. After each of these runs the target is
absent or whole, and the same command without a fault (prune with --resume) ends with the bytes of an undisturbed run.

strace injects the faults; it counts calls for each thread, so that fault N strikes the N-th call of every thread.

usage: python tests/scripts/faults.py [--host target/debug/host] [--all | --runs 60] [--seed 0] [--only prune]
Prints a table of what was tried. The exit code is 1 if anything was lost.
"""
import argparse
import collections
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/models"
CALLS = ["openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat",
         "ftruncate", "fallocate", "unlink", "unlinkat", "rmdir", "flock", "copy_file_range", "sendfile"]
# What a full or broken disk answers to each.
ERRORS = {"openat": "EIO", "flock": "EIO", "fsync": "EIO", "fdatasync": "EIO", "unlink": "EIO", "unlinkat": "EIO",
          "rmdir": "EIO"}
STUDY = """samples = 2
seqlen = 32
[models]
tiny = "{models}/tiny-instruct"
[methods]
Wanda = 0.5
[calibration]
C4 = "{models}/data/c4.jsonl"
[evaluations]
Alpaca = {{ file = "{models}/data/alpaca_evaluation.json", limit = 2, max_new_tokens = 2 }}
"""


def commands(host, folder):
    """Name -> (command, how to run it again, what it writes)."""
    tiny, c4 = MODELS / "tiny-instruct", MODELS / "data/c4.jsonl"
    few = ["--samples", "4", "--seqlen", "64", "--device", "cpu"]
    prune = [host, "prune", "--plugin", "sparsegpt", "--model", tiny, "--calibration", c4, *few, "--out", folder / "out"]
    select = [host, "select", "--model", tiny, "--calibration", c4, *few, "--out", folder / "windows.jsonl"]
    task = MODELS / "data/alpaca_evaluation.json"
    evaluate = [host, "eval", "--model", tiny, "--task", task, "--limit", "2", "--max-new-tokens", "2", "--device", "cpu",
                "--predictions", folder / "predictions.jsonl"]
    study = [host, "study", folder / "study.toml", "--device", "cpu", "--out", folder / "results"]
    return {
        "prune": (prune, prune + ["--resume"], ["out"]),
        "select": (select, select + ["--overwrite"], ["windows.jsonl"]),
        "eval": (evaluate, evaluate + ["--overwrite"], ["predictions.jsonl"]),
        "study": (study, study, ["results/results.csv", "results/table.md"]),
    }


def environment(host):
    """Two threads, and the plugins beside the host."""
    return {**os.environ, "ESPALIER_PLUGIN_PATH": str(Path(host).resolve().parent), "RAYON_NUM_THREADS": "2"}


def digest(path):
    """The contents of a file or folder, without what tells of times and memory; nothing where it is not there."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != "espalier.json")
        return [(str(file.relative_to(path)), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def fresh(root):
    """A folder with a study file in it."""
    folder = Path(tempfile.mkdtemp(dir=root))
    (folder / "study.toml").write_text(STUDY.format(models=MODELS))
    return folder


def points(name, host, root):
    """[(call, number)] for every call that some thread makes, and what the run writes."""
    folder = fresh(root)
    command, _, outputs = commands(host, folder)[name]
    log = folder / "strace.log"
    trace = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={','.join(CALLS)}", "-e", "signal=none"]
    done = subprocess.run([*map(str, trace + command)], env=environment(host), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{name} fails without a fault:\n{done.stderr.decode()}")
    counts = collections.Counter()
    for line in log.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if found:
            counts[found[1], found[2]] += 1
    most = collections.Counter()
    for (_, call), count in counts.items():
        most[call] = max(most[call], count)
    whole = [digest(folder / output) for output in outputs]
    shutil.rmtree(folder)
    return [(call, number) for call in CALLS for number in range(1, most[call] + 1)], whole


def strike(name, host, root, call, number, fault, whole):
    """Runs a command with one fault, and again without; what is wrong then, or nothing."""
    folder = fresh(root)
    command, again, outputs = commands(host, folder)[name]
    inject = f"inject={call}:{fault}:when={number}"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    struck = subprocess.run([*map(str, strace + command)], env=environment(host), capture_output=True, timeout=120)
    try:
        for output, expected in zip(outputs, whole):
            found = digest(folder / output)
            # A study whose cell failed says so in its results.
            reported = name == "study" and struck.returncode != 0
            if found is not None and found != expected and not reported:
                return f"{output} is half-written"
            if found is None and struck.returncode == 0:
                return f"exit code 0, but there is no {output}"
        if struck.returncode not in (0, -9, 137) and not struck.stderr and call != "write":
            return f"exit code {struck.returncode} without a word"
        if struck.returncode in (101, 134, 139, -6, -11):
            return f"it crashed ({struck.returncode}): {struck.stderr.decode(errors='replace')[-300:]}"
        done = subprocess.run([*map(str, again)], env=environment(host), capture_output=True, timeout=120)
        if done.returncode != 0:
            return f"cannot be run again: {done.stderr.decode(errors='replace')[-300:]}"
        for output, expected in zip(outputs, whole):
            if digest(folder / output) != expected:
                return f"{output} has other bytes when it is run again"
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        # A killed process leaves its temporary files, and so does one that cannot remove them.
        if left and "signal" not in fault and call not in ("unlink", "unlinkat", "rmdir"):
            return f"left behind: {left}"
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=str(ROOT / "target/debug/host"))
    parser.add_argument("--all", action="store_true", help="every point instead of a sample")
    parser.add_argument("--runs", type=int, default=60, help="points to sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="one of prune, select, eval and study")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="espalier-faults-"))
    tasks = []
    summary = {}
    for name in args.only or ["prune", "select", "eval", "study"]:
        found, whole = points(name, args.host, root)
        errors = [(name, call, number, f"error={ERRORS.get(call, 'ENOSPC')}", whole) for call, number in found]
        kills = [(name, call, number, "signal=KILL", whole) for call, number in found]
        summary[name] = collections.Counter(points=2 * len(found))
        tasks += errors + kills
    if not args.all:
        tasks = random.Random(args.seed).sample(tasks, min(args.runs, len(tasks)))
    failures = []

    def run(task):
        name, call, number, fault, whole = task
        try:
            return task, strike(name, args.host, root, call, number, fault, whole)
        except subprocess.TimeoutExpired:
            return task, "it does not end"

    with ThreadPoolExecutor(args.jobs) as pool:
        for (name, call, number, fault, _), problem in pool.map(run, tasks):
            summary[name]["runs"] += 1
            summary[name]["survived"] += problem is None
            if problem:
                failures.append(f"{name}: {call} number {number}, {fault}: {problem}")
                print(failures[-1], file=sys.stderr)
    shutil.rmtree(root, ignore_errors=True)
    print("| command | points | runs | survived |\n|---|---:|---:|---:|")
    for name, counts in summary.items():
        print(f"| {name} | {counts['points']} | {counts['runs']} | {counts['survived']} |")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
