from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.studio.client import CHUNK, Studio
from backend.studio.listing import moment
from backend.studio.transport import Refusal, check_url
from backend.studio.uploads import BYTES, FILES, batches
from pool.schema import BadInput, StudioError
from tests.backend.studio.bodies import rest
from tests.backend.studio.site import Asked, Reply, Site
from tests.backend.studio.test_tokens import LEGACY, PERSONAL, access

Json = dict[str, Any]


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with Site(lambda asked: Reply({})) as site:
        yield site


@pytest.fixture
def site(shared: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    shared.asked.clear()
    monkeypatch.setattr("backend.studio.transport.time.sleep", lambda seconds: None)
    return shared


@pytest.fixture
def studio(site: Site) -> Iterator[Studio]:
    with Studio(site.url, LEGACY, timeout=5) as found:
        yield found


def serve(answers: dict[str, Any]) -> Callable[[Asked], Reply]:
    """Answers by ``METHOD path``; anything else is 404 as Label Studio says it."""

    def answer(asked: Asked) -> Reply:
        found = answers.get(f"{asked.method} {asked.path}", Reply(rest("404 invalid page"), 404))
        found = found(asked) if callable(found) else found
        return found if isinstance(found, Reply) else Reply(found)

    return answer


# ---- one request


def test_a_read_is_tried_again_while_the_server_stumbles(site: Site, studio: Studio) -> None:
    replies = iter(
        [Reply({"detail": "database is locked"}, 500), Reply(hang_up=True), Reply({"release": "1.23.2"})]
    )
    site.answer = lambda asked: next(replies)
    assert studio.version() == "1.23.2"
    assert [asked.method for asked in site.asked] == ["GET"] * 3


def test_a_read_gives_up_after_three_tries(site: Site, studio: Studio) -> None:
    site.answer = lambda asked: Reply({"detail": "database is locked"}, 500)
    with pytest.raises(Refusal, match=r"GET /api/version: Label Studio answered 500.*SQLite"):
        studio.version()
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_clear_no_is_not_asked_again(site: Site, studio: Studio, status: int) -> None:
    site.answer = lambda asked: Reply({"detail": "no"}, status)
    with pytest.raises(Refusal) as caught:
        studio.version()
    assert (caught.value.status, caught.value.detail, len(site.asked)) == (status, "no", 1)


@pytest.mark.parametrize("reply", [Reply({}, 500), Reply({}, 503), Reply({}, 429), Reply(hang_up=True)])
@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.create_project("title", "<View/>"),
        lambda s: s.patch_task(1, overlap=2),
        lambda s: s.delete_prediction(1),
        lambda s: s.import_predictions(1, [{"task": 1}]),
        lambda s: s.create_annotation(1, result=[]),
        lambda s: s.delete_tasks(1, [2]),
    ],
)
def test_what_changes_something_is_sent_once(
    site: Site, studio: Studio, reply: Reply, call: Callable[[Studio], object]
) -> None:
    site.answer = lambda asked: reply
    with pytest.raises(StudioError):
        call(studio)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("reply", "path", "says"),
    [
        (Reply({"detail": "Invalid token."}, 401), "me", "legacy token is wrong.*Personal Access Token"),
        (Reply({"detail": "reserved network"}, 403), "backends", "LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false"),
        (
            Reply({"detail": "reserved network"}, 403),
            "webhooks",
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false",
        ),
        (Reply({"detail": "no"}, 403), "project", "organization"),
        (Reply(rest("404 page").encode(), 404, {"content-type": "text/html"}), "views", "Enterprise"),
        (Reply(b"too big", 413), "project", "proxy"),
        (Reply(b"<html>oops</html>", 500), "project", "own log"),
        (Reply(b"<html>login</html>"), "project", "no JSON"),
        (Reply([1]), "project", "expected an object, got list"),
        (Reply({}), "views", "expected a list, got dict"),
        (
            Reply(None, 301, {"location": "https://studio.example/api/projects/1/"}),
            "project",
            "redirects to https",
        ),
    ],
)
def test_failures_say_which_call_what_came_and_what_to_do(
    site: Site, studio: Studio, reply: Reply, path: str, says: str
) -> None:
    site.answer = lambda asked: reply
    call = getattr(studio, path)
    with pytest.raises(StudioError, match=says) as caught:
        call() if path == "me" else call(1)
    assert "/api/" in str(caught.value)
    assert LEGACY not in str(caught.value)
    assert "<" not in str(caught.value).split("|")[0]


