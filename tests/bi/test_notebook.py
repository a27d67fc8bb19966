"""What a notebook does with clickhouse-connect: score views as pandas and Arrow, by the user who only reads."""

from __future__ import annotations

import pytest

from schemas.scores import nps_interval, nps_score
from tests.integration.store_stack import StoreHandle

pytestmark = pytest.mark.bi


def test_pandas_and_arrow_agree_with_the_formula(filled: StoreHandle) -> None:
    client = filled.client(readonly=True, database="feedback")
    query = "SELECT * FROM scores_daily WHERE tenant = {tenant:String} AND metric = 'nps' ORDER BY ALL"
    frame = client.query_df(query, parameters={"tenant": "acme"})
    table = client.query_arrow(query, parameters={"tenant": "acme"})
    assert frame.n.sum() == sum(table["n"].to_pylist()) > 0
    assert frame.score.tolist() == pytest.approx(table["score"].to_pylist())
    for row in frame.itertuples():
        counts = int(row.promoters), int(row.detractors), int(row.n)
        assert row.score == pytest.approx(nps_score(*counts), abs=1e-9)
        assert (row.ci_low, row.ci_high) == pytest.approx(nps_interval(*counts), abs=1e-9)
    client.close()
