"""A model hub on loopback: what huggingface_hub asks for metadata and files, answered from memory."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Of every repository's main branch."""
_MODEL = re.compile(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/[^?]+)?(?:\?.*)?")
_FILE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/[^/]+/([^?]+)(?:\?.*)?")


@dataclass
class Hub:
    """Repository -> path -> contents, and what was asked of it."""

    repos: Mapping[str, Mapping[str, bytes]]
    token: str | None = None
    """Then models are told to whom it came with, files to nobody, and a refusal repeats what came."""
    url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers by lower-case name) of each request."""
    sent_bytes: int = 0
    """Of file contents."""

    def tokens(self, path: str) -> set[str | None]:
        """Authorizations of all requests whose path begins so."""
        return {headers.get("authorization") for _, asked, headers in self.asked if asked.startswith(path)}


@contextmanager
def hub_server(repos: Mapping[str, Mapping[str, bytes]], *, token: str | None = None) -> Iterator[Hub]:
    """A hub that holds these repositories; ``url`` is for HF_ENDPOINT."""
    hub = Hub(repos, token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def lead_to(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead this process's huggingface_hub to the hub, with a cache of its own: what HF_ENDPOINT, HF_HUB_CACHE and
    HF_HUB_OFFLINE do at import. Afterwards call `huggingface_hub.close_session`."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            hub.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            authorization = self.headers["Authorization"]
            if hub.token and not (_MODEL.fullmatch(self.path) and authorization == f"Bearer {hub.token}"):
                self._send(401, json.dumps({"error": f"Invalid credentials: {authorization}"}).encode(), {})
            elif (found := _MODEL.fullmatch(self.path)) and found[1] in hub.repos:
                self._send(200, json.dumps(_info(found[1], hub.repos[found[1]])).encode(), {})
            elif (found := _FILE.fullmatch(self.path)) and found[2] in hub.repos.get(found[1], {}):
                self._send_file(hub.repos[found[1]][found[2]])
            else:
                known = (found := _FILE.fullmatch(self.path)) and found[1] in hub.repos
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})

        def _send_file(self, data: bytes) -> None:
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT,
                       "Accept-Ranges": "bytes"}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
            if wanted:
                first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                data = data[first:last + 1]
            hub.sent_bytes += len(data) * (self.command == "GET")
            self._send(206 if wanted else 200, data, headers)

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _info(repo: str, files: Mapping[str, bytes]) -> dict[str, object]:
    return {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "tags": [],
            "siblings": [{"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                         for name, data in files.items()]}
