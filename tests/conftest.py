"""Fixtures that more than one folder uses."""

from tests.integration.stream_fixture import score_stack, stream, tenant

__all__ = ["score_stack", "stream", "tenant"]
