"""Writes tiny LLaMA-architecture checkpoints of random weights, and the logits `transformers` computes from them.

Purpose: the judge of the host's forward pass. Each folder under `tests/fixtures/logits/` is a complete
Hugging Face checkpoint (config.json, safetensors) of one architectural variant, with `expected.safetensors` beside it:
    input_ids          I32 [batch, seq]
    logits             F32 [batch, seq, vocab]      float32, eager attention, no cache
`dynamic_rope` holds more lengths of the same kind, as `input_ids_<name>` and `logits_<name>`, because its rotation
depends on the length of the sequence it sees.

Weights are drawn here and not by `transformers`' initialiser: norm weights spread around 1, biases are not zero,
attention is peaked, so that a forgotten bias or a wrong rotation moves the logits (of order 1 to 10) by far more than
rounding does.

Two generations of config.json occur in the wild. Cases marked OLDER are rewritten after saving to `rope_theta`,
`rope_scaling` and `torch_dtype`, as published LLaMA checkpoints have them; the others keep `rope_parameters` and
`dtype`. Every folder is loaded again from disk before its logits are computed, and the two styles are checked to
give equal logits.

usage: python tests/scripts/make_logits.py [--out DIR]
Deterministic. Made with torch 2.15.0, transformers 5.23.0, safetensors as pinned in requirements.txt.
"""
import argparse
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "fixtures" / "logits"

BASE = dict(
    vocab_size=128, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
    tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)


@dataclass
class Case:
    """One architectural variant: what differs from BASE, the lengths recorded, and how its files are written."""

    changes: dict
    lengths: dict = field(default_factory=lambda: {"": 40})
    older: bool = False
    legacy_type_key: bool = False
    mistral: bool = False
    dtype: torch.dtype = torch.float32
    shard_size: str = "50GB"


def rope(kind, theta=10000.0, **more):
    """The `rope_parameters` entry of a config."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


CASES = {
    "mha": Case({}, older=True),
    "gqa_tied": Case(dict(num_key_value_heads=2, tie_word_embeddings=True, **rope("default", 500000.0)), older=True),
    "llama3_rope": Case(
        dict(num_attention_heads=2, num_key_value_heads=1, rms_norm_eps=1e-6,
             **rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=32)),
        lengths={"": 64}, older=True),
    "linear_rope": Case(rope("linear", factor=4.0), older=True, legacy_type_key=True),
    "dynamic_rope": Case(
        dict(max_position_embeddings=24, **rope("dynamic", factor=2.0)),
        lengths={"": 40, "within": 16, "at_limit": 24, "one_beyond": 25, "far": 72}),
    "yarn_rope": Case(
        dict(num_attention_heads=2, num_key_value_heads=2,
             **rope("yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=8.0, beta_slow=1.0)),
        lengths={"": 64}),
    "head_dim": Case(dict(head_dim=12, num_key_value_heads=2)),
    "attention_bias": Case(dict(attention_bias=True, mlp_bias=True, num_key_value_heads=2)),
    "mistral_window": Case(dict(num_key_value_heads=2, sliding_window=7), older=True, mistral=True),
    "sharded_bf16": Case(dict(num_key_value_heads=2), older=True, dtype=torch.bfloat16, shard_size="16KB"),
    "odd": Case(dict(hidden_size=30, intermediate_size=50, num_attention_heads=5, num_key_value_heads=1,
                     vocab_size=101), lengths={"": 37}),
}


def draw_weights(model, seed):
    """Fills every parameter from one seeded generator, in the order of their names."""
    gen = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=gen)
        if "norm" in name:
            value = 1 + 0.3 * noise
        elif name.endswith("bias"):
            value = 0.3 * noise
        elif "embed_tokens" in name:
            value = 0.4 * noise
        else:
            gain = 1.6 if "q_proj" in name or "k_proj" in name else 2.0 if "lm_head" in name else 1.0
            value = gain * noise / p.shape[1] ** 0.5
        p.data.copy_(value)


def older_config(config, legacy_type_key):
    """The same config.json under the key names used before transformers 5, without keys that were optional then."""
    config = dict(config)
    parameters = dict(config.pop("rope_parameters"))
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = parameters.pop("rope_theta")
    if config["head_dim"] == config["hidden_size"] // config["num_attention_heads"]:
        del config["head_dim"]
    if config["num_key_value_heads"] == config["num_attention_heads"]:
        del config["num_key_value_heads"]
    kind = parameters.pop("rope_type")
    config["rope_scaling"] = None
    if kind != "default":
        config["rope_scaling"] = {"type" if legacy_type_key else "rope_type": kind, **parameters}
    return dict(sorted(config.items()))


def compute_logits(folder, ids):
    """Logits of a freshly loaded model, so that no length seen before leaves a trace in the rotary cache."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(ids, use_cache=False).logits


def write_checkpoint(case, folder, seed):
    """Saves the random model of a case under `folder` in its dtype and number of shards."""
    shutil.rmtree(folder, ignore_errors=True)
    config_class, model_class = (MistralConfig, MistralForCausalLM) if case.mistral else (LlamaConfig, LlamaForCausalLM)
    model = model_class(config_class(**{**BASE, **case.changes}))
    draw_weights(model, seed)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)


def use_older_keys(case, folder, ids):
    """Rewrites config.json under the older key names and checks that the logits stay the same."""
    before = compute_logits(folder, ids)
    path = folder / "config.json"
    config = older_config(json.loads(path.read_text()), case.legacy_type_key)
    path.write_text(json.dumps(config, indent=2) + "\n")
    assert torch.equal(before, compute_logits(folder, ids)), f"{folder.name}: older keys change the logits"


def record(case, folder, seed):
    """Computes and writes expected.safetensors for every length of a case."""
    gen = torch.Generator().manual_seed(seed)
    vocab = {**BASE, **case.changes}["vocab_size"]
    tensors = {}
    for name, length in case.lengths.items():
        suffix = f"_{name}" if name else ""
        ids = torch.randint(0, vocab, (2, length), generator=gen)
        tensors["input_ids" + suffix] = ids.to(torch.int32)
        tensors["logits" + suffix] = compute_logits(folder, ids).contiguous()
    save_file(tensors, folder / "expected.safetensors")
    return tensors["logits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    for seed, (name, case) in enumerate(CASES.items(), start=1):
        folder = out / name
        write_checkpoint(case, folder, seed)
        if case.older:
            use_older_keys(case, folder, torch.arange(48).reshape(2, 24))
        logits = record(case, folder, 1000 + seed)
        size = sum(f.stat().st_size for f in folder.iterdir())
        shards = len(list(folder.glob("model*.safetensors")))
        print(f"{name:15} {size / 1024:6.0f} KB  {shards} shard(s)  "
              f"logits std {logits.std():.2f} max {logits.abs().max():.1f}")


if __name__ == "__main__":
    main()
