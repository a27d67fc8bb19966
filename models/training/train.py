"""Makes the shipped weights: data in, a folder of weights and their card out.

    train(data: Path | None, out: Path, *, settings: TrainSettings = TrainSettings(), quick: bool = False,
          tell: Callable[[str], None] = print) -> None

`data` is the folder of the public corpora (`models.training.data` says which; None: our own corpus alone). `out` gets
the weights that `models.heads` reads, and `card.md`, the model card with the figures measured on our own test split.
`tell` is handed one line at a time as the work goes on. Everything that chooses is seeded.

1. Each member (`models.training.settings`) is trained apart, in a process of its own: low-rank changes of the
   encoder's upper layers, and heads. One hears our own comments often, one hears mostly other people's.
2. Their changes are averaged: the mean is better on comments unlike all of these than either is. Those of earlier
   weights may be averaged in (`TrainSettings.former`).
3. The heads learn on, alone, on what the averaged encoder says; and a linear "general voice" is fitted on public text
   alone, which speaks where a comment is about no trade (`Heads.general_share`).
4. One temperature and a threshold a topic are fitted on comments kept aside, ours and public ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models import adapters, convert, heads, taxonomy
from models.encoder import Encoder
from models.errors import ModelError
from models.training import data as corpora
from models.training.calibrate import fit_temperature, fit_thresholds
from models.training.card import CARD
from models.training.card import write as write_card
from models.training.learn import Targets, Tell, fit_general, learn, learn_heads, predict
from models.training.network import Lower, Network, changes, factors_of, final_states, lower_states
from models.training.processes import side_by_side
from models.training.settings import Member, TrainSettings

NAME = "feedback"
FINISHING_ROWS = 6000  # public rows that the heads and the general voice are fitted on


@dataclass(frozen=True)
class Material:
    """What to learn from (`own`, `public`) and what to calibrate on (`aside` of ours, `foreign` of the public)."""

    own: list[corpora.Example]
    public: list[corpora.Example]
    aside: list[corpora.Example]
    foreign: list[corpora.Example]


def gather(folder: Path | None, topics: taxonomy.Taxonomy, settings: TrainSettings) -> Material:
    """Reads and mixes the corpora. Raises ModelError that names what is missing."""
    corpus = corpora.own_corpus("train")
    shuffled = corpora.sample(corpus, settings.own_rows, settings.seed)
    count = round(len(shuffled) * settings.aside)
    aside, own = shuffled[:count], shuffled[count:]
    own = [
        *corpora.with_handles(own, settings.handles, settings.seed),
        *corpora.joined(own, settings.joined, settings.seed),
        *corpora.taxonomy_phrases(topics),
    ]
    if folder is None:
        return Material(own, [], aside, [])
    try:
        public = corpora.public(folder, topics, settings.emotions, settings.seed)
        foreign = corpora.public_aside(folder, count, settings.seed)
    except OSError as error:
        raise ModelError(f"the folder of public corpora lacks a file: {error}") from error
    return Material(own, public, aside, foreign)


def train(
    data: Path | None,
    out: Path,
    *,
    settings: TrainSettings | None = None,
    quick: bool = False,
    tell: Tell = print,
) -> None:
    """See the module's text. Raises ModelError when the encoder or a corpus cannot be had."""
    settings = settings or TrainSettings()
    settings = settings.quick() if quick else settings
    torch.manual_seed(settings.seed)
    topics = taxonomy.load()
    material = gather(data, topics, settings)
    encoder = Encoder.load(convert.ensure_default_model(progress=True), threads=settings.threads)

    def lower(examples: Sequence[corpora.Example]) -> Lower:
        return lower_states(encoder, [example.text for example in examples], settings.first_layer)

    tell("reading: the encoder's lower layers, once")
    everything = Lower([*lower(material.own).rows, *lower(material.public).rows])

    def job(at: int, member: Member) -> Callable[[Tell], dict[str, torch.Tensor]]:
        def learnt(say: Tell) -> dict[str, torch.Tensor]:
            torch.manual_seed(settings.seed + at)
            network = Network(encoder, settings.first_layer, settings.rank, len(topics.ids))
            learn(network, everything, material.own, material.public, topics.ids, member, settings,
                  lambda line: say(f"member {at + 1} of {len(settings.members)}: {line}"))  # fmt: skip
            return network.learnt()

        return learnt

    states = side_by_side([job(at, member) for at, member in enumerate(settings.members)], tell)
    network = Network(encoder, settings.first_layer, settings.rank, len(topics.ids))
    network.restore(with_former(averaged(states), settings))
    finish(network, everything, material, topics, settings, tell)
    card = calibrated(network, encoder, lower(material.aside), lower(material.foreign), material, topics, settings)
    heads.save(out, network.heads, card, network.encoder_state())
    write_card(out, data, settings.measured_rows, tell)
    tell(f"written to {out}: weights, {CARD}")


