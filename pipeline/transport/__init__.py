"""A faust transport whose unit of work is the fetched batch, and whose commit is the acknowledged prefix.

Records come from Kafka by aiokafka; each run of them fetched from one partition goes to the agents as *one* event,
and the offset committed is the end of the unbroken run of acknowledged batches. That mends two things of faust in one
place: its 4 asyncio tasks a message (5,200 events/s a worker), and commits that pass an unacknowledged event.

The agent to write, `concurrency=1`:

    app = make_app("vocstream-facts", "127.0.0.1:9092", datadir="/var/lib/vocstream/facts")

    @app.agent(batch_topic(app, "feedback.responses"))
    async def facts(stream):
        async for event in stream.noack().events():
            batch = event.value                  # Batch: topic, partition, first_offset, next_offset, records
            await store(batch.records)           # tries again in place, for as long as it takes
            await stream.ack(event)              # only now: all of it is durable

Nothing may escape the loop body: an exception restarts the agent, and the batch it held is not delivered again before
the next rebalance or restart. What cannot be used goes to dead letters; what cannot be stored is tried again;
what is hopeless ends the process. Several agents on one topic each get the batch, and all must acknowledge it.

    app.consumer.lag()            {(topic, partition): records behind}
    app.consumer.stalled_for()    seconds without progress while there is something to do; `stall()` says what

Not for: tables, `exactly_once`, `async for value in stream` (refused with an error), `take()`.
"""

from pipeline.transport.app import BatchApp, batch_topic, make_app
from pipeline.transport.batch import Batch, Record
from pipeline.transport.driver import SCHEME, Transport, register
from pipeline.transport.settings import BatchSettings

__all__ = ["SCHEME", "Batch", "BatchApp", "BatchSettings", "Record", "Transport", "batch_topic", "make_app", "register"]
