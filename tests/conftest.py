"""Fixtures that more than one folder uses."""

from hypothesis import settings

from tests.integration.stream_fixture import score_stack, stream, tenant

__all__ = ["score_stack", "stream", "tenant"]

# How long an example takes says something of the machine, and nothing of the program.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
