"""A hub on loopback that knows a token: it tells a model's commit to who has it, and refuses every file with 401."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest

COMMIT = "c" * 40


class TokenHub(ThreadingHTTPServer):
    """``asked``: what was asked for, with the Authorization header that came along."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.asked: list[tuple[str, str | None]] = []

    def tokens(self, path: str) -> set[str | None]:
        """Authorizations of all requests whose path begins so."""
        return {authorization for asked, authorization in self.asked if asked.startswith(path)}


class Handler(BaseHTTPRequestHandler):
    server: TokenHub

    def do_GET(self) -> None:
        authorization = self.headers["Authorization"]
        self.server.asked.append((self.path, authorization))
        known = self.path.startswith("/api/models/") and authorization == f"Bearer {self.server.token}"
        name = self.path.removeprefix("/api/models/").partition("/revision")[0]
        answer = {"id": name, "sha": COMMIT} if known else {"error": f"Invalid credentials: {authorization}"}
        data = json.dumps(answer).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def token_hub(token: str, cache: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenHub]:
    """The hub of this process while the block runs, as HF_ENDPOINT, HF_HUB_CACHE and HF_TOKEN would make it."""
    with TokenHub(token) as hub:
        endpoint = f"http://127.0.0.1:{hub.server_address[1]}"
        files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {"ENDPOINT": endpoint, "HF_HUB_CACHE": cache, "HF_HUB_OFFLINE": False,
                            "HUGGINGFACE_CO_URL_TEMPLATE": files}.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", token)
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
