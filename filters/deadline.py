"""HTTP requests that end by a deadline, however slowly the bytes come: openai's async client, called from threads.

A time-out between bytes does not end a request whose server sends one now and then; only cancelling it does, and a
blocking call cannot be cancelled. So requests run in an event loop of their own thread.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2
import openai

T = TypeVar("T")


class DeadlineClient(openai.DefaultAsyncHttpxClient):
    """A request, retries not counted, takes ``deadline_s`` at most, from its sending to the last byte of its answer.

    After that its connection is closed and httpx2.ReadTimeout raised, which openai's client takes for a time-out.
    """

    def __init__(self, deadline_s: float) -> None:
        super().__init__()
        self._deadline_s = deadline_s

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """As httpx2's."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await super().send(request, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer in {self._deadline_s:g} s", request=request) from error


class RequestThread:
    """A client and the thread that its requests run in; the thread ends, and closes the client, with this object."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_work, args=(self._loop, client), name="judge-requests", daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def wait_for(self, request: Coroutine[Any, Any, T]) -> T:
        """The result of one request; callers of other threads are served meanwhile."""
        return asyncio.run_coroutine_threadsafe(request, self._loop).result()


def _work(loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI) -> None:
    loop.run_forever()
    loop.run_until_complete(client.close())
    loop.close()
