"""Shows what only a real GPU can show: runs a pack of `gpu_pack.py` and writes OUT/gpu.md, OUT/gpu.json and OUT/gpu.log.

usage: python tests/scripts/gpu.py OUT [--pack DIR]
The parts, in this order, each with a limit of time: adapters; every kernel against its twin; products and a SparseGPT
solve beside PyTorch's on the same GPU; Wanda and SparseGPT on a model of random weights beside PyTorch, scaled to 32
blocks; decoding of the pruned model as a folder and as an archive; the time that is not spent in kernels; the tuner's
choices. Results are written after every part, so that a run that is killed leaves what it has. What was cut short or
could not run is said in the table; the exit code is 0 if nothing failed (and, with small sizes, nothing was cut short).

GPU_SECONDS: seconds in all (480). GPU_SIZE: `full` or `small` (by default small on a software driver). PyTorch is
taken from the Python that runs this; without it, the comparisons are left out.
"""
import argparse
import ctypes.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import gpu_parts
import gpu_table

# Seconds that a process has to end by itself after Ctrl-C.
PATIENCE = 5
# Where the driver's description is on machines whose loader does not look there.
NVIDIA_ICD = Path("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json")
ICD_FOLDERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]


@dataclass
class Finished:
    """A process that ended, or was ended at its limit. Lines are (seconds since its start, text)."""

    code: int
    cut: bool
    seconds: float
    out: list = field(default_factory=list)
    err: list = field(default_factory=list)

    def said(self):
        """The end of what it said, for messages."""
        return " | ".join(text for _, text in (self.err + self.out)[-6:])

    def json(self):
        """The JSON that it printed: everything, or its last line."""
        text = "\n".join(line for _, line in self.out).strip()
        return json.loads(text if text.startswith("{\n") else text.splitlines()[-1])


class Runner:
    """Runs processes within the time that there is, and logs what they say."""

    def __init__(self, pack, binaries, work, log, deadline):
        self.tests, self.binaries, self.work, self.log, self.deadline = pack / "tests", binaries, work, log, deadline
        # Set by the first part.
        self.adapter, self.small, self.torch = None, os.environ.get("GPU_SIZE") == "small", None
        self.environment = {
            **os.environ, "ESPALIER_TESTS": str(self.tests), "ESPALIER_PLUGIN_PATH": str(binaries),
            "ESPALIER_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        self.environment.pop("ESPALIER_LOG", None)
        if ctypes.util.find_library("vulkan") is None and (binaries / "loader").is_dir():
            paths = [str(binaries / "loader"), os.environ.get("LD_LIBRARY_PATH", "")]
            self.environment["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
        described = any(Path(folder).glob("nvidia*.json") for folder in ICD_FOLDERS if Path(folder).is_dir())
        if NVIDIA_ICD.is_file() and not described and "VK_DRIVER_FILES" not in os.environ:
            self.environment["VK_DRIVER_FILES"] = str(NVIDIA_ICD)

    def left(self):
        """Seconds until everything has to be over."""
        return self.deadline - time.monotonic()

    def host(self, *arguments):
        """A command line of the host."""
        return [self.binaries / "host", *arguments]

    def python(self, script, *arguments):
        """A command line of one of the scripts."""
        return [sys.executable, self.tests / script, *arguments]

    def run(self, command, limit, environment=None):
        """Runs a command to its end or to its limit, whichever comes first."""
        command = [str(word) for word in command]
        limit = min(limit, self.left())
        print(f"\n$ {' '.join(command)}   (at most {limit:.0f} s)", file=self.log, flush=True)
        if limit <= 0:
            return Finished(code=-1, cut=True, seconds=0.0, err=[(0.0, "there was no time left")])
        begin = time.monotonic()
        process = subprocess.Popen(
            command, env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        finished = Finished(code=0, cut=False, seconds=0.0)
        readers = [threading.Thread(target=self.read, args=(stream, lines, begin))
                   for stream, lines in ((process.stdout, finished.out), (process.stderr, finished.err))]
        for reader in readers:
            reader.start()
        try:
            finished.code = process.wait(limit)
        except subprocess.TimeoutExpired:
            finished.cut = True
            finished.code = stop(process)
        for reader in readers:
            reader.join()
        finished.seconds = time.monotonic() - begin
        print(f"[{'cut at its limit' if finished.cut else finished.code}, {finished.seconds:.1f} s]", file=self.log)
        return finished

    def read(self, stream, lines, begin):
        """Keeps and logs the lines of a stream."""
        for line in stream:
            lines.append((time.monotonic() - begin, line.rstrip("\n")))
            self.log.write(line)


def stop(process):
    """Ends a process and what it started, gently first."""
    for signal_, patience in ((signal.SIGINT, PATIENCE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, signal_)
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return process.wait()
    return process.wait()


def find_pack(given):
    """The folder of a pack: what was given, the one that this file is in, or where `gpu_pack.py` puts it."""
    own = Path(__file__).resolve().parents[2]
    for folder in [given] if given else [own, own / "target/gpu-pack"]:
        if (folder / "bin").is_dir() or (folder / "bin.tar.xz").is_file():
            return folder.resolve()
    sys.exit("there is no pack here: make one with tests/gpu.sh pack")


def unpack(pack, work):
    """The folder of binaries."""
    if (pack / "bin").is_dir():
        return pack / "bin"
    with tarfile.open(pack / "bin.tar.xz") as tar:
        tar.extractall(work)
    return work / "bin"


def run_part(name, part, limit, runner, results):
    """Runs a part; what it gives is kept, or why there is nothing."""
    begin = time.monotonic()
    result = dict(name=name, limit=limit, status="ok", note="", data={})
    try:
        if runner.left() <= 0:
            raise gpu_parts.Cut("there was no time left")
        # A part fills the data that it is handed, so that a cut leaves what was there.
        part(runner, limit, result["data"], results)
    except gpu_parts.Outcome as outcome:
        result.update(status=outcome.status, note=str(outcome))
    except Exception as error:  # noqa: BLE001  (one part's fault must not cost the others)
        result.update(status="failed", note=f"{type(error).__name__}: {error}")
    result["seconds"] = round(time.monotonic() - begin, 1)
    return result


def write(out, results):
    """Writes what there is so far; each file is replaced as a whole."""
    for name, text in (("gpu.json", json.dumps(results, indent=1) + "\n"), ("gpu.md", gpu_table.render(results))):
        (out / f".{name}").write_text(text)
        os.replace(out / f".{name}", out / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pack", type=Path)
    args = parser.parse_args()
    begin = time.monotonic()
    pack = find_pack(args.pack)
    args.out.mkdir(parents=True, exist_ok=True)
    results = dict(size="full", parts=[])
    with tempfile.TemporaryDirectory() as work, (args.out / "gpu.log").open("w", buffering=1) as log:
        work = Path(work)
        deadline = begin + float(os.environ.get("GPU_SECONDS", "480"))
        runner = Runner(pack, unpack(pack, work), work, log, deadline)
        for name, part, limit in gpu_parts.PARTS:
            result = run_part(name, part, limit, runner, results)
            results["parts"].append(result)
            results.update(size="small" if runner.small else "full", seconds=round(time.monotonic() - begin, 1))
            write(args.out, results)
            print(f"{result['status']:7} {result['seconds']:6.1f} s  {name}  {result['note']}", file=sys.stderr)
    print((args.out / "gpu.md").read_text())
    bad = {"failed", "cut"} if runner.small else {"failed"}
    sys.exit(any(part["status"] in bad for part in results["parts"]))


if __name__ == "__main__":
    main()
