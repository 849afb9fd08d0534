"""Prunes a model, packs it, and compares every tensor that read_archive.py finds with the shard that was packed.

usage: python3 tests/scripts/check_archive.py --host target/debug/host [--model DIR]
Needs numpy alone. The plugins are looked for beside the host.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from read_archive import tensors


def shard(path):
    """The bytes of every tensor of a safetensors file."""
    data = np.fromfile(path, np.uint8)
    end = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8:end]))
    header.pop("__metadata__", None)
    return {name: data[end:][slice(*of["data_offsets"])].tobytes() for name, of in header.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True, type=Path)
    parser.add_argument("--model", default=str(Path(__file__).resolve().parent.parent / "models/tiny-instruct"))
    args = parser.parse_args()
    environment = {**os.environ, "ESPALIER_PLUGIN_PATH": str(args.host.resolve().parent)}
    with tempfile.TemporaryDirectory() as home:
        def host(*words):
            subprocess.run([str(args.host), *words], check=True, env=environment, stdout=subprocess.DEVNULL)

        host("prune", "--plugin", "magnitude", "--model", args.model, "--out", f"{home}/pruned", "--device", "cpu", "--sparsity", "0.6")
        host("pack", f"{home}/pruned", "--out", f"{home}/pruned.sparse")
        found = {name: bytes(dense.tobytes()) for name, dense in tensors(f"{home}/pruned.sparse")}
        expected = {}
        for path in Path(home, "pruned").glob("*.safetensors"):
            expected.update(shard(path))
        assert found == expected and len(found) > 20, sorted(found.keys() ^ expected.keys())
    print(f"{len(found)} tensors are as they were packed")


if __name__ == "__main__":
    main()
