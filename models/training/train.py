"""Makes the shipped weights: trains the heads, and the encoder's upper layers, and writes what `models.heads` reads.

    python -m models.training.train --data FOLDER --first-layer 7 --epochs 5
    python -m models.training.train --data FOLDER --start models/weights/default --first-layer 12   # heads only

`--data` is the folder of the public corpora (`models.training.data` says which). Everything that chooses is seeded.
A tenth of our own training comments and unseen parts of the public corpora are kept aside: temperatures and thresholds
are fitted on them.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from models import convert, heads, taxonomy
from models.encoder import Encoder
from models.training import data
from models.training.calibrate import fit_temperature, fit_thresholds
from models.training.learn import Options, Targets, learn, predict
from models.training.network import Network

NAME = "feedback"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public corpora (JSON Lines)")
    parser.add_argument("--out", type=Path, default=heads.SHIPPED)
    parser.add_argument("--start", type=Path, default=None, help="heads folder to go on from")
    parser.add_argument("--cache", type=Path, default=None, help="folder that remembers the lower layers' output")
    parser.add_argument("--first-layer", type=int, default=7, help="lowest layer that learns; 12 = heads only")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=6e-5, help="learning rate of the encoder's layers")
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--emotions", type=int, default=9000, help="rows of GoEmotions, a third of each class")
    parser.add_argument("--public-share", type=float, default=0.4, help="share of the public rows an epoch sees")
    parser.add_argument("--joined", type=int, default=900, help="pairs of own comments made one")
    parser.add_argument("--budget", type=int, default=1024, help="tokens of a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    chosen = parse(arguments)
    options = Options(
        chosen.first_layer,
        chosen.epochs,
        chosen.rate,
        chosen.head_rate,
        chosen.budget,
        chosen.public_share,
        chosen.seed,
    )
    torch.manual_seed(options.seed)
    encoder = Encoder.load(convert.ensure_default_model(progress=True), threads=chosen.threads)
    topics = taxonomy.load()
    if chosen.start:
        heads.apply_to_encoder(chosen.start, encoder.model)
    network = Network(encoder, options.first_layer, len(topics.ids))
    if chosen.start:
        network.heads = heads.load(chosen.start)[0]

    corpus = data.own_corpus("train")
    shuffled = data.sample(corpus, len(corpus), options.seed)
    aside, own = shuffled[: len(corpus) // 10], shuffled[len(corpus) // 10 :]
    own += data.taxonomy_phrases(topics) + data.joined(own, chosen.joined, options.seed)
    public = data.public(chosen.data, chosen.emotions, options.seed)
    seconds = learn(network, encoder, own, public, topics.ids, options, chosen.cache)

    # Half of what the temperature is fitted on is close to our own comments, half is not: unseen corpora are neither.
    foreign = data.public_aside(chosen.data, len(aside), options.seed)
    overall, mentioned = predict(network, encoder, [example.text for example in [*aside, *foreign]], chosen.cache)
    targets = Targets.of([*aside, *foreign], topics.ids)
    card = heads.HeadsCard(
        name=NAME,
        encoder=convert.NAME,
        width=encoder.width,
        topics=topics.ids,
        thresholds=fit_thresholds(mentioned[: len(aside)], targets.present[: len(aside)].numpy()),
        temperature=fit_temperature(overall, targets.classes.numpy()),
        training={**asdict(options), "own": len(own), "public": len(public)},
    )
    heads.save(chosen.out, network.heads, card, network.encoder_state())
    carried = chosen.start and chosen.start / heads.ENCODER_WEIGHTS
    if not network.layers and carried and carried.is_file() and chosen.start != chosen.out:
        shutil.copy(carried, chosen.out / heads.ENCODER_WEIGHTS)
    print(f"written to {chosen.out}: {seconds:.0f} s of training, temperature {card.temperature:.2f}")


if __name__ == "__main__":
    main()
