"""The results of `gpu.py` as Markdown."""

# What a run on an H100 or H200 is to reach: a least ratio of rates, or a most of seconds.
TARGETS = {"f32": 0.60, "f16": 0.50, "wanda": 90, "sparsegpt": 330, "decode": 1.3}
METHODS = {"wanda": "Wanda", "sparsegpt": "SparseGPT"}


def table(header, rows, left=1):
    """A table; the first columns to the left, the others to the right."""
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    return "\n".join("| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines) + "\n"


def escape(cell):
    """A cell on one line."""
    return str(cell).replace("|", "\\|").replace("\n", " ")


def seconds(value):
    """Seconds with as many digits as mean something."""
    return "-" if value is None else f"{value:.1f} s" if value >= 10 else f"{value:.3f} s"


def rate(value):
    """GFLOP/s, as TFLOP/s where there are many."""
    return "-" if value is None else f"{value / 1e3:.2f} TFLOP/s" if value >= 1e3 else f"{value:.1f} GFLOP/s"


def mebibytes(value):
    return "-" if value is None else f"{value / 2**20:.0f} MiB"


def ratio(host, other):
    return "-" if not host or not other else f"{host / other:.2f} ×"


def machine(data):
    """The adapters and the versions, in sentences."""
    taken, torch = data.get("taken"), data.get("torch")
    lines = [f"Espalier, {data.get('host', 'which does not start')}"]
    if taken:
        lines.append(f"on {taken['name']} ({taken['type']}, {taken['backend']}, {taken['driver']} {taken['driver_info']})")
    lines += [f"nvidia-smi: {line}" for line in data.get("nvidia_smi", [])]
    lines.append(f"PyTorch {torch['torch']} on {torch['name'] or torch['device']}" if torch else "no PyTorch")
    text = "; ".join(lines) + ".\n"
    rows = [[adapter["name"], adapter["backend"], adapter["type"], adapter["driver"] + " " + adapter["driver_info"],
             ", ".join(map(str, adapter["features"]["subgroup_size"])),
             "yes" if adapter["features"]["timestamp_query"] else "no",
             ", ".join(adapter["features"]["cooperative_matrix"]) or "none"] for adapter in data.get("adapters", [])]
    return text + "\n" + table(
        ["adapter", "backend", "type", "driver", "subgroups", "timestamps", "cooperative matrices"], rows, left=7)


def comparisons(parts, small):
    """Everything that PyTorch does too."""
    rows = []
    found = parts["products"]["data"]
    for kind in ("f32", "f16", "bf16", "gram_f32") if found else ():
        own = found["gflops"][kind]
        other = found.get("pytorch", {}).get(kind)
        target = TARGETS.get(kind)
        rows.append([f"product {kind}, {found['side']}³" if kind != "gram_f32" else f"Gram matrix f32, {found['side']}³",
                     rate(own), rate(other), ratio(own, other), f"≥ {target:.2f} ×" if target and not small else ""])
    found = parts["solve"]["data"]
    if "total_s" in found:
        other = found.get("pytorch", {}).get("total_s")
        rows.append([f"SparseGPT solve {found['rows']} × {found['cols']}", seconds(found["total_s"]), seconds(other),
                     ratio(found["total_s"], other), ""])
    model = parts["model"]["data"]
    for method, name in METHODS.items():
        host, torch = (parts[f"{method}, {side}"]["data"] for side in ("host", "PyTorch"))
        what = f"{name}, {model.get('shape')}, {model.get('windows')} × {model.get('seqlen')}"
        for text, key in ((f"{what}: a block", "block_s"), (f"{what}: 32 blocks, scaled", "scaled_s")):
            if key in host or key in torch:
                target = f"≤ {TARGETS[method]} s" if key == "scaled_s" and not small else ""
                rows.append([text, seconds(host.get(key)), seconds(torch.get(key)),
                             ratio(host.get(key), torch.get(key)), target])
    return table(["what", "Espalier", "PyTorch", "Espalier / PyTorch", "target"], rows)


def memory(parts):
    """Peak memory beside the plan."""
    rows = []
    for method, name in METHODS.items():
        host, torch = (parts[f"{method}, {side}"]["data"] for side in ("host", "PyTorch"))
        if "memory" in host:
            plan = host["memory"]["plan"]
            used = "-" if host["gpu_mib"] is None else f"{host['gpu_mib']} MiB"
            rows.append([name, mebibytes(plan["device_peak"]), mebibytes(host["memory"]["device_peak_bytes"]), used,
                         mebibytes(plan["host_peak"]), mebibytes(host["memory"]["host_peak_bytes"]),
                         f"{torch['cuda_peak_mb']} MB" if "cuda_peak_mb" in torch else "-",
                         f"{torch['peak_rss_mb']} MB" if "peak_rss_mb" in torch else "-"])
        elif host.get("plan"):
            rows.append([f"{name}: {host['plan']}", *["-"] * 7])
    return table(["", "device: plan", "tensors", "nvidia-smi", "host: plan", "used", "PyTorch: GPU", "PyTorch: host"], rows)


def kernels(parts):
    """The tests of kernels, and the kernel of small matrices."""
    rows = [[name, found["tests"], found["passed"], ", ".join(found["failed"]) or "none", seconds(found["seconds"])]
            for name, found in parts["kernels"]["data"].items()]
    text = table(["kernels against their twins", "tests", "passed", "failed", "time"], rows)
    found = parts["cooperative kernel"]["data"]
    if "used" in found:
        says = "agrees with a reference" if found["agrees"] else "does NOT agree with a reference"
        text += "\nThe cooperative kernel " + (
            f"{says} on {', '.join(found['shapes'])}.\n" if found["used"] else "has nothing to run on: the adapter has no such "
            "matrices, and it is not taken.\n")
    return text


def outside(parts):
    """The time outside kernels."""
    rows = []
    for method, found in parts["time outside kernels"]["data"].items():
        plain, own = found["block_s"], found["kernels_s"]
        share = "-" if not plain else f"{100 * max(0.0, 1 - own / plain):.0f}%"
        rows.append([METHODS[method], seconds(plain), seconds(own), share, seconds(found["profiled_block_s"]),
                     seconds(found["spent_s"]["transfer"]), seconds(found["spent_s"]["method"])])
    return table(["a block", "as it runs", "kernels, by the device's clock", "outside", "profiled", "of that transfers",
                  "method and border"], rows)


def decoding(parts, small):
    """Tokens a second of a pruned model, as a folder and as an archive."""
    found = parts["decode"]["data"]
    if "packed" not in found:
        return ""
    dense, packed = (found[name]["tokens_per_second"] for name in ("dense", "packed"))
    model = parts["model"]["data"]
    rows = [[f"{model.get('shape')}, {model.get('blocks')} blocks, 50% pruned, one sequence",
             *("-" if rate is None else f"{rate:.1f} tokens/s" for rate in (dense, packed)), ratio(packed, dense),
             "" if small else f"≥ {TARGETS['decode']:.2f} ×"]]
    return table(["decoding", "folder", "archive", "archive / folder", "target"], rows)


def choices(parts):
    """What the tuner took."""
    rows = [[name, variant] for picks in parts["tuner"]["data"].values() for name, variant in sorted(picks.items())]
    return table(["class of products", "kernel that the tuner took"], rows, left=2)


def render(results):
    """All that there is by now."""
    small = results["size"] == "small"
    empty = dict(data={}, status="")
    parts = {name: empty for name in (
        "adapters", "kernels", "cooperative kernel", "products", "solve", "model", "decode", "time outside kernels", "tuner",
        *(f"{method}, {side}" for method in METHODS for side in ("host", "PyTorch")))}
    parts.update({part["name"]: part for part in results["parts"]})
    rows = [[part["name"], part["status"], part["note"][:400], f"{part['seconds']} s", f"{part['limit']} s"]
            for part in results["parts"]]
    sections = [
        f"# What a GPU shows ({results['size']} sizes)\n", machine(parts["adapters"]["data"]),
        comparisons(parts, small), kernels(parts), memory(parts), decoding(parts, small), outside(parts), choices(parts),
        table(["part", "", "why", "time", "limit"], rows, left=3)]
    # A table without rows is left out: the last one says why.
    return "\n".join(section for section in sections if not section.startswith("|") or section.count("\n") > 2)
