"""One request to Label Studio: authorised, retried only where that is safe, and failing in clear words.

A call that creates, changes or deletes is sent once. Reads are tried again after a short wait when the
line or the server stumbled. The one exception is an answer of 401 to an access token that ended early:
nothing was done, so the same call goes out once more with a new token.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from backend.studio.tokens import Credentials
from pool.schema import BadInput, StudioError

log = logging.getLogger("thresher.studio")

Files = Sequence[tuple[str, tuple[str, bytes]]]
Params = Mapping[str, str] | Mapping[str, str | int]

TRIES: Final = 3
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same read may succeed; 500 is what a locked SQLite file looks like."""
SHORT: Final = 300
SLOW: Final = 300.0
"""Seconds for calls whose work grows with what is sent."""
REFRESH: Final = "/api/token/refresh/"


class Refusal(StudioError):
    """Label Studio answered, and the answer was no: ``status`` is its HTTP status, ``detail`` its words."""

    def __init__(self, text: str, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        # As for BadInput: without this it could not come home from another process.
        return type(self), (str(self), self.status, self.detail)


def check_url(url: str) -> str:
    """The base address without a closing slash; a path in front of Label Studio is kept."""
    fix = "Give the address that opens Label Studio in a browser, such as http://localhost:8080."
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput("Label Studio's url", "an http(s) address", url, fix)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput("Label Studio's url", "an address without user name, query or fragment", "***", fix)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def words(response: httpx.Response) -> str:
    """Label Studio's own message, on one line and shortened; empty for a page of HTML."""
    try:
        body = response.json()
    except ValueError:
        text = "" if "<html" in response.text[:2000].lower() else response.text
    else:
        text = _message(body)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]{0,200}>", "", text)).strip()
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def _message(body: object) -> str:
    if not isinstance(body, dict):
        return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    errors = body.get("validation_errors")
    if errors:
        return "; ".join(_flat(errors))
    return str(body.get("detail") or json.dumps(body, ensure_ascii=False))


def _flat(errors: object, name: str = "") -> list[str]:
    """Django's nested validation errors as ``field: message``; empty places left out."""
    if isinstance(errors, Mapping):
        return [line for key, value in errors.items() for line in _flat(value, str(key))]
    if isinstance(errors, list):
        return [line for value in errors for line in _flat(value, name)]
    bare = name in ("", "non_field_errors")
    return [str(errors) if bare else f"{name}: {errors}"]


def advice(path: str, status: int, detail: str, kind: str) -> str:
    """What a person can do about an answer."""
    if status == 401:
        return _about_token(kind)
    if status == 403 and path.startswith(("/api/ml", "/api/webhooks")):
        return (
            "Label Studio blocks private addresses by default: start it with "
            "LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false, or allow "
            "only this network with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false and its own list in "
            "USER_ADDITIONAL_BANNED_SUBNETS."
        )
    if status == 403:
        return "The token's user may not do this: use the token of a member of the project's organization."
    if status == 404:
        return "The id is wrong, belongs to another organization, or the call exists only in Enterprise."
    if status == 413:
        return "A proxy before Label Studio limits the size of a request: raise its limit."
    if status >= 500 and "locked" in detail.lower():
        return "Its SQLite file was busy: try again, or run Label Studio on PostgreSQL."
    if status >= 500:
        return "Read Label Studio's own log for the reason, and check that it is up."
    return ""


def _about_token(kind: str) -> str:
    if kind == "legacy":
        return (
            "The legacy token is wrong, or legacy tokens are switched off in the organization: "
            "use a Personal Access Token (Account & Settings)."
        )
    return "The Personal Access Token was revoked or belongs to another Label Studio: make a new one."


def _unexpected(method: str, path: str, expected: str, got: object) -> StudioError:
    return StudioError(
        f"{method} {path}: expected {expected}, got {type(got).__name__}. Is this Label Studio 1.23?"
    )


