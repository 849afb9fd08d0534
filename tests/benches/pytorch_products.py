"""Times PyTorch's product of square matrices in f32, f16 and bf16, as `products.rs` times the host's.

usage: python tests/benches/pytorch_products.py SIDE [--device cpu|cuda] [--repeats 5]
Prints one JSON line: the rate of the fastest repeat of each type in GFLOP/s. f32 is multiplied as f32, not as TF32.
"""
import argparse
import json
import time

import torch

# Seconds of one repeat, about.
REPEAT = 0.25


def rate(side, dtype, device, repeats):
    """GFLOP/s of the fastest of several repeats, of as many products as take a while."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))

    def seconds(count):
        begin = time.perf_counter()
        for _ in range(count):
            a @ b.T
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds(3)
    count = max(1, min(1000, int(REPEAT / seconds(1))))
    return 2 * side**3 / min(seconds(count) / count for _ in range(repeats)) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    types = dict(f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16)
    rates = {name: rate(args.side, dtype, args.device, args.repeats) for name, dtype in types.items()}
    print(json.dumps(dict(side=args.side, device=args.device, gflops=rates)))


if __name__ == "__main__":
    main()
