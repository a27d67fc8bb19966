"""Training examples out of the project's own corpus and of public corpora of permissive licence.

Own comments: `models/corpus/*.jsonl`. Public ones: a folder of JSON Lines named by `--data` (not shipped): UCI
sentiment sentences and GoEmotions (CC BY 4.0) and MAMS (Apache-2.0). Corpora of research licences are never read here;
`models.evaluate` measures on them.

A corpus of three classes does not say how strong a feeling is, so a target is the *set* of classes that may be right:
"negative" is {very_negative, negative}.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.heads import CLASSES, LEVELS
from models.taxonomy import Taxonomy
from models.text import clean
from models.training.intents import BANKING, CLINC, FOREIGN_PARENTS, topic_of

CORPUS = Path(__file__).parent.parent / "corpus"
CLASS_SETS = {
    **{name: frozenset({at}) for at, name in enumerate(CLASSES)},
    "any_negative": frozenset({0, 1}),
    "any_positive": frozenset({3, 4}),
}
THREE = {"negative": "any_negative", "neutral": "neutral", "positive": "any_positive"}

THREE_CLASSES = [CLASS_SETS[name] for name in THREE.values()]
EVERYDAY = "everyday"  # the trade of comments that are about no trade
CONTRAST = {"en": "but", "pt": "mas", "es": "pero"}

# Aspects of MAMS that mean one topic of ours; its `place`, `menu`, `service` and `miscellaneous` mean several.
MAMS_TOPICS = {
    "food": "food.quality", "staff": "service.attitude", "ambience": "place.comfort", "price": "price.value",
}  # fmt: skip
# Aspects of which none may be there for the topic to be absent.
MAMS_RELATED = {
    "food.quality": {"food", "menu"}, "service.attitude": {"staff", "service"},
    "place.comfort": {"ambience", "place"}, "price.value": {"price"},
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One comment to learn from.

    `classes`: which sentiment classes may be right, empty when not told. `mentions`: topic -> the levels that may be
    right. `absent`: topics known not to be mentioned. `exhaustive`: whether that is all topics not in `mentions`.
    `everyday`: about life in general, not about a purchase or a service. `weight`: what its sentiment counts for.
    """

    text: str
    classes: frozenset[int]
    mentions: dict[str, frozenset[int]] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    exhaustive: bool = False
    language: str = ""
    everyday: bool = False
    weight: float = 1.0


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSON Lines file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def own_corpus(split: str, folder: Path = CORPUS) -> list[Example]:
    """Our own comments of one split (`train` or `test`), sentiment in six classes, topics exhaustive."""
    examples = []
    for path in sorted(folder.glob("*.jsonl")):
        for row in read_lines(path):
            if row["split"] != split:
                continue
            mentions = {
                mention["topic"]: CLASS_SETS[mention["sentiment"]]
                for mention in row["topics"]
                if mention["sentiment"] in LEVELS
            }
            classes = CLASS_SETS[row["sentiment"]]
            examples.append(
                Example(
                    clean(row["text"]), classes, mentions, exhaustive=True, language=row["language"],
                    everyday=row["trade"] == EVERYDAY,
                )
            )  # fmt: skip
    return examples


def uci(folder: Path) -> list[Example]:
    """UCI sentiment labelled sentences: products, restaurants, films; two classes."""
    return [
        Example(clean(row["text"]), CLASS_SETS[THREE[row["label"]]], language="en")
        for row in read_lines(folder / "uci_sentences.jsonl")
    ]


def goemotions(folder: Path, part: str = "train") -> list[Example]:
    """GoEmotions, its 27 emotions as three classes; rows whose emotions disagree are left out."""
    return [
        Example(clean(row["text"]), CLASS_SETS[THREE[row["label"]]], language="en")
        for row in read_lines(folder / f"goemotions_{part}.jsonl")
        if row["label"] in THREE
    ]


def mams(folder: Path, part: str = "train") -> list[Example]:
    """MAMS: restaurant sentences with several aspects. Both a praised and a blamed one make the sentence mixed."""
    examples = []
    for row in read_lines(folder / f"mams_acsa_{part}.jsonl"):
        feelings = {polarity for _, polarity in row["cats"]}
        both = {"positive", "negative"} <= feelings
        name = "mixed" if both else THREE[next(iter(feelings - {"neutral"}), "neutral")]
        mentions = {
            MAMS_TOPICS[aspect]: CLASS_SETS[THREE[polarity]]
            for aspect, polarity in row["cats"]
            if aspect in MAMS_TOPICS and polarity in THREE
        }
        aspects = {aspect for aspect, _ in row["cats"]}
        absent = frozenset(topic for topic, related in MAMS_RELATED.items() if not related & aspects)
        examples.append(Example(clean(row["text"]), CLASS_SETS[name], mentions, absent, language="en"))
    return examples


def questions(folder: Path) -> list[Example]:
    """CLINC150: requests to an assistant. They ask, and feel nothing."""
    return [
        Example(clean(row["text"]), CLASS_SETS["neutral"], language="en")
        for row in read_lines(folder / "clinc150_train.jsonl")
    ]


