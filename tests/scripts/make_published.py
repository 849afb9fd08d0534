"""Runs the published methods of `tests/plugins/published` in PyTorch on the tests' tiny model, and records what they do.

Reads `tests/models/tiny-instruct` and `tests/fixtures/pruning/windows.jsonl`, writes `tests/fixtures/pruning/`:
    ria-0.5.safetensors, dsnot-0.6.safetensors, oats-0.5.safetensors,
    gblm-0.5.safetensors
                                                  masks, as make_masks.py packs them; DSnoT refines Wanda's, OATS has a
                                                  low-rank part beside what is kept
    published.json                                owl: each block's sparsity; shortgpt: each block's influence;
                                                  shortened: each block's weights times gradients, on 10 windows;
                                                  wanda_sp: the neurons and heads that stay in each block;
                                                  oats: what its two parts leave of each layer;
                                                  matching: losses of Adam's steps block by block, behind Wanda at 0.5;
                                                  trial: the loss of the model that Wanda prunes to 0.5, on 8 windows
All in f32 behind predecessors that are already pruned, but for OWL and ShortGPT, which look at the dense model.

usage: python tests/scripts/make_published.py
Deterministic. Made with torch 2.15.0, transformers 5.23.0, safetensors as pinned in requirements.txt.
"""
import json
from pathlib import Path

import numpy
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM

import reference
from reference import Pruned, Target

TESTS = Path(__file__).resolve().parents[1]
OUT = TESTS / "fixtures" / "pruning"
WINDOWS = [json.loads(line)["input_ids"] for line in (OUT / "windows.jsonl").open()]
STEPS, LR = 5, 1e-3


def load():
    return AutoModelForCausalLM.from_pretrained(TESTS / "models" / "tiny-instruct", dtype=torch.float32)


def linears(block):
    return {name: module for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)}


class Moments:
    """Every input of a layer, for means, variances and norms."""

    def __init__(self):
        self.rows = []

    def add(self, x):
        self.rows.append(x.reshape(-1, x.shape[-1]))

    def inputs(self):
        return torch.cat(self.rows).double()


def ria(weight, inputs, target):
    """(|W| / row sum + |W| / column sum) * ||x|| ** 0.5, over the whole matrix."""
    magnitude = weight.abs()
    relative = magnitude / magnitude.sum(1, keepdim=True) + magnitude / magnitude.sum(0, keepdim=True)
    score = relative * inputs.norm(dim=0).float().sqrt()
    threshold = score.flatten().sort().values[int(score.numel() * target.share)]
    mask = score <= threshold
    return Pruned(weight.masked_fill(mask, 0), mask)


def wanda(weight, inputs, target):
    """|W| * ||x||, the smallest of each row."""
    score = weight.abs() * inputs.norm(dim=0).float()
    order = score.argsort(dim=1, stable=True)[:, : int(weight.shape[1] * target.share)]
    mask = torch.zeros_like(weight, dtype=torch.bool).scatter_(1, order, True)
    return Pruned(weight.masked_fill(mask, 0), mask)


def dsnot(weight, inputs, target, cycles=50, threshold=0.1):
    """Swaps in Wanda's mask: grow what explains most of the expected error, drop the least important of the other sign."""
    mask = wanda(weight, inputs, target).mask
    parts = (weight * inputs.mean(0).float()).double()
    variance = inputs.var(0, unbiased=False).float().double().clamp(min=1e-20)
    cost = weight.abs() * inputs.norm(dim=0).float()
    for part, row, price in zip(parts, mask, cost):
        error = part[row].sum().item()
        for _ in range(cycles):
            if abs(error) <= threshold:
                break
            grow = row & (part * error > 0)
            drop = ~row & (part * error < 0)
            if not grow.any() or not drop.any():
                break
            grown = (part.abs() / variance).where(grow, -1).argmax().item()
            dropped = price.where(drop, float("inf")).argmin().item()
            following = error - part[grown].item() + part[dropped].item()
            if abs(following) >= abs(error):
                break
            row[grown], row[dropped] = False, True
            error = following
    return Pruned(weight.masked_fill(mask, 0), mask)


OATS_ITERATIONS, OATS_ERRORS = 10, []


