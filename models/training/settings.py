"""What is chosen for a training run; all of it is written to the card beside the weights."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Member(BaseModel):
    """One of the models whose weights are averaged: what it reads and how fast it learns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, description="How often all of our own comments are read.")
    rate: float = Field(gt=0, description="Learning rate of the low-rank changes.")
    public_share: float = Field(ge=0, le=1, description="Share of the public rows that an epoch reads.")
    trade_weight: float = Field(ge=0, description="What the sentiment of our comments on trade counts for.")


CUSTOMERS = Member(epochs=3, rate=5e-4, public_share=0.22, trade_weight=1.0)  # knows our comments well
GENERAL = Member(epochs=2, rate=4e-4, public_share=0.45, trade_weight=0.7)  # hears mostly other people's


class TrainSettings(BaseModel):
    """The defaults are those of the shipped weights, but for `former`: the weights shipped before them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=7, description="Chooses all that is random.")
    members: tuple[Member, ...] = Field(default=(CUSTOMERS, GENERAL), min_length=1)
    former: Path | None = Field(default=None, description="Folder of earlier weights whose changes are averaged in.")
    former_share: float = Field(default=0.5, ge=0, lt=1, description="What the changes of `former` count for.")
    first_layer: int = Field(default=4, ge=0, le=12, description="Lowest layer of the encoder that learns.")
    rank: int = Field(default=16, ge=1, le=384, description="Width of the low-rank changes of a member.")
    head_rate: float = Field(default=2e-3, gt=0, description="Learning rate of the heads.")
    head_epochs: int = Field(default=5, ge=1, description="More epochs for the heads alone, after averaging.")
    general_share: float = Field(default=1.0, ge=0, le=1, description="Weight of the general voice without a topic.")
    general_floor: float = Field(default=0.3, ge=0, le=1, description="Its weight where a topic is surely there.")
    caution: float = Field(
        default=1.4, gt=0, description="What the fitted temperature is multiplied by: other corpora are stranger."
    )
    sure_caution: float = Field(default=1.1, gt=0, description="The same for comments that surely speak of a topic.")
    emotions: int = Field(default=27_000, ge=0, description="Rows of GoEmotions, equally many a class.")
    joined: int = Field(default=2000, ge=0, description="Pairs of our own short comments made one.")
    handles: float = Field(default=0.2, ge=0, le=1, description="Share of comments dressed as public posts.")
    aside: float = Field(default=0.1, gt=0, lt=1, description="Share of our own comments kept to calibrate on.")
    own_rows: int = Field(default=100_000, ge=100, description="Most of our own comments to learn from.")
    measured_rows: int = Field(default=600, ge=1, description="Most comments of a language or file to measure on.")
    budget: int = Field(default=1024, ge=64, description="Tokens of a batch, padding included.")
    threads: int = Field(default=1, ge=1, description="Threads of the processor.")

    def quick(self) -> TrainSettings:
        """The same in a minute: few rows, few layers. For trying things out; the labels are poor."""
        few = {"first_layer": 11, "members": (GENERAL,), "head_epochs": 1, "emotions": 300, "joined": 100,
               "own_rows": 600, "measured_rows": 20}  # fmt: skip
        return self.model_copy(update=few)
