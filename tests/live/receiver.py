"""The other end of Label Studio's wire: answers as an ML backend does and keeps what it was sent."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Listens on a loopback port; ``events`` holds (headers, body) of every webhook, in order.

    ``answers`` are the predictions to give, by task id; a task without one gets an empty prediction.
    """

    def __init__(self, version: str = "stub-1", auth: tuple[str, str] | None = None) -> None:
        self.version = version
        self.auth = auth
        self.events: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.predicted: list[int] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, found: Callable[[dict[str, Any]], bool], seconds: float = 5.0) -> dict[str, Any] | None:
        """The first event that is the one; None if it does not come in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _, body in list(self.events):
                if found(body):
                    return body
            time.sleep(0.02)
        return None

    def _allowed(self, header: str | None) -> bool:
        if self.auth is None:
            return header is None
        return header == "Basic " + base64.b64encode(":".join(self.auth).encode()).decode()

    def _answer(self, path: str, body: dict[str, Any]) -> object:
        if path == "/health":
            return {"status": "UP"}
        if path == "/setup":
            return {"model_version": self.version}
        if path == "/predict":
            ids = [int(task["id"]) for task in body["tasks"]]
            self.predicted += ids
            empty = {"result": [], "score": 0.5}
            return {"results": [{**self.answers.get(n, empty), "model_version": self.version} for n in ids]}
        return {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve({})

            def do_POST(self) -> None:
                self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _serve(self, body: dict[str, Any]) -> None:
                hook = self.path.endswith("/webhook")
                if hook:
                    outer.events.append((dict(self.headers), body))
                fine = hook or outer._allowed(self.headers.get("Authorization"))
                payload = json.dumps(outer._answer(self.path, body) if fine else {}).encode()
                self.send_response(200 if fine else 401)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None:
                """Silence."""

        return Handler
