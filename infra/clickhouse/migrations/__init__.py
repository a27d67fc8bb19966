"""The numbered SQL files: applied by infra/clickhouse/migrate.py, their placeholders are in infra/clickhouse/sql.py."""
