"""Writes a LLaMA checkpoint of a given shape with random weights, and random calibration windows, to measure on.

Tensors are drawn and written shard by shard, one shard for each block, so that memory stays at one block's size.
The tokenizer is a stand-in (one made-up word for each id) that makes the folder complete.

usage: python tests/benches/make_model.py SHAPE OUT [--blocks N] [--dtype bfloat16|float16|float32]
           [--windows N] [--seqlen N]
SHAPE: tiny (2 x 64), 110m (12 x 768), 1b (TinyLlama-1.1B), 7b (LLaMA-2-7B). Windows go to OUT/windows.jsonl.
"""
import argparse
import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

SHAPES = {
    "tiny": dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=256),
    "110m": dict(hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
                 num_key_value_heads=12, max_position_embeddings=2048),
    "1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
               num_key_value_heads=4, max_position_embeddings=2048),
    "7b": dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
               num_key_value_heads=32, max_position_embeddings=4096),
}
VOCABULARY = 32000


def make_config(shape, blocks, dtype):
    """The config.json of a shape, in the keys that old and new readers know."""
    config = dict(SHAPES[shape])
    config["num_hidden_layers"] = blocks or config["num_hidden_layers"]
    return dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=VOCABULARY, hidden_act="silu",
        rms_norm_eps=1e-5, rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=False, bos_token_id=1,
        eos_token_id=2, torch_dtype=dtype, **config)


def block_shapes(config, index):
    """Names and shapes of one block's tensors."""
    hidden, mlp = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (mlp, hidden), "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    return {f"model.layers.{index}.{name}.weight": shape for name, shape in shapes.items()}


def shards(config):
    """Names and shapes of every shard: embedding, blocks, head."""
    table = (config["vocab_size"], config["hidden_size"])
    yield {"model.embed_tokens.weight": table}
    for index in range(config["num_hidden_layers"]):
        yield block_shapes(config, index)
    yield {"model.norm.weight": table[1:], "lm_head.weight": table}


def draw(shape, dtype, generator):
    """A random matrix of standard deviation 0.02, or a vector of ones for a norm."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=dtype)
    return (torch.randn(shape, generator=generator) * 0.02).to(dtype)


def write_weights(config, out):
    """Writes the shards and their index."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, config["torch_dtype"])
    count, weight_map, total = config["num_hidden_layers"] + 2, {}, 0
    for number, shapes in enumerate(shards(config), start=1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        tensors = {key: draw(shape, dtype, generator) for key, shape in shapes.items()}
        save_file(tensors, out / name, metadata={"format": "pt"})
        weight_map.update({key: name for key in tensors})
        total += sum(t.numel() * t.element_size() for t in tensors.values())
    index = dict(metadata=dict(total_size=total), weight_map=weight_map)
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    return total


def write_tokenizer(out):
    """A word-level tokenizer with the words `<unk>`, `<s>`, `</s>` and `w3` to `w31999`."""
    words = ["<unk>", "<s>", "</s>"] + [f"w{i}" for i in range(3, VOCABULARY)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(words[:3])
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    config = dict(
        tokenizer_class="PreTrainedTokenizerFast", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_windows(out, count, seqlen):
    """Windows of uniformly random ids."""
    rng = random.Random(0)
    with (out / "windows.jsonl").open("w") as lines:
        for _ in range(count):
            lines.write(json.dumps(dict(input_ids=[rng.randrange(3, VOCABULARY) for _ in range(seqlen)])) + "\n")


def make(shape, out, blocks, dtype, windows, seqlen):
    """Writes the whole folder; returns the bytes of its weights."""
    out.mkdir(parents=True, exist_ok=True)
    config = make_config(shape, blocks, dtype)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tokenizer(out)
    write_windows(out, windows, seqlen)
    return write_weights(config, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--blocks", type=int, help="fewer blocks than the shape has")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--seqlen", type=int, default=512)
    args = parser.parse_args()
    total = make(args.shape, args.out, args.blocks, args.dtype, args.windows, args.seqlen)
    print(f"{args.out}: {total / 1e6:.0f} MB of weights, {args.windows} windows of {args.seqlen} tokens")


if __name__ == "__main__":
    main()
