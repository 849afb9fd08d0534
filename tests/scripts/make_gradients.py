"""Records the gradients that PyTorch's autograd computes through one block, for every checkpoint of `make_logits.py`.

Purpose: the judge of the host's backward pass. Beside each `config.json` under `tests/fixtures/logits/` this writes
`gradients.safetensors`, of the checkpoint's last block, computed in float64 and saved in float32:
    hidden             [19, hidden_size]    what enters: a sequence of 7 tokens and one of 12
    gradient           [19, hidden_size]    of the loss by what leaves
    output             [19, hidden_size]    what leaves
    input              [19, hidden_size]    gradient of the loss by what enters
    q_proj ... down_proj                    gradient by each weight, every fourth row

usage: python tests/scripts/make_gradients.py
Deterministic. Made with torch 2.15.0, transformers 5.23.0, safetensors as pinned in requirements.txt.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "logits"
LENGTHS = (7, 12)
EVERY = 4


def record(folder):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").model
    # The model's own code then makes masks and rotations for this block alone.
    model.layers = torch.nn.ModuleList([model.layers[-1]])
    model.norm = torch.nn.Identity()
    model.layers[0].self_attn.layer_idx = 0
    hidden = torch.randn(sum(LENGTHS), model.config.hidden_size, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn_like(hidden)
    parts = [model(inputs_embeds=part[None], use_cache=False).last_hidden_state[0] for part in hidden.split(LENGTHS)]
    output = torch.cat(parts)
    (output * gradient).sum().backward()
    tensors = {"hidden": hidden, "gradient": gradient, "output": output, "input": hidden.grad}
    for name, parameter in model.layers[0].named_parameters():
        if name.endswith("_proj.weight"):
            tensors[name.split(".")[-2]] = parameter.grad[::EVERY]
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "gradients.safetensors")


for config in sorted(FOLDER.glob("*/config.json")):
    record(config.parent)
    print(config.parent.name)
