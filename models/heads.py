"""The trained part on top of the encoder: sentiment of the comment, its topics, and the sentiment of each topic.

Reads the token vectors of one forward pass (`models.encoder`). Sentiment looks at their mean and at the
tokens that tell most; each topic has a query
that picks the tokens which speak of it (label-wise attention), and both "is it mentioned" and "how do they feel about
it" are read from those tokens alone, so praise of the product does not colour the delivery.

Made by `models.training`; kept as `heads.safetensors` beside `heads.json` (what the numbers mean).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from models import adapters
from models.errors import ModelError

SHIPPED = Path(__file__).parent / "weights" / "default"
WEIGHTS = "heads.safetensors"
CARD = "heads.json"
SCALE = ".scale"
ENCODER_WEIGHTS = "encoder.safetensors"  # layers that training changed, where it did

LEVELS = ("very_negative", "negative", "neutral", "positive", "very_positive")
CLASSES = (*LEVELS, "mixed")
OPPOSITION = 1.25  # above 1, half a praise and half a blame count for less; chosen on comments kept aside
LEANING = 0.5  # how much the feeling of the whole comment counts in that of a topic; chosen on plain contrasts by eye
DIRECTIONS = (0, 0, 1, 2, 2, 1)  # of each class: negative, neutral (and mixed), positive


class HeadsCard(BaseModel):
    """What the weights are for; refused when a field is unknown or missing."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    encoder: str = Field(description="Name of the encoder these weights were trained on.")
    width: int = Field(gt=0)
    topics: list[str]
    thresholds: list[float] = Field(description="A topic is mentioned when its probability reaches this.")
    temperature: float = Field(gt=0, description="Sentiment logits are divided by this (calibration).")
    sure_temperature: float | None = Field(
        default=None, gt=0, description="The same where a topic is surely there; empty = no difference."
    )
    topic_temperature: float = Field(default=1.0, gt=0)
    general_share: float = Field(default=0.0, ge=0, le=1, description="Weight of the general voice without a topic.")
    general_floor: float = Field(default=0.0, ge=0, le=1, description="Its weight where a topic is surely there.")
    training: dict[str, float] = Field(default_factory=dict, description="How the weights were made.")


@dataclass(frozen=True)
class Scores:
    """Logits: sentiment (texts, 6) in the order of CLASSES, topics (texts, T), topic sentiment (texts, T, 5)."""

    sentiment: torch.Tensor
    topics: torch.Tensor
    topic_sentiment: torch.Tensor