def averaged(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of all members' changes of the encoder, with the heads of the first."""
    return states[0] | adapters.blended([changes(state) for state in states], [1 / len(states)] * len(states))


def with_former(learnt: dict[str, torch.Tensor], settings: TrainSettings) -> dict[str, torch.Tensor]:
    """`learnt` with the changes of earlier weights averaged in, where there are any."""
    if settings.former is None:
        return learnt
    former = factors_of(settings.former, settings.first_layer)
    return learnt | adapters.blended([former, changes(learnt)], [settings.former_share, 1 - settings.former_share])


def finish(
    network: Network, everything: Lower, material: Material, topics: taxonomy.Taxonomy, settings: TrainSettings,
    tell: Tell,
) -> None:  # fmt: skip
    """Step 3: heads and general voice, in place. `everything` holds the own and the public rows, in this order."""
    generator = np.random.default_rng(settings.seed)
    others = generator.permutation(len(material.public))[:FINISHING_ROWS].tolist()
    public = [material.public[at] for at in others]
    rows = [*range(len(material.own)), *(len(material.own) + at for at in others)]
    final = final_states(network, Lower([everything.rows[row] for row in rows]))
    learn_heads(network, final, [*material.own, *public], topics.ids, settings, tell)
    three = [at for at, example in enumerate(public) if example.classes in corpora.THREE_CLASSES]
    if three:
        shift = len(material.own)
        fit_general(network.heads, Lower([final.rows[shift + at] for at in three]), [public[at] for at in three])
        network.heads.general_share, network.heads.general_floor = settings.general_share, settings.general_floor


def calibrated(
    network: Network, encoder: Encoder, aside: Lower, foreign: Lower, material: Material, topics: taxonomy.Taxonomy,
    settings: TrainSettings,
) -> heads.HeadsCard:  # fmt: skip
    """Temperature and thresholds that suit the comments kept aside. Half of those are close to our own comments, half
    are not: comments nobody here has seen are neither."""
    overall, mentioned = predict(network, aside)
    strange, _ = predict(network, foreign) if foreign.rows else (overall[:0], None)
    targets = Targets.of([*material.aside, *material.foreign], topics.ids)
    fitted = fit_temperature(np.concatenate([overall, strange]), targets.classes.numpy())
    return heads.HeadsCard(
        name=NAME,
        encoder=convert.NAME,
        width=encoder.width,
        topics=topics.ids,
        thresholds=fit_thresholds(mentioned, targets.present[: len(mentioned)].numpy()),
        temperature=settings.caution * fitted,
        sure_temperature=settings.sure_caution * fitted,
        general_share=network.heads.general_share,
        general_floor=network.heads.general_floor,
        training={
            **settings.model_dump(exclude={"members", "former", "former_share"}),
            "former_share": settings.former_share if settings.former else 0.0,
            "members": len(settings.members),
            "own": len(material.own),
            "public": len(material.public),
        },
    )
