"""Pruning of Hugging Face LLaMA models in plain PyTorch: the judge of masks, perplexities and times in these tests.

Written from the published descriptions, for clarity before speed:
- magnitude: the classic baseline, one threshold for each matrix.
- wanda: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (2306.11695); its variant,
  which drops a share of each row's total score, as `use_variant` of the authors' code (github.com/locuslab/wanda).
- sparsegpt: Frantar & Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot" (2301.00774;
  github.com/IST-DASLab/sparsegpt): column blocks of 128, damping of 1%, dead inputs handled before the damping.

Statistics are f32, one set for each linear layer, accumulated batch by batch. Blocks are pruned in order, and each
block's statistics come from predecessors that are already pruned. This module is imported by the other scripts.
"""
from dataclasses import dataclass

import torch

SPARSEGPT_BLOCK = 128
SPARSEGPT_DAMPING = 0.01
ALL_AT_ONCE = [["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]]
# All at once too, but every block's statistics are the dense model's.
NO_PROPAGATION = [list(ALL_AT_ONCE[0])]
TRUE_SEQUENTIAL = [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]


@dataclass(frozen=True)
class Target:
    """What to prune: a share of the weights, or `n` of every `m` contiguous weights of a row."""

    share: float
    n: int = 0
    m: int = 0

    @staticmethod
    def parse(text):
        """`0.5` or `2:4`."""
        if ":" in text:
            n, m = map(int, text.split(":"))
            return Target(n / m, n, m)
        return Target(float(text))


@dataclass
class Pruned:
    """A pruned weight matrix, its mask (true = pruned) and, from SparseGPT, its error."""

    weight: torch.Tensor
    mask: torch.Tensor
    error: float | None = None


class Statistics:
    """Second moments of a layer's input over calibration: Gram matrix, or its diagonal alone, as (sum, sequences)."""

    def __init__(self, full):
        self.full, self.sum, self.sequences = full, 0, 0

    def add(self, x):
        """Adds a batch of inputs, [sequences, tokens, features]."""
        rows = x.reshape(-1, x.shape[-1]).float()
        self.sequences += x.shape[0]
        self.sum = self.sum + (rows.T @ rows if self.full else rows.square().sum(0))

    def squared_norms(self):
        """Mean over sequences of the squared norm of every input feature."""
        return (self.sum.diagonal() if self.full else self.sum) / self.sequences

    def hessian(self):
        """`2/n sum x x^T`, the Hessian of the layer's squared error."""
        return self.sum * (2 / self.sequences)


def smallest_in_groups(score, target):
    """Mask of the `n` smallest scores in every group of `m` contiguous columns; ties go to the lower column."""
    groups = score.reshape(score.shape[0], -1, target.m)
    order = groups.argsort(dim=-1, stable=True)[..., : target.n]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order, True).reshape(score.shape)


def at_most_threshold(score, share):
    """Mask of all scores up to the one at place `int(count * share)` of the sorted whole."""
    return score <= score.flatten().sort()[0][int(score.numel() * share)]


def magnitude(weight, _statistics, target):
    """Drops the smallest absolute weights of the matrix."""
    score = weight.abs()
    mask = smallest_in_groups(score, target) if target.m else at_most_threshold(score, target.share)
    return Pruned(weight.masked_fill(mask, 0), mask)


def wanda(weight, statistics, target):
    """Drops, in each row, the smallest products of absolute weight and norm of the input feature."""
    score = weight.abs() * statistics.squared_norms().sqrt()
    if target.m:
        mask = smallest_in_groups(score, target)
    else:
        order = score.argsort(dim=1, stable=True)[:, : int(score.shape[1] * target.share)]
        mask = torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)
    return Pruned(weight.masked_fill(mask, 0), mask)


def wanda_variant(weight, statistics, target):
    """Drops in each row the smallest scores as long as they sum to at most alpha times the row's total; one alpha for
    the matrix, found by bisection so that the sparsity comes out right."""
    score = weight.abs() * statistics.squared_norms().sqrt()
    ordered = score.sort(dim=1, stable=True)[0]
    sums, totals = ordered.cumsum(dim=1), score.sum(dim=1, keepdim=True)

    def mask_at(alpha):
        count = (sums <= alpha * totals).sum(dim=1, keepdim=True)
        threshold = ordered.gather(1, (count - 1).clamp(min=0))
        return (score <= threshold) & (count > 0)

    low, alpha, high = 0.0, 0.4, 0.8
    mask = mask_at(alpha)
    while abs(mask.float().mean().item() - target.share) > 0.001 and high - low >= 0.001:
        if mask.float().mean().item() > target.share:
            alpha, high = (alpha + low) / 2, alpha
        else:
            alpha, low = (alpha + high) / 2, alpha
        mask = mask_at(alpha)
    return Pruned(weight.masked_fill(mask, 0), mask)