class Transport:
    """Sends requests for :class:`backend.studio.client.Studio`; one object serves all threads."""

    def __init__(self, url: str, api_key: str, timeout: float) -> None:
        self.url = check_url(url)
        self.credentials = Credentials(api_key, self._exchange)
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def headers(self) -> dict[str, str]:
        """Headers that authorise a request to Label Studio's own host, and to no other."""
        return {"Authorization": self.credentials.header()}

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: object = None,
        files: Files | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON that Label Studio answers, None for an empty answer.

        ``path`` begins with a slash. ``timeout`` in seconds replaces the client's for slow calls.
        Raises :class:`Refusal` for an answer that is no success, StudioError when there was none.
        """
        extra: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        request = {"params": params, "json": body, "files": files, **extra}
        for left in reversed(range(TRIES if method == "GET" else 1)):
            try:
                response = self._authorised(method, path, request)
            except httpx.RequestError as error:
                if not left:
                    raise self._unreached(method, path, error) from error
                reason = type(error).__name__
            else:
                if not left or response.status_code not in PASSING:
                    return self._answer(method, path, response)
                reason = str(response.status_code)
            pause = 0.25 * 3 ** (TRIES - 1 - left) * random.uniform(0.8, 1.2)
            log.warning("%s %s: %s, trying again in %.1f s", method, path, reason, pause)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def one(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: object = None,
        files: Files | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Like :meth:`call`, for answers that are an object."""
        answer = self.call(method, path, params=params, body=body, files=files, timeout=timeout)
        if not isinstance(answer, dict):
            raise _unexpected(method, path, "an object", answer)
        return answer

    def many(self, path: str, params: Params | None = None, timeout: float | None = None) -> list[Any]:
        """Like :meth:`call` with GET, for answers that are a list."""
        answer = self.call("GET", path, params=params, timeout=timeout)
        if not isinstance(answer, list):
            raise _unexpected("GET", path, "a list", answer)
        return answer

    def _authorised(self, method: str, path: str, request: Mapping[str, Any]) -> httpx.Response:
        header = self.credentials.header()
        response = self._http.request(method, self.url + path, headers={"Authorization": header}, **request)
        if response.status_code == 401 and self.credentials.refused(header):
            header = self.credentials.header()
            response = self._http.request(
                method, self.url + path, headers={"Authorization": header}, **request
            )
        return response

    def _exchange(self, personal: str) -> str:
        try:
            response = self._http.post(self.url + REFRESH, json={"refresh": personal})
        except httpx.RequestError as error:
            raise self._unreached("POST", REFRESH, error) from error
        answer = self._answer("POST", REFRESH, response)
        access = answer.get("access") if isinstance(answer, dict) else None
        if not isinstance(access, str) or not access:
            raise StudioError(
                f"POST {REFRESH} must answer with an access token, but did not: is {self.url} Label Studio?"
            )
        return access

    def _answer(self, method: str, path: str, response: httpx.Response) -> Any:
        status = response.status_code
        if response.is_redirect:
            target = urlsplit(str(response.next_request.url if response.next_request else ""))
            raise Refusal(
                f"{method} {path}: Label Studio at {self.url} redirects to {target.scheme}://"
                f"{target.netloc}{target.path}. Set its url to the address that answers by itself.",
                status,
                "redirect",
            )
        if not response.is_success:
            detail = words(response)
            said = f": {detail}" if detail else ""
            hint = advice(path, status, detail, self.credentials.kind)
            text = f"{method} {path}: Label Studio answered {status}{said}"
            raise Refusal(text + (f" | {hint}" if hint else ""), status, detail)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise StudioError(
                f"{method} {path}: the answer is no JSON. Is {self.url} really Label Studio, and not a "
                "proxy's login page?"
            ) from error

    def _unreached(self, method: str, path: str, error: httpx.RequestError) -> StudioError:
        if isinstance(error, httpx.ReadTimeout):
            hint = "Label Studio took too long; it may still be doing it, so look before you repeat."
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            hint = (
                "Check that it runs and that its url is right (in a container, localhost is the container)."
            )
        else:
            hint = "The connection broke; look before you repeat."
        reason = str(error) or type(error).__name__
        return StudioError(f"{method} {path}: no answer from Label Studio at {self.url} ({reason}). {hint}")
