"""The embedded store: the ClickHouse engine (chDB) in one process, behind ClickHouse's HTTP interface.

    python -m infra.store --data DIR --port N          # or `await infra.store.server.run(StoreSettings(...))`

Clients see a ClickHouse server. A request (`http.py`, `request.py`) says who it is (`users.py`) and what it wants;
`execute.py` finds out whether that may run and moves data in and out; `engine.py` is the engine. It has no tables of
its own: the migrations of infra.clickhouse make them, here and on a server.

It is for one machine: laptops, demos, small installations, tests. What it lacks beside a ClickHouse server:

* HTTP only: no native protocol (port 9000), no TLS; it listens on loopback unless told otherwise;
* no grants: a user reads and writes everything, or only reads (`readonly = 2`). The database `default` stays;
* one process holds the data: no replicas, no shards, no `ON CLUSTER`, no BACKUP to a file;
* functions that leave the store (`file()`, `url()`, `s3()`, ...) are refused unless VOC_STORE_EXTERNAL_SOURCES is set,
  and always to users who only read;
* the newest rows may be lost at a power cut (`fsync_after_insert` is off), never at a kill.
"""
