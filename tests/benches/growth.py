"""How a run's time grows with the calibration tokens and with the model's blocks: measured, fitted, drawn.

Three numbers of windows are measured on the model of middle size, and three models with the middle number of windows.
Each run is a fresh process; wall time is taken around it, so that start-up, loading and writing count. Runs are
interleaved and their order alternates, so that a drift of the machine strikes all alike. A straight line is fitted to
all measurements, not to their means.

usage: python tests/benches/growth.py --host target/release/host --out growth.svg
           [--shape 110m] [--blocks 4 8 12] | [--models SMALL MIDDLE LARGE --windows-file FILE]
           [--windows 16 32 64] [--seqlen 512] [--plugins wanda sparsegpt] [--repeats 3] [--device cpu] [--threads N]
Models of random weights are made in a temporary folder (TMPDIR) unless `--models` names some, of one shape and with
different numbers of blocks. Prints a table, and one JSON line with every single measurement.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import line_plot
from compare import measure


def make_models(args, folder):
    """Models of random weights: [(blocks, folder)], and a file of windows."""
    import make_model  # needs torch, which models that are there do not
    models = []
    for blocks in args.blocks:
        models.append((blocks, folder / f"model-{blocks}"))
        make_model.make(args.shape, models[-1][1], blocks, "bfloat16", max(args.windows), args.seqlen)
    return models, models[0][1] / "windows.jsonl"


def read_models(folders):
    """Models that are there: [(blocks, folder)]."""
    return [(json.loads((folder / "config.json").read_text())["num_hidden_layers"], folder) for folder in folders]


def prune(args, plugin, model, windows, samples, folder):
    """Seconds that one run takes."""
    out = folder / "pruned"
    command = [args.host, "prune", "--plugin", plugin, "--model", str(model), "--calibration", str(windows),
               "--samples", str(samples), "--seqlen", str(args.seqlen), "--device", args.device, "--out", str(out)]
    seconds = measure(command, args.threads, folder / "log")["wall_s"]
    shutil.rmtree(out)
    return seconds


def measure_all(args, models, windows, folder):
    """All measurements: [{plugin, blocks, tokens, seconds}]."""
    (middle, _), samples = models[len(models) // 2], args.windows[len(args.windows) // 2]
    points = [(blocks, model, count) for blocks, model in models for count in args.windows
              if blocks == middle or count == samples]
    work = [(plugin, *point) for point in points for plugin in args.plugins]
    found = []
    for repeat in range(args.repeats):
        for plugin, blocks, model, count in work[:: 1 if repeat % 2 == 0 else -1]:
            seconds = prune(args, plugin, model, windows, count, folder)
            found.append(dict(plugin=plugin, blocks=blocks, tokens=count * args.seqlen, seconds=seconds))
            print(f"run {repeat} {plugin:10} {blocks:3} blocks {count * args.seqlen:8} tokens {seconds:8.2f} s",
                  file=sys.stderr)
    return found


def fit(points):
    """The least squares line of (x, y): slope, intercept, and R², the share of the variance that it explains."""
    slope, intercept = statistics.linear_regression(*zip(*points))
    return dict(points=points, slope=slope, intercept=intercept, r2=statistics.correlation(*zip(*points)) ** 2)


def lines(found, plugins, key, other, fixed):
    """A line for each plugin: seconds by `key`, where `other` is `fixed`."""
    return {plugin: fit([(one[key], one["seconds"]) for one in found
                         if one["plugin"] == plugin and one[other] == fixed]) for plugin in plugins}


def report(args, found, models):
    """Prints the table, and draws the lines."""
    blocks, tokens = models[len(models) // 2][0], args.windows[len(args.windows) // 2] * args.seqlen
    by_tokens = lines(found, args.plugins, "tokens", "blocks", blocks)
    by_blocks = lines(found, args.plugins, "blocks", "tokens", tokens)
    print(f"{'':12}{'ms a token':>14}{'R²':>10}{'s a block':>14}{'R²':>10}")
    for plugin in args.plugins:
        token, block = by_tokens[plugin], by_blocks[plugin]
        print(f"{plugin:12}{1e3 * token['slope']:>14.3f}{token['r2']:>10.4f}{block['slope']:>14.3f}{block['r2']:>10.4f}")
    for plugin in args.plugins:
        token, block = by_tokens[plugin], by_blocks[plugin]
        token["label"] = f"{plugin}: {1e3 * token['slope']:.3g} ms a token, R² {token['r2']:.4f}"
        block["label"] = f"{plugin}: {block['slope']:.3g} s a block, R² {block['r2']:.4f}"
    line_plot.write(args.out, [
        (f"Time by calibration tokens, {blocks} blocks", "calibration tokens", "wall time (s)", [*by_tokens.values()]),
        (f"Time by blocks, {tokens:,} tokens", "transformer blocks", "wall time (s)", [*by_blocks.values()])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--out", type=Path, required=True, help="the SVG")
    parser.add_argument("--shape", default="110m", help="of the models that are made; see make_model.py")
    parser.add_argument("--blocks", type=int, nargs=3, default=[4, 8, 12])
    parser.add_argument("--models", type=Path, nargs=3, help="models that are there, from few blocks to many")
    parser.add_argument("--windows-file", type=Path, help="a JSONL of input_ids for --models")
    parser.add_argument("--windows", type=int, nargs=3, default=[16, 32, 64])
    parser.add_argument("--seqlen", type=int, default=512)
    parser.add_argument("--plugins", nargs="+", default=["wanda", "sparsegpt"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if bool(args.models) != bool(args.windows_file):
        parser.error("--models and --windows-file go together")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        models, windows = (read_models(args.models), args.windows_file) if args.models else make_models(args, folder)
        found = measure_all(args, models, windows, folder)
    report(args, found, models)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
