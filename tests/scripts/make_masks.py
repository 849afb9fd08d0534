"""Prunes the tests' tiny model with the PyTorch reference (reference.py) and records masks, perplexities and errors.

Reads `tests/models/tiny-instruct` and `tests/models/data`, writes to `tests/fixtures/pruning/`:
    windows.jsonl        32 calibration windows of 128 tokens, {"input_ids": [...]} a line
    METHOD-TARGET.safetensors, TARGET written 0.5, 0.7, 2of4, 4of8
                         for each pruned weight a U8 tensor: its mask, row-major, 1 = pruned, packed 8 to a byte with
                         the lowest bit first (numpy.packbits(bitorder="little"))
    expected.json        the protocol, the dense perplexity, and for each case its perplexity, sparsity and `rounding`,
                         and for each layer its sparsity, `rounding` and, for SparseGPT, its error
                         sum (w - q)^2 / (2 U_ii^2)
`rounding` is the share of mask entries that come out differently when the same code sums its statistics in another
order (windows one by one in place of all together): what no other implementation can be asked to undercut by much.
SparseGPT amplifies such flips from layer to layer.
All in f32, statistics of each block taken behind predecessors that are already pruned.

usage: python tests/scripts/make_masks.py [--windows-only]
"""
import argparse
import json
import random
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import reference
import tiny_data
from tiny_tasks import Row

TESTS = Path(__file__).resolve().parents[1]
MODEL = TESTS / "models" / "tiny-instruct"
DATA = TESTS / "models" / "data"
OUT = TESTS / "fixtures" / "pruning"

SEQLEN = 128
WINDOWS = 32
TARGETS = ["0.5", "0.7", "2:4", "4:8"]
CASES = [(method, target, reference.ALL_AT_ONCE)
         for method in ("magnitude", "wanda", "sparsegpt") for target in TARGETS]
CASES += [("sparsegpt", target, reference.NO_PROPAGATION) for target in TARGETS]
CASES += [("wanda_variant", "0.5", reference.ALL_AT_ONCE), ("sparsegpt", "0.5", reference.TRUE_SEQUENTIAL)]


def case_name(method, target, order):
    """The file stem of a case."""
    suffix = ("_true_sequential" if order is reference.TRUE_SEQUENTIAL else
              "_no_propagation" if order is reference.NO_PROPAGATION else "")
    return f"{method}{suffix}-{target.replace(':', 'of')}"


def text_windows(tokenizer, rng, count):
    """Random crops of documents that are longer than a window."""
    documents = [json.loads(line)["text"] for line in (DATA / "c4.jsonl").open()]
    rng.shuffle(documents)
    windows = []
    for document in documents:
        ids = tokenizer(document, verbose=False)["input_ids"]
        if len(ids) > SEQLEN and len(windows) < count:
            begin = rng.randint(0, len(ids) - SEQLEN)
            windows.append(ids[begin : begin + SEQLEN])
    return windows


def instruction_windows(tokenizer, rng, count):
    """Instruction rows in their prompts with their answers, packed one behind the other."""
    rows = json.loads((DATA / "alpaca_calibration.json").read_text())
    rng.shuffle(rows)
    stream = []
    for row in rows:
        prompt = tiny_data.alpaca_prompt(Row((), **row))
        stream += tokenizer(prompt + row["output"])["input_ids"] + [tokenizer.eos_token_id]
    return [stream[i * SEQLEN : (i + 1) * SEQLEN] for i in range(count)]


def make_windows(tokenizer):
    """Writes and returns the calibration windows: half text, half instructions."""
    rng = random.Random("windows")
    windows = text_windows(tokenizer, rng, WINDOWS // 2) + instruction_windows(tokenizer, rng, WINDOWS // 2)
    assert len(windows) == WINDOWS and all(len(w) == SEQLEN for w in windows)
    tiny_data.write_jsonl(OUT / "windows.jsonl", (dict(input_ids=w) for w in windows))
    return windows


def prune(windows, method, target, order, batch):
    """A freshly pruned model and its layers, {weight name: Pruned}."""
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    return model, dict(reference.prune_model(model, windows, method, reference.Target.parse(target), order, batch))


def share(masks):
    """Share of true entries over several masks."""
    return sum(m.sum().item() for m in masks) / sum(m.numel() for m in masks)


def layer_record(pruned, flips):
    """What expected.json holds about one layer."""
    record = dict(sparsity=share([pruned.mask]), rounding=share([flips]))
    return record if pruned.error is None else {**record, "error": pruned.error}


def run_case(windows, text_ids, method, target, order):
    """Prunes the model, saves its masks and returns what expected.json holds about the case."""
    model, layers = prune(windows, method, target, order, batch=len(windows))
    _, one_by_one = prune(windows, method, target, order, batch=1)
    flips = {name: layers[name].mask != one_by_one[name].mask for name in layers}
    masks = {name: numpy.packbits(p.mask.numpy().reshape(-1), bitorder="little") for name, p in layers.items()}
    save_file(masks, OUT / f"{case_name(method, target, order)}.safetensors")
    return dict(method=method, target=target, perplexity=reference.perplexity(model, text_ids, SEQLEN),
                sparsity=share([p.mask for p in layers.values()]), rounding=share(list(flips.values())),
                layers={name: layer_record(layers[name], flips[name]) for name in layers})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows-only", action="store_true", help="write windows.jsonl and stop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    windows = make_windows(tokenizer)
    if args.windows_only:
        return

    text = (DATA / "text_evaluation.txt").read_text()
    text_ids = tokenizer(text, verbose=False)["input_ids"]
    dense = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    expected = dict(
        protocol="text_evaluation.txt tokenised whole with the tokenizer's special tokens, cut into windows of `seqlen` tokens, "
                 "tail dropped; exp of the mean over windows of the mean loss of a window's tokens from its second on",
        versions=dict(torch=torch.__version__, transformers=transformers.__version__),
        seqlen=SEQLEN, tokens=len(text_ids), windows=len(text_ids) // SEQLEN,
        dense=dict(perplexity=reference.perplexity(dense, text_ids, SEQLEN)), cases={})
    print(f"dense perplexity {expected['dense']['perplexity']:.4f} over {len(text_ids)} tokens")
    for case in CASES:
        result = expected["cases"][case_name(*case)] = run_case(windows, text_ids, *case)
        print(f"{case_name(*case):32} sparsity {result['sparsity']:.4f} perplexity {result['perplexity']:.4f} "
              f"rounding {result['rounding']:.2e}", flush=True)
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
