"""Packs what `tests/gpu.sh run` needs into one folder: binaries of a profile, fixtures, and the scripts of the benchmarks.

usage: python tests/scripts/gpu_pack.py [PROFILE] [--out target/gpu-pack]
Binaries of the profile `pack` are release binaries without symbols; where the folder would be larger than 40 MB, they are
compressed into one archive, which `run` unpacks. Another profile's (`dev`) are linked, to try the scripts with what is
built already. The Vulkan loader is taken along, for machines that have a driver and no loader.
"""
import argparse
import ctypes.util
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The tests that run kernels against their twins, and the benchmarks; both go to bin/deps, where a test looks for its host.
TESTS = ["gpu_forward", "gpu_prune_ops", "algebra_ops", "logits", "gradients", "generate"]
BENCHES = ["products", "solve"]
# Windows are drawn by `random`.
PLUGINS = ["magnitude", "random", "sparsegpt", "wanda"]
FILES = ["gpu.sh", "scripts/gpu.py", "scripts/gpu_parts.py", "scripts/gpu_table.py", "scripts/reference.py",
         "benches/make_model.py", "benches/pytorch_products.py", "benches/pytorch_prune.py", "benches/pytorch_solve.py",
         "fixtures/logits", "fixtures/generate.json", "fixtures/generate_random.json", "models/tiny-instruct",
         "models/data/c4.jsonl"]
LARGEST = 40e6


def build(profile):
    """Builds everything; {name: file} of binaries, plugins, tests and benchmarks."""
    command = ["cargo", "build", "--workspace", "--locked", "--profile", profile, "--message-format", "json",
               "--lib", "--bin", "host"]
    for flag, names in (("--test", TESTS), ("--bench", BENCHES)):
        command += [word for name in names for word in (flag, name)]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    files = {}
    for line in built.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact":
            continue
        name = message["target"]["name"]
        if "cdylib" in message["target"]["kind"] and name in PLUGINS:
            files[name] = next(file for file in message["filenames"] if file.endswith((".so", ".dylib")))
        elif message["executable"] and name in ["host", *TESTS, *BENCHES]:
            files[name] = message["executable"]
    missing = {"host", *TESTS, *BENCHES, *PLUGINS} - files.keys()
    if missing:
        sys.exit(f"cargo has not said where these are: {', '.join(sorted(missing))}")
    return {name: Path(file) for name, file in files.items()}


def place(files, into, carried):
    """Puts binaries where they find each other."""
    (into / "deps").mkdir(parents=True)
    for name, file in files.items():
        target = into / ("deps/" + name if name in TESTS + BENCHES else file.name)
        if carried:
            shutil.copy2(file, target)
        else:
            target.symlink_to(file)


def take_loader(into):
    """Copies the Vulkan loader, if this machine has one where the linker says."""
    name = ctypes.util.find_library("vulkan")
    listed = subprocess.run(["ldconfig", "-p"], stdout=subprocess.PIPE, text=True).stdout if name else ""
    paths = [line.split(" => ")[1] for line in listed.splitlines() if line.split()[:1] == [name]]
    if paths:
        (into / "loader").mkdir()
        shutil.copy2(paths[0], into / "loader" / name)


def compress(folder):
    """Replaces a folder by an archive. The binaries share most of their code: one dictionary spans them all."""
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 128 << 20}]
    with lzma.open(f"{folder}.tar.xz", "wb", filters=filters) as file, tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)


def size(folder):
    """Bytes of all files in a folder, links followed."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="?", default="pack")
    parser.add_argument("--out", type=Path, default=ROOT / "target/gpu-pack")
    args = parser.parse_args()
    carried = args.profile == "pack"
    files = build(args.profile)
    # A folder that is half made is not taken for a whole one.
    new = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(new, ignore_errors=True)
    place(files, new / "bin", carried)
    take_loader(new / "bin")
    for name in FILES:
        source, target = ROOT / "tests" / name, new / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    plain = size(new)
    if carried and plain > LARGEST:
        compress(new / "bin")
    shutil.rmtree(args.out, ignore_errors=True)
    os.rename(new, args.out)
    packed = size(args.out)
    print(f"{args.out}: {packed / 1e6:.1f} MB ({plain / 1e6:.1f} MB unpacked), profile {args.profile}")
    if carried and packed > LARGEST:
        sys.exit(f"that is more than {LARGEST / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
