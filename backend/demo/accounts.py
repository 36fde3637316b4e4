"""Users of a Label Studio server: its API cannot give them a password, so they sign up by invitation."""

from __future__ import annotations

from typing import Any

import httpx

from pool.schema import StudioError

_TIMEOUT = 30.0


def whose(url: str, token: str) -> str | None:
    """E-mail address of a legacy token's user, None when the server does not accept the token."""
    with _client(url, token) as http:
        answer = http.get("/api/current-user/whoami")
    return str(answer.json()["email"]) if answer.status_code == httpx.codes.OK else None


def sign_up(url: str, admin_token: str, *, email: str, password: str, name: str) -> str:
    """Legacy token of the user ``email``, who is invited and signed up unless the server knows them.

    Raises:
        StudioError: the password is not the one of an existing user, or the form was refused.
    """
    with _client(url, admin_token) as admin:
        known = {str(user["email"]) for user in _users(admin)}
        invitation = str(_json(admin.get("/api/invite"))["invite_url"])
    with httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False) as browser:
        page = "/user/login/" if email.lower() in known else invitation
        _send_form(browser, page, email=email, password=password)
        answer = browser.get("/api/current-user/token")
        if answer.status_code != httpx.codes.OK:
            raise StudioError(
                f"Label Studio did not let {email} in: it belongs to a user with another password, "
                "or the password is too short (8 characters or more)."
            )
        token = str(answer.json()["token"])
    _rename(url, token, name)
    return token


def _client(url: str, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Token {token}"}, timeout=_TIMEOUT, trust_env=False
    )


def _users(admin: httpx.Client) -> list[dict[str, Any]]:
    users = _json(admin.get("/api/users/"))
    return list(users)


def _send_form(browser: httpx.Client, page: str, **fields: str) -> None:
    browser.get(page)
    token = browser.cookies.get("csrftoken", "")
    browser.post(
        page, data={**fields, "csrfmiddlewaretoken": token}, headers={"Referer": str(browser.base_url)}
    )


def _rename(url: str, token: str, name: str) -> None:
    first, _, last = name.partition(" ")
    with _client(url, token) as http:
        me = _json(http.get("/api/current-user/whoami"))
        if (me["first_name"], me["last_name"]) != (first, last):
            _json(http.patch(f"/api/users/{me['id']}/", json={"first_name": first, "last_name": last}))


def _json(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise StudioError(
            f"Label Studio answered {answer.status_code} to {answer.url.path}: {answer.text[:200]}"
        )
    return answer.json()
