"""int8 layers: close to what they replace, and the same for a row whatever rows lie beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.precision import EightBitLinear, lower, resolve


@pytest.fixture
def rows() -> torch.Tensor:
    """Inputs like a transformer's: a few channels are far larger than the others."""
    torch.manual_seed(3)
    rows = torch.randn(64, 48)
    rows[:, 5] *= 30
    rows[:, 17] *= 12
    return rows


def _distance(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours - exact).norm() / exact.norm())


def test_is_close_to_the_layer_it_replaces(rows: torch.Tensor) -> None:
    layer = nn.Linear(48, 96)
    eight = EightBitLinear(layer, rows.abs().amax(0))
    with torch.inference_mode():
        assert _distance(eight(rows), layer(rows)) < 0.02
        assert eight(rows.reshape(4, 16, 48)).shape == (4, 16, 96)


def test_evening_out_large_channels_is_what_makes_it_close(rows: torch.Tensor) -> None:
    layer = nn.Linear(48, 96)
    with torch.inference_mode():
        even = _distance(EightBitLinear(layer, rows.abs().amax(0))(rows), layer(rows))
        uneven = _distance(EightBitLinear(layer, layer.weight.abs().amax(0))(rows), layer(rows))
    assert even < uneven


def test_a_row_does_not_depend_on_its_neighbours(rows: torch.Tensor) -> None:
    eight = EightBitLinear(nn.Linear(48, 96), rows.abs().amax(0))
    with torch.inference_mode():
        together = eight(rows)
        beside_a_giant = eight(torch.cat([rows[:1], 1e4 * rows[1:2]]))
        assert torch.equal(eight(rows[:20])[0], together[0])
        assert torch.equal(beside_a_giant[0], together[0])


def test_zero_rows_and_layers_without_bias() -> None:
    eight = EightBitLinear(nn.Linear(8, 4, bias=False), torch.zeros(8))
    with torch.inference_mode():
        assert torch.equal(eight(torch.zeros(2, 8)), torch.zeros(2, 4))


def test_lower_replaces_every_layer_that_was_run(rows: torch.Tensor) -> None:
    model = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Sequential(nn.Linear(96, 6)))
    with torch.inference_mode():
        exact = model(rows)
        lower(model, "int8", lambda: model(rows))
        assert not any(isinstance(module, nn.Linear) for module in model.modules())
        assert _distance(model(rows), exact) < 0.05


def test_auto_is_one_of_the_three() -> None:
    assert resolve("auto") in ("fp32", "bf16", "int8")
    assert resolve("bf16") == "bf16"
