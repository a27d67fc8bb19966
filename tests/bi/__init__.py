"""The tools people look at scores with, run for real against the embedded store: `make test-bi` (docs/bi.md).

Superset, dbt and Node live in environments of their own that make prepares (.venv-superset, .venv-dbt, .venv-node); a
tool that is not there is skipped and named.
"""
