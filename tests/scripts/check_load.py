"""Checks that a pruned folder is a complete model for `transformers`: loads it, counts zeros, writes a little text.

Fails where a tensor is missing, unexpected or of a wrong shape, where a weight is not finite, or where `--sparsity` is
given and the linear layers of the blocks are not that sparse (within 1%).

usage: python tests/scripts/check_load.py FOLDER [--prompt TEXT] [--new-tokens N] [--sparsity S]
Prints one JSON line: dtype, parameters, sparsity (all seven projections of every block), text (null for a folder
without tokenizer.json).
"""
import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(folder):
    """The model in its own dtype, after checking that its files hold exactly the tensors it wants."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    problems = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if problems:
        sys.exit(f"{folder}: tensors do not fit the config: {problems}")
    bad = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    if bad:
        sys.exit(f"{folder}: weights that are not finite: {bad}")
    return model.eval()


def linear_sparsity(model):
    """Share of exact zeros in the linear layers of the blocks."""
    weights = [m.weight for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]
    return sum((w == 0).sum().item() for w in weights) / sum(w.numel() for w in weights)


def generate(model, tokenizer, prompt, new_tokens):
    """The greedy continuation of a prompt."""
    batch = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        ids = model.generate(**batch, do_sample=False, max_new_tokens=new_tokens)
    return tokenizer.decode(ids[0, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--sparsity", type=float)
    args = parser.parse_args()
    model = load(args.folder)
    sparsity = linear_sparsity(model)
    tokenizer = AutoTokenizer.from_pretrained(args.folder) if (Path(args.folder) / "tokenizer.json").exists() else None
    print(json.dumps(dict(
        dtype=str(model.dtype).removeprefix("torch."), parameters=model.num_parameters(), sparsity=round(sparsity, 6),
        text=tokenizer and generate(model, tokenizer, args.prompt, args.new_tokens))))
    if args.sparsity is not None and abs(sparsity - args.sparsity) > 0.01:
        sys.exit(f"{args.folder}: sparsity {sparsity:.4f}, wanted {args.sparsity}")


if __name__ == "__main__":
    main()
