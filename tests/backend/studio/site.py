"""A small real HTTP server in a thread: answers by a function and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    data: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")

    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True)
class Reply:
    """``data`` is sent as given if bytes, otherwise as JSON; None as an empty body."""

    data: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False

    def encoded(self) -> bytes:
        if self.data is None:
            return b""
        return self.data if isinstance(self.data, bytes) else json.dumps(self.data).encode()


Answer = Callable[[Asked], Reply]


class Site:
    """``answer`` may be replaced at any time; ``asked`` lists all requests in order.

    ``cut`` is set when a client hung up before it had the whole body.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.cut = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("content-length") or 0)
                asked = Asked(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {key.lower(): value for key, value in self.headers.items()},
                    self.rfile.read(length),
                )
                site.asked.append(asked)
                reply = site.answer(asked)
                self.close_connection = True
                if reply.hang_up:
                    return
                data = reply.encoded()
                self.send_response(reply.status)
                kind = "application/octet-stream" if isinstance(reply.data, bytes) else "application/json"
                headers = {"content-type": kind, "content-length": str(len(data))}
                for key, value in {**headers, **reply.headers}.items():
                    if value:
                        self.send_header(key, value)
                self.send_header("connection", "close")
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    site.cut.set()

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        return Handler