def oats(weight, inputs, target, rank_ratio=0.25):
    """A sparse part and a low-rank part of the weight scaled by its inputs' norms, each fitted to what the other leaves."""
    rows, cols = weight.shape
    kept = (1 - target.share) * weight.numel()
    rank, in_row = int(rank_ratio * kept / (rows + cols)), int((1 - rank_ratio) * kept / rows)
    norms = inputs.norm(dim=0).float().double()
    scaled = weight.double() * norms
    sparse = torch.zeros_like(scaled)
    for _ in range(OATS_ITERATIONS):
        u, s, v = torch.linalg.svd(scaled - sparse, full_matrices=False)
        low_rank = (u[:, :rank] * s[:rank]) @ v[:rank]
        rest = scaled - low_rank
        order = rest.abs().argsort(dim=1, stable=True)[:, : cols - in_row]
        mask = torch.zeros_like(weight, dtype=torch.bool).scatter_(1, order, True)
        sparse = rest.masked_fill(mask, 0)
    OATS_ERRORS.append(((scaled - sparse - low_rank).norm() / scaled.norm()).item())
    return Pruned(((sparse + low_rank) / norms).float(), mask)


GRADIENTS = {}


def gblm(weight, inputs, target, alpha=100.0):
    """|W| * (||x|| + alpha * ||g||), the smallest of each row."""
    gradients = GRADIENTS.pop(id_of(weight)).sqrt().float()
    score = weight.abs() * (inputs.norm(dim=0).float() + alpha * gradients)
    order = score.argsort(dim=1, stable=True)[:, : int(weight.shape[1] * target.share)]
    mask = torch.zeros_like(weight, dtype=torch.bool).scatter_(1, order, True)
    return Pruned(weight.masked_fill(mask, 0), mask)


def id_of(weight):
    return tuple(weight.flatten()[:8].tolist())


def window_gradients(model, windows):
    """The gradient of each window's mean loss by every linear layer's weight, in float64."""
    for window in windows:
        ids = torch.tensor([window])
        model.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        yield [[module.weight.grad for module in linears(block).values()] for block in model.model.layers]


def gradient_squares():
    model = load().double()
    weights = [[module.weight for module in linears(block).values()] for block in model.model.layers]
    for gradients in window_gradients(model, WINDOWS):
        for of_block, block in zip(gradients, weights):
            for gradient, weight in zip(of_block, block):
                key = id_of(weight.float())
                GRADIENTS[key] = GRADIENTS.get(key, 0) + gradient.square()


def shortened(windows=10):
    """Sum of |W * mean gradient| of each block."""
    model = load().double()
    sums = None
    for gradients in window_gradients(model, WINDOWS[:windows]):
        squared = [[gradient.clone() for gradient in block] for block in gradients]
        sums = squared if sums is None else [[a + b for a, b in zip(*pair)] for pair in zip(sums, squared)]
    weights = [[module.weight for module in linears(block).values()] for block in model.model.layers]
    return [sum((w * g).abs().sum().item() for w, g in zip(*pair)) / windows for pair in zip(weights, sums)]


def owl(model, outlier=5.0, lam=0.08, share=0.5):
    """Sparsity of each block from its share of outliers among Wanda's scores, in the dense model."""
    calls = reference.first_block_calls(model, WINDOWS, len(WINDOWS))
    ratios = []
    for block in model.model.layers:
        outliers, count = 0, 0
        for name, inputs in moments(block, calls).items():
            score = linears(block)[name].weight.abs() * inputs.norm(dim=0).float()
            outliers += (score > outlier * score.double().mean()).sum().item()
            count += score.numel()
        ratios.append(outliers / count)
        calls = reference.advance(block, calls)
    ratios = numpy.array(ratios)
    raised = (ratios - ratios.min()) * (2 * lam / (ratios.max() - ratios.min()))
    return (share + raised.mean() - raised).tolist()


def shortgpt(model):
    """One minus the mean cosine between what enters a block and what leaves it."""
    calls = reference.first_block_calls(model, WINDOWS, len(WINDOWS))
    influence = []
    for block in model.model.layers:
        following = reference.advance(block, calls)
        cosines = [torch.cosine_similarity(before[0][0].double(), after[0][0].double(), dim=-1)
                   for before, after in zip(calls, following)]
        influence.append(1 - torch.cat(cosines).mean().item())
        calls = following
    return influence


