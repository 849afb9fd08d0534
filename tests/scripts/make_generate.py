"""Records what `transformers` writes greedily with the random models of the logits tests: `tests/fixtures/generate_random.json`.

Rows of {model, input_ids, output_ids}: a prompt and the tokens behind it, one prompt at a time, no end token. The
models are those in which decoding with a cache differs from reading at once: grouped heads, a sliding window that the
text outgrows, and rotary frequencies that change while it grows. Each prompt gets a model loaded afresh, because the
dynamic frequencies of `transformers` remember earlier texts. Prompts whose two best tokens come closer than 1e-3 at any
step are passed over: their order is a matter of rounding.

usage: python tests/scripts/make_generate.py
"""
import json
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MODELS = ["gqa_tied", "mistral_window", "dynamic_rope"]
LENGTHS = [1, 5, 30]
NEW_TOKENS = 28
CLEAR = 1e-3


def generate(name, ids):
    """The tokens behind a prompt, and the least difference of two best tokens' logits."""
    model = AutoModelForCausalLM.from_pretrained(FIXTURES / "logits" / name, dtype=torch.float32).eval()
    prompt = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=NEW_TOKENS,
            eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True)
    best = torch.stack(out.logits)[:, 0].topk(2).values
    return out.sequences[0, len(ids) :].tolist(), float((best[:, 0] - best[:, 1]).min())


def main():
    torch.set_num_threads(1)
    rng = random.Random(0)
    rows = []
    for name in MODELS:
        vocabulary = json.loads((FIXTURES / "logits" / name / "config.json").read_text())["vocab_size"]
        for length in LENGTHS:
            while True:
                ids = [rng.randrange(vocabulary) for _ in range(length)]
                written, difference = generate(name, ids)
                if difference >= CLEAR:
                    break
            rows.append(dict(model=name, input_ids=ids, output_ids=written))
            print(name, length, written, f"{difference:.4f}")
    lines = ",\n".join(json.dumps(row) for row in rows)
    (FIXTURES / "generate_random.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
