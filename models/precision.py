"""Fewer bits for the encoder's matrices, where the processor multiplies them faster: int8, bfloat16, or all of fp32.

`int8` keeps one scale an output channel for weights, and one scale and zero a layer for what goes in, fixed by what a
forward pass over the given texts shows: so a comment's labels do not hang on what else is in its batch. Channels that
are much larger than the others are evened out between weights and inputs first (SmoothQuant, Xiao et al. 2023,
arXiv:2211.10438). The product, its scales and the bias are one step of oneDNN. Used by `models.encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from models.settings import Precision

MIGRATION = 0.7  # how much of the inputs' unevenness goes into the weights; 0.5 to 0.8 were tried on our own comments
MARGIN = 1.1  # inputs may be this much larger than any that was shown; beyond it they are cut off
_LARGEST = 127.0
_STEPS = 255.0
_SMALL = 1e-5
Range = tuple[torch.Tensor, torch.Tensor]  # smallest and largest input of each channel


def resolve(precision: Precision) -> Precision:
    """What `auto` is on this processor: bf16 where it multiplies that by itself, else int8 where it has VNNI."""
    if precision != "auto":
        return precision
    if torch.cpu._is_avx512_bf16_supported():  # also true wherever AMX is
        return "bf16"
    return "int8" if torch.cpu._is_vnni_supported() else "fp32"


class EightBitLinear(nn.Module):
    """A linear layer that multiplies in int8 and answers in fp32; `seen` says how large its inputs are."""

    def __init__(self, linear: nn.Linear, seen: Range) -> None:
        super().__init__()
        weight = linear.weight.detach()
        largest = torch.maximum(seen[0].abs(), seen[1].abs())
        even = largest.clamp(min=_SMALL) ** MIGRATION / weight.abs().amax(0).clamp(min=_SMALL) ** (1 - MIGRATION)
        even = even / even.log().mean().exp()
        low, high = (MARGIN * float(edge) for edge in ((seen[0] / even).amin(), (seen[1] / even).amax()))
        low, high = min(low, 0.0), max(high, 0.0)  # zero must be a step
        self.step = max((high - low) / _STEPS, _SMALL)
        self.zero = round(-low / self.step)
        weight = weight * even
        self.scale = weight.abs().amax(1).clamp(min=_SMALL) / _LARGEST
        whole = (weight / self.scale.unsqueeze(1)).round().to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(len(self.scale), dtype=torch.int32)
        self.shrink = 1.0 / (even * self.step)
        self.bias = None if linear.bias is None else linear.bias.detach().clone()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        rows = states.reshape(-1, states.shape[-1]) * self.shrink
        whole = rows.round_().add_(self.zero).clamp_(0.0, _STEPS).to(torch.uint8)
        product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            whole,
            self.step,
            self.zero,
            self.weight,
            self.scale,
            self.zeros,
            self.bias,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return product.reshape(*states.shape[:-1], -1)


def lower(model: nn.Module, precision: Precision, run: Callable[[], object]) -> None:
    """Changes `model` in place. `run` calls it on typical texts, so that int8 can see the size of its inputs."""
    if precision == "bf16":
        model.to(torch.bfloat16)
    if precision == "int8":
        _to_int8(model, run)


def _to_int8(model: nn.Module, run: Callable[[], object]) -> None:
    seen: dict[str, Range] = {}
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    watches = [module.register_forward_hook(partial(_note, seen, name)) for name, module in linears.items()]
    run()
    for watch in watches:
        watch.remove()
    for name in seen:
        model.set_submodule(name, EightBitLinear(linears[name], seen[name]))


def _note(seen: dict[str, Range], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    low, high = inputs[0].reshape(-1, inputs[0].shape[-1]).aminmax(dim=0)
    if name in seen:
        low, high = torch.minimum(low, seen[name][0]), torch.maximum(high, seen[name][1])
    seen[name] = (low, high)
