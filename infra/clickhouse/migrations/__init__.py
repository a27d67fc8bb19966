"""The numbered SQL files; infra/clickhouse/migrate.py applies them, infra/clickhouse/sql.py says how they are written."""
