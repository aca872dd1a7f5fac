"""The label page: one HTML file and a few JSON calls on a loopback port, served by the standard library.

Any site in a browser can send requests to a loopback port, so calls are answered only under this server's own name
(against DNS rebinding) and, if they change something, only as JSON from its own page (against forged forms).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from curate.errors import ConfigError, CurateError
from curate.steer.labelling import Labelling

HOST = "127.0.0.1"
MAX_BODY = 10_000
POLICY = ("default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
          "script-src 'unsafe-inline'")


class LabelServer(ThreadingHTTPServer):
    """Serves a session; ``url`` is where. ConfigError when the port is taken."""

    daemon_threads = True

    def __init__(self, session: Labelling, port: int = 0) -> None:
        self.session = session
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(f"--port {port}: cannot be opened ({error.strerror}); 0 takes a free one") from error

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LabelServer

    def do_GET(self) -> None:
        if not self._is_ours():
            return
        match self.path.strip("/").split("/"):
            case [""]:
                self._send(files("curate.steer").joinpath("label_page.html").read_bytes(), "text/html; charset=utf-8")
            case ["state"]:
                self._send_state()
            case ["picture", unit_id, role]:
                self._answer(lambda: self._send(self.server.session.picture(unit_id, role), "image/png", cached=True))
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        body = self._body() if self._is_ours() else None
        if body is None:
            return
        session = self.server.session
        match self.path.strip("/"):
            case "label":
                self._answer(lambda: session.label(str(body.get("unit_id")), good=body.get("good") is True,
                                                   fault=str(body.get("fault") or "")), then_state=True)
            case "skip":
                self._answer(lambda: session.skip(str(body.get("unit_id"))), then_state=True)
            case "undo":
                self._answer(session.undo, then_state=True)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def _is_ours(self) -> bool:
        names = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this page answers on its own address only")
        return False

    def _body(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get("Content-Type", "")
        if kind.partition(";")[0] != "application/json" or not length.isdigit() or int(length) > MAX_BODY:
            self._refuse(HTTPStatus.BAD_REQUEST, "a small JSON object is expected")
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, "a small JSON object is expected")
            return None
        return body

    def _answer(self, act: Any, *, then_state: bool = False) -> None:
        try:
            act()
        except CurateError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        if then_state:
            self._send_state()

    def _send_state(self) -> None:
        self._answer(lambda: self._send(json.dumps(self.server.session.state()).encode(), "application/json"))

    def _refuse(self, status: HTTPStatus, says: str) -> None:
        self.close_connection = True  # a body may be left unread
        self._send(json.dumps({"error": says}).encode(), "application/json", status=status)

    def _send(self, data: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, cached: bool = False) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "Content-Security-Policy": POLICY,
                   "X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=3600" if cached else "no-store"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page says what happens."""
