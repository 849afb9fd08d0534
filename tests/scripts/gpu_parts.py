"""The parts of `gpu.py`. Each fills a dict with what it found, and raises an `Outcome` where that is not all."""
import json
import re
import subprocess
import sys
import threading

# What runs on a software driver in a minute, as a test of these scripts; the tests themselves are run elsewhere.
SMALL_TESTS = {"gpu_forward": ["rows", "small_matrices", "packed"], "gpu_prune_ops": ["map", "zero_where"],
               "algebra_ops": ["transposes", "diagonals"], "logits": ["gpu"], "gradients": ["gpu"], "generate": ["gpu"]}
METHODS = ["wanda", "sparsegpt"]
# Of the model that times are scaled to.
BLOCKS = 32
SHAPES = {
    True: dict(side=256, rows=64, cols=128, model="tiny", blocks=3, windows=4, seqlen=64),
    False: dict(side=4096, rows=4096, cols=11008, model="7b", blocks=4, windows=128, seqlen=2048),
}
TORCH = """
import json, torch, transformers, safetensors
cuda = torch.cuda.is_available()
print(json.dumps(dict(torch=torch.__version__, transformers=transformers.__version__,
    device="cuda" if cuda else "cpu", name=torch.cuda.get_device_name() if cuda else "", cuda=torch.version.cuda)))
"""


class Outcome(Exception):
    """Why a part is not whole."""

    status = "failed"


class Failed(Outcome):
    """Something does not work."""


class Cut(Outcome):
    """There was no time for it."""

    status = "cut"


class Absent(Outcome):
    """The machine does not have what it needs."""

    status = "absent"


class Alone(Outcome):
    """There is nothing to compare it with."""

    status = "ok"


def finished(process, what):
    """A process that has to have come to its end."""
    if process.cut:
        raise Cut(f"{what} was not done after {process.seconds:.0f} s")
    if process.code != 0:
        raise Failed(f"{what} failed with {process.code}: {process.said()[-600:]}")
    return process


def shape(runner):
    """The sizes of this run."""
    return SHAPES[runner.small]


def adapters(runner, limit, data, _results):
    """The machine's adapters, the one that everything runs on, and what PyTorch has."""
    data["host"] = finished(runner.run(runner.host("--version"), limit), "host --version").out[0][1]
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        data["nvidia_smi"] = [text for _, text in runner.run(query, limit).out]
    except OSError:
        data["nvidia_smi"] = []
    python = runner.run([sys.executable, "-c", TORCH], limit)
    if python.code == 0:
        data["torch"] = python.json()
        runner.torch = data["torch"]["device"]
    listed = finished(runner.run(runner.host("devices", "--json"), limit), "host devices").json()
    data.update(adapters=listed["adapters"], auto=listed["auto"])
    if not listed["adapters"]:
        raise Failed("there is no adapter: Vulkan's loader or a driver is missing (VK_DRIVER_FILES names drivers)")
    taken = [adapter for adapter in listed["adapters"] if not adapter["is_software"]] or listed["adapters"]
    named = [adapter for adapter in taken if adapter["name"] == listed["auto"]["name"]] or taken
    data["taken"] = runner.adapter = named[0]
    runner.environment["ESPALIER_TEST_ADAPTER"] = runner.adapter["name"]
    runner.small = runner.small or ("GPU_SIZE" not in runner.environment and runner.adapter["is_software"])
    if data["nvidia_smi"] and runner.adapter["is_software"] and not runner.small:
        raise Failed("there is a GPU, but only a software adapter was found: its Vulkan driver is missing")


def need_adapter(runner):
    """Ends a part where there is nothing to run it on."""
    if runner.adapter is None:
        raise Absent("there is no adapter")


def need_torch(runner, outcome=Absent):
    """The device of PyTorch."""
    if runner.torch is None:
        raise outcome("this Python has no PyTorch, transformers and safetensors to compare with")
    return runner.torch


def kernels(runner, limit, data, _results):
    """Every kernel against its twin on the CPU: the test binaries."""
    need_adapter(runner)
    failed, cut = [], []
    for name, small in SMALL_TESTS.items():
        left = limit - sum(test["seconds"] for test in data.values())
        process = runner.run([runner.binaries / "deps" / name, *(small if runner.small else [])], max(left, 1))
        text = [line for _, line in process.out]
        count = next((int(found[1]) for line in text if (found := re.match(r"running (\d+) test", line))), 0)
        outcomes = re.findall(r"^test (\S+) \.\.\. (ok|FAILED)$", "\n".join(text), re.MULTILINE)
        bad = sorted({test for test, outcome in outcomes if outcome == "FAILED"})
        data[name] = dict(seconds=process.seconds, tests=count, passed=sum(outcome == "ok" for _, outcome in outcomes),
                          failed=bad, names=[test for test, _ in outcomes])
        if bad or (process.code != 0 and not process.cut):
            why = next((line for _, line in process.out + process.err if "panicked" in line), process.said()[-200:])
            failed.append(f"{name}: {', '.join(bad) or process.code} ({why})")
        if process.cut:
            cut.append(name)
        if count == 0 and not process.cut:
            failed.append(f"{name} ran no test")
    if failed:
        raise Failed("; ".join(failed))
    if cut:
        raise Cut(f"no time for all of {', '.join(cut)}")


