"""A stream's images, judged by the demo's real weights: what is kept, what is spent, what survives."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend import intake, learning, streaming, watching
from backend.app import create_app
from backend.house import House, Job
from backend.settings import load
from backend.streaming import Judged
from pool.images import decode
from pool.schema import BadImage, BadInput, NotReady, Task
from tests.backend.small import COUNT, small_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path, stream_budget=0.3, audit_share=0.0) as opened:
        yield opened


def picture(seed: int) -> bytes:
    """Unlike any other, also to a perceptual hash."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def run(house: House, many: int, start: int = 100) -> list[Judged]:
    return [streaming.arrive(house, 1, picture(start + i), f"{start + i}.png") for i in range(many)]


def test_only_what_is_asked_is_kept(house: House) -> None:
    judged = run(house, 30)
    asked = {j.sample for j in judged if j.verdict.action == "ask"}
    assert 0 < len(asked) < 30
    assert {j.verdict.action for j in judged} == {"ask", "drop"}
    assert len(house.pool.samples()) == COUNT + len(asked)
    assert set(streaming.due(house, 1)) == asked
    (opened,) = house.pool.rounds(1)
    decisions = {d.sample: d for d in house.pool.decisions(opened.id)}
    assert decisions.keys() == asked
    for j in judged:
        assert 0 < len(j.verdict.reason) <= 140
        if j.sample in asked:
            assert decisions[j.sample].reason == j.verdict.reason
            assert j.prediction is not None
            assert decisions[j.sample].uncertainty == j.prediction.uncertainty
    assert not any(s.holdout for name, s in house.pool.samples(list(asked)).items())
    assert streaming.counts(house, 1) == {"ask": len(asked), "auto": 0, "drop": 30 - len(asked)}


def test_the_memory_is_one_row_that_outlives_the_process(house: House, tmp_path: Path) -> None:
    first = [j.verdict for j in run(house, 10)]
    state = house.pool.state(streaming.MEMORY, "1")
    assert state is not None
    again = House(load(**{**house.settings.model_dump(), "data_dir": tmp_path}))
    rest = [j.verdict for j in run(again, 10, 200)]
    counts = streaming.counts(again, 1)
    again.close()
    assert sum(counts.values()) == 20
    assert counts["ask"] == sum(v.action == "ask" for v in [*first, *rest])


def test_the_same_again_is_answered_the_same_and_spends_nothing(house: House) -> None:
    first = streaming.arrive(house, 1, picture(100), "100.png")
    assert first.verdict.action == "ask"
    counts = streaming.counts(house, 1)
    house.pool.forget_states(streaming.DUE, [f"1/{first.sample}"])  # killed before it was noted
    again = streaming.arrive(house, 1, picture(100), "100.png")
    assert again.verdict == first.verdict
    assert streaming.counts(house, 1) == counts
    assert streaming.due(house, 1) == [first.sample]
    (opened,) = house.pool.rounds(1)
    assert len(house.pool.decisions(opened.id)) == 1


def test_another_project_judges_for_itself(house: House) -> None:
    first = streaming.arrive(house, 1, picture(100), "100.png")
    other = replace(house.pool.project(1), id=2)
    house.pool.save_project(other)
    model = house.champion(1)
    learning.first_model(house, other, model.weights, model.sha256, model.classes)
    second = streaming.arrive(house, 2, picture(100), "100.png")
    assert (first.verdict.action, second.verdict.action) == ("ask", "ask")
    assert streaming.due(house, 2) == [first.sample]


