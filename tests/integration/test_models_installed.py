"""`vocstream models`: what is there is checked by SHA-256; what is fetched comes from a hub, here a local one."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.integration.stream_fixture import vocstream

COMMIT = "a" * 40
NAME = "some/model"
CONFIG = json.dumps({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}})
FILES = {"config.json": CONFIG.encode(), "model.safetensors": save({"w": np.zeros(3, np.float32)}), "README.md": b"# x"}


@contextmanager
def hub(files: dict[str, bytes], told: dict[str, bytes]) -> Iterator[str]:
    """The parts of the hub's HTTP interface that a download needs; its checksums are those of `told`."""

    def sibling(name: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        large = {"lfs": {"sha256": digest, "size": len(content), "pointerSize": 1}} if "safetensors" in name else {}
        return {"rfilename": name, "size": len(content), "blobId": git, **large}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith(f"/api/models/{NAME}"):
                siblings = [sibling(name, content) for name, content in told.items()]
                content = json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}})
                self._send(content.encode())
            elif path.startswith(f"/{NAME}/resolve/{COMMIT}/") and name in files:
                self._send(files[name])
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET

        def _send(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def env(endpoint: str, folder: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": endpoint, "VOC_MODEL_DIR": str(folder), "HF_HOME": str(folder / ".hub"), "NO_PROXY": "*"}


def test_a_model_is_fetched_checked_and_listed(tmp_path: Path) -> None:
    with hub(FILES, FILES) as endpoint:
        run = vocstream("models", "fetch", NAME, env=env(endpoint, tmp_path))
        missing = vocstream("models", "fetch", "no/such", env=env(endpoint, tmp_path))
    assert run.returncode == 0, run.stderr
    assert "verified" in run.stdout
    assert "licence mit" in run.stdout
    assert '{"bad": "...", "good": "..."}' in run.stdout
    assert missing.returncode == 2
    assert "no model no/such" in missing.stderr
    folder = tmp_path / "some--model"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "vocstream.json"}

    listed = json.loads(vocstream("models", "--json", env=env("", tmp_path)).stdout)
    states = {model["name"]: model["state"] for model in listed}
    assert states == {"multilingual-e5-small-q4": "not converted yet", "default": "verified", NAME: "verified"}
    (folder / "model.safetensors").write_bytes(b"something else")
    checked = vocstream("models", "check", env=env("", tmp_path))
    assert checked.returncode == 1
    assert "changed: model.safetensors" in " ".join(checked.stdout.split())


@pytest.mark.parametrize(("files", "told", "reason"), [
    (FILES, FILES | {"model.safetensors": b"the true one"}, "came with checksum"),
    ({"pytorch_model.bin": b"x"}, {"pytorch_model.bin": b"x"}, "has no .safetensors"),
])  # fmt: skip
def test_what_is_not_as_promised_is_not_kept(
    files: dict[str, bytes], told: dict[str, bytes], reason: str, tmp_path: Path
) -> None:
    with hub(files, told) as endpoint:
        run = vocstream("models", "fetch", NAME, env=env(endpoint, tmp_path))
    assert run.returncode == 2
    assert reason in " ".join(run.stderr.split())
    assert not (tmp_path / "some--model").exists()


def test_offline_is_said_with_what_to_do(tmp_path: Path) -> None:
    run = vocstream("models", "fetch", NAME, env=env("http://127.0.0.1:9", tmp_path))
    assert run.returncode == 2
    said = " ".join(run.stderr.split())
    assert "cannot fetch some/model" in said
    assert "by hand" in said
    assert "Traceback" not in run.stderr
