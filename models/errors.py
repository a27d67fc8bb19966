"""What can go wrong before the first comment is read: one error type, whose text says what to do."""

from __future__ import annotations


class ModelError(Exception):
    """A model, its weights or its taxonomy cannot be used; the message names the file and the remedy."""