def test_label_studios_words_are_shortened_and_flattened(site: Site, studio: Studio) -> None:
    errors = {"title": ["Too short."], "non_field_errors": [{}, {"data": ["x" * 1000]}]}
    site.answer = lambda asked: Reply({"detail": "Validation error", "validation_errors": errors}, 400)
    with pytest.raises(Refusal, match=r"title: Too short\.; data: xxx") as caught:
        studio.create_project("ab", "<View/>")
    assert len(caught.value.detail) == 300
    assert caught.value.detail.endswith("…")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.studio.transport.time.sleep", lambda seconds: None)
    with Site(lambda asked: Reply({})) as gone:
        url = gone.url
    with (
        Studio(url, LEGACY) as studio,
        pytest.raises(StudioError, match=rf"no answer.*{url}.*url is right"),
    ):
        studio.me()


def test_an_answer_that_comes_too_late(site: Site) -> None:
    release = threading.Event()

    def slow(asked: Asked) -> Reply:
        release.wait(5)
        return Reply({})

    site.answer = slow
    try:
        with (
            Studio(site.url, LEGACY, timeout=0.2) as studio,
            pytest.raises(StudioError, match="took too long"),
        ):
            studio.patch_task(1, overlap=2)
    finally:
        release.set()
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("http://h:8080/", "http://h:8080"),
        (" https://h/ls/ ", "https://h/ls"),
        ("http://[::1]:8", "http://[::1]:8"),
    ],
)
def test_urls(url: str, clean: str) -> None:
    assert check_url(url) == clean


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://h", "http://", "http://u:p@h", "http://h/?x=1"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(BadInput, match="url"):
        Studio(url, LEGACY)


def test_a_path_before_label_studio_is_kept(site: Site) -> None:
    site.answer = lambda asked: Reply({"release": "1"})
    with Studio(site.url + "/ls/", LEGACY) as studio:
        studio.version()
    assert site.asked[0].path == "/ls/api/version"


# ---- tokens


def test_a_legacy_token(site: Site, studio: Studio) -> None:
    site.answer = lambda asked: Reply({"id": 1})
    studio.me()
    assert [asked.token for asked in site.asked] == [f"Token {LEGACY}"]
    assert studio.headers() == {"Authorization": f"Token {LEGACY}"}
    assert LEGACY not in repr(studio)


class Doors:
    """Label Studio's two doors for personal tokens: exchange, and calls with what it gave."""

    def __init__(self) -> None:
        self.given = 0
        self.good = ""

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/api/token/refresh/":
            assert asked.json() == {"refresh": PERSONAL}
            assert asked.token is None
            self.given += 1
            self.good = access(300, f"n{self.given}")
            return Reply({"access": self.good})
        return Reply({"id": 1}) if asked.token == f"Bearer {self.good}" else Reply({"detail": "no"}, 401)


def test_a_personal_token_is_exchanged_once_for_many_calls(site: Site) -> None:
    doors = Doors()
    site.answer = doors
    with Studio(site.url, PERSONAL) as studio:
        for _ in range(3):
            studio.me()
    assert doors.given == 1
    assert PERSONAL not in str([asked.headers for asked in site.asked])


def test_an_access_token_that_ended_early_is_renewed_once_even_for_a_post(site: Site) -> None:
    doors = Doors()
    site.answer = doors
    with Studio(site.url, PERSONAL) as studio:
        studio.me()
        doors.good = "spent"
        studio.patch_task(1, overlap=2)
        assert doors.given == 2
        site.answer = lambda asked: (
            doors(asked) if "refresh" in asked.path else Reply({"detail": "no"}, 401)
        )
        with pytest.raises(Refusal, match="revoked or belongs to another"):
            studio.patch_task(1, overlap=2)
    posts = [asked for asked in site.asked if asked.method == "PATCH"]
    assert len(posts) == 4
    assert doors.given == 3


