"""The embedded Kafka broker: Tansu, with its records in one SQLite file behind an S3 endpoint of our own.

    python -m infra.broker --data DIR --port N          # or `await infra.broker.server.run(BrokerSettings(...))`

Kafka clients talk to Tansu (`tansu.py`), Tansu stores through S3 calls (`s3.py`), these end in one SQLite file
(`objects.py`). Tansu was made for an object store that many brokers share and leaves gaps when it is killed; what makes
it safe here is on the storage's side: holes are hidden (`log.py`), notes of batches that were never stored are taken
back before each start (`recovery.py`), batches expire (`retention.py`) and small ones are merged (`compaction.py`).
`server.py` runs all of it as one process with Tansu as its child; `ready.py` asks whether it serves.

Measured by the tests: kill -9 of Tansu or of the whole broker while several producers write to one partition loses no
acknowledged record, stores none twice for an idempotent producer, and a live consumer skips none.

It is for one machine: laptops, demos, small installations, tests. What it lacks beside Apache Kafka:

* one broker, no replication: the file is the only copy. `synchronous=NORMAL` may lose the newest records at a power cut
  (never at a kill); `FULL` does not. No TLS, no authentication: it listens on loopback only;
* `ListOffsets` LATEST (and by time) is the first offset of the last batch + 1, so "latest" may repeat the rest of that
  batch, and lag must be computed from the high watermark that Fetch answers;
* a fetch below the first retained offset goes on with the next record there is, instead of OFFSET_OUT_OF_RANGE;
* transactions: aborted ones are visible, and `aiokafka`'s idempotent producer fails (others work);
* no log compaction by key; CreatePartitions and DeleteRecords do not work; `describe_groups` of kafka-python raises;
  topic configurations are accepted and ignored: retention is set for the whole broker (`settings.py`);
* after a restart a produce request in flight fails or is sent again by its client; a producer without retries must send
  again on a delivery error. Joining a group waits half a session timeout; groups have dynamic members only;
* a fetch that meets a batch which is merged or expired in that moment loses its connection; clients ask again by
  themselves;
* a producer that was idle for a day across a restart is forgotten, as Kafka does, and must begin anew.
"""
