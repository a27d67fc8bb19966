"""The general voice moves mass between directions and leaves the proportions within each alone."""

from __future__ import annotations

import torch

from models.heads import DIRECTIONS, Heads


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