def wanda_sp(model, share=0.5):
    """Neurons and key-value heads that stay in each block, by sums of Wanda's scores in the dense model."""
    calls = reference.first_block_calls(model, WINDOWS, len(WINDOWS))
    config = model.config
    head = config.num_attention_heads // config.num_key_value_heads * config.head_dim
    kept = []
    for block in model.model.layers:
        of_block = {}
        for part, name, width in (("neurons", "mlp.down_proj", 1), ("heads", "self_attn.o_proj", head)):
            norms = moments(block, calls)[name].norm(dim=0)
            sums = (linears(block)[name].weight.abs().double() * norms).sum(0).reshape(-1, width).sum(1)
            of_block[part] = sums.argsort()[int(share * len(sums)):].sort().values.tolist()
        kept.append(of_block)
        calls = reference.advance(block, calls)
    return kept


def moments(block, calls):
    """Every linear layer's inputs."""
    gathered = {name: Moments() for name in linears(block)}
    hooks = [module.register_forward_pre_hook(lambda _module, args, name=name: gathered[name].add(args[0]))
             for name, module in linears(block).items()]
    reference.advance(block, calls)
    for hook in hooks:
        hook.remove()
    return {name: moments.inputs() for name, moments in gathered.items()}


def prune(model, method, target, after=None):
    """Prunes block by block behind pruned predecessors; yields (weight name, mask)."""
    calls = reference.first_block_calls(model, WINDOWS, len(WINDOWS))
    for index, block in enumerate(model.model.layers):
        with torch.no_grad():
            dense = reference.advance(block, calls)
            inputs = moments(block, calls)
            masks = {}
            for name, linear in linears(block).items():
                pruned = method(linear.weight.data, inputs[name], target)
                linear.weight.data.copy_(pruned.weight)
                masks[name] = pruned.mask
                yield f"model.layers.{index}.{name}.weight", pruned.mask
        if after:
            after(block, calls, dense, masks)
        with torch.no_grad():
            calls = reference.advance(block, calls)


def matching(losses):
    """Adam on what is kept of a block, towards the dense block's output."""

    def match(block, calls, dense, masks):
        weights = {name: module.weight for name, module in linears(block).items()}
        for weight in weights.values():
            weight.requires_grad_(True)
        optimiser = torch.optim.Adam(weights.values(), lr=LR)
        block_losses = []
        for _ in range(STEPS):
            output = reference.advance(block, calls)[0][0][0]
            loss = (output - dense[0][0][0]).square().mean()
            block_losses.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            for name, weight in weights.items():
                weight.grad.masked_fill_(masks[name], 0)
            optimiser.step()
        for weight in weights.values():
            weight.requires_grad_(False)
        losses.append(block_losses)

    return match


def record_masks(method, text):
    model = load().requires_grad_(False)
    target = Target.parse(text)
    packed = {name: numpy.packbits(mask.numpy().flatten(), bitorder="little")
              for name, mask in prune(model, method, target)}
    save_file(packed, OUT / f"{method.__name__}-{text}.safetensors")
    return model


@torch.no_grad()
def trial_loss(windows=8):
    model = load()
    for _ in prune_first(model, windows):
        pass
    ids = torch.tensor(WINDOWS[:windows])
    return model(ids, labels=ids, use_cache=False).loss.item()


def prune_first(model, windows):
    """Wanda at 0.5 on the first windows alone."""
    global WINDOWS
    everything, WINDOWS = WINDOWS, WINDOWS[:windows]
    yield from prune(model.requires_grad_(False), wanda, Target(0.5))
    WINDOWS = everything


def main():
    torch.manual_seed(0)
    record_masks(ria, "0.5")
    record_masks(dsnot, "0.6")
    record_masks(oats, "0.5")
    gradient_squares()
    record_masks(gblm, "0.5")
    with torch.no_grad():
        found = {"owl": owl(load()), "shortgpt": shortgpt(load()), "wanda_sp": wanda_sp(load())}
    found["oats"] = OATS_ERRORS
    found["shortened"] = shortened()
    losses = []
    for _ in prune(load().requires_grad_(False), wanda, Target(0.5), matching(losses)):
        pass
    found["matching"] = losses
    found["trial"] = trial_loss()
    (OUT / "published.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


main()
