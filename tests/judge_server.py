"""A real HTTP server that speaks the chat protocol, well or badly: what it does is a function of the question."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "toy/judge"
Reply = Callable[["Call"], None]


class Call:
    """One request, and the ways to answer it. ``number``: how often these very words came before; ``ended`` is called
    before its caller can know that it has ended."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int,
                 ended: Callable[[], None]) -> None:
        self.handler, self.body, self.number, self.ended = handler, body, number, ended
        parts = body["messages"][0]["content"]
        self.images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        self.words = [message["content"] if isinstance(message["content"], str) else message["content"][-1]["text"]
                      for message in body["messages"]]

    def say(self, text: str, top: dict[str, float] | None = None) -> None:
        """A completion; ``top``: token -> log-probability at its first place, left out where None."""
        message = {"role": "assistant", "content": text}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
        if top is not None:
            others = [{"token": token, "logprob": value, "bytes": None} for token, value in top.items()]
            choice["logprobs"] = {"content": [{**others[0], "top_logprobs": others}]}
        self.send(200, json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": MODEL,
                                   "choices": [choice]}))

    def wait(self, seconds: float) -> None:
        """Do nothing, until the caller hangs up at the latest: nothing more can come from it before."""
        select.select([self.handler.connection], [], [], seconds)

    def send(self, status: int, text: str, *, kind: str = "application/json", **headers: str) -> None:
        """Any response."""
        self.ended()
        data = text.encode()
        self.handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def trickle(self, *, headers: bool = False, seconds: float = 20.0) -> None:
        """One byte after the other of the body, or of a header, until the caller hangs up; then whatever is left."""
        self.ended()
        self.handler.close_connection = True
        data = b'{"choices": [{"message": {"role": "assistant", "content": "3"}}]}'
        begin = b"HTTP/1.1 200 OK\r\nX-Patience: " if headers else b"HTTP/1.1 200 OK\r\n\r\n"
        self.handler.wfile.write(begin)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.handler.wfile.write(b" ")
            self.wait(0.1)
        self.handler.wfile.write((b"\r\n\r\n" if headers else b"") + data)

    def drop(self) -> None:
        """End the connection without a word."""
        self.ended()
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


class JudgeServer(ThreadingHTTPServer):
    """``reply`` answers; ``most_open`` is the greatest number of requests that waited for an answer at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reply: Reply, *, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.key = reply, key
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.open = self.most_open = 0
        self.times: list[float] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


class Handler(BaseHTTPRequestHandler):
    """Lists one model, and passes chat requests to the server's ``reply``."""

    server: JudgeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        data = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": ""}]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        with self.server.lock:
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
            self.server.times.append(time.monotonic())
            self.server.bodies.append(body)
            number = self.server.seen[raw.decode()]
            self.server.seen[raw.decode()] += 1
        open_ = threading.Lock()

        def ended() -> None:
            if open_.acquire(blocking=False):
                with self.server.lock:
                    self.server.open -= 1

        try:
            call = Call(self, body, number, ended)
            if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
                call.send(401, json.dumps({"error": {"message": f"wrong key: {self.headers['Authorization']}"}}))
            else:
                self.server.reply(call)
        finally:
            ended()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def serving(reply: Reply, *, key: str | None = None) -> Iterator[JudgeServer]:
    """A server on a free port of this machine while the block runs."""
    with JudgeServer(reply, key=key) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
