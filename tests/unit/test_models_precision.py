"""int8 layers and encoders: close to what they replace, and the same for a text whatever lies beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from models.eightbit import EightBitBert, EightBitLinear, ranges
from models.errors import ModelError
from models.precision import lowered, resolve

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.onednn, "qlinear_pointwise"), reason="torch without oneDNN's int8 products"
)


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


def _eight(layer: nn.Linear, rows: torch.Tensor, **options: bool) -> EightBitLinear:
    seen = (rows.amin(0), rows.amax(0))
    return EightBitLinear(layer.weight.detach(), layer.bias.detach(), seen, **options)


def test_is_close_to_the_layer_it_replaces(rows: torch.Tensor) -> None:
    layer = nn.Linear(48, 96)
    with torch.inference_mode():
        assert _distance(_eight(layer, rows)(rows), layer(rows)) < 0.03
        assert _distance(_eight(layer, rows, gelu=True)(rows), nn.functional.gelu(layer(rows))) < 0.03


def test_evening_out_large_channels_is_what_makes_it_close(rows: torch.Tensor) -> None:
    layer = nn.Linear(48, 96)
    flat = rows.abs().max().expand(48)
    with torch.inference_mode():
        uneven = EightBitLinear(layer.weight.detach(), layer.bias.detach(), (-flat, flat))
        assert _distance(_eight(layer, rows)(rows), layer(rows)) < _distance(uneven(rows), layer(rows))


def test_a_row_does_not_depend_on_its_neighbours_and_larger_inputs_are_cut(rows: torch.Tensor) -> None:
    eight = _eight(nn.Linear(48, 96), rows)
    with torch.inference_mode():
        beside_a_giant = eight(torch.cat([rows[:1], 1e4 * rows[1:2]]))
        assert torch.equal(beside_a_giant[0], eight(rows)[0])
        assert torch.isfinite(beside_a_giant).all()


def test_inputs_that_were_never_seen_do_no_harm() -> None:
    layer = nn.Linear(8, 4)
    with torch.inference_mode():
        assert torch.allclose(_eight(layer, torch.zeros(2, 8))(torch.zeros(2, 8)), layer.bias.expand(2, 4), atol=1e-4)


def _bert(**options: Any) -> BertModel:
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        initializer_range=0.2, **options,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False).eval()


def _texts() -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = torch.randint(1, 50, (6, 9)), torch.ones(6, 9, dtype=torch.long)
    mask[3:, 5:] = 0
    return ids, mask


def test_an_encoder_of_eight_bits_says_nearly_the_same() -> None:
    model = _bert()
    ids, mask = _texts()
    types = torch.zeros_like(ids)
    types[:, 4:] = 1
    pairs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    with torch.inference_mode():
        exact = model(input_ids=ids, attention_mask=mask).last_hidden_state
        exact_pairs = model(**pairs).last_hidden_state
        eight = lowered(model, "int8", lambda: [model(input_ids=ids, attention_mask=mask), model(**pairs)])
        ours = eight(input_ids=ids, attention_mask=mask).last_hidden_state
        real = mask.unsqueeze(-1)
        assert _distance(ours * real, exact * real) < 0.05
        assert _distance(eight(**pairs).last_hidden_state * real, exact_pairs * real) < 0.05
        alone = eight(input_ids=ids[3:4, :5], attention_mask=mask[3:4, :5]).last_hidden_state
        assert torch.allclose(alone[0], ours[3, :5], atol=1e-4), "padding and neighbours change nothing"


def test_the_ranges_of_all_runs_count() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    seen = ranges(model, lambda: [model(torch.tensor([[1.0, -4.0]])), model(torch.tensor([[-2.0, 3.0]]))])
    ((low, high),) = seen.values()
    assert (low.tolist(), high.tolist()) == ([-2, -4], [1, 3])


def test_what_cannot_be_int8_says_what_to_set() -> None:
    other = GPT2Model(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20))
    for model in (other, _bert(hidden_act="relu")):
        assert resolve("auto", model) in ("fp32", "bf16")
        with pytest.raises(ModelError, match="VOC_MODEL_PRECISION"):
            lowered(model, "int8", lambda: None)


def test_auto_is_one_of_the_three_and_a_choice_is_kept() -> None:
    assert resolve("auto", _bert()) in ("fp32", "bf16", "int8")
    assert resolve("bf16", _bert()) == "bf16"
    assert not isinstance(lowered(_bert(), "bf16", lambda: None), EightBitBert)
