"""The default model, converted if it is not there yet: once a machine, with a progress bar."""

from __future__ import annotations

from models.settings import ModelSettings


def ensure_models() -> None:
    """Make sure the model that the settings name can be loaded; converts the default one on first use."""
    settings = ModelSettings()
    if settings.encoder == "default":
        from models.convert import ensure_default_model

        ensure_default_model(settings.dir, progress=True)


if __name__ == "__main__":
    ensure_models()