def test_a_personal_token_that_label_studio_does_not_know(site: Site) -> None:
    site.answer = lambda asked: Reply({"detail": "Token is blacklisted", "code": "token_not_valid"}, 401)
    with Studio(site.url, PERSONAL) as studio, pytest.raises(Refusal, match=r"blacklisted.*make a new one"):
        studio.me()
    assert len(site.asked) == 1


def test_an_exchange_that_brings_nothing(site: Site) -> None:
    site.answer = lambda asked: Reply({"ok": True})
    with Studio(site.url, PERSONAL) as studio, pytest.raises(StudioError, match="access token"):
        studio.me()


def test_a_wrong_kind_of_token_fails_before_anything_is_sent(site: Site) -> None:
    with pytest.raises(StudioError, match="short-lived"):
        Studio(site.url, access(300))
    assert site.asked == []


def test_one_client_serves_many_threads(site: Site) -> None:
    doors = Doors()
    site.answer = doors
    failures: list[BaseException] = []
    with Studio(site.url, PERSONAL) as studio:

        def work() -> None:
            try:
                for _ in range(5):
                    assert studio.me() == {"id": 1}
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert doors.given == 1
    assert len(site.asked) == 31


# ---- the task list


class DataManager:
    """Label Studio's task list as far as it is used: filter, ordering, pages, and 404 after the last."""

    def __init__(self, tasks: Sequence[Json]) -> None:
        self.tasks = list(tasks)
        self.between: Callable[[DataManager, int], None] = lambda self, page: None
        self.served = 0

    def __call__(self, asked: Asked) -> Reply:
        assert asked.path == "/api/tasks/"
        assert asked.query["resolve_uri"] == "false"
        query = json.loads(asked.query["query"])
        found = self.tasks
        for where in query.get("filters", {}).get("items", []):
            column, bound = where["filter"].removeprefix("filter:tasks:"), where["value"]
            if (column, where["operator"]) == ("id", "greater"):
                found = [t for t in found if t["id"] > bound]
            else:
                assert (column, where["operator"], where["type"]) == (
                    "updated_at",
                    "less_or_equal",
                    "Datetime",
                )
                limit = datetime.strptime(bound, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
                found = [t for t in found if moment(t["updated_at"]) <= limit]
        (order,) = query["ordering"]
        name = order.removeprefix("-").removeprefix("tasks:")
        found = sorted(found, key=lambda t: t[name], reverse=order.startswith("-"))
        size, page = int(asked.query["page_size"]), int(asked.query["page"])
        shown = found[(page - 1) * size : page * size]
        self.served += 1
        self.between(self, self.served)
        return Reply({"tasks": shown}) if shown or page == 1 else Reply(rest("404 invalid page"), 404)


def task(number: int, minute: int) -> Json:
    stamp = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return {"id": number, "updated_at": stamp.isoformat(timespec="microseconds").replace("+00:00", "Z")}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 30), st.integers(1, 11))
def test_every_task_once_in_the_order_of_ids(shared: Site, count: int, size: int) -> None:
    numbers = [3 * i + 1 for i in range(count)]
    shared.answer = DataManager([task(n, 0) for n in reversed(numbers)])
    with Studio(shared.url, LEGACY) as studio:
        assert [t["id"] for t in studio.tasks(1, size)] == numbers


def test_tasks_that_come_and_go_meanwhile_move_no_other(site: Site, studio: Studio) -> None:
    manager = DataManager([task(n, 0) for n in range(1, 41)])

    def between(here: DataManager, page: int) -> None:
        here.tasks = [t for t in here.tasks if t["id"] not in (page, page + 1)] + [task(100 + page, 0)]

    manager.between = between
    site.answer = manager
    seen = [t["id"] for t in studio.tasks(1, 5)]
    assert len(seen) == len(set(seen))
    assert set(range(11, 41)) <= set(seen)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 6), max_size=25), st.integers(1, 6), st.integers(0, 7))
def test_tasks_since_are_the_newest_first_each_once(
    shared: Site, minutes: list[int], size: int, since: int
) -> None:
    """Many share one stamp, as after a bulk change, also more than fit on a page."""
    tasks = [task(n, minute) for n, minute in enumerate(minutes, 1)]
    shared.answer = DataManager(tasks)
    limit = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=since)
    with Studio(shared.url, LEGACY) as studio:
        found = list(studio.tasks_since(1, limit, size))
    assert sorted(t["id"] for t in found) == [t["id"] for t in tasks if moment(t["updated_at"]) >= limit]
    stamps = [t["updated_at"] for t in found]
    assert stamps == sorted(stamps, reverse=True)