class Heads(nn.Module):
    """See the module's text. `width` is that of the encoder, `topics` the number of topics."""

    def __init__(self, width: int, topics: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.sentiment_query = nn.Parameter(torch.zeros(width))  # begins as a second mean
        self.sentiment = nn.Linear(2 * width, len(CLASSES))
        self.queries = nn.Parameter(torch.randn(topics, width) * width**-0.5)
        self.presence = nn.Parameter(torch.zeros(topics, width))
        self.presence_bias = nn.Parameter(torch.full((topics,), -3.0))  # a topic is rare: begin near 5 %
        self.topic_sentiment = nn.Linear(width, len(LEVELS))
        # A linear voice trained on general text only, heard the more the less a comment speaks of any topic of
        # customers; a share of 0 = not heard.
        self.general = nn.Linear(width, 3)
        self.general_share = 0.0
        self.general_floor = 0.0

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> Scores:
        """`hidden` (texts, tokens, width) and `mask` (texts, tokens; 0 for padding) to logits."""
        states = self.norm(hidden)
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        queries = torch.cat([self.queries, self.sentiment_query.unsqueeze(0)])
        attention = torch.einsum("btw,kw->bkt", states, queries)
        attention = attention.masked_fill(mask.unsqueeze(1) == 0, -torch.inf).softmax(-1)
        seen = attention @ states
        views, telling = seen[:, :-1], seen[:, -1]
        presence = torch.einsum("bkw,kw->bk", views, self.presence) + self.presence_bias
        sentiment = self.sentiment(torch.cat([mean, telling], -1))
        if self.general_share:
            strange = 1.0 - presence.sigmoid().amax(-1, keepdim=True)  # no topic of customers: hear others more
            share = self.general_floor + (self.general_share - self.general_floor) * strange
            sentiment = self._tempered(sentiment, self.general(nn.functional.normalize(mean, dim=-1)), share)
        return Scores(sentiment, presence, self.topic_sentiment(views))

    def _tempered(self, sentiment: torch.Tensor, general: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Moves the mass of negative, neutral and mixed, positive towards what the general voice says of them.

        A product of experts over the three directions; the proportions within a direction stay the sentiment head's.
        """
        own = sentiment.log_softmax(-1)
        groups = torch.tensor(DIRECTIONS)
        sums = torch.stack([torch.logsumexp(own[:, groups == at], -1) for at in range(3)], -1)
        shift = share * (general.log_softmax(-1) - sums)
        return own + shift[:, groups]


def save(folder: Path, heads: Heads, card: HeadsCard, encoder_state: dict[str, torch.Tensor] | None = None) -> None:
    """Writes heads, their card and, if given, the encoder's changed tensors into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    # float16 halves the file; the heads were compared with their float32 selves when this was chosen.
    save_file({k: v.half().contiguous() for k, v in heads.state_dict().items()}, folder / WEIGHTS)
    if encoder_state:
        learnt = any(name.endswith(adapters.DOWN) for name in encoder_state)
        save_file(encoder_state if learnt else _packed(encoder_state), folder / ENCODER_WEIGHTS)
    (folder / CARD).write_text(json.dumps(card.model_dump(), indent=1) + "\n", encoding="utf-8")


def _packed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices as int8 with one scale a row (a quarter of the size), the rest as float16."""
    packed = {}
    for name, value in state.items():
        if value.dim() == 2:
            scale = value.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
            packed[name] = (value / scale).round().to(torch.int8).contiguous()
            packed[name + SCALE] = scale.contiguous()
        else:
            packed[name] = value.half().contiguous()
    return packed


def _unpacked(packed: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: value.float() * packed[name + SCALE] if name + SCALE in packed else value.float()
        for name, value in packed.items()
        if not name.endswith(SCALE)
    }


def load(folder: Path | None = None) -> tuple[Heads, HeadsCard]:
    """Heads and card out of `folder` (the shipped ones by default). Raises ModelError that names the file."""
    folder = folder or SHIPPED
    try:
        card = HeadsCard.model_validate_json((folder / CARD).read_bytes())
        heads = Heads(card.width, len(card.topics))
        state = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
        if not card.general_share:  # such heads may have been saved without a general voice
            state = {k: v for k, v in heads.state_dict().items() if k.startswith("general.")} | state
        heads.load_state_dict(state)
        heads.general_share, heads.general_floor = card.general_share, card.general_floor
    except OSError as error:
        raise ModelError(f"cannot read the heads in {folder}: {error}") from error
    except (ValidationError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"the heads in {folder} cannot be used: {error}") from error
    if len(card.thresholds) != len(card.topics):
        raise ModelError(f"{folder / CARD} has {len(card.thresholds)} thresholds for {len(card.topics)} topics")
    return heads.eval(), card


def fingerprint(folder: Path) -> str:
    """Eight hexadecimal digits that change when any file of the heads does."""
    digest = hashlib.sha256()
    for name in (CARD, WEIGHTS, ENCODER_WEIGHTS):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:8]


def probabilities(logits: torch.Tensor, temperature: float | torch.Tensor) -> Any:
    """Softmax over the last dimension after division by the temperature (one, or one a row), as a numpy array."""
    return (logits / temperature).softmax(-1).numpy()


def temperatures(topics: torch.Tensor, card: HeadsCard) -> torch.Tensor:
    """The temperature of each comment's sentiment (texts, 1), by its topic logits (texts, T).

    Comments that speak of a topic we know are like those that were learnt from; the less one does, the more modest
    its confidence ought to be.
    """
    sure = card.temperature if card.sure_temperature is None else card.sure_temperature
    known = topics.sigmoid().amax(-1, keepdim=True)
    return card.temperature + (sure - card.temperature) * known


def leaning(feelings: Any, overall: Any) -> Any:
    """`feelings` (texts, T, 5) drawn towards those of the whole comment, `overall` (texts, 6): a product of experts.

    A topic's own words may be few and mislead: "terrible quality" was praise of quality, in a very negative comment.
    Mass of `mixed` says nothing of a level, and is spread evenly.
    """
    levels = overall[:, :5] + overall[:, 5:] / 5.0
    drawn = feelings * levels[:, None, :] ** LEANING
    return drawn / drawn.sum(-1, keepdims=True)


def opposed(overall: Any, present: Any, feelings: Any) -> Any:
    """`overall` (texts, 6) with mass moved to `mixed` where one topic is praised and another one blamed.

    `present` (texts, T) and `feelings` (texts, T, 5) are the topics' probabilities. The mass is that of the surest
    praise and the surest blame both being there, to the power OPPOSITION.
    """
    praise = (present * feelings[..., 3:].sum(-1)).max(-1)
    blame = (present * feelings[..., :2].sum(-1)).max(-1)
    moved = ((praise * blame) ** OPPOSITION)[:, None]
    both = np.zeros_like(overall)
    both[:, CLASSES.index("mixed")] = 1.0
    return (1.0 - moved) * overall + moved * both


def apply_to_encoder(folder: Path, model: nn.Module) -> None:
    """Puts what training changed of the encoder, if the folder has any, into `model`: factors merged, or tensors."""
    path = folder / ENCODER_WEIGHTS
    if not path.is_file():
        return
    try:
        kept, known = load_file(path), dict(model.named_parameters())
        learnt = any(name.endswith(adapters.DOWN) for name in kept)
        state = adapters.merged(kept, known) if learnt else _unpacked(kept)
        for name, value in state.items():
            if known[name].shape != value.shape:
                raise RuntimeError(f"{name} is {tuple(value.shape)}, the encoder's is {tuple(known[name].shape)}")
            known[name].data = value  # not copied into: the encoder's own tensors are the file, mapped
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit the encoder: {error}") from error
