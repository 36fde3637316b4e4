"""Who may ask: Basic auth on every route but /health where it is set, or a webhook's own secret.

Plain ASGI instead of a framework's middleware: this runs before every answer that somebody waits for.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.settings import Settings

SECRET_HEADER = "x-thresher-secret"
OPEN_ROUTES = ("/", "/health")


class Guard:
    """Lets a request through, or answers 401. ``secrets`` tells the projects' webhook secrets."""

    def __init__(self, app: ASGIApp, settings: Settings, secrets: Callable[[], Iterable[str]]) -> None:
        self._app, self._secrets = app, secrets
        self._expected: bytes | None = None
        if settings.basic_user is not None and settings.basic_pass is not None:
            pair = f"{settings.basic_user}:{settings.basic_pass.get_secret_value()}".encode()
            self._expected = b"Basic " + base64.b64encode(pair)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] in OPEN_ROUTES or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        headers = {"WWW-Authenticate": 'Basic realm="thresher"'}
        await JSONResponse({"error": "unauthorised"}, 401, headers)(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        given = headers.get(SECRET_HEADER)
        if given is not None and scope["path"] == "/webhook":
            # Compared with every secret there is, so that the time taken tells nothing.
            matches = [hmac.compare_digest(given.encode(), secret.encode()) for secret in self._secrets()]
            return any(matches)
        if self._expected is None:
            return True
        return hmac.compare_digest(headers.get("authorization", "").encode(), self._expected)