def test_look_alikes_and_copies_are_let_go(house: House) -> None:
    known = next(j for j in run(house, 30) if j.verdict.action == "ask")
    number = next(
        i
        for i in range(100, 130)
        if decode(picture(i), max_bytes=10**7, max_pixels=10**7).id == known.sample
    )
    house.pool.bind_tasks([Task(1, 999, known.sample, "/data/x.png")])
    again = streaming.arrive(house, 1, picture(number), "again.png")
    assert again.verdict.action == "drop"
    assert "this very image" in again.verdict.reason
    with Image.open(io.BytesIO(picture(number))) as image:
        buffer = io.BytesIO()
        image.resize((90, 60)).save(buffer, "PNG")
    alike = streaming.arrive(house, 1, buffer.getvalue(), "alike.png")
    assert alike.verdict.action == "drop"
    assert "looks like an image asked about lately" in alike.verdict.reason


def test_everything_is_kept_where_everything_is_wanted(tmp_path: Path) -> None:
    with small_house(tmp_path, stream_budget=0.3, stream_import="all") as house:
        judged = run(house, 8)
        assert set(streaming.due(house, 1)) == {j.sample for j in judged}
        assert len(house.pool.samples()) == COUNT + 8
        streaming.delivered(house, 1, streaming.due(house, 1)[:5])
        assert len(streaming.due(house, 1)) == 3


def test_some_are_drawn_at_random_to_measure(tmp_path: Path) -> None:
    with small_house(tmp_path, stream_budget=0.3, audit_share=0.5, stream_burst=100) as house:
        run(house, 40)
        lanes = [d.strategy for r in house.pool.rounds(1) for d in house.pool.decisions(r.id)]
        assert "audit" in lanes
        assert "quantile" in lanes


def test_no_budget_no_stream(tmp_path: Path) -> None:
    with small_house(tmp_path) as house:
        with pytest.raises(NotReady, match="THRESHER_STREAM_BUDGET"):
            streaming.arrive(house, 1, picture(1), "1.png")
        intake.remember(house, 1, ["a"])
        assert house.pool.states(intake.ARRIVED) == {}
        assert streaming.judge(house, 1, Job("stream")) == {}


def test_what_is_no_image_changes_nothing(house: House) -> None:
    with pytest.raises(BadImage):
        streaming.arrive(house, 1, b"no image", "x.png")
    assert house.pool.state(streaming.MEMORY, "1") is None


def test_wrong_limits_and_strategies_name_their_setting() -> None:
    with pytest.raises(BadInput, match="THRESHER_STREAM_LIMITS"):
        load(stream_limits="weekly=3")
    with pytest.raises(BadInput, match="THRESHER_STREAM_STRATEGY must be one of quantile"):
        load(stream_strategy="hopes")


def test_what_is_checked_on_top_does_not_eat_the_budget(house: House) -> None:
    from datetime import UTC, datetime

    from sampler import gatekeeper
    from sampler.gatekeeper import Arrival, Gate
    from sampler.stream import Quota

    draw = np.random.default_rng(0)
    rules = Gate(Quota(0.05), auto=0.9)
    memory, asked = gatekeeper.begin(rules), 0
    for _ in range(4000):
        sure = draw.random() < 0.8
        item = Arrival(
            uncertainty=float(draw.random() * (0.1 if sure else 1.0)),
            at=datetime(2026, 1, 1, tzinfo=UTC),
            confidence=0.95 if sure else 0.1,
        )
        action = gatekeeper.decide(memory, rules, item).action
        checked = action == "auto" and draw.random() < 0.1
        memory = gatekeeper.settle(memory, rules, item, "ask" if checked else action, paid=not checked)
        asked += action == "ask"
    assert 0.04 < asked / 4000 < 0.06


def test_tasks_made_in_label_studio_are_judged_once(house: House) -> None:
    learning.look(house, house.champion(1), Job("look"))
    names = list(house.pool.samples())
    intake.remember(house, 1, names)
    report = streaming.judge(house, 1, Job("stream"))
    plain = [s for s in house.pool.samples().values() if not s.holdout]
    assert sum(report.values()) == len(plain)
    assert report["ask"] > 0
    (opened,) = house.pool.rounds(1)
    assert {d.sample for d in house.pool.decisions(opened.id)} <= {s.id for s in plain}
    assert streaming.judge(house, 1, Job("stream")) == {"ask": 0, "auto": 0, "drop": 0}
    assert streaming.due(house, 1) == []  # they are tasks already


