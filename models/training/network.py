"""The trainable part: the encoder's upper layers and the heads, fed with what the frozen lower layers said.

The lower layers' output is computed once and kept, so an epoch costs only the layers that learn.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.encoder import Encoder
from models.heads import Heads, Scores


class Network(nn.Module):
    """Copies of the encoder's layers from `first` up, then `Heads`."""

    def __init__(self, encoder: Encoder, first: int, topics: int) -> None:
        super().__init__()
        self.first = first
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in encoder.model.encoder.layer[first:])
        self.heads = Heads(encoder.width, topics)

    def states(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token vectors after the last layer."""
        blocked = torch.zeros(mask.shape, dtype=hidden.dtype).masked_fill(mask == 0, torch.finfo(hidden.dtype).min)
        for layer in self.layers:
            output = layer(hidden, attention_mask=blocked[:, None, None, :])
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> Scores:
        """Lower-layer vectors (texts, tokens, width) and their mask to logits."""
        scores: Scores = self.heads(self.states(hidden, mask), mask)
        return scores

    def encoder_state(self) -> dict[str, torch.Tensor]:
        """The trained layers under the names they have in the encoder."""
        return {
            f"encoder.layer.{self.first + at}.{name}": value
            for at, layer in enumerate(self.layers)
            for name, value in layer.state_dict().items()
        }


@dataclass(frozen=True)
class Lower:
    """Frozen vectors of many texts, one (tokens, width) float16 array each."""

    rows: list[NDArray[np.float16]]

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded (texts, tokens, width) and its mask."""
        longest = max(len(self.rows[i]) for i in indices)
        hidden = np.zeros((len(indices), longest, self.rows[0].shape[1]), np.float32)
        mask = np.zeros((len(indices), longest), np.int64)
        for at, i in enumerate(indices):
            hidden[at, : len(self.rows[i])] = self.rows[i]
            mask[at, : len(self.rows[i])] = 1
        return torch.from_numpy(hidden), torch.from_numpy(mask)


def lower_states(encoder: Encoder, texts: Sequence[str], first: int, cache: Path | None = None) -> Lower:
    """What the layers below `first` say of `texts`; remembered in the folder `cache`, if given, between runs."""
    if cache is None:
        return Lower(_compute(encoder, texts, first))
    path = cache / f"layer{first}.pickle"
    known: dict[str, NDArray[np.float16]] = pickle.loads(path.read_bytes()) if path.is_file() else {}
    new = sorted({text for text in texts if text not in known})
    if new:
        known.update(zip(new, _compute(encoder, new, first), strict=True))
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(known, protocol=5))
    return Lower([known[text] for text in texts])


def _compute(encoder: Encoder, texts: Sequence[str], first: int) -> list[NDArray[np.float16]]:
    model: Any = encoder.model
    kept = model.encoder.layer
    model.encoder.layer = kept[:first]
    try:
        rows: list[NDArray[np.float16]] = [np.zeros((0, 0), np.float16)] * len(texts)
        for batch in encoder.forward(texts):
            lengths = batch.mask.sum(1).tolist()
            hidden = batch.hidden.numpy()
            for at, row in enumerate(batch.rows):
                rows[row] = hidden[at, : lengths[at]].astype(np.float16)
    finally:
        model.encoder.layer = kept
    return rows


def batches(lower: Lower, budget: int, generator: np.random.Generator, indices: Sequence[int]) -> Iterator[list[int]]:
    """Shuffled batches of texts of like length, at most `budget` tokens each, padding included."""
    noise = generator.uniform(0.8, 1.25, len(indices))
    order = [indices[i] for i in np.argsort([len(lower.rows[i]) for i in indices] * noise)]
    groups: list[list[int]] = []
    group: list[int] = []
    longest = 0
    for i in order:
        longest = max(longest, len(lower.rows[i]))
        if group and (len(group) + 1) * longest > budget:
            groups.append(group)
            group, longest = [], len(lower.rows[i])
        group.append(i)
    if group:
        groups.append(group)
    for at in generator.permutation(len(groups)):
        yield groups[at]