def cooperative(runner, _limit, data, results):
    """The kernel of small matrices: whether the adapter has them, and whether it agreed with a reference."""
    need_adapter(runner)
    tests = next(part["data"] for part in results["parts"] if part["name"] == "kernels")
    data["shapes"] = runner.adapter["features"]["cooperative_matrix"]
    name = next((name for test in tests.values() for name in test["names"] if "small_matrices" in name), None)
    if name is None:
        raise Cut("its test did not run")
    data["agrees"] = not any(name in test["failed"] for test in tests.values())
    data["used"] = any(shape.endswith("f16->f32") for shape in data["shapes"])
    if not data["agrees"]:
        raise Failed(f"{name} failed")
    if not data["used"] and not runner.small:
        raise Absent("the adapter has no f16 -> f32 matrices")


def products(runner, limit, data, _results):
    """Products of square matrices, beside PyTorch's."""
    need_adapter(runner)
    side, repeats = shape(runner)["side"], 2 if runner.small else 5
    command = [runner.binaries / "deps/products", side, "--device", "gpu", "--repeats", repeats]
    data.update(finished(runner.run(command, limit), "products").json())
    torch = need_torch(runner, Alone)
    script = runner.python("benches/pytorch_products.py", side, "--device", torch, "--repeats", repeats)
    data["pytorch"] = finished(runner.run(script, limit), "pytorch_products.py").json()["gflops"]


def solve(runner, limit, data, _results):
    """SparseGPT of one matrix, beside PyTorch's."""
    need_adapter(runner)
    rows, cols = shape(runner)["rows"], shape(runner)["cols"]
    command = [runner.binaries / "deps/solve", rows, cols, "--device", "gpu", "--repeats", 2]
    data.update(finished(runner.run(command, limit), "solve").json())
    torch = need_torch(runner, Alone)
    script = runner.python("benches/pytorch_solve.py", rows, cols, "--device", torch, "--repeats", 2)
    data["pytorch"] = finished(runner.run(script, limit), "pytorch_solve.py").json()


def model(runner, limit, data, _results):
    """Writes the model of random weights. Without PyTorch, the small trained one stands in for a small one."""
    size = shape(runner)
    data.update(blocks=size["blocks"], windows=size["windows"], seqlen=size["seqlen"], shape=size["model"])
    if runner.torch is None and runner.small:
        data.update(folder=str(runner.tests / "models/tiny-instruct"), blocks=4, shape="tiny-instruct",
                    calibration=str(runner.tests / "models/data/c4.jsonl"))
        return
    need_torch(runner)
    folder = runner.work / "model"
    script = runner.python("benches/make_model.py", size["model"], folder, "--blocks", size["blocks"],
                           "--windows", size["windows"], "--seqlen", size["seqlen"])
    finished(runner.run(script, limit), "make_model.py")
    data.update(folder=str(folder), calibration=str(folder / "windows.jsonl"))


def made(results):
    """The model that was written."""
    found = next(part["data"] for part in results["parts"] if part["name"] == "model")
    if "folder" not in found:
        raise Absent("there is no model")
    return found


def prune_command(runner, model, method, *more):
    """The host's command line."""
    return runner.host(
        "prune", "--plugin", method, "--model", model["folder"], "--calibration", model["calibration"],
        "--samples", model["windows"], "--seqlen", model["seqlen"], "--sparsity", "0.5", "--device", "gpu",
        "--adapter", runner.adapter["name"], "--out", runner.work / f"pruned-{method}", "--overwrite", "--restart", *more)


class MemoryWatch:
    """The most memory of the GPU that was in use, by `nvidia-smi`, beyond what was in use before; where it is there."""

    def __enter__(self):
        self.used = []
        try:
            self.process = subprocess.Popen(
                ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200"],
                stdout=subprocess.PIPE, text=True)
        except OSError:
            self.process = None
            return self
        self.used.append(self.process.stdout.readline())
        self.reader = threading.Thread(target=lambda: self.used.extend(self.process.stdout))
        self.reader.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.reader.join()

    def mebibytes(self):
        numbers = [int(line) for line in self.used if line.strip().isdigit()]
        return max(numbers) - numbers[0] if numbers else None


def scaled(process, total):
    """Seconds of a block, and of all of the larger model's, by the times at which blocks were done. The first block is not
    counted: kernels are compiled and tuned in it."""
    done = {int(found[1]): at for at, line in process.err
            if (found := re.search(r"layers\.(\d+)\.mlp\.down_proj", line))}
    times = [done[block] for block in sorted(done)]
    if len(times) < 2:
        return dict(blocks=len(times))
    block = (times[-1] - times[0]) / (len(times) - 1)
    # A run that was cut has no end: what comes behind the last block is not known, and small.
    whole = (total if total else times[-1]) + (BLOCKS - len(times)) * block
    return dict(blocks=len(times), block_s=block, scaled_s=whole)