def inverse_factor(hessian):
    """Upper triangular U with `H^-1 = U^T U`, by Cholesky, inverse, Cholesky as published."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)


def sparsegpt(weight, statistics, target):
    """Removes weights column by column and lets the columns behind make up for each removal."""
    weight, hessian = weight.clone(), statistics.hessian()
    diagonal = hessian.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1
    weight[:, dead] = 0
    diagonal += SPARSEGPT_DAMPING * diagonal.mean()
    factor = inverse_factor(hessian)
    masks, error = [], 0.0
    for begin in range(0, weight.shape[1], SPARSEGPT_BLOCK):
        end = min(begin + SPARSEGPT_BLOCK, weight.shape[1])
        block, mask, scaled = sweep(weight[:, begin:end].clone(), factor[begin:end, begin:end], target)
        weight[:, begin:end] = block
        weight[:, end:] -= scaled @ factor[begin:end, end:]
        masks.append(mask)
        error += scaled.square().sum().item() / 2
    return Pruned(weight, torch.cat(masks, dim=1), error)


def sweep(block, factor, target):
    """One column block of SparseGPT: the pruned block, its mask, and the removals `(w - q) / U_ii`."""
    diagonal = factor.diagonal()
    mask = torch.zeros_like(block, dtype=torch.bool)
    if not target.m:
        mask = at_most_threshold(block.square() / diagonal.square(), target.share)
    scaled = torch.zeros_like(block)
    for i in range(block.shape[1]):
        if target.m and i % target.m == 0:
            group = slice(i, i + target.m)
            mask[:, group] = smallest_in_groups(block[:, group].square() / diagonal[group].square(), target)
        kept = block[:, i].masked_fill(mask[:, i], 0)
        scaled[:, i] = (block[:, i] - kept) / factor[i, i]
        block[:, i + 1 :] -= scaled[:, i, None] * factor[i, i + 1 :]
        block[:, i] = kept
    return block, mask, scaled


METHODS = dict(magnitude=magnitude, wanda=wanda, wanda_variant=wanda_variant, sparsegpt=sparsegpt)


class _Captured(Exception):
    """Ends a forward pass once the first block's input is known."""


def first_block_calls(model, windows, batch):
    """The (args, kwargs) with which the model calls its first block, for every batch of windows."""
    calls = []

    def capture(_module, args, kwargs):
        calls.append((args, kwargs))
        raise _Captured

    hook = model.model.layers[0].register_forward_pre_hook(capture, with_kwargs=True)
    for begin in range(0, len(windows), batch):
        try:
            model(torch.tensor(windows[begin : begin + batch], device=model.device), use_cache=False)
        except _Captured:
            pass
    hook.remove()
    return calls


def collect_statistics(block, linears, calls, full):
    """Runs a block over all batches and gathers the statistics of the named linear layers' inputs."""
    statistics = {name: Statistics(full) for name in linears}
    hooks = [linear.register_forward_pre_hook(lambda _module, args, name=name: statistics[name].add(args[0]))
             for name, linear in linears.items()]
    for args, kwargs in calls:
        block(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    return statistics


def advance(block, calls):
    """The calls of the next block: this block's outputs in the place of its inputs."""
    following = []
    for args, kwargs in calls:
        hidden = block(*args, **kwargs)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        following.append(((hidden, *args[1:]), kwargs))
    return following


@torch.no_grad()
def prune_model(model, windows, method, target, order=ALL_AT_ONCE, batch=1):
    """Prunes a model in place, block by block, and yields (weight name, Pruned) for each linear layer.

    `order` groups the layers of a block: each group's statistics are taken through the groups already pruned.
    """
    calls = first_block_calls(model, windows, batch)
    for index, block in enumerate(model.model.layers):
        linears = {name: module for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)}
        dense = advance(block, calls) if order is NO_PROPAGATION else None
        for group in order:
            members = {name: linears[name] for name in linears if name.split(".")[-1] in group}
            statistics = {}
            if method != "magnitude":
                statistics = collect_statistics(block, members, calls, full=method == "sparsegpt")
            for name, linear in members.items():
                pruned = METHODS[method](linear.weight.data.float(), statistics.get(name), target)
                linear.weight.data.copy_(pruned.weight)
                yield f"model.layers.{index}.{name}.weight", pruned
        calls = dense or advance(block, calls)


@torch.no_grad()
def perplexity(model, ids, seqlen):
    """Exp of the mean over windows of the mean token loss; windows follow each other, the tail is dropped."""
    windows = torch.tensor(ids[: len(ids) // seqlen * seqlen]).reshape(-1, seqlen)
    losses = []
    for window in windows:
        logits = model(window[None], use_cache=False).logits[0, :-1].float()
        losses.append(torch.nn.functional.cross_entropy(logits, window[1:]).item())
    return torch.tensor(losses, dtype=torch.float64).mean().exp().item()
