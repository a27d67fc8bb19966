"""What is chosen for a training run; all of it is written to the card beside the weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """The defaults are those of the shipped weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 7
    first_layer: int = Field(default=4, ge=0, le=12, description="Lowest layer of the encoder that learns.")
    rank: int = Field(default=16, ge=1, le=384, description="Width of the low-rank changes.")
    epochs: int = Field(default=4, ge=1)
    topic_epochs: int = Field(default=6, ge=0, description="More epochs for the topic heads alone.")
    rate: float = Field(default=5e-4, gt=0, description="Learning rate of the low-rank changes.")
    head_rate: float = Field(default=2e-3, gt=0, description="Learning rate of the heads.")
    emotions: int = Field(default=9000, ge=0, description="Rows of GoEmotions, equally many a class.")
    public_share: float = Field(default=0.4, ge=0, le=1, description="Share of the public rows an epoch sees.")
    joined: int = Field(default=900, ge=0, description="Pairs of our own short comments made one.")
    handles: float = Field(default=0.3, ge=0, le=1, description="Share of everyday comments dressed as posts.")
    aside: float = Field(default=0.1, gt=0, lt=1, description="Share of our own comments kept to calibrate on.")
    own_rows: int = Field(default=100_000, ge=100, description="Most of our own comments to learn from.")
    measured_rows: int = Field(default=600, ge=1, description="Most comments of a language or file to measure on.")
    budget: int = Field(default=1024, ge=64, description="Tokens of a batch, padding included.")
    threads: int = Field(default=1, ge=1)

    def quick(self) -> TrainSettings:
        """The same in a minute: few rows, few layers. For trying things out; the labels are poor."""
        few = {"first_layer": 11, "epochs": 1, "topic_epochs": 1, "emotions": 300, "public_share": 0.2, "joined": 100,
               "own_rows": 600, "measured_rows": 20}  # fmt: skip
        return self.model_copy(update=few)
