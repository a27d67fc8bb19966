"""The stream: from an event on Kafka to a row in ClickHouse, and the command line that runs it.

The path of one event, in the order of the files: `transport` (a batch of records off a partition) → `decoding`
(bytes to a row, or a dead letter) → `lanes` (the score lane and the label lane) → `flush` (many batches,
one insert, then the acknowledgement) → `writer` (ClickHouse) and `producer` (the topics further on).
`worker` puts them together; `supervisor` runs everything on one machine; `cli` is what people type.
"""