def test_two_at_once_never_spend_one_place_twice(tmp_path: Path) -> None:
    with small_house(tmp_path, stream_budget=0.5, stream_limits="daily=3", audit_share=0.0) as house:
        house.detector(house.champion(1))
        judged: list[Judged] = []
        threads = [
            threading.Thread(target=lambda i=i: judged.extend(run(house, 6, 300 + 10 * i)))
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(judged) == 24
        assert sum(j.verdict.action == "ask" for j in judged) == 3
        assert any("daily limit of 3" in j.verdict.reason for j in judged)


def test_a_folder_is_a_stream(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "0.png").write_bytes(picture(500))
    (folder / "broken.png").write_bytes(b"half a file")
    (folder / ".hidden.png").write_bytes(picture(501))
    (folder / "notes.txt").write_text("no image")
    seen: list[str] = []
    stop, first = threading.Event(), threading.Event()

    def tell(path: Path, judged: Judged) -> None:
        seen.append(path.name)
        first.set()
        if len(seen) == 3:
            stop.set()

    def drop_in() -> None:
        first.wait(30)
        (folder / "later.png").write_bytes(picture(502))
        (folder / "broken.png").write_bytes(picture(503))

    writer = threading.Thread(target=drop_in)
    writer.start()
    watching.watch(house, 1, folder, tell, existing=True, stop=stop)
    writer.join()
    assert seen[0] == "0.png"
    assert sorted(seen[1:]) == ["broken.png", "later.png"]


def test_a_folder_that_is_none_is_named(house: House, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="FOLDER"):
        watching.watch(house, 1, tmp_path / "away", lambda *_: None, existing=False, stop=threading.Event())


def test_the_door_of_the_service(house: House) -> None:
    with TestClient(create_app(house.settings)) as client:
        assert client.post("/api/stream?project=" + "9" * 5000, content=picture(600)).status_code == 400
        answer = client.post(
            "/api/stream?name=a.png", content=picture(600), headers={"content-type": "image/png"}
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["action"] in ("ask", "drop")
        assert told["model_version"] == house.champion(1).version
        assert 0 <= told["uncertainty"] <= 1
        assert all(0 <= v <= 1 for box in told["boxes"] for v in box["xyxyn"])
        assert (told["sample"] in house.pool.samples()) == (told["action"] == "ask")
        assert client.post("/api/stream", content=b"").status_code == 400
        assert "project" in client.post("/api/stream?project=9", content=picture(601)).json()["error"]
        broken = client.post("/api/stream", content=b"no image")
        assert broken.status_code == 400
        assert "image" in broken.json()["error"]
        away = client.post("/api/stream", json={"url": "http://169.254.169.254/latest"})
        assert away.status_code in (400, 503)
    assert sum(streaming.counts(house, 1).values()) == 1


def test_an_image_may_not_be_larger_than_allowed(tmp_path: Path) -> None:
    with (
        small_house(tmp_path, stream_budget=0.3, max_image_mb=0.01) as house,
        TestClient(create_app(house.settings)) as client,
    ):
        answer = client.post("/api/stream", content=b"x" * 20_000)
        assert answer.status_code == 400
        assert "0.01 MB" in answer.json()["error"]
        inline = client.post("/api/stream", json={"url": "data:image/png;base64," + "x" * 50_000})
        assert inline.status_code == 400
        assert "0.02 MB" in inline.json()["error"]


def test_errors_come_home_from_another_process() -> None:
    import pickle

    error = BadInput("field", "this", "that", "Do so.")
    home = pickle.loads(pickle.dumps(error))
    assert (str(home), home.field, home.got) == (str(error), "field", "that")
