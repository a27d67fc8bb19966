"""HTTP in, Kafka out: for upstream apps that have no Kafka client.

`events` reads a request as CloudEvents 1.0 (structured, batched, binary) and finds the topic of each; `server` answers:
202 only when the broker has acknowledged every event. The collector checks what it must in order to route, and no
more: what can be routed goes to Kafka as it came, so that the stream stays the one place that decides what is usable.
docs/collector.md says it for senders.
"""
