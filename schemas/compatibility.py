"""Whether a schema may take the place of the one that was published under the same version.

Takes two JSON Schemas as `schemas.published` makes them; gives the breaking changes, one sentence each, with the field.
A breaking change needs a new version: raise the `.vN` of the topic's type in `schemas.topics`.

Breaking for those who write (every mode): a field removed, a field that became required, fewer types or words allowed,
a tighter bound, a new condition. Breaking for those who read (mode `full`): a field that may now be left out, and more
types. An enumeration may gain words in every mode: readers must take a word they do not know for what it is.

>>> old = {"type": "object", "properties": {"id": {"type": ["string", "number"]}, "note": {"type": "string"}}}
>>> new = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
>>> for change in breaking_changes(old, new):
...     print(change)
id: is now required
id: no longer takes number
note: was removed
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from schemas.topics import Compatibility

Schema = dict[str, Any]

# Keyword → whether a greater value allows more.
_BOUNDS = {
    "maxLength": True,
    "maximum": True,
    "exclusiveMaximum": True,
    "maxItems": True,
    "minLength": False,
    "minimum": False,
    "exclusiveMinimum": False,
    "minItems": False,
}
_FORMS = ("format", "pattern", "const")


def breaking_changes(old: Schema, new: Schema, mode: Compatibility = Compatibility.BACKWARD) -> list[str]:
    """The changes from `old` to `new` that break `mode`, as `field: what happened`; empty where there are none."""
    writers = {f"{at}: {what}" for at, what in _narrowed(_Node(old, old), _Node(new, new), "")}
    readers = (
        {f"{at}: {what}" for at, what in _widened(_Node(old, old), _Node(new, new), "")}
        if mode is Compatibility.FULL
        else set()
    )
    return sorted(writers | readers)


class _Node:
    """A place in a schema, with references followed and the branches of `anyOf` taken apart."""

    def __init__(self, schema: Schema, root: Schema) -> None:
        self.root = root
        self.branches = list(_branches(schema, root))
        rules = [rule for branch in self.branches for rule in branch.get("allOf", ())]
        # Those with an `if` are the scales, which `x-scales` tells in a form that can be compared.
        self.conditions = {_ways(rule) for rule in rules if "if" not in rule}
        self.types: set[str] = {name for branch in self.branches for name in _types(branch)}

    def of_type(self, name: str) -> Schema:
        """The branch that describes values of this type."""
        return next((branch for branch in self.branches if name in _types(branch)), {})

    @property
    def words(self) -> set[str] | None:
        """The words of an enumeration; None where any text will do."""
        enums = [b["enum"] for b in self.branches if "enum" in b] + [
            [b["const"]] for b in self.branches if "const" in b
        ]
        return {json.dumps(word) for words in enums for word in words} if enums else None

    @property
    def properties(self) -> dict[str, _Node]:
        found = self.of_type("object").get("properties", {})
        return {name: _Node(schema, self.root) for name, schema in found.items()}

    @property
    def required(self) -> set[str]:
        return set(self.of_type("object").get("required", ()))

    @property
    def parts(self) -> dict[str, _Node]:
        """The schemas of what is inside: items of an array, values of a map."""
        inside = {"[]": self.of_type("array").get("items"), ".*": self.of_type("object").get("additionalProperties")}
        return {at: _Node(schema, self.root) for at, schema in inside.items() if isinstance(schema, dict)}


def _branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in schema and "type" not in schema:
        for branch in schema["anyOf"]:
            yield from _branches(branch, root)
    else:
        yield schema


def _types(schema: Schema) -> list[str]:
    found = schema.get("type", ())
    names = [found] if isinstance(found, str) else list(found)
    return [*names, "integer"] if "number" in names and "integer" not in names else names


def _ways(rule: Schema) -> frozenset[str]:
    """The ways in which a condition can be met; one with more ways than before asks for less."""
    return frozenset(json.dumps(way, sort_keys=True) for way in rule.get("anyOf", [rule]))


def _narrowed(old: _Node, new: _Node, at: str) -> Iterator[tuple[str, str]]:
    """What was allowed and is no longer."""
    here = at or "the event"
    if new.types:  # no type at all: anything goes
        lost = (old.types or {"any type"}) - new.types
        for name in sorted(lost - {"integer"} if "number" in lost else lost):
            yield here, f"no longer takes {name}"
    if new.words is not None and (lost := (old.words or {"any other word"}) - new.words):
        yield here, f"no longer takes {', '.join(sorted(lost))}"
    for name in sorted(old.types & new.types):
        yield from ((here, what) for what in _tightened(old.of_type(name), new.of_type(name)))
    if any(not any(before <= after for before in old.conditions) for after in new.conditions):
        yield here, "has a new condition"
    yield from ((_join(at, "score"), what) for what in _scales_lost(old.of_type("object"), new.of_type("object")))
    before, after = old.properties, new.properties
    for field in sorted(new.required - old.required):
        yield _join(at, field), "is now required"
    for field, node in before.items():
        if field not in after:
            yield _join(at, field), "was removed"
        else:
            yield from _narrowed(node, after[field], _join(at, field))
    for inside, node in old.parts.items():
        if inside in new.parts:
            yield from _narrowed(node, new.parts[inside], at + inside)
        elif new.of_type("object").get("additionalProperties") is False and inside == ".*":
            yield here, "no longer takes unknown fields"


def _tightened(old: Schema, new: Schema) -> Iterator[str]:
    for keyword, greater_is_more in _BOUNDS.items():
        if keyword not in new:
            continue
        if keyword not in old:
            yield f"has a new {keyword} of {new[keyword]}"
        elif (new[keyword] < old[keyword]) == greater_is_more and new[keyword] != old[keyword]:
            yield f"has a tighter {keyword}: {new[keyword]} instead of {old[keyword]}"
    for keyword in _FORMS:
        if keyword in new and new[keyword] != old.get(keyword) and "enum" not in old:
            yield f"has a new {keyword}: {new[keyword]}"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield "no longer takes unknown fields"


def _scales_lost(old: Schema, new: Schema) -> Iterator[str]:
    after = new.get("x-scales", {})
    for metric, scales in old.get("x-scales", {}).items():
        for scale, scores in scales.items():
            if lost := set(scores) - set(after.get(metric, {}).get(scale, ())):
                yield f"{metric} on the scale {scale} no longer takes {', '.join(map(str, sorted(lost)))}"


def _widened(old: _Node, new: _Node, at: str) -> Iterator[tuple[str, str]]:
    """What readers of the old schema do not expect."""
    for name in sorted(new.types - old.types if old.types else ()):
        yield at or "the event", f"may now be {name}, which readers of this version do not expect"
    before, after = old.properties, new.properties
    for field in sorted((old.required - new.required) & set(after)):
        yield _join(at, field), "may now be left out, which readers of this version do not expect"
    for field in before:
        if field in after:
            yield from _widened(before[field], after[field], _join(at, field))
    for inside, node in old.parts.items():
        if inside in new.parts:
            yield from _widened(node, new.parts[inside], at + inside)


def _join(at: str, field: str) -> str:
    return f"{at}.{field}" if at else field
