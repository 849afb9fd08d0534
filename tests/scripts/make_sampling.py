"""Records which tokens may be drawn, and how likely, after the logits processors of `transformers`: `tests/fixtures/sampling.json`.

A few vectors of logits, each with tokens that stand before, under many settings: the processors that
`GenerationMixin` puts together for them, in its own order, then softmax. Settings whose kept set hangs on rounding (a
token within 1e-4 of a limit) or on the order of equal tokens are passed over.

usage: python tests/scripts/make_sampling.py
"""
import itertools
import json
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "sampling.json"
VOCABULARY = 24
BEFORE = [3, 7, 7, 0, 19]
CLEAR = 1e-4
SETTINGS = dict(
    repetition_penalty=[1.0, 1.3], temperature=[1.0, 0.6, 1.7], top_k=[None, 1, 5], top_p=[None, 0.5, 0.9],
    min_p=[None, 0.1])


def processors(setting):
    """What `generate` applies for a setting."""
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=1)
    known = {name: value for name, value in setting.items() if value is not None}
    generation = GenerationConfig(do_sample=True, **{"top_k": 0, **known})
    model = LlamaForCausalLM(config)
    return model._get_logits_processor(generation, input_ids_seq_length=len(BEFORE), logits_processor=[],
                                       device="cpu", model_kwargs={})


def probabilities(setting, logits):
    """{token: probability} of those that may be drawn."""
    scores = processors(setting)(torch.tensor([BEFORE]), logits[None].clone())[0]
    shares = scores.double().softmax(-1)
    return {token: round(share, 7) for token, share in enumerate(shares.tolist()) if scores[token] > -torch.inf}


def kept_clearly(setting, logits):
    """The probabilities, or None where another limit a hair away would keep other tokens."""
    found = probabilities(setting, logits)
    everything = probabilities({**setting, "top_k": None, "top_p": None, "min_p": None}, logits)
    weakest = min(found, key=found.get)
    if setting["top_p"] is not None and any(
            abs(everything[token] - everything[weakest]) < 1e-7 for token in everything.keys() - found.keys()):
        return None
    for name in ("top_p", "min_p"):
        if setting[name] is not None:
            for near in (setting[name] - CLEAR, setting[name] + CLEAR):
                if probabilities({**setting, name: near}, logits).keys() != found.keys():
                    return None
    return found


def main():
    torch.manual_seed(0)
    vectors = [torch.randn(VOCABULARY) * 3, torch.randn(VOCABULARY) * 0.3, torch.randn(VOCABULARY) * 8 - 4]
    # Equals at the place where top-k ends.
    vectors[0][[2, 9, 11]] = vectors[0].topk(5).values[4]
    rows = []
    for logits in vectors:
        logits = torch.tensor([round(x, 4) for x in logits.tolist()])
        cases = []
        for values in itertools.product(*SETTINGS.values()):
            setting = dict(zip(SETTINGS, values))
            found = kept_clearly(setting, logits)
            if found is None:
                print("passed over:", setting)
            else:
                cases.append(dict(**setting, probabilities=found))
        rows.append(dict(before=BEFORE, logits=[round(x, 4) for x in logits.tolist()], cases=cases))
        print(len(cases), "cases")
    lines = [json.dumps({**row, "cases": "CASES"}).replace(
        '"CASES"', "[\n" + ",\n".join(json.dumps(case) for case in row["cases"]) + "\n]") for row in rows]
    FIXTURE.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
