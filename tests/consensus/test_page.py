"""The page as a parser sees it: complete, escaped, self-contained, and usable at any size."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from consensus import report
from consensus.page import ROWS, SCHEMA, WORST, Live, alpha_word, pictured, policy, render
from consensus.study import of_annotations
from consensus.tables import tables
from pool.schema import BadInput
from tests.consensus.document import EVIL, sample
from tests.consensus.scenes import NOON, crowd

Document = dict[str, Any]
JPEG = b"\xff\xd8\xff\xe0 not much of a picture"
VOID = {"meta", "link", "br", "input", "img", "hr"}


class Reader(HTMLParser):
    """Elements in order with their text, and whether all that was opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.parts: dict[str, list[str]] = {"style": [], "script": []}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.parts.get(inside, self.words).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [given for name, given in self.elements if name == tag]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sample(50)


@pytest.fixture(scope="module")
def pictures(document: Document) -> dict[str, bytes]:
    return {t["sample"]: JPEG + str(k).encode() for k, t in enumerate(document["tasks"])}


@pytest.fixture(scope="module")
def html(document: Document, pictures: dict[str, bytes]) -> str:
    return render(document, pictures)


@pytest.fixture(scope="module")
def page(html: str) -> Reader:
    return Reader(html)


def test_nothing_hostile_gets_through(html: str, page: Reader) -> None:
    assert EVIL not in html
    assert "alert(1)</script>" not in html
    assert len(page.all("script")) == len(page.all("style")) == 1
    for tag, given in page.elements:
        assert "style" not in given, tag  # the policy would drop it
        assert not [name for name in given if name.startswith("on")]
        assert not given.get("href", "").startswith("javascript:")
    assert EVIL in page.words  # and still it can be read


def test_a_file_asks_nobody_for_anything(page: Reader) -> None:
    loads = [
        given[name] for tag, given in page.elements for name in ("src", "srcset", "action") if name in given
    ]
    assert loads == []
    assert not page.all("link")
    for tag, given in page.elements:
        target = given.get("href", "")
        kinds = {"image": ("data:image/",), "use": ("#picture-",), "a": ("#", "https://studio.example/")}
        assert not target or target.startswith(kinds[tag])
    assert "url(http" not in "".join(page.parts["style"])