def intents(folder: Path, topics: Taxonomy, most: int, seed: int) -> list[Example]:
    """Sentences of Banking77 and CLINC150 that speak of a topic of ours, at most `most` a topic and corpus."""
    absent = frozenset(topic.id for topic in topics.topics if topic.parent in FOREIGN_PARENTS)
    found: dict[tuple[str, str], list[Example]] = {}
    for name, table in (("banking77_train", BANKING), ("clinc150_train", CLINC)):
        for row in read_lines(folder / f"{name}.jsonl"):
            topic = topic_of(table, row["label"])
            if topic in topics.ids:
                example = Example(clean(row["text"]), frozenset(), {topic: frozenset()}, absent, language="en")
                found.setdefault((name, topic), []).append(example)
    return [example for key in sorted(found) for example in sample(found[key], most, seed)]


def taxonomy_phrases(topics: Taxonomy) -> list[Example]:
    """What the taxonomy says of each topic, as comments that mention it and say nothing of a feeling."""
    return [
        Example(clean(phrase), frozenset(), {topic.id: frozenset()}, exhaustive=True)
        for topic in topics.topics
        for phrase in topic.phrases()
    ]


def joined(examples: list[Example], count: int, seed: int) -> list[Example]:
    """`count` pairs of short comments made one: two topics, each with its own feeling, often opposite ones.

    Natural comments seldom set two topics against each other; without such pairs the feeling towards one colours the
    other. Two thirds of the pairs are of opposite directions and become `mixed`.
    """
    generator = random.Random(seed)
    directions = {frozenset({0}): -1, frozenset({1}): -1, frozenset({3}): 1, frozenset({4}): 1}
    pools: dict[tuple[str, int], list[Example]] = {}
    for example in examples:
        if example.classes in directions and len(example.mentions) == 1 and len(example.text) < 90:
            pools.setdefault((example.language, directions[example.classes]), []).append(example)
    languages = sorted({language for language, _ in pools} & set(CONTRAST))
    made: list[Example] = []
    while len(made) < count and languages:
        language, first = generator.choice(languages), generator.choice((-1, 1))
        second = first if generator.random() < 1 / 3 else -first
        if not pools.get((language, first)) or not pools.get((language, second)):
            continue
        a, b = generator.choice(pools[language, first]), generator.choice(pools[language, second])
        if a.mentions.keys() & b.mentions.keys():
            continue
        contrast = first != second and generator.random() < 0.6
        link = f", {CONTRAST[language]} " if contrast else generator.choice((". ", ", ", " "))
        tail = b.text[0].lower() + b.text[1:] if link != ". " else b.text
        classes = a.classes | b.classes if first == second else CLASS_SETS["mixed"]
        text = a.text.rstrip(" .!,") + link + tail
        made.append(Example(text, classes, {**a.mentions, **b.mentions}, exhaustive=True, language=language))
    return made


def balanced(examples: list[Example], count: int, seed: int) -> list[Example]:
    """About `count` examples, equally many of each target."""
    groups: dict[frozenset[int], list[Example]] = {}
    for example in examples:
        groups.setdefault(example.classes, []).append(example)
    chosen = [e for classes in sorted(groups, key=sorted) for e in sample(groups[classes], count // len(groups), seed)]
    return sample(chosen, len(chosen), seed)


def public(folder: Path, topics: Taxonomy, emotions: int, seed: int) -> list[Example]:
    """The public training rows: all of UCI and MAMS, `emotions` of GoEmotions, a few questions and intents."""
    return [
        *uci(folder),
        *mams(folder),
        *balanced(goemotions(folder), emotions, seed),
        *sample(questions(folder), emotions // 30, seed),
        *intents(folder, topics, emotions // 180, seed),
    ]


def public_aside(folder: Path, count: int, seed: int) -> list[Example]:
    """About `count` public rows that `public` never returns, to calibrate on."""
    half = count // 2
    return [*balanced(goemotions(folder, "dev"), half, seed), *sample(mams(folder, "val"), half, seed)]


def with_handles(examples: list[Example], share: float, seed: int) -> list[Example]:
    """A `share` of `examples` addressed to an account, some with a hashtag or a link at the end, as posts are."""
    generator = random.Random(seed)
    dressed = []
    for example in examples:
        text = example.text
        if generator.random() < share:
            text = " ".join(["@user"] * generator.choice((1, 1, 1, 2)) + [text])
        if generator.random() < share / 2:
            text += " #" + generator.choice([word for word in example.text.split() if word.isalpha()] or ["x"])
        if generator.random() < share / 3:
            text += " http"
        dressed.append(replace(example, text=text))
    return dressed


def shuffled(rows: list[Any], seed: int = 3) -> list[Any]:
    """The same rows in another order, always the same one."""
    return random.Random(seed).sample(rows, len(rows))


def sample(examples: list[Example], count: int, seed: int) -> list[Example]:
    """At most `count` examples, chosen by `seed`."""
    return random.Random(seed).sample(examples, min(count, len(examples)))
