"""The trainable part: low-rank changes of the encoder's upper layers, and the heads.

What the layers below say does not change, so it is computed once; an epoch costs only the layers that learn. They run
in bfloat16 (the learnt factors are kept in float32), which is more than twice as fast where the processor knows it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from models import adapters, heads
from models.encoder import Encoder
from models.errors import ModelError
from models.heads import Heads, Scores

HEADS = "heads."  # what the names of the heads' tensors begin with in what a network has learnt


class Network(nn.Module):
    """Copies of the encoder's layers from `first` up, adapted by `rank`, then `Heads`."""

    def __init__(self, encoder: Encoder, first: int, rank: int, topics: int) -> None:
        super().__init__()
        self.first = first
        # On a processor, the fused attention of torch is four times slower in bfloat16 than plain products.
        encoder.model.set_attn_implementation("eager")
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in encoder.model.encoder.layer[first:])
        adapters.adapt(self.layers, rank)
        self.heads = Heads(encoder.width, topics)

    def states(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token vectors after the last layer, float32."""
        hidden = hidden.bfloat16()
        blocked = torch.zeros(mask.shape, dtype=hidden.dtype).masked_fill(mask == 0, torch.finfo(hidden.dtype).min)
        for layer in self.layers:
            output = layer(hidden, attention_mask=blocked[:, None, None, :])
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden.float()

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> Scores:
        """Lower-layer vectors (texts, tokens, width) and their mask to logits."""
        scores: Scores = self.heads(self.states(hidden, mask), mask)
        return scores

    def learnt(self) -> dict[str, torch.Tensor]:
        """All that training changed: the factors (see `adapters.state`) and the heads, these with HEADS before."""
        heads = {HEADS + name: value.detach().clone() for name, value in self.heads.state_dict().items()}
        return adapters.state(self.layers) | heads

    def restore(self, learnt: Mapping[str, torch.Tensor]) -> None:
        """Puts what `learnt` gave, factors of any rank, in the place of what is there."""
        adapters.restore(self.layers, changes(learnt))
        self.heads.load_state_dict(
            {name.removeprefix(HEADS): value for name, value in learnt.items() if name.startswith(HEADS)}
        )

    def encoder_state(self) -> dict[str, torch.Tensor]:
        """The learnt factors under the names that their layers have in the encoder."""
        named = adapters.state(self.layers)
        return {f"encoder.layer.{self.first + int(at)}.{rest}": value
                for name, value in named.items() for at, _, rest in (name.partition("."),)}  # fmt: skip


def changes(learnt: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The factors alone, out of what `Network.learnt` gave."""
    return {name: value for name, value in learnt.items() if not name.startswith(HEADS)}


def factors_of(folder: Path, first: int) -> dict[str, torch.Tensor]:
    """The factors that trained weights in `folder` keep, named as `Network.learnt` does. Raises ModelError."""
    path = folder / heads.ENCODER_WEIGHTS
    try:
        kept = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read the earlier weights {path}: {error}") from error
    found: dict[str, torch.Tensor] = {}
    for name, value in kept.items():
        layer, _, rest = name.removeprefix("encoder.layer.").partition(".")
        if not name.endswith((adapters.DOWN, adapters.UP)) or int(layer) < first:
            raise ModelError(f"{path} changes {name}, which is not trained here: no average of the two can be made")
        found[f"{int(layer) - first}.{rest}"] = value
    return found


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


def lower_states(encoder: Encoder, texts: Sequence[str], first: int) -> Lower:
    """What the layers below `first` say of `texts`."""
    model: Any = encoder.model
    kept = model.encoder.layer
    model.encoder.layer = kept[:first]
    try:
        rows: list[NDArray[np.float16]] = [np.zeros((0, 0), np.float16)] * len(texts)
        with torch.autocast("cpu", torch.bfloat16):
            for batch in encoder.forward(texts):
                lengths = batch.mask.sum(1).tolist()
                hidden = batch.hidden.float().numpy()
                for at, row in enumerate(batch.rows):
                    rows[row] = hidden[at, : lengths[at]].astype(np.float16)
    finally:
        model.encoder.layer = kept
    return Lower(rows)


def final_states(network: Network, lower: Lower) -> Lower:
    """Token vectors after the trained layers, from those before them."""
    rows: list[NDArray[np.float16]] = [np.zeros((0, 0), np.float16)] * len(lower.rows)
    order = sorted(range(len(rows)), key=lambda at: len(lower.rows[at]))
    with torch.inference_mode():
        for start in range(0, len(order), 40):
            chosen = order[start : start + 40]
            states = network.states(*lower.batch(chosen)).numpy()
            for at, row in enumerate(chosen):
                rows[row] = states[at, : len(lower.rows[row])].astype(np.float16)
    return Lower(rows)


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
