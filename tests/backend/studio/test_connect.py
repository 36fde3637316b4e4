from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.studio import hooks, tabs

URL = "http://service:9090"
SECRET = "s3cret"


def hook(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": number, **hooks.wanted(URL, SECRET), **fields}


def test_a_wanted_webhook_lacks_nothing() -> None:
    assert hooks.differences(hook(), SECRET) == {}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"is_active": False}, "is_active"),
        ({"send_payload": False}, "send_payload"),
        ({"headers": {}}, "headers"),
        ({"headers": None}, "headers"),
        ({"headers": {"X-Thresher-Secret": "old"}}, "headers"),
        ({"actions": ["TASKS_CREATED"]}, "actions"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_named_without_the_secret(
    fields: dict[str, Any], wrong: str
) -> None:
    found = hooks.differences(hook(**fields), SECRET)
    assert found.keys() == {wrong}
    assert SECRET not in str(found)
    assert "old" not in str(found)


def test_a_webhook_for_all_actions_leaves_none_out() -> None:
    assert hooks.differences(hook(actions=[], send_for_all_actions=True), SECRET) == {}


@given(
    active=st.booleans(),
    payload=st.booleans(),
    everything=st.booleans(),
    headers=st.none() | st.dictionaries(st.text("abcX-", min_size=1), st.text(max_size=5), max_size=3),
    actions=st.lists(st.sampled_from([*hooks.ACTIONS, "LABEL_LINK_CREATED"]), unique=True),
)
def test_a_repaired_webhook_lacks_nothing_and_keeps_what_others_added(
    active: bool, payload: bool, everything: bool, headers: dict[str, str] | None, actions: list[str]
) -> None:
    broken = hook(
        is_active=active,
        send_payload=payload,
        send_for_all_actions=everything,
        headers=headers,
        actions=actions,
    )
    mended = broken | hooks.repaired(broken, URL, SECRET)
    assert hooks.differences(mended, SECRET) == {}
    assert set(actions) <= set(mended["actions"])
    assert len(set(mended["actions"])) == len(mended["actions"])
    assert (headers or {}).items() <= mended["headers"].items()
    assert hooks.repaired(mended, URL, SECRET).items() <= mended.items()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("http://a:9090", "http://a:9090/", True),
        ("http://A:9090", "http://a:9090", True),
        ("http://a", "http://a:80", True),
        ("https://a", "https://a:443/", True),
        ("https://a", "http://a", False),
        ("http://a:9090", "http://a:9091", False),
        ("http://a/x", "http://a/y", False),
        ("http://a/x", "http://a/X", False),
    ],
)
def test_addresses_are_compared_by_what_they_mean(one: str, other: str, equal: bool) -> None:
    assert hooks.same(one, other) is equal
    assert hooks.same(other, one) is equal


def test_of_several_webhooks_the_one_with_our_header_is_kept() -> None:
    auto = hook(3, headers={})
    ours = hook(7)
    elsewhere = hook(1, url="http://service:9090/other")
    assert hooks.find([elsewhere, auto, ours], URL + "/") == [ours, auto]
    assert hooks.find([elsewhere], URL) == []


def test_a_project_without_tabs_gets_its_plain_one_too() -> None:
    titles = [tab["title"] for tab in tabs.wanted([], "image", has_tasks=True)]
    assert titles == ["Default", *tabs.TITLES]
    assert tabs.wanted(tabs.TITLES, "image", has_tasks=True) == []
    assert [tab["title"] for tab in tabs.wanted(["Mine"], "image", has_tasks=True)] == list(tabs.TITLES)


@given(key=st.sampled_from(["image", "photo", "why", "图"]), has_tasks=st.booleans())
def test_tabs_show_the_picture_the_reason_and_the_score(key: str, has_tasks: bool) -> None:
    for tab in tabs.wanted(["Default"], key, has_tasks=has_tasks):
        hidden = tab["hiddenColumns"]["explore"]
        assert len(set(hidden)) == len(hidden)
        told = {"tasks:data.why", "tasks:predictions_score"}
        if tab["title"] == tabs.REVIEW:
            told = {f"tasks:data.{name}" for name in ("consensus_score", "expected_errors", "conflicts")}
        assert not {f"tasks:data.{key}", "tasks:id", *told} & set(hidden)
        assert "tasks:annotations_results" in hidden
        assert ("ordering" in tab) is has_tasks


def test_an_order_is_added_to_our_own_tabs_only() -> None:
    empty = tabs.wanted(["Default"], "image", has_tasks=False)
    views: list[dict[str, Any]] = [{"id": n, "data": data} for n, data in enumerate(empty, 1)]
    late = dict(tabs.ordered(views))
    assert late.keys() == {1, 2, 3}
    for view in views:
        view["data"] |= late[view["id"]]
    assert tabs.ordered(views) == []
    whole = tabs.wanted(["Default"], "image", has_tasks=True)
    assert [view["data"] for view in views] == whole
    theirs = [{"id": 9, "data": {"title": tabs.REVIEW, "filters": {}}}, {"id": 10, "data": {"title": "x"}}]
    assert tabs.ordered(theirs) == []
