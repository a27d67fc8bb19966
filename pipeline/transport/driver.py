"""The transport under its URL scheme `batch://host:port[,host:port...]`.

An installed distribution announces it by the entry point `faust.transports`; `register` does the same for a checkout.
"""

from __future__ import annotations

from typing import ClassVar

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as base

from pipeline.transport.consumer import BatchConsumer

SCHEME = "batch"


class Transport(base.Transport):
    """aiokafka's producer and topic administration, with the batch consumer."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer


def register() -> None:
    """Make faust know the scheme; calling it again changes nothing."""
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
