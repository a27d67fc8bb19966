"""What a notebook does with SQLAlchemy and the dialect of clickhouse-connect; exits 1 when an answer is wrong.

Run with the Python of Superset. STORE_URL is the address of the user who only reads.
"""

from __future__ import annotations

import os

import pandas
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

engine = create_engine(os.environ["STORE_URL"].replace("http://", "clickhousedb://", 1) + "/feedback")
with engine.connect() as connection:
    query = text("SELECT sum(n) FROM scores_daily WHERE tenant = :tenant AND metric IN (:first, :second)")
    answers = connection.execute(query, {"tenant": "acme", "first": "nps", "second": "csat"}).scalar()
    assert answers > 0, answers
    frame = pandas.read_sql(text("SELECT * FROM scores_daily WHERE tenant = 'acme'"), connection)
    both = frame[frame.metric.isin(["nps", "csat"])]
    assert both.n.sum() == answers, (both.n.sum(), answers)
    refused = ""
    try:
        connection.execute(text("TRUNCATE TABLE responses"))
    except SQLAlchemyError as error:
        refused = str(error)
    assert "READONLY" in refused, refused
tables = inspect(engine)
assert "scores_daily" in tables.get_view_names() + tables.get_table_names()
columns = {column["name"]: str(column["type"]) for column in tables.get_columns("scores_daily")}
assert list(columns) == list(frame.columns), columns
