"""The topics on the broker: created with kafka-python's administration client, never changed behind anyone's back.

What they are called and carry is `schemas.topics`; how many partitions and how long records are kept is set here.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.settings import PartSettings
from schemas.topics import TOPICS

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # room for the largest comment that is still cut rather than refused


class TopicSettings(PartSettings):
    """How the topics are laid out."""

    model_config = SettingsConfigDict(env_prefix="VOC_TOPICS_", extra="forbid", frozen=True)

    partitions: int = Field(4, ge=1, description="Partitions of a new topic: the most workers a lane can use.")
    replication: int = Field(1, ge=1, description="Replicas of a new topic; 3 on a real cluster.")
    retention_hours: int = Field(24 * 7, ge=1, description="How long a record can be replayed.")


def admin(brokers: str) -> KafkaAdminClient:
    """An administration client; raises NoBrokersAvailable when none of `brokers` answers."""
    return KafkaAdminClient(
        bootstrap_servers=brokers.split(","), client_id="vocstream-admin", bootstrap_timeout_ms=5_000
    )


def create_topics(brokers: str, settings: TopicSettings) -> list[str]:
    """Create what is missing of the topics; the names created."""
    with closing(admin(brokers)) as client:
        present = set(client.list_topics())
        missing = [topic.name for topic in TOPICS if topic.name not in present]
        created = []
        for name in missing:
            try:
                client.create_topics([_new_topic(name, settings)])
            except TopicAlreadyExistsError:  # another process was quicker
                continue
            created.append(name)
        return created


def describe_topics(brokers: str) -> list[dict[str, Any]]:
    """Name, partitions and what each of our topics is for; `partitions` is 0 where it is missing."""
    with closing(admin(brokers)) as client:
        present = {t["name"]: t for t in client.describe_topics(client.list_topics())}
    return [
        {
            "topic": topic.name,
            "partitions": len(present[topic.name]["partitions"]) if topic.name in present else 0,
            "written_by": topic.written_by,
            "read_by": topic.read_by,
            "description": topic.description,
        }
        for topic in TOPICS
    ]


def _new_topic(name: str, settings: TopicSettings) -> NewTopic:
    return NewTopic(
        name,
        num_partitions=settings.partitions,
        replication_factor=settings.replication,
        topic_configs={
            "retention.ms": str(settings.retention_hours * 3_600_000),
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        },
    )
