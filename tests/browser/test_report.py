"""The report in Chromium: it opens from a file, sorts, filters, shows, and asks nobody for anything."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from consensus.page import render
from tests.consensus.document import sample

Document = dict[str, Any]
VALUES = "(rows, k) => rows.map((row) => row.cells[k].dataset.value ?? row.cells[k].textContent.trim())"
CHOSEN = "select => select.selectedOptions[0].text"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sample(60)


@pytest.fixture(scope="module")
def file(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    picture = io.BytesIO()
    Image.new("RGB", (96, 64), "#789").save(picture, "JPEG")
    path = tmp_path_factory.mktemp("report") / "report.html"
    pictures = {t["sample"]: picture.getvalue() for t in document["tasks"][:5]}
    path.write_text(render(document, pictures), "utf-8")
    return path


@pytest.fixture
def page(chromium: Browser, file: Path) -> Iterator[Page]:
    """The opened report; at the end it must have said nothing and asked for nothing but itself."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    opened.add_init_script("window.alert = (words) => console.error('alert', words)")
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def column(page: Page, place: int) -> list[str]:
    cells = page.locator("#image-table tbody tr:visible")
    values: list[str] = cells.evaluate_all(
        "(rows, k) => rows.map((row) => row.cells[k].dataset.value ?? row.cells[k].textContent.trim())",
        place,
    )
    return [value.removesuffix("\u202f↗") for value in values]


def test_a_heading_sorts_both_ways_with_undefined_values_last(page: Page) -> None:
    heading = page.locator("#image-table thead th").nth(2)
    for way in ("ascending", "descending"):
        heading.get_by_role("button").press("Enter")
        expect(heading).to_have_attribute("aria-sort", way)
        values = column(page, 2)
        known = [float(v) for v in values if v]
        assert known == sorted(known, reverse=way == "descending")
        assert len(set(known)) > 1
        assert values[len(known) :] == [""] * (len(values) - len(known)) != []
    assert page.locator("#image-table th[aria-sort]").count() == 1


def test_filters_hold_for_the_table_and_the_drawings(page: Page, document: Document) -> None:
    def expected(**want: str) -> list[str]:
        return [
            t["name"]
            for t in document["tasks"]
            if {want.get("who"), want.get("other")} - {None} <= set(t["annotators"])
            and ("kind" not in want or want["kind"] in {c["kind"] for c in t["conflicts"]})
        ]

    page.select_option("[name=who]", label="Anna")
    assert column(page, 0) == expected(who="3")
    page.select_option("[name=other]", label="陈伟")
    assert column(page, 0) == expected(who="3", other="8")
    page.select_option("[name=kind]", "label")
    shown = expected(who="3", other="8", kind="label")
    assert column(page, 0) == shown
    assert 0 < len(shown) < len(expected(who="3", other="8"))
    assert set(page.locator("article.image:visible h4").all_text_contents()) <= set(shown)
    expect(page.locator("#filtered")).to_contain_text(f"{len(shown)} of {len(document['tasks'])} rows")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#image-table tbody tr:visible")).to_have_count(len(document["tasks"]))
    page.fill("[name=words]", document["tasks"][3]["name"].upper())
    assert column(page, 0) == [document["tasks"][3]["name"]]


def test_a_row_leads_to_its_drawing_whose_layers_can_be_hidden(page: Page, document: Document) -> None:
    task = document["tasks"][1]
    page.locator("#image-table").get_by_role("link", name=task["name"]).click()
    article = page.locator(f"#task-{task['task']}")
    expect(article).to_be_in_viewport()
    assert page.url.endswith(f"#task-{task['task']}")
    boxes = article.locator("svg.overlay [data-layer='0']")
    box = article.locator("[data-toggle='0']")
    expect(boxes).not_to_have_class("off")
    box.uncheck()
    expect(boxes).to_have_class("off")
    expect(boxes).to_be_hidden()
    box.check()
    expect(boxes).not_to_have_class("off")
    picture = article.locator("svg.overlay use")
    size = picture.bounding_box()
    assert size is not None
    assert size["width"] / size["height"] == pytest.approx(960 / 640, rel=0.02)


def test_a_cell_of_the_matrix_leads_to_the_images_of_its_two_people(page: Page, document: Document) -> None:
    page.locator("[data-codes] >> nth=0").locator("a[data-pair='0 1']").click()
    chosen = [page.locator(f"[name={name}]").evaluate(CHOSEN) for name in ("who", "other")]
    assert chosen == ["Anna", "Bojan"]
    assert column(page, 0) == [t["name"] for t in document["tasks"] if {"3", "5"} <= set(t["annotators"])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_scrolls_tables_not_the_page(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")


def test_on_paper_there_are_no_controls_and_nothing_is_cut_off(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 700, "height": 1000})  # A4 less its margins
    for hidden in ("#filters", "nav", ".legend input >> nth=0"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_without_script_everything_can_be_read(chromium: Browser, file: Path, document: Document) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    expect(page.locator("#filters")).to_be_hidden()
    expect(page.locator("#image-table tbody tr")).to_have_count(len(document["tasks"]))
    expect(page.locator("article.image").first.locator("svg.overlay")).to_be_visible()
    context.close()
