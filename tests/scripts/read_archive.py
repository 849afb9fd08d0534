"""Reads an archive of `host pack` with numpy: every tensor, dense, as its shard has it.

usage: python tests/scripts/read_archive.py MODEL.sparse      prints `SHA-256  NAME` of every tensor's bytes
"""
import hashlib
import json
import sys
import numpy as np

SIZES = dict(F64=8, I64=8, U64=8, F32=4, I32=4, U32=4, F16=2, BF16=2, I16=2, U16=2, I8=1, U8=1, BOOL=1)


def tensors(path):
    data = np.memmap(path, np.uint8, "r")
    end = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8:end]))
    assert header.pop("__metadata__")["format"] == "espalier-sparse"
    raw = {name: data[end:][slice(*of["data_offsets"])] for name, of in header.items()}
    for name in raw:
        base, _, part = name.rpartition(".")
        if part == "compressed":
            rows, cols = raw[base + ".shape"].view("<i8")
            size = SIZES[header[name]["dtype"]]
            mask = np.unpackbits(raw[base + ".bitmask"].reshape(rows, -1), axis=1, count=cols, bitorder="little") != 0
            dense = np.zeros((rows, cols, size), np.uint8)
            dense[mask] = raw[name].reshape(-1, size)
            yield base, dense
        elif not name.startswith("espalier.") and part not in ("bitmask", "row_offsets", "shape"):
            yield name, raw[name]


if __name__ == "__main__":
    for name, dense in sorted(tensors(sys.argv[1])):
        print(hashlib.sha256(dense.tobytes()).hexdigest(), name)
