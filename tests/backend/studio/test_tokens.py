from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.studio.tokens import Credentials, claims, kind, life
from pool.schema import StudioError

LEGACY = "0123456789abcdef0123456789abcdef01234567"


def jwt(**payload: Any) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}.c2lnbmF0dXJl"


PERSONAL = jwt(token_type="refresh", exp=8102574564, iat=1795374564, user_id="1")


def access(lives: float, name: str = "a") -> str:
    return jwt(token_type="access", iat=1000.0, exp=1000.0 + lives, jti=name)


def test_kinds() -> None:
    assert kind(LEGACY) == "legacy"
    assert kind(PERSONAL) == "personal"
    assert kind("a.b.c") == "legacy"


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (f"Token {LEGACY}", "bare token"),
        (f"Bearer {PERSONAL}", "bare token"),
        (f"{LEGACY}\n", "bare token"),
        ("ключ", "bare token"),
        (access(300), "within five minutes"),
        (jwt(token_type="sliding"), "no Personal Access Token"),
        (jwt(sub="x"), "no Personal Access Token"),
        (jwt(token_type="refresh", exp=1000), "expired"),
    ],
)
def test_wrong_tokens_are_named_but_never_shown(token: str, says: str) -> None:
    with pytest.raises(StudioError, match=says) as caught:
        kind(token)
    assert not token.strip() or token.strip() not in str(caught.value)


def test_an_expired_token_was_good_before() -> None:
    token = jwt(token_type="refresh", exp=1000)
    assert kind(token, now=999) == "personal"


@given(st.text())
def test_claims_never_fail(token: str) -> None:
    found = claims(token)
    assert found is None or isinstance(found, dict)


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_claims_reads_what_a_jwt_says(payload: dict[str, Any]) -> None:
    assert claims(jwt(**{"token_type": "refresh", **payload})) == {"token_type": "refresh", **payload}


def test_life_is_the_difference_of_the_tokens_own_times() -> None:
    assert life(access(300)) == 300
    assert life("opaque") == 120
    assert life(jwt(iat=5, exp=5)) == 120


class Exchange:
    def __init__(self, lives: float = 300) -> None:
        self.calls: list[str] = []
        self.lives = lives

    def __call__(self, personal: str) -> str:
        self.calls.append(personal)
        return access(self.lives, f"n{len(self.calls)}")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_legacy_token_is_sent_as_it_is_and_never_exchanged() -> None:
    exchange = Exchange()
    credentials = Credentials(LEGACY, exchange)
    assert credentials.header() == f"Token {LEGACY}"
    assert not credentials.refused(credentials.header())
    assert exchange.calls == []


def test_a_personal_token_is_exchanged_once_and_again_ahead_of_its_end() -> None:
    exchange, clock = Exchange(), Clock()
    credentials = Credentials(PERSONAL, exchange, clock=clock)
    first = credentials.header()
    assert first == f"Bearer {access(300, 'n1')}"
    clock.now = 269.9
    assert credentials.header() == first
    clock.now = 270.0
    assert credentials.header() == f"Bearer {access(300, 'n2')}"
    assert exchange.calls == [PERSONAL, PERSONAL]


def test_very_short_lives_are_used_for_half_of_them() -> None:
    exchange, clock = Exchange(lives=10), Clock()
    credentials = Credentials(PERSONAL, exchange, clock=clock)
    credentials.header()
    clock.now = 4.9
    credentials.header()
    assert len(exchange.calls) == 1
    clock.now = 5.0
    credentials.header()
    assert len(exchange.calls) == 2


def test_a_refused_header_is_renewed_once_however_many_were_refused_with_it() -> None:
    exchange = Exchange()
    credentials = Credentials(PERSONAL, exchange, clock=Clock())
    old = credentials.header()
    assert credentials.refused(old)
    new = credentials.header()
    assert new != old
    assert credentials.refused(old)
    assert credentials.header() == new
    assert len(exchange.calls) == 2


def test_many_threads_share_one_exchange() -> None:
    exchange = Exchange()
    credentials = Credentials(PERSONAL, exchange)
    barrier = threading.Barrier(8)
    seen: list[str] = []

    def ask() -> None:
        barrier.wait()
        seen.append(credentials.header())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(exchange.calls) == 1
    assert len(set(seen)) == 1


def test_the_token_is_not_in_the_repr() -> None:
    assert LEGACY not in repr(Credentials(LEGACY, Exchange()))