def test_the_policy_of_a_file_allows_its_own_parts_only(page: Reader) -> None:
    (given,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    for name in ("style", "script"):
        text = "".join(page.parts[name])
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in given
    assert given.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in given
    assert given == policy()


def test_a_served_page_has_the_nonce_and_the_downloads(document: Document) -> None:
    page = Reader(render(document, live=Live("abc123XYZ+/=", '/consensus/3/"x')))
    assert page.all("style") == page.all("script") == [{"nonce": "abc123XYZ+/="}]
    assert not [m for m in page.all("meta") if "http-equiv" in m]
    links = {a["href"] for a in page.all("a")}
    assert {f'/consensus/3/"x{name}' for name in ("report.json", "tasks.csv", "guidelines.csv")} <= links
    assert "script-src 'nonce-abc123XYZ+/='" in policy("abc123XYZ+/=")
    assert not {a["href"] for a in Reader(render(document)).all("a") if a["href"].endswith(".csv")}


def test_every_place_is_there_once_and_every_link_inside_leads_to_one(page: Reader) -> None:
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    inside = {given["href"][1:] for _, given in page.elements if given.get("href", "").startswith("#")}
    named = {given[k] for _, given in page.elements for k in ("aria-labelledby",) if k in given}
    assert inside | named <= set(ids)
    assert [tag for tag, _ in page.elements].count("h1") == 1


def test_headings_do_not_skip_a_level(page: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_table_headings_say_what_they_head(page: Reader) -> None:
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    drawings = [s for s in page.all("svg") if s.get("role") == "img"]
    assert drawings
    assert all(
        s.get("role") in ("img", "group") or s.get("aria-hidden") == "true"
        for s in page.all("svg")
        if "class" in s
    )


def test_each_picture_is_in_the_page_once_however_often_it_is_shown(html: str, page: Reader) -> None:
    addresses = [given["href"] for given in page.all("image")]
    assert len(addresses) == len(set(addresses))
    assert html.count("data:image/jpeg") == len(addresses)
    shown = [given["href"] for given in page.all("use")]
    assert len(shown) > len(set(shown)) == len(addresses)
    assert {s["id"] for s in page.all("symbol")} == {href[1:] for href in shown}


def test_only_pictures_of_known_kinds_are_shown(document: Document) -> None:
    first, second = (t["sample"] for t in document["tasks"][:2])
    strange = {first: b"<svg onload='alert(1)'/>", second: b"\x89PNG\r\n\x1a\n", "unknown": JPEG}
    (only,) = Reader(render(document, strange)).all("image")
    assert only["href"].startswith("data:image/png;base64,")


def test_pictures_are_asked_for_as_they_are_shown(document: Document, pictures: dict[str, bytes]) -> None:
    for worst in (0, 3, WORST):
        wanted = pictured(document, worst)
        assert len(wanted) == len(set(wanted))
        html = render(document, {sample: pictures[sample] for sample in wanted}, worst=worst)
        assert html == render(document, pictures, worst=worst)
        assert html.count("data:image/jpeg") == len(wanted)


def test_the_worst_images_are_drawn_with_everybody(document: Document, page: Reader) -> None:
    def drawn(reader: Reader) -> list[str]:
        return [a["id"] for a in reader.all("article")]

    disputed = [f"task-{t['task']}" for t in document["tasks"] if t["conflicts"] or t["disputed"]]
    assert drawn(page) == disputed[:WORST]
    assert drawn(Reader(render(document, worst=3))) == disputed[:3]
    assert drawn(Reader(render(document, worst=0))) == []
    toggles = [given["data-toggle"] for given in page.all("input") if "data-toggle" in given]
    layers = [given["data-layer"] for given in page.all("g") if "data-layer" in given]
    assert sorted(toggles) == sorted(layers)


def test_images_without_a_task_of_their_own_are_drawn_too(document: Document) -> None:
    tasks = copy.deepcopy(document["tasks"])
    differ = [t for t in tasks if t["conflicts"] or t["disputed"]]
    for task in differ[:3]:
        task["task"] = 0
    differ[3]["task"] = differ[4]["task"]
    differ[0]["sample"], differ[1]["sample"] = "two words", "\ud800"
    reader = Reader(render({**document, "tasks": tasks}))
    places = [a["id"] for a in reader.all("article")]
    assert len(set(places)) == len(places) == min(WORST, len(differ))
    assert all(re.fullmatch("image-[0-9a-f]{16}", place) for place in places[:5])
    assert places[5:] == [f"task-{t['task']}" for t in differ[5:WORST]]
    assert set(places) <= {a["href"][1:] for a in reader.all("a")}
    fewer = Reader(render({**document, "tasks": tasks[1:]}))
    assert [a["id"] for a in fewer.all("article")][:4] == places[1:5]  # whatever else is shown


def test_what_is_taken_for_what_leads_to_its_images(document: Document, html: str) -> None:
    (listed,) = re.findall(r'<ol class="mixups">(.*?)</ol>', html, re.DOTALL)
    lines = re.findall("<li>(.*?)</li>", listed)
    assert len(lines) == len(document["confusion"]["top"])
    by_task = {t["task"]: t for t in document["tasks"]}
    for line, mixup in zip(lines, document["confusion"]["top"], strict=True):
        known = [by_task[k] for k in mixup["tasks"] if k in by_task]
        assert line.count("<a ") == sum(
            t["url"].startswith("https") or f'id="task-{t["task"]}"' in html for t in known
        )
        assert all(html.count(f'id="{place}"') == 1 for place in re.findall('href="#([^"]*)"', line))
    assert 'href="#task-101"' in lines[0]  # drawn below; task 100 is not, and opens elsewhere
    assert 'data?task=100"' in lines[0]
    assert "<em>not drawn</em>" in lines[1]
    assert "<em>nothing</em>" in lines[2]


def errors_of(html: str) -> tuple[str, str]:
    """The section of label errors: what is open, and what is folded under the weaker hints."""
    (section,) = re.findall(r'<section id="errors".*?</section>', html, re.DOTALL)
    before, _, folded = section.partition("<summary>Weaker hints")
    return before, folded


def test_weak_label_errors_are_folded_away(document: Document, html: str) -> None:
    weak = [e for e in document["label_errors"] if e["score"] < 0.5]
    surest = [e for e in document["label_errors"] if e["score"] >= 0.5]
    assert len(surest) > 12
    assert weak
    shown, folded = errors_of(html)
    assert '<h2 id="errors-title">Probable label errors</h2>' in shown
    assert shown.count('<svg class="crop"') == 12
    assert f"<summary>All {len(surest)}</summary>" in shown
    assert shown.count('<th scope="row">') == len(surest)
    assert folded.count('<th scope="row">') == len(weak)
    assert "<svg" not in folded

    shown, folded = errors_of(render({**document, "label_errors": weak}))
    assert "Probable label errors" not in shown
    assert "nothing scores .5 or more" in shown
    assert folded.count('<th scope="row">') == len(weak)
    assert "Weaker hints" not in render({**document, "label_errors": surest})


def test_what_is_kept_is_said_as_it_is_meant(document: Document, html: str) -> None:
    assert "missed by at most 50&nbsp;%" in html
    assert "must have drawn" not in html
    assert "drawn by at least" not in html
    strict = render({**document, "settings": {**document["settings"], "quorum": 1 / 3, "least_votes": 2}})
    assert "missed by at most 33.3&nbsp;%" in strict
    assert "drawn by at least 2" in strict


def test_findings_are_counted_by_person(document: Document, page: Reader) -> None:
    words = " ".join("".join(page.words).split())
    at = words.index("Findings by person:")
    assert len(document["guidelines"]["annotators"]) > 1
    for name, count in document["guidelines"]["annotators"].items():
        shown = next(a["name"] or name for a in document["annotators"] if a["annotator"] == name)
        assert f"{shown}: {count}" in words[at : at + 300]


def test_all_conflicts_of_a_drawn_image_are_listed(document: Document, page: Reader) -> None:
    shown = [t for t in document["tasks"] if t["conflicts"] or t["disputed"]][:WORST]
    listed = [given for given in page.all("li") if "data-conflict" in given]
    assert len(listed) == sum(len(t["conflicts"]) for t in shown) > 0


def rows(page: Reader) -> list[dict[str, str]]:
    return [given for given in page.all("tr") if "data-name" in given]


def test_the_table_of_images_carries_what_the_filters_look_for(document: Document, page: Reader) -> None:
    order = [a["annotator"] for a in document["annotators"]]
    labels = [row["label"] for row in document["labels"]]
    for row, task in zip(rows(page), document["tasks"], strict=True):
        assert {order[int(k)] for k in row["data-who"].split()} == set(task["annotators"])
        assert {labels[int(k)] for k in row["data-labels"].split()} == {
            b["label"] for b in (*task["boxes"], *task["consensus"])
        }
        assert set(row["data-kinds"].split()) == {c["kind"] for c in task["conflicts"]}
        assert row["data-name"] == f"{task['name']} {task['sample']}"


def test_thousands_of_images_stay_a_page(document: Document) -> None:
    many = {**document, "tasks": [{**t, "task": k} for k, t in enumerate(document["tasks"] * 60)]}
    html = render(many)
    assert len(rows(Reader(html))) == ROWS
    assert "The first 2\u202f000 of 3\u202f000 images" in html
    assert len(html) < 3_000_000


def undefined(value: Any, number: Any) -> Any:
    """The document with every figure undefined; counts stay."""
    if isinstance(value, dict):
        kept = {"box", "boxes", "evidence", "tau", "quorum", "counts", "intervals"}
        return {k: v if k in kept else undefined(v, number) for k, v in value.items()}
    if isinstance(value, list):
        return [undefined(v, number) for v in value]
    return number if isinstance(value, float) else value


@pytest.mark.parametrize("number", [None, math.nan])
def test_what_is_undefined_is_a_dash_that_says_why(document: Document, number: float | None) -> None:
    empty = undefined(copy.deepcopy(document), number)
    empty["project"]["intervals"] = {"f1": [number, number], "consensus_score": None}
    page = Reader(render(empty))
    dashes = [s for s in page.all("span") if s.get("class") == "none"]
    assert len(dashes) > 5 * len(document["tasks"])
    assert all(s["title"] and s["aria-label"] == f"undefined: {s['title']}" for s in dashes)
    text = " ".join(page.words)
    assert "undefined" in text  # alpha's verdict
    assert not re.search(r"\b(nan|None|inf)\b", text)
    assert "95\xa0% interval" not in text


def test_a_project_of_nothing_is_a_page(document: Document) -> None:
    empty = copy.deepcopy(document)
    for name in (
        "tasks",
        "annotators",
        "pairs",
        "labels",
        "trend",
        "sweep",
        "sources",
        "label_errors",
        "warnings",
    ):
        empty[name] = []
    empty.update(
        anchoring=None,
        guidelines={"counts": [], "annotators": {}, "findings": []},
        confusion={"labels": [], "counts": [], "top": []},
    )
    empty["project"].update(first=None, last=None, too_few=True)
    page = Reader(render(empty))
    words = " ".join(page.words)
    assert "No image on which people differ." in words
    assert "Too few shared images" in words
    assert {s["id"] for s in page.all("section")} == {"summary", "images", "people", "labels", "course"}


def test_figures_rest_on_many_or_are_grey(page: Reader, document: Document) -> None:
    grey = [given for given in page.all("tr") if given.get("class") == "few"]
    people = sum(a["compared"] < 20 for a in document["annotators"])
    assert len(grey) == people + sum(s["samples"] < 20 for s in document["sources"]) > people > 0


def test_text_of_any_script_and_half_a_letter_can_be_written(document: Document) -> None:
    strange = json.loads(json.dumps({**document, "warnings": []}).replace("garbage bag", "\\ud800 بن"))
    html = render(strange)
    assert "? بن" in html
    assert html.encode("utf-8").decode("utf-8") == html
    assert "垃圾袋" in html


@pytest.mark.parametrize("people", [0, 1, 2, 4])
def test_the_document_of_a_study_can_be_shown_and_cut_into_tables(people: int) -> None:
    given = [
        replace(
            answer, id=100 * k + number, sample=f"s{k}", task=k, ground_truth=number == 0 and k % 3 == 0
        )
        for k in range(8)
        for number, answer in enumerate(crowd(np.random.default_rng(k), 6, people, 0.08))
    ]
    study = of_annotations(given, {f"s{k}": (640, 480) for k in range(4)})
    made = report.document(study, report.About("export.json", "Made up", NOON))
    page = Reader(render(made))
    assert len(rows(page)) == len(made["tasks"])
    assert len(page.all("article")) == sum(bool(t["conflicts"] or t["disputed"]) for t in made["tasks"])
    assert not re.search(r"\b(nan|None|inf)\b", " ".join(page.words))
    cut = {name: text.count("\r\n") - 1 for name, text in tables(made).items()}
    assert cut["conflicts"] == sum(len(t["conflicts"]) for t in made["tasks"])
    assert (cut["conflicts"] > 0) == (people > 1)


def test_a_page_is_the_same_every_time(document: Document, html: str, pictures: dict[str, bytes]) -> None:
    before = json.dumps(document)
    assert render(document, pictures) == html
    assert json.dumps(document) == before


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "undefined"),
        (0.666, "do not rely on these labels"),
        (0.667, "tentative conclusions only"),
        (0.8, "reliable"),
    ],
)
def test_alpha_is_put_in_words(value: float | None, word: str) -> None:
    assert alpha_word(value) == word


def test_what_cannot_be_shown_is_refused(document: Document) -> None:
    with pytest.raises(BadInput, match=re.escape(SCHEMA)):
        render({**document, "schema": "thresher.consensus/2"})
    with pytest.raises(BadInput, match="worst"):
        render(document, worst=-1)
    with pytest.raises(BadInput, match="nonce"):
        render(document, live=Live('"><script>', "/"))
