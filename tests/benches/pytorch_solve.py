"""Times the SparseGPT solve of one matrix in PyTorch: the published algorithm, column blocks of 128.

Weights and layer inputs are random, inputs with a spread of feature scales; statistics are not part of the time.

usage: python tests/benches/pytorch_solve.py ROWS COLS [--target 0.5] [--threads N] [--repeats N] [--device cpu|cuda]
Prints one JSON line: medians of factor_s (U from the Hessian) and total_s (factor and sweep), in seconds.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import reference  # noqa: E402


def make_layer(rows, cols, device):
    """A random weight and the statistics of 2 * cols random inputs."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(rows, cols, generator=generator) * 0.02
    scale = torch.exp(0.5 * torch.randn(cols, generator=generator))
    gathered = reference.Statistics(full=True)
    gathered.add((torch.randn(2 * cols, cols, generator=generator) * scale)[None].to(device))
    return weight.to(device), gathered


def timed(work, device, repeats):
    """Median seconds of `work`, after one run to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return round(statistics.median(seconds[1:]), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("cols", type=int)
    parser.add_argument("--target", default="0.5")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    weight, gathered = make_layer(args.rows, args.cols, args.device)
    target = reference.Target.parse(args.target)
    print(json.dumps(dict(
        rows=args.rows, cols=args.cols, target=args.target, threads=torch.get_num_threads(), device=args.device,
        factor_s=timed(lambda: reference.inverse_factor(gathered.hessian()), args.device, args.repeats),
        total_s=timed(lambda: reference.sparsegpt(weight, gathered, target), args.device, args.repeats))))


if __name__ == "__main__":
    main()
