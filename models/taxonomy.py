"""The taxonomy of topics: a YAML file that people edit, checked on reading. No torch here.

Read by `models.topics` (descriptions and examples become vectors) and by whoever shows topics to people (names).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import ModelError

SHIPPED = Path(__file__).parent / "taxonomy.yaml"
OTHER = "other"

Text = dict[str, str]


class Topic(BaseModel):
    """One leaf: what it is called and how people speak of it, a language each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")
    name: Text = Field(min_length=1)
    description: Text = Field(min_length=1)
    examples: dict[str, list[str]] = Field(default_factory=dict)

    @property
    def parent(self) -> str:
        """The id of the parent: what stands before the last dot."""
        return self.id.rpartition(".")[0]

    def phrases(self) -> list[str]:
        """Every text that describes the topic, in all languages: names, descriptions, examples."""
        examples = [phrase for phrases in self.examples.values() for phrase in phrases]
        return [*self.name.values(), *self.description.values(), *examples]


class Taxonomy(BaseModel):
    """All topics, in the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)
    parents: dict[str, Text] = Field(default_factory=dict)
    topics: list[Topic] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Taxonomy:
        twice = [topic for topic, count in Counter(topic.id for topic in self.topics).items() if count > 1]
        if twice:
            raise ValueError(f"the topic {twice[0]} is listed twice")
        orphans = [topic.id for topic in self.topics if topic.parent not in self.parents]
        if orphans:
            raise ValueError(f"the parent of {orphans[0]} is missing under `parents`")
        return self

    @property
    def ids(self) -> list[str]:
        """Ids of the leaves, in order."""
        return [topic.id for topic in self.topics]

    def name(self, topic: str, language: str = "en") -> str:
        """What people call a leaf or a parent; the id itself when the taxonomy does not know it."""
        if topic == OTHER:
            return {"pt": "Outros", "es": "Otros"}.get(language, "Other")
        names = self.parents.get(topic) or next((t.name for t in self.topics if t.id == topic), None)
        return (names.get(language) or next(iter(names.values()))) if names else topic


def load(path: Path | None = None) -> Taxonomy:
    """Reads a taxonomy (the shipped one by default). Raises ModelError that says what is wrong and where."""
    path = path or SHIPPED
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read the taxonomy {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"the taxonomy {path} is not valid YAML: {error}") from error
    try:
        return Taxonomy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise ModelError(f"the taxonomy {path} is wrong at {where}: {first['msg']}") from error
