"""What the settings of this room's parts have in common: an unknown name under their prefix stops the start.

A misspelt setting that is silently a default would fill a disk or lose a password. The command line refuses unknown
`VOC_` names of all rooms together (`pipeline.settings`); this holds for parts that are started without it.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import model_validator
from pydantic_settings import BaseSettings


class PartSettings(BaseSettings):
    """Settings read from the environment under `env_prefix`; unknown names there are refused (ValidationError)."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: Any) -> Any:
        prefix = str(cls.model_config.get("env_prefix", "")).upper()
        known = {prefix + name.upper() for name in cls.model_fields}
        unknown = sorted(name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known)
        if unknown:
            raise ValueError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return values
