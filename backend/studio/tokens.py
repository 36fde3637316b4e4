"""How this service proves itself to Label Studio: the kinds of token, and the exchange of one of them.

Label Studio knows three things that people paste as "the token":

- a legacy token (40 hex digits), sent as ``Token x`` for ever;
- a personal access token, a JWT whose ``token_type`` is ``refresh``. No call accepts it: it is exchanged
  at ``/api/token/refresh/`` for an access token that lives 300 s and is sent as ``Bearer x``;
- that access token itself, which stops working within five minutes and is therefore refused here.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from pool.schema import StudioError

Kind = Literal["legacy", "personal"]
Exchange = Callable[[str], str]
"""Takes a personal access token to Label Studio and brings back an access token."""

AHEAD = 30.0
"""Seconds before its end at which an access token counts as spent."""
FALLBACK_LIFE = 120.0
"""Seconds an access token is trusted when it does not say how long it lives."""

WHERE = "Copy a token from Label Studio, Account & Settings: a Personal Access Token or the Legacy Token."


def claims(token: str) -> dict[str, Any] | None:
    """The payload of a JWT without checking its signature (only Label Studio can); None for no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        found = json.loads(payload)
    except (binascii.Error, ValueError):
        return None
    return found if isinstance(found, dict) else None


def kind(api_key: str, now: float | None = None) -> Kind:
    """Which kind of token this is.

    ``now`` is seconds since the epoch (default: the clock). Raises StudioError, never with the token
    in its text, for an empty value, a header instead of a token, an access token and a spent one.
    """
    if not api_key.strip():
        raise StudioError(f"The Label Studio token is empty. {WHERE}")
    if api_key != api_key.strip() or " " in api_key or not api_key.isascii() or not api_key.isprintable():
        raise StudioError(
            "The Label Studio token must be the bare token: one word of ASCII, without 'Token ' or "
            f"'Bearer ' before it and without spaces. {WHERE}"
        )
    found = claims(api_key)
    if found is None:
        return "legacy"
    if found.get("token_type") == "access":
        raise StudioError(
            "The Label Studio token is a short-lived access token, which ends within five minutes. " + WHERE
        )
    if found.get("token_type") != "refresh":
        raise StudioError(f"The Label Studio token is a JWT, but no Personal Access Token. {WHERE}")
    ends = found.get("exp")
    if isinstance(ends, int | float) and ends < (time.time() if now is None else now):
        raise StudioError(f"The Personal Access Token has expired. {WHERE}")
    return "personal"


def life(access: str) -> float:
    """How many seconds an access token lives from its issue on.

    Taken from the token's own two times, so that clocks that differ between the machines do no harm.
    """
    found = claims(access) or {}
    issued, ends = found.get("iat"), found.get("exp")
    if isinstance(issued, int | float) and isinstance(ends, int | float) and ends > issued:
        return float(ends - issued)
    return FALLBACK_LIFE


class Credentials:
    """Makes the ``Authorization`` header; one object serves all threads.

    ``exchange`` is called only for personal access tokens, by one thread at a time.
    """

    def __init__(
        self, api_key: str, exchange: Exchange, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.kind: Kind = kind(api_key)
        self._api_key, self._exchange, self._clock = api_key, exchange, clock
        self._lock = threading.Lock()
        self._access = ""
        self._until = float("-inf")

    def __repr__(self) -> str:
        return f"Credentials(kind={self.kind!r})"

    def header(self) -> str:
        """The header's value, with an access token that is good for at least half a minute more."""
        if self.kind == "legacy":
            return f"Token {self._api_key}"
        with self._lock:
            if self._clock() >= self._until:
                self._renew()
            return f"Bearer {self._access}"

    def refused(self, header: str) -> bool:
        """Label Studio answered 401 to ``header``: True if another try with a new one makes sense.

        Several threads may be refused with the same header; only the first spends it.
        """
        if self.kind == "legacy":
            return False
        with self._lock:
            if header == f"Bearer {self._access}":
                self._until = float("-inf")
        return True

    def _renew(self) -> None:
        started = self._clock()
        access = self._exchange(self._api_key)
        lives = life(access)
        self._access = access
        self._until = started + max(lives - AHEAD, lives / 2)