def test_tasks_deleted_meanwhile_hide_no_other(site: Site, studio: Studio) -> None:
    manager = DataManager([task(n, n) for n in range(1, 31)])

    def between(here: DataManager, page: int) -> None:
        here.tasks.pop()

    manager.between = between
    site.answer = manager
    seen = {t["id"] for t in studio.tasks_since(1, datetime(2026, 1, 1, tzinfo=UTC), 4)}
    assert set(range(1, 23)) <= seen


def test_tasks_since_reads_no_further_than_needed(site: Site, studio: Studio) -> None:
    manager = DataManager([task(n, n) for n in range(1, 101)])
    site.answer = manager
    found = list(studio.tasks_since(1, datetime(2026, 1, 1, 1, 35, tzinfo=UTC), 10))
    assert [t["id"] for t in found] == [100, 99, 98, 97, 96, 95]
    assert manager.served == 1


def test_servers_in_another_zone_get_their_own_wall_time(site: Site, studio: Studio) -> None:
    bounds: list[str] = []

    def answer(asked: Asked) -> Reply:
        filters = json.loads(asked.query["query"]).get("filters")
        if filters:
            bounds.append(filters["items"][0]["value"])
            return Reply({"tasks": []})
        return Reply({"tasks": [{"id": 1, "updated_at": "2026-07-01T12:00:00+02:00"}]})

    site.answer = answer
    assert len(list(studio.tasks_since(1, datetime(2026, 1, 1, tzinfo=UTC), 1))) == 1
    assert bounds == ["2026-07-01T12:00:00.000000Z"]


def test_only_some_fields(site: Site, studio: Studio) -> None:
    site.answer = DataManager([task(1, 0)])
    list(studio.tasks(9, only=("id", "data")))
    list(studio.tasks(9))
    assert [asked.query.get("include") for asked in site.asked] == ["id,data", None]
    assert {asked.query["fields"] for asked in site.asked} == {"all"}
    assert {asked.query["project"] for asked in site.asked} == {"9"}


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T00:22:04.834082Z", "2026-11-23T02:22:04.834082+02:00", "2026-11-23T00:22:04.834082"],
)
def test_moments(text: str) -> None:
    assert moment(text) == datetime(2026, 11, 23, 0, 22, 4, 834082, UTC)


# ---- images and tasks in


