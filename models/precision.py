"""Fewer bits for the encoder's matrices, where the processor multiplies them faster: int8, bfloat16, or all of fp32.

`int8` keeps one scale an output channel for weights and one scale *a token* for what goes in: with one scale a tensor a
comment's labels would hang on the largest number in its batch. Channels that are much larger than the others are evened
out between weights and inputs first (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438), by what a forward pass over the
given texts shows. Still, other steps round differently in batches of other shapes, and fewer bits make more of that: of
79 comments 2 (bf16) and 3 (int8) got another label alone than together, none in fp32. Used by `models.encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from models.settings import Precision

MIGRATION = 0.5  # how much of the inputs' unevenness goes into the weights; the paper's default
_LARGEST = 127.0
_SMALL = 1e-8


def resolve(precision: Precision) -> Precision:
    """What `auto` is on this processor: bf16 where it multiplies that by itself, else int8 where it has VNNI."""
    if precision != "auto":
        return precision
    if torch.cpu._is_avx512_bf16_supported():  # also true wherever AMX is
        return "bf16"
    return "int8" if torch.cpu._is_vnni_supported() else "fp32"


class EightBitLinear(nn.Module):
    """A linear layer that multiplies in int8 and answers in fp32. `largest` is the largest input of each channel."""

    def __init__(self, linear: nn.Linear, largest: torch.Tensor) -> None:
        super().__init__()
        weight = linear.weight.detach()
        even = largest.clamp(min=_SMALL) ** MIGRATION / weight.abs().amax(0).clamp(min=_SMALL) ** (1 - MIGRATION)
        even = even / even.log().mean().exp()
        weight = weight * even
        scale = weight.abs().amax(1).clamp(min=_SMALL) / _LARGEST
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.shrink: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", (weight / scale.unsqueeze(1)).round().to(torch.int8).t().contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("shrink", 1.0 / even)
        bias = torch.zeros(len(scale)) if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("bias", bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        rows = states.reshape(-1, states.shape[-1]) * self.shrink
        largest = rows.abs().amax(1, keepdim=True).clamp_(min=_SMALL)
        whole = rows.mul_(_LARGEST / largest).round_().to(torch.int8)
        product = torch._int_mm(whole, self.weight).to(torch.float32)
        product = product.mul_(largest / _LARGEST).mul_(self.scale).add_(self.bias)
        return product.reshape(*states.shape[:-1], -1)


def lower(model: nn.Module, precision: Precision, run: Callable[[], object]) -> None:
    """Changes `model` in place. `run` calls it on typical texts, so that int8 can see the size of its inputs."""
    if precision == "bf16":
        model.to(torch.bfloat16)
    if precision == "int8":
        _to_int8(model, run)


def _to_int8(model: nn.Module, run: Callable[[], object]) -> None:
    largest: dict[str, torch.Tensor] = {}
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    watches = [module.register_forward_hook(partial(_note, largest, name)) for name, module in linears.items()]
    run()
    for watch in watches:
        watch.remove()
    for name in largest:
        model.set_submodule(name, EightBitLinear(linears[name], largest[name]))


def _note(largest: dict[str, torch.Tensor], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    seen = inputs[0].reshape(-1, inputs[0].shape[-1]).abs().amax(0)
    largest[name] = torch.maximum(largest[name], seen) if name in largest else seen
