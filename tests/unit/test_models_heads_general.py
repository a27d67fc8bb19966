"""The general voice moves mass between directions and leaves the proportions within each alone."""

from __future__ import annotations

import numpy as np
import torch

from models.heads import DIRECTIONS, Heads, leaning, opposed


def test_the_general_voice_only_moves_mass_between_directions() -> None:
    torch.manual_seed(2)
    network = Heads(16, 2).eval()
    hidden, mask = torch.randn(3, 4, 16), torch.ones(3, 4, dtype=torch.int64)
    with torch.inference_mode():
        before = network(hidden, mask).sentiment.softmax(-1)
        network.general.bias.data = torch.tensor([4.0, 0.0, 0.0])
        network.general_share = 0.5
        after = network(hidden, mask).sentiment.softmax(-1)
    groups = torch.tensor(DIRECTIONS)
    assert (after[:, groups == 0].sum(-1) > before[:, groups == 0].sum(-1)).all()
    for direction in range(3):
        inside = groups == direction
        assert torch.allclose(
            before[:, inside] / before[:, inside].sum(-1, keepdim=True),
            after[:, inside] / after[:, inside].sum(-1, keepdim=True),
            atol=1e-5,
        )


def test_the_general_voice_is_heard_less_where_a_topic_is_found() -> None:
    torch.manual_seed(2)
    network = Heads(16, 2).eval()
    hidden, mask = torch.randn(3, 4, 16), torch.ones(3, 4, dtype=torch.int64)
    network.general.bias.data = torch.tensor([4.0, 0.0, 0.0])
    network.general_share = 0.8
    with torch.inference_mode():
        network.presence_bias.data.fill_(-8.0)
        alone = network(hidden, mask).sentiment.softmax(-1)[:, :2].sum(-1)
        network.presence_bias.data.fill_(8.0)
        found = network(hidden, mask).sentiment.softmax(-1)[:, :2].sum(-1)
        network.general_share = 0.0
        without = network(hidden, mask).sentiment.softmax(-1)[:, :2].sum(-1)
    assert (alone > found).all()
    assert torch.allclose(found, without, atol=0.01)


def test_praise_of_one_topic_and_blame_of_another_are_mixed() -> None:
    overall = np.array([[0.2, 0.4, 0.1, 0.2, 0.0, 0.1]])
    feelings = np.array([[[0.0, 0.0, 0.0, 0.1, 0.9], [0.8, 0.2, 0.0, 0.0, 0.0]]])
    both = opposed(overall, np.array([[0.9, 0.9]]), feelings)
    one = opposed(overall, np.array([[0.0, 0.9]]), feelings)
    assert both[0].argmax() == 5
    assert np.allclose(both.sum(-1), 1.0)
    assert np.allclose(one, overall)


def test_the_feeling_of_a_topic_leans_on_that_of_the_comment() -> None:
    unsure = np.array([[[0.1, 0.2, 0.1, 0.3, 0.3]]])
    sure = np.array([[[0.001, 0.001, 0.001, 0.03, 0.967]]])
    angry, torn = np.array([[0.7, 0.2, 0.05, 0.03, 0.01, 0.01]]), np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    assert unsure[0, 0, 3:].sum() > 0.5
    assert leaning(unsure, angry)[0, 0, :2].sum() > 0.5, "half a praise in an angry comment is blame"
    assert leaning(sure, angry)[0, 0].argmax() == 4
    assert np.allclose(leaning(unsure, torn), unsure)
    assert np.allclose(leaning(unsure, angry).sum(-1), 1.0)
