"""A BERT encoder that multiplies in int8: the same answers within a little, several times as fast where there is VNNI.

Weights have one scale an output channel. What goes into a matrix has one scale and zero, fixed by what a forward pass
over typical texts showed: so a comment's labels do not hang on what else is in its batch, as they do where the scale
is found a batch. Channels that are much larger than the others are evened out between inputs and weights first
(SmoothQuant, Xiao et al. 2023, arXiv:2211.10438). Query, key and value are one product; scales, bias and GELU are part
of oneDNN's product; attention, norms and sums stay in float32. Made by `models.precision`, used by `models.encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.bert.modeling_bert import BertModel

MIGRATION = 0.7  # how much of the inputs' unevenness goes into the weights; 0.5 and 0.8 were farther from float32
MARGIN = 1.1  # inputs may be this much larger than any that was shown; beyond it they are cut off
_LARGEST = 127.0
_STEPS = 255.0
_SMALL = 1e-5
Range = tuple[torch.Tensor, torch.Tensor]  # smallest and largest input of each channel


class EightBitLinear:
    """(rows, inputs) to (rows, outputs), both float32, multiplied in int8; `seen` says how large the inputs are."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, seen: Range, *, gelu: bool = False) -> None:
        largest = torch.maximum(seen[0].abs(), seen[1].abs())
        even = largest.clamp(min=_SMALL) ** MIGRATION / weight.abs().amax(0).clamp(min=_SMALL) ** (1 - MIGRATION)
        even = even / even.log().mean().exp()
        low, high = MARGIN * float((seen[0] / even).amin()), MARGIN * float((seen[1] / even).amax())
        low, high = min(low, 0.0), max(high, 0.0)  # zero must be a step
        self._step = max((high - low) / _STEPS, _SMALL)
        self._zero = round(-low / self._step)
        self._shrink = 1.0 / (even * self._step)
        weight = weight * even
        self._scale = weight.abs().amax(1).clamp(min=_SMALL) / _LARGEST
        whole = (weight / self._scale.unsqueeze(1)).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(self._scale), dtype=torch.int32)
        self._bias = bias
        self._after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """See the class."""
        whole = (rows * self._shrink).round_().add_(self._zero).clamp_(0.0, _STEPS).to(torch.uint8)
        answer: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, self._step, self._zero, self._weight, self._scale, self._zeros, self._bias,
            1.0, 0, torch.float32, *self._after,
        )  # fmt: skip
        return answer


class EightBitLayer:
    """One layer of BERT, on rows of (texts * tokens, width)."""

    def __init__(self, layer: Any, seen: Callable[[nn.Linear], Range]) -> None:
        own, out = layer.attention.self, layer.attention.output
        self._heads: int = own.num_attention_heads
        parts = (own.query, own.key, own.value)
        shrink = (own.query.out_features // self._heads) ** -0.25  # half of the root goes to the query, half to the key
        factors = (shrink, shrink, 1.0)
        self._in = EightBitLinear(
            torch.cat([part.weight * factor for part, factor in zip(parts, factors, strict=True)]),
            torch.cat([part.bias * factor for part, factor in zip(parts, factors, strict=True)]),
            seen(own.query),
        )
        self._out = EightBitLinear(out.dense.weight, out.dense.bias, seen(out.dense))
        up, down = layer.intermediate.dense, layer.output.dense
        self._up = EightBitLinear(up.weight, up.bias, seen(up), gelu=True)
        self._down = EightBitLinear(down.weight, down.bias, seen(down))
        self._norms = (out.LayerNorm, layer.output.LayerNorm)

    def __call__(self, rows: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
        """`blocked` (texts, 1, tokens) is added to the attention: 0 for tokens, -inf for padding."""
        rows = self._norms[0](rows + self._out(self._attended(self._in(rows), blocked)))
        answer: torch.Tensor = self._norms[1](rows + self._down(self._up(rows)))
        return answer

    def _attended(self, rows: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
        texts, tokens = blocked.shape[0], blocked.shape[2]
        split = rows.view(texts, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = (part.reshape(texts * self._heads, tokens, -1) for part in split)
        weights = torch.bmm(query, key.transpose(1, 2)).view(texts, self._heads, tokens, tokens)
        weights = (weights + blocked.unsqueeze(1)).softmax(-1).view(-1, tokens, tokens)
        seen = torch.bmm(weights, value).view(texts, self._heads, tokens, -1)
        return seen.transpose(1, 2).reshape(texts * tokens, -1)


class EightBitBert(nn.Module):
    """In the place of a BertModel; `run` calls `model` on typical texts, so that the size of its inputs is seen."""

    def __init__(self, model: BertModel, run: Callable[[], object]) -> None:
        super().__init__()
        self.config = model.config
        self.embeddings = model.embeddings
        seen = ranges(model.encoder, run)
        self._layers = [EightBitLayer(layer, seen.__getitem__) for layer in model.encoder.layer]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> BaseModelOutput:
        """(texts, tokens) each to token vectors (texts, tokens, width)."""
        texts, tokens = input_ids.shape
        rows = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids).view(texts * tokens, -1)
        blocked = torch.zeros(texts, 1, tokens).masked_fill(attention_mask.view(texts, 1, tokens) == 0, -torch.inf)
        for layer in self._layers:
            rows = layer(rows, blocked)
        return BaseModelOutput(last_hidden_state=rows.view(texts, tokens, -1))


def ranges(module: nn.Module, run: Callable[[], object]) -> dict[nn.Linear, Range]:
    """Smallest and largest input, a channel, of every linear layer inside `module` while `run` is called."""
    seen: dict[nn.Linear, Range] = {}

    def note(layer: nn.Linear, inputs: Any) -> None:
        low, high = inputs[0].reshape(-1, inputs[0].shape[-1]).aminmax(dim=0)
        if layer in seen:
            low, high = torch.minimum(low, seen[layer][0]), torch.maximum(high, seen[layer][1])
        seen[layer] = (low, high)

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    watches = [layer.register_forward_pre_hook(note) for layer in layers]
    run()
    for watch in watches:
        watch.remove()
    return seen
