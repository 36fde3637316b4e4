"""A project's report out of the ledger, what retraining makes of several answers, and the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from backend import auditing, snapshot
from backend.app import create_app
from backend.demo.scenes import LABELS
from backend.house import House
from backend.voting import Voting, voting
from pool.schema import BadInput, Box, Prediction, Region, Sample
from tests.backend.small import NOW, say, sides, small_house
from tests.waiting import until

BIN = Region(LABELS[0], Box(0.1, 0.1, 0.4, 0.5))
BAG = Region(LABELS[2], Box(0.6, 0.6, 0.8, 0.9))
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path) as opened:
        yield opened


NONE = np.zeros((0, len(LABELS)), np.float16)


def foretold(sample: Sample, version: str, score: float) -> Prediction:
    probs = np.array([[score, *[0.0] * (len(LABELS) - 1)]], np.float16)
    return Prediction(sample.id, version, (replace(BIN, score=score),), LABELS, probs=probs)


def nudged(region: Region, dx: float) -> Region:
    b = region.box
    return replace(region, box=Box(b.x1 + dx, b.y1, b.x2 + dx, b.y2))


def test_the_report_names_people_images_and_sources(house: House) -> None:
    first, second = sides(house)[0][:2]
    say(house, first, "1", (BIN, BAG))
    say(house, first, "2", (BIN,))
    say(house, second, "1", (BIN,))
    say(house, second, "3", (), skipped=True)
    house.pool.save_annotators({"1": "Ann", "2": EVIL})
    document = auditing.document(house, 1)
    assert document["project"]["consensus_score"] == 0.5
    assert document["project"]["samples"] == 2
    assert document["project"]["skipped"] == 1
    assert [a["name"] for a in document["annotators"]] == ["Ann", EVIL, "3"]
    worst = document["tasks"][0]
    task = next(t.id for t in house.pool.tasks(1) if t.sample == first.id)
    assert (worst["name"], worst["task"], worst["disputed"]) == (first.name, task, 1)
    assert worst["url"] == f"http://localhost:8080/projects/1/data?task={task}"
    assert document["sources"] == [{"source": "camera", "samples": 1, "consensus_score": 0.5,
                                    "f1": document["project"]["f1"],
                                    "alpha": document["project"]["alpha"]["joint"]}]  # fmt: skip
    assert document["tasks"][1]["consensus_score"] is None  # one answer is no agreement


def test_what_no_person_wrote_is_nobodys_answer(house: House) -> None:
    sample = sides(house)[0][0]
    house.pool.change_state(*snapshot.MACHINE, lambda _: {"id": 9})
    say(house, sample, "1", (BIN,))
    say(house, sample, "9", (BIN,))
    assert auditing.document(house, 1)["project"]["compared"] == 0


def test_label_errors_come_from_models_that_did_not_learn_the_image(house: House) -> None:
    learn, _ = sides(house)
    for sample in learn:
        say(house, sample, "1", ())
    assert auditing.document(house, 1)["label_errors"] == []  # nothing predicted yet
    champion = house.champion(1).version
    seen = {s.id: foretold(s, champion, 0.9 if k % 2 else 0.2) for k, s in enumerate(learn)}
    house.pool.save_predictions(list(seen.values()))
    sure = {name for name, p in seen.items() if p.regions[0].score == 0.9}
    errors = auditing.document(house, 1)["label_errors"]
    assert {e["sample"] for e in errors if e["kind"] == "missed"} == sure
    assert {e["expected"] for e in errors} == {LABELS[0]}

    taken = snapshot.take(1, [snapshot.Row(house.pool.sample(s), (BIN,)) for s in sorted(sure)], LABELS, ())
    house.pool.save_snapshot(taken)
    house.pool.add_model(replace(house.champion(1), version="taught", snapshot=taken.id, state="candidate"))
    house.pool.promote("taught")
    for prediction in seen.values():
        house.pool.save_predictions([replace(prediction, model_version="taught")])
    again = auditing.document(house, 1)["label_errors"]
    assert {e["sample"] for e in again} == sure  # of which the older model speaks, which did not learn them
    house.pool.save_predictions(
        [replace(seen[s], model_version=champion, regions=(), probs=NONE) for s in sure]
    )
    assert auditing.document(house, 1)["label_errors"] == []


def test_retraining_uses_what_people_say_together_and_whom_to_believe(house: House) -> None:
    learn, _ = sides(house)
    for k, sample in enumerate(learn):
        region = nudged(BIN, 0.01 * k)
        say(house, sample, "careful", (region, BAG))
        say(house, sample, "steady", (region, BAG))
        say(house, sample, "sloppy", (nudged(region, 0.03),))
    how = snapshot.voting_of(house.pool, 1, house.settings)
    rows, _ = snapshot.rows(house.pool, 1, holdout=False, labels=LABELS, how=how)
    assert len(rows) == len(learn)
    for row in rows:
        assert [r.label for r in row.regions] == [LABELS[0], LABELS[2]]
    strict = house.settings.model_copy(update={"quorum": 0.0})
    how = snapshot.voting_of(house.pool, 1, strict)
    rows, _ = snapshot.rows(house.pool, 1, holdout=False, labels=LABELS, how=how)
    assert all([r.label for r in row.regions] == [LABELS[0]] for row in rows)
    voted = voting(house.settings, snapshot.labelled(house.pool, 1).values(), house.pool.samples())
    assert voted.trust is not None
    assert voted.trust.annotators == ("careful", "sloppy", "steady")


def test_without_shared_images_everybody_weighs_the_same(house: House) -> None:
    say(house, sides(house)[0][0], "1", (BIN,))
    answers = snapshot.labelled(house.pool, 1).values()
    assert voting(house.settings, answers, house.pool.samples()) == Voting()


def test_a_rule_file_is_read_and_a_wrong_one_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("name: ours\nrules: {rotated: off}\n", encoding="utf-8")
    with small_house(tmp_path / "data", rules=path) as house:
        sample = sides(house)[0][0]
        say(house, sample, "1", (replace(BAG, box=replace(BAG.box, rotation=5.0)),))
        document = auditing.document(house, 1)
        assert document["settings"]["rules"] == "ours"
        assert document["guidelines"]["findings"] == []
        path.write_text("rulez: {}", encoding="utf-8")
        with pytest.raises(BadInput, match=r"rules.yaml.*rulez"):
            auditing.document(house, 1)
        path.unlink()
        with pytest.raises(BadInput, match="a YAML file in UTF-8 that can be read"):
            auditing.document(house, 1)


def test_pictures_are_small_and_those_that_are_gone_are_left_out(house: House) -> None:
    learn, _ = sides(house)
    for sample in learn[:2]:
        say(house, sample, "1", (BIN,))
        say(house, sample, "2", (BAG,))
    document = auditing.document(house, 1)
    gone = house.images.local(learn[0])
    gone.unlink()
    found = auditing.pictures(house, document, 10)
    assert set(found) == {learn[1].id}
    assert found[learn[1].id].startswith(b"\xff\xd8")


def test_the_page_is_live_and_its_files_can_be_fetched(tmp_path: Path) -> None:
    with small_house(tmp_path, api_key="0" * 40) as house:
        sample = sides(house)[0][0]
        say(house, sample, "1", (BIN,))
        say(house, sample, "2", (replace(BIN, label=EVIL),))
        settings = house.settings
        with TestClient(create_app(settings)) as client:
            page = client.get("/projects/1/consensus")
            assert page.status_code == 200
            policy = page.headers["content-security-policy"]
            nonce = policy.split("'nonce-")[1].split("'")[0]
            assert f'nonce="{nonce}"' in page.text
            assert "default-src 'none'" in policy
            assert EVIL not in page.text
            assert client.get("/projects/1/consensus").headers["content-security-policy"] != policy
            report = client.get("/projects/1/consensus/report.json").json()
            assert report["project"]["consensus_score"] == 0.0
            csv = client.get("/projects/1/consensus/tasks.csv")
            assert csv.headers["content-type"] == "text/csv; charset=utf-8"
            assert sample.name in csv.text
            assert client.get("/projects/1/consensus/nothing.csv").status_code == 404
            assert client.get("/projects/2/consensus").status_code == 404
            say(house, sample, "3", (BIN,))
            until(
                lambda: client.get("/projects/1/consensus/report.json").json()["project"]["annotators"] == 3
            )
    assert NOW.isoformat() <= report["made_at"]


def test_the_page_asks_for_the_password_where_one_is_set(tmp_path: Path) -> None:
    with (
        small_house(tmp_path, basic_user="me", basic_pass="secret") as house,
        TestClient(create_app(house.settings)) as client,
    ):
        assert client.get("/projects/1/consensus").status_code == 401
        assert client.get("/projects/1/consensus", auth=("me", "secret")).status_code == 200
