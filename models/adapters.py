"""Low-rank changes of the encoder's matrices (LoRA, Hu et al. 2021): small to ship, and free once merged.

Training wraps each linear layer (`adapt`) and learns `up @ down`, `rank` wide; `state` is what is kept of it;
`merged` gives the full matrices back, so that inference runs the encoder as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

DOWN, UP = ".down", ".up"


class Adapted(nn.Module):
    """A frozen linear layer in bfloat16 plus a trainable low-rank change; begins as the layer itself."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.data.bfloat16(), persistent=False)
        self.register_buffer("bias", layer.bias.data.bfloat16(), persistent=False)
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) * layer.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out), both bfloat16."""
        low = nn.functional.linear(states, self.down.bfloat16())
        return nn.functional.linear(states, self.weight, self.bias) + nn.functional.linear(low, self.up.bfloat16())


def adapt(module: nn.Module, rank: int) -> None:
    """Wraps every linear layer inside `module`, in place; all else of it becomes frozen bfloat16."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.bfloat16()
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear):
            module.set_submodule(name, Adapted(layer, rank))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The learnt factors inside `module`, float16: `<layer>.down` (rank, in) and `<layer>.up` (out, rank)."""
    return {
        f"{name}{end}": factor.detach().half().contiguous()
        for name, layer in module.named_modules()
        if isinstance(layer, Adapted)
        for end, factor in ((DOWN, layer.down), (UP, layer.up))
    }


def blended(states: Sequence[Mapping[str, torch.Tensor]], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    """One change out of several: the sum of `states`, each counting its share. Ranks add up.

    Averaging the weights of models tuned apart generalises better than any of them (Wortsman et al. 2022).
    """
    names = [name.removesuffix(DOWN) for name in states[0] if name.endswith(DOWN)]
    return {
        name + end: torch.cat(
            [state[name + end] * (share if end == UP else 1) for state, share in zip(states, shares, strict=True)],
            dim=1 if end == UP else 0,
        )
        for name in names
        for end in (DOWN, UP)
    }


def restore(module: nn.Module, factors: Mapping[str, torch.Tensor]) -> None:
    """Puts `factors` (as `state` gives them) into an adapted `module`, whatever their rank."""
    for name, layer in module.named_modules():
        if isinstance(layer, Adapted):
            layer.down = nn.Parameter(factors[name + DOWN].float())
            layer.up = nn.Parameter(factors[name + UP].float())


def merged(factors: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`<layer>.weight` plus its low-rank change, for every layer in `factors`. Raises KeyError, RuntimeError."""
    changed = {}
    for name, down in factors.items():
        if name.endswith(DOWN):
            layer = name.removesuffix(DOWN)
            change = factors[layer + UP].float() @ down.float()
            weight = weights[layer + ".weight"]
            if weight.shape != change.shape:
                raise RuntimeError(f"{layer} is {tuple(change.shape)}, the encoder's is {tuple(weight.shape)}")
            changed[layer + ".weight"] = weight.float() + change
    return changed
