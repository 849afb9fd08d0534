"""The PyTorch baseline of a whole pruning run: load with transformers, prune block by block, save.

Works the way the published codes of Wanda and SparseGPT do: hidden states of all windows are kept, every block runs
forward twice (once for the statistics of each linear layer, gathered by hooks window by window, once to go on through
the pruned block), statistics are f32. The algorithms are those of tests/scripts/reference.py. Magnitude needs no
forward pass.

usage: python tests/benches/pytorch_prune.py MODEL WINDOWS.jsonl METHOD TARGET OUT
           [--dtype auto|float32|bfloat16|float16] [--threads N] [--batch N] [--samples N] [--seqlen N] [--device cpu|cuda]
Prints one JSON line: load_s, prune_s, save_s, total_s, peak_rss_mb, threads, sparsity, on a GPU cuda_peak_mb; and on
standard error the name of every layer when it is pruned.
"""
import argparse
import json
import resource
import sys
import time
from pathlib import Path

START = time.perf_counter()

import torch  # noqa: E402  (imports belong to the measured time)
from transformers import AutoModelForCausalLM  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import reference  # noqa: E402


def read_windows(path, samples, seqlen):
    """Token ids of the first `samples` windows, cut to `seqlen`."""
    with open(path) as lines:
        windows = [json.loads(line)["input_ids"][:seqlen] for line in lines]
    return windows[:samples]


def prune(model, windows, method, target, batch):
    """Prunes in place and returns the sparsity reached."""
    zeros = count = 0
    calibration = [] if method == "magnitude" else windows
    for name, pruned in reference.prune_model(model, calibration, method, target, batch=batch):
        zeros += pruned.mask.sum().item()
        count += pruned.mask.numel()
        print(name, file=sys.stderr, flush=True)
    return zeros / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("windows")
    parser.add_argument("method", choices=sorted(reference.METHODS))
    parser.add_argument("target", help="0.5 or 2:4")
    parser.add_argument("out")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--seqlen", type=int)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    dtype = args.dtype if args.dtype == "auto" else getattr(torch, args.dtype)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval().to(args.device)
    windows = read_windows(args.windows, args.samples, args.seqlen)
    loaded = time.perf_counter()
    sparsity = prune(model, windows, args.method, reference.Target.parse(args.target), args.batch)
    pruned = time.perf_counter()
    model.save_pretrained(args.out)
    saved = time.perf_counter()
    cuda = dict(cuda_peak_mb=round(torch.cuda.max_memory_allocated() / 1e6)) if args.device == "cuda" else {}
    print(json.dumps(dict(
        **cuda, load_s=round(loaded - START, 3), prune_s=round(pruned - loaded, 3), save_s=round(saved - pruned, 3),
        total_s=round(saved - START, 3), threads=torch.get_num_threads(), sparsity=round(sparsity, 6),
        peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))))


if __name__ == "__main__":
    main()
