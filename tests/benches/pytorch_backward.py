"""Times the forward and the backward pass of a model's first block in PyTorch, with gradients by every weight and the input.

The twin of `backward.rs`; prints the same JSON line.

usage: python tests/benches/pytorch_backward.py MODEL [--sequences 4] [--seqlen 512] [--repeats 5] [--threads N]
"""
import argparse
import json
import statistics
import time

import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--sequences", type=int, default=4)
parser.add_argument("--seqlen", type=int, default=512)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--threads", type=int)
args = parser.parse_args()
if args.threads:
    torch.set_num_threads(args.threads)

model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).model
model.layers = model.layers[:1]
model.norm = torch.nn.Identity()
for name, parameter in model.named_parameters():
    parameter.requires_grad_("_proj" in name)
torch.manual_seed(0)
shape = (args.sequences, args.seqlen, model.config.hidden_size)
hidden, gradient = torch.randn(shape, requires_grad=True), torch.randn(shape)
forward, backward = [], []
for _ in range(args.repeats + 1):
    model.zero_grad(set_to_none=True)
    hidden.grad = None
    begin = time.perf_counter()
    output = model(inputs_embeds=hidden, use_cache=False).last_hidden_state
    forward.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    output.backward(gradient)
    backward.append(time.perf_counter() - begin)
print(json.dumps({
    "tokens": args.sequences * args.seqlen, "seqlen": args.seqlen,
    "forward_s": statistics.median(forward[1:]), "backward_s": statistics.median(backward[1:]),
}))
