"""The store: how to reach ClickHouse, and the numbered migrations that make its tables, functions and views."""
