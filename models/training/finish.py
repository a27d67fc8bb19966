"""The second stage of training, after `models.training.train`: cheap, on token vectors that no longer change.

    python -m models.training.finish --data FOLDER --start FIRST_STAGE --out models/weights/default

1. The topic heads go on learning from our own comments: they need more steps than the encoder's layers bear.
2. A linear "general voice" is fitted on UCI and GoEmotions alone. Our own comments are all about trade; a head that saw
   Portuguese and Spanish only there takes any chatty text for praise. The two are multiplied (`Heads.general_share`).
3. Temperature and thresholds are fitted again on the comments kept aside.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models import convert, heads, taxonomy
from models.encoder import Encoder
from models.training import data
from models.training.calibrate import fit_temperature, fit_thresholds
from models.training.learn import FEELING_WEIGHT, TOPIC_WEIGHT, Targets, losses, predict
from models.training.network import Lower, Network, batches, lower_states

SHARE = 0.4
GENERAL_ROWS = 6000


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


def more_topics(
    network: Network, lower: Lower, examples: Sequence[data.Example], topics: Sequence[str], epochs: int, seed: int
) -> None:
    """Trains what finds topics and their sentiment, and nothing else, in place."""
    generator = np.random.default_rng(seed)
    targets = Targets.of(examples, topics)
    found = network.heads
    learning = [found.queries, found.presence, found.presence_bias, *found.topic_sentiment.parameters()]
    plan = [rows for _ in range(epochs) for rows in batches(lower, 1024, generator, range(len(examples)))]
    optimiser = torch.optim.AdamW(learning, lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, len(plan))
    layers, network.layers = network.layers, torch.nn.ModuleList()  # the vectors are final already
    network.train()
    for step, rows in enumerate(plan, 1):
        parts = losses(network, lower, targets, rows)
        optimiser.zero_grad()
        (TOPIC_WEIGHT * parts[1] + FEELING_WEIGHT * parts[2]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 200 == 0:
            print(f"topics {step}/{len(plan)}: {parts[1].item():.4f} {parts[2].item():.3f}", flush=True)
    network.layers = layers
    network.eval()


def fit_general(found: heads.Heads, final: Lower, examples: Sequence[data.Example]) -> None:
    """Fits `Heads.general` on three-class `examples`, classes weighted equally."""
    vectors = np.zeros((len(examples), found.queries.shape[1]), np.float32)
    with torch.inference_mode():
        for at in range(len(examples)):
            mean = found.norm(torch.from_numpy(final.rows[at].astype(np.float32))).mean(0)
            vectors[at] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    truth = [heads.DIRECTIONS[min(example.classes)] for example in examples]
    model = LogisticRegression(C=5.0, max_iter=1000, class_weight="balanced").fit(vectors, truth)
    found.general.weight.data = torch.from_numpy(model.coef_.astype(np.float32))
    found.general.bias.data = torch.from_numpy(model.intercept_.astype(np.float32))
    found.general_share = SHARE


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True, help="folder written by models.training.train")
    parser.add_argument("--out", type=Path, default=heads.SHIPPED)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--joined", type=int, default=700)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args(arguments)

    torch.manual_seed(chosen.seed)
    topics = taxonomy.load()
    found, card = heads.load(chosen.start)
    first = int(card.training["first_layer"])
    encoder = Encoder.load(convert.ensure_default_model(progress=True))
    heads.apply_to_encoder(chosen.start, encoder.model)
    network = Network(encoder, first, len(topics.ids)).eval()
    network.heads = found

    def lower(examples: Sequence[data.Example]) -> Lower:
        return lower_states(encoder, [example.text for example in examples], first, chosen.cache)

    corpus = data.own_corpus("train")
    shuffled = data.sample(corpus, len(corpus), chosen.seed)
    aside, own = shuffled[: len(corpus) // 10], shuffled[len(corpus) // 10 :]
    own += data.taxonomy_phrases(topics) + data.joined(own, chosen.joined, chosen.seed)
    more_topics(network, final_states(network, lower(own)), own, topics.ids, chosen.epochs, chosen.seed)

    general = data.uci(chosen.data) + data.balanced(data.goemotions(chosen.data), 9000, chosen.seed)
    general = data.sample(general, GENERAL_ROWS, chosen.seed)
    fit_general(found, final_states(network, lower(general)), general)

    foreign = data.public_aside(chosen.data, len(aside), chosen.seed)
    overall, mentioned = predict(network, encoder, [example.text for example in [*aside, *foreign]], chosen.cache)
    targets = Targets.of([*aside, *foreign], topics.ids)
    card.temperature = fit_temperature(overall, targets.classes.numpy())
    card.thresholds = fit_thresholds(mentioned[: len(aside)], targets.present[: len(aside)].numpy())
    card.general_share = SHARE
    heads.save(chosen.out, found, card)
    if chosen.start != chosen.out:
        shutil.copy(chosen.start / heads.ENCODER_WEIGHTS, chosen.out / heads.ENCODER_WEIGHTS)
    print(f"written to {chosen.out}: temperature {card.temperature:.2f}")


if __name__ == "__main__":
    main()
