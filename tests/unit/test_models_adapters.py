"""Low-rank changes: they begin as nothing, and merged they say the same as the wrapped layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import adapters


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(16, 24), nn.GELU())
        self.out = nn.Linear(24, 8)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.out(self.inner(states))
        return result


def test_an_adapted_module_begins_as_itself_and_only_the_factors_learn() -> None:
    torch.manual_seed(1)
    block, states = Block(), torch.randn(5, 16)
    before = block(states)
    adapters.adapt(block, rank=4)
    assert torch.allclose(block(states.bfloat16()).float(), before, atol=0.05)
    learning = {name for name, parameter in block.named_parameters() if parameter.requires_grad}
    assert learning == {"inner.0.down", "inner.0.up", "out.down", "out.up"}


def test_merged_factors_say_what_the_adapted_module_says() -> None:
    torch.manual_seed(1)
    plain, states = Block(), torch.randn(5, 16)
    weights = {name: value.clone() for name, value in plain.state_dict().items()}
    adapters.adapt(plain, rank=4)
    with torch.no_grad():
        for module in plain.modules():
            if isinstance(module, adapters.Adapted):
                module.up.normal_(0, 0.3)
    changed = adapters.merged(adapters.state(plain), weights)
    assert set(changed) == {"inner.0.weight", "out.weight"}
    merged = Block()
    merged.load_state_dict(weights | changed)
    said, wanted = merged(states), plain(states.bfloat16()).float()
    assert (said - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_factors_of_another_encoder_are_refused() -> None:
    block = Block()
    adapters.adapt(block, rank=2)
    with pytest.raises(RuntimeError, match="out is"):
        adapters.merged(adapters.state(block), {"inner.0.weight": torch.zeros(24, 16), "out.weight": torch.zeros(8, 9)})