class Store:
    """The import endpoint: keeps files, makes tasks, refuses as Label Studio does."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.files: list[tuple[str, bytes]] = [("upload/1/00000000-older.jpg", b"")]
        self.made = 0

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/api/projects/1/":
            return Reply({"label_config": self.config})
        if asked.path == "/api/projects/1/file-uploads":
            return Reply(list(reversed(self._listed(asked))))
        assert asked.path == "/api/projects/1/import"
        if asked.headers["content-type"] == "application/json":
            count = len(asked.json())
            ids = list(range(self.made + 1, self.made + count + 1))
            self.made += count
            return Reply({"task_count": count, "task_ids": ids}, 201)
        assert asked.query == {"commit_to_project": "false"}
        first = len(self.files)
        self.files += self._parts(asked)
        if self.config.count("$") > 1:
            text = "Failed to parse input file x: Your label config has more than one data key and ..."
            return Reply(
                {"detail": "Validation error", "validation_errors": {"non_field_errors": [text]}}, 400
            )
        return Reply({"file_upload_ids": list(range(first, len(self.files)))}, 201)

    def _listed(self, asked: Asked) -> list[Json]:
        wanted = range(len(self.files)) if asked.query.get("all") else json.loads(asked.query["ids"])
        return [{"id": i, "file": self.files[i][0], "size": 1} for i in wanted]

    def _parts(self, asked: Asked) -> list[tuple[str, bytes]]:
        boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
        by_field: dict[bytes, tuple[str, bytes]] = {}
        for part in asked.data.split(b"--" + boundary)[1:-1]:
            head, _, data = part.partition(b"\r\n\r\n")
            field = head.partition(b'name="')[2].partition(b'"')[0]
            name = head.partition(b'filename="')[2].partition(b'"')[0].decode()
            stored = f"upload/1/{len(self.files) + len(by_field):08x}-{name.replace(' ', '_')}"
            by_field[field] = (stored, data.removesuffix(b"\r\n"))
        return list(by_field.values())


ONE = '<View><Header value="Bins"/><Image name="image" value="$image"/></View>'
TWO = '<View><Text name="why" value="$why"/><Image name="image" value="$image"/></View>'


@pytest.mark.parametrize("config", [ONE, TWO])
def test_uploads_come_back_in_order_whatever_the_config(site: Site, studio: Studio, config: str) -> None:
    store = Store(config)
    site.answer = store
    files = [(f"满 {i % 3}.jpg", f"bytes {i}".encode()) for i in range(FILES * 2 + 7)]
    urls = studio.upload(1, files)
    stored = dict(store.files)
    assert [stored[unquote(url).removeprefix("/data/")] for url in urls] == [data for _, data in files]
    assert all(url.startswith("/data/upload/1/") and url.isascii() for url in urls)
    sent = [asked for asked in site.asked if asked.method == "POST"]
    assert len(sent) == 3


def test_addresses_lie_under_a_path_before_label_studio(site: Site) -> None:
    store = Store(ONE)

    def below(asked: Asked) -> Reply:
        return store(
            Asked(asked.method, asked.path.removeprefix("/ls"), asked.query, asked.headers, asked.data)
        )

    site.answer = below
    with Studio(site.url + "/ls", LEGACY) as studio:
        assert studio.upload(1, [("a.jpg", b"x")]) == ["/ls/data/upload/1/00000001-a.jpg"]


def test_files_that_label_studio_does_not_take_are_refused_before_sending(
    site: Site, studio: Studio
) -> None:
    with pytest.raises(StudioError, match=r"\.tif"):
        studio.upload(1, [("a.jpg", b"x"), ("b.TIF", b"y")])
    assert studio.upload(1, []) == []
    assert site.asked == []


def test_a_file_that_did_not_arrive_is_an_error(site: Site, studio: Studio) -> None:
    for config in (ONE, TWO):
        store = Store(config)
        site.answer = store
        store._listed = lambda asked: []  # type: ignore[method-assign]
        with pytest.raises(StudioError, match="sent 1 files, Label Studio stored 0"):
            studio.upload(1, [("a.jpg", b"x")])


@given(st.lists(st.integers(0, BYTES + 5), max_size=130))
@settings(deadline=None, max_examples=60)
def test_batches_keep_all_files_in_order_within_the_limits(sizes: list[int]) -> None:
    class Sized(bytes):
        size = 0

        def __len__(self) -> int:
            return self.size

    files: list[tuple[str, bytes]] = []
    for number, size in enumerate(sizes):
        data = Sized()
        data.size = size
        files.append((str(number), data))
    cut = list(batches(files))
    assert [name for batch in cut for name, _ in batch] == [name for name, _ in files]
    for batch in cut:
        assert 1 <= len(batch) <= FILES
        assert len(batch) == 1 or sum(len(data) for _, data in batch) <= BYTES


def test_tasks_are_made_in_chunks_and_their_ids_come_in_order(site: Site, studio: Studio) -> None:
    site.answer = Store(ONE)
    data = [{"image": f"/data/{i}.jpg", "why": "満"} for i in range(CHUNK + 3)]
    assert studio.import_tasks(1, data) == list(range(1, CHUNK + 4))
    assert [len(asked.json()) for asked in site.asked] == [CHUNK, 3]
    assert site.asked[0].json()[0] == {"data": data[0]}
    assert site.asked[0].query == {"return_task_ids": "true"}


def test_tasks_without_ids_are_an_error(site: Site, studio: Studio) -> None:
    site.answer = lambda asked: Reply({"import": 3}, 201)
    with pytest.raises(StudioError, match="expected 1 task ids"):
        studio.import_tasks(1, [{"image": "x"}])


# ---- predictions


def test_predictions_go_in_chunks_and_are_counted(
    site: Site, studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    site.answer = lambda asked: Reply({"created": min(len(asked.json()), 499)}, 201)
    items = [{"task": n, "result": [], "score": 0.5, "model_version": "v"} for n in range(CHUNK + 1)]
    with caplog.at_level(logging.WARNING, logger="thresher"):
        assert studio.import_predictions(1, items) == 500
    assert "sent 501 predictions, Label Studio made 500" in caplog.text
    assert [len(asked.json()) for asked in site.asked] == [CHUNK, 1]


def test_a_failure_in_the_middle_tells_what_was_made(site: Site, studio: Studio) -> None:
    replies = iter([Reply({"created": CHUNK}, 201), Reply({"detail": "no"}, 400)])
    site.answer = lambda asked: next(replies)
    with pytest.raises(Refusal) as caught:
        studio.import_predictions(1, [{"task": n} for n in range(CHUNK + 1)])
    assert caught.value.__notes__ == ["500 of 501 predictions were made before this call."]


def test_what_is_predicted(site: Site, studio: Studio) -> None:
    rows = [(9, 4, "v1"), (7, 3, "v1"), (8, 3, "v2"), (2, 3, "v1")]
    listed = [{"id": i, "task": t, "model_version": v, "result": []} for i, t, v in rows]
    site.answer = serve({
        "GET /api/predictions/": listed,
        "GET /api/projects/1/model-versions/": {"v1": 3, "v2": 1},
    })  # fmt: skip
    assert studio.predicted(1, "v1") == {3: [2, 7], 4: [9]}
    assert studio.predicted(1, "v3") == {}
    assert studio.prediction_counts(1) == {"v1": 3, "v2": 1}


def test_deleting_predictions_needs_a_version(site: Site, studio: Studio) -> None:
    with pytest.raises(StudioError, match="needs a version"):
        studio.delete_predictions(1, "")
    assert site.asked == []
    site.answer = lambda asked: Reply({"deleted_predictions": 3})
    studio.delete_predictions(1, "v1")
    assert (site.asked[0].method, site.asked[0].json()) == ("DELETE", {"model_version": "v1"})


@pytest.mark.slow
def test_refusals_are_the_reasons_of_label_studios_validator(studio: Studio) -> None:
    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        '<Label value="a"/></RectangleLabels></View>'
    )
    place = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}
    region = {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    good = {**region, "value": {**place, "rectanglelabels": ["a"]}}
    bad = {**region, "value": {**place, "rectanglelabels": ["unknown"]}}
    lines = studio.refusals(
        config,
        [
            {"task": 1, "result": [good], "score": 0.5, "model_version": "v"},
            {"task": 2, "result": [bad], "score": 0.5, "model_version": "v"},
            {"task": 3, "result": [], "score": 1.7, "model_version": "v"},
        ],
    )
    assert [line.partition(":")[0] for line in lines] == ["task 2", "task 3"]


# ---- the rest


def test_users_by_id_with_a_name_to_show(site: Site, studio: Studio) -> None:
    people = [
        {"id": 1, "first_name": "Ann", "last_name": "李", "username": "ann", "email": "a@x"},
        {"id": 2, "first_name": "", "last_name": "", "username": "bob", "email": "b@x"},
        {"id": 3, "first_name": None, "last_name": None, "username": "", "email": "c@x"},
    ]
    site.answer = serve({"GET /api/users/": people})
    assert studio.users() == {"1": "Ann 李", "2": "bob", "3": "c@x"}


def test_projects_are_found_by_their_exact_title_over_all_pages(site: Site, studio: Studio) -> None:
    pages: dict[str, Json] = {
        "1": {"results": [{"id": 5, "title": "bins"}, {"id": 9, "title": "bins 2"}], "next": "…"},
        "2": {"results": [{"id": 3, "title": "bins"}, {"id": 4, "title": "Bins"}], "next": None},
    }
    site.answer = lambda asked: Reply(pages[asked.query["page"]])
    assert [project["id"] for project in studio.find_projects("bins")] == [3, 5]
    assert {asked.query["title"] for asked in site.asked} == {"bins"}


def test_a_webhook_keeps_its_actions(site: Site, studio: Studio) -> None:
    site.answer = serve({
        "GET /api/webhooks/4/": {"id": 4, "actions": ["ANNOTATION_CREATED"]},
        "PATCH /api/webhooks/4/": lambda asked: asked.json(),
    })  # fmt: skip
    assert studio.update_webhook(4, is_active=False) == {
        "is_active": False,
        "actions": ["ANNOTATION_CREATED"],
    }
    assert studio.update_webhook(4, actions=[]) == {"actions": []}
    assert [asked.method for asked in site.asked] == ["GET", "PATCH", "PATCH"]


def test_a_backend_is_changed_with_its_url_and_project(site: Site, studio: Studio) -> None:
    site.answer = serve({
        "GET /api/ml/4": {"id": 4, "url": "http://b", "project": 1, "title": "old"},
        "PATCH /api/ml/4": lambda asked: asked.json(),
    })  # fmt: skip
    assert studio.update_backend(4, title="new") == {"url": "http://b", "project": 1, "title": "new"}
    assert studio.update_backend(4, url="http://c")["url"] == "http://c"


def test_a_view_keeps_what_is_not_changed(site: Site, studio: Studio) -> None:
    site.answer = serve({
        "GET /api/dm/views/4/": {"id": 4, "project": 1, "data": {"title": "old", "ordering": ["tasks:id"]}},
        "PATCH /api/dm/views/4/": lambda asked: asked.json(),
    })  # fmt: skip
    expected = {"project": 1, "data": {"title": "new", "ordering": ["tasks:id"]}}
    assert studio.update_view(4, {"title": "new"}) == expected


def test_the_next_task_or_none(site: Site, studio: Studio) -> None:
    site.answer = lambda asked: Reply(rest("GET /api/projects/{id}/next"))
    assert studio.next_task(1) == rest("GET /api/projects/{id}/next")
    site.answer = lambda asked: Reply({"detail": "There are no tasks for ann@example.com"}, 404)
    assert studio.next_task(1) is None
    site.answer = lambda asked: Reply({"detail": "No Project matches the given query."}, 404)
    with pytest.raises(Refusal, match="No Project"):
        studio.next_task(1)


def test_tasks_are_deleted_in_chunks_and_none_without_ids(site: Site, studio: Studio) -> None:
    site.answer = lambda asked: Reply({"processed_items": 1})
    studio.delete_tasks(1, [])
    assert site.asked == []
    studio.delete_tasks(1, range(CHUNK + 1))
    chosen = [asked.json()["selectedItems"] for asked in site.asked]
    assert [len(items["included"]) for items in chosen] == [CHUNK, 1]
    assert all(items["all"] is False for items in chosen)
    assert site.asked[0].query == {"id": "delete_tasks", "project": "1"}


@pytest.mark.parametrize(
    ("call", "sent", "body"),
    [
        (lambda s: s.project(3), "GET /api/projects/3/", None),
        (lambda s: s.update_project(3, sampling="x"), "PATCH /api/projects/3/", {"sampling": "x"}),
        (lambda s: s.task(3), "GET /api/tasks/3/", None),
        (lambda s: s.patch_prediction(3, cluster=1), "PATCH /api/predictions/3/", {"cluster": 1}),
        (lambda s: s.delete_prediction(3), "DELETE /api/predictions/3/", None),
        (lambda s: s.create_annotation(3, result=[]), "POST /api/tasks/3/annotations/", {"result": []}),
        (
            lambda s: s.create_webhook(3, "http://b"),
            "POST /api/webhooks/",
            {"project": 3, "url": "http://b"},
        ),
        (lambda s: s.delete_webhook(3), "DELETE /api/webhooks/3/", None),
        (
            lambda s: s.create_backend(3, "http://b", "t"),
            "POST /api/ml/",
            {"project": 3, "url": "http://b", "title": "t"},
        ),
        (lambda s: s.delete_backend(3), "DELETE /api/ml/3", None),
        (
            lambda s: s.create_view(3, {"title": "t"}),
            "POST /api/dm/views/",
            {"project": 3, "data": {"title": "t"}},
        ),
    ],
)
def test_calls(
    site: Site, studio: Studio, call: Callable[[Studio], object], sent: str, body: object
) -> None:
    site.answer = lambda asked: Reply(None, 204) if asked.method == "DELETE" else Reply({"id": 3})
    call(studio)
    (asked,) = site.asked
    assert f"{asked.method} {asked.path}" == sent
    assert (asked.json() if asked.data else None) == body


def test_importing_the_client_does_not_import_the_sdk() -> None:
    code = "import sys, backend.studio.client; print([m for m in sys.modules if 'label_studio' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