def prune_with_host(method, runner, limit, data, results):
    """The host's run of a method."""
    need_adapter(runner)
    with MemoryWatch() as memory:
        process = runner.run(prune_command(runner, made(results), method, "--json", "-v"), limit)
    total = None if process.cut or process.code != 0 else process.seconds
    plan = next((line for _, line in process.err if line.startswith("memory: ")), None)
    data.update(total_s=total, plan=plan, gpu_mib=memory.mebibytes(), **scaled(process, total))
    if total:
        manifest = process.json()
        data.update(memory=manifest["memory"], reached=manifest["reached"], device=manifest["device"]["name"])
    finished(process, f"{method} by the host")


def prune_with_torch(method, runner, limit, data, results):
    """PyTorch's run of a method."""
    device, model = need_torch(runner), made(results)
    if model["shape"] == "tiny-instruct":
        raise Absent("its data are not windows of tokens")
    command = runner.python("benches/pytorch_prune.py", model["folder"], model["calibration"], method, "0.5",
                            runner.work / f"torch-{method}", "--device", device)
    process = runner.run(command, limit)
    done = not process.cut and process.code == 0
    data.update(total_s=process.seconds if done else None, **scaled(process, process.seconds if done else None))
    if done:
        data.update(process.json())
    finished(process, f"{method} by PyTorch")


def decode(runner, limit, data, results):
    """Decoding of the model that Wanda pruned, as a folder and as an archive, which has to write the same text."""
    need_adapter(runner)
    made(results)
    folder = runner.work / f"pruned-{METHODS[0]}"
    if not folder.is_dir():
        raise Absent(f"{METHODS[0]} has pruned no model")
    archive = folder.with_suffix(".sparse")
    finished(runner.run(runner.host("pack", folder, "--out", archive, "--overwrite"), limit), "host pack")
    for name, path in (("dense", folder), ("packed", archive)):
        runs = []
        for _ in range(1 if runner.small else 3):
            command = runner.host("generate", "--model", path, "--prompt", "w5 w6 w7", "--max-new-tokens",
                                  16 if runner.small else 128, "--json", "--device", "gpu", "--adapter", runner.adapter["name"])
            runs.append(finished(runner.run(command, limit), f"decoding of the {name} model").json())
        best = max(runs, key=lambda run: run["tokens_per_second"] or 0)
        data[name] = {key: best[key] for key in ("text", "tokens", "tokens_per_second", "seconds_to_first_token")}
    if data["dense"].pop("text") != data["packed"].pop("text"):
        raise Failed("the archive writes another text than the folder")


def lost(runner, limit, data, results):
    """The time of a block that is not spent in kernels, by a profile, in which every operation is waited for."""
    need_adapter(runner)
    for method in METHODS:
        trace = runner.work / f"{method}.trace.json"
        left = limit - sum(found["seconds"] for found in data.values())
        command = prune_command(runner, made(results), method, "--profile", trace, "--layers", "0-1")
        process = finished(runner.run(command, max(left, 1)), f"a profile of {method}")
        events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["ph"] == "X"]
        block = next(event for event in events if event["name"] == "block 1")
        within = [event for event in events if block["ts"] <= event["ts"] < block["ts"] + block["dur"]]
        spent = {kind: sum(event["dur"] for event in within if event["cat"] == kind) / 1e6
                 for kind in ("kernel", "transfer", "wait", "method")}
        timed = [event for event in within if event["cat"] == "kernel" and event["args"]["clock"] == "device"]
        plain = [part["data"].get("block_s") for part in results["parts"] if part["name"] == f"{method}, host"]
        data[method] = dict(
            seconds=process.seconds, profiled_block_s=block["dur"] / 1e6, block_s=plain[0] if plain else None,
            kernels_s=sum(event["dur"] for event in timed) / 1e6, by_device_clock=bool(timed), spent_s=spent)


def tuner(runner, _limit, data, _results):
    """The tuner's choices in all that ran before."""
    need_adapter(runner)
    for file in sorted((runner.work / "cache").glob("tuned-*.json")):
        found = json.loads(file.read_text())
        data[found["key"]["adapter"]] = found["picks"]
    if not data:
        raise Absent("nothing was tuned; software adapters are not")


def named(function, method):
    """A part that runs one method."""
    return lambda *arguments: function(method, *arguments)


# Name, function, and the most seconds that it takes. Together they are a little more than there is time for: what comes
# early seldom takes all of its share.
PARTS = [
    ("adapters", adapters, 40),
    ("kernels", kernels, 80),
    ("cooperative kernel", cooperative, 1),
    ("products", products, 45),
    ("solve", solve, 60),
    ("model", model, 45),
    *[(f"{method}, host", named(prune_with_host, method), limit) for method, limit in zip(METHODS, (50, 75))],
    *[(f"{method}, PyTorch", named(prune_with_torch, method), limit) for method, limit in zip(METHODS, (40, 65))],
    ("decode", decode, 40),
    ("time outside kernels", lost, 50),
    ("tuner", tuner, 1),
]
