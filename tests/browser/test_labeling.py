"""What an annotator sees: boxes are there, submitting works, the next image is the next least certain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from backend.demo.server import LabelStudioServer
from tests.live.home import Home, open_home
from tests.waiting import until

EMAIL, PASSWORD = "eve@example.com", "eve-pass-1234"
PATIENCE = 60_000


@pytest.fixture
def home(server: LabelStudioServer, tmp_path: Path, titles: Iterator[str]) -> Iterator[Home]:
    with open_home(server, tmp_path, f"browser {next(titles)}", 12) as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, server: LabelStudioServer) -> Iterator[Page]:
    server.add_user(EMAIL, PASSWORD, "Eve")
    opened = chromium.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(PATIENCE)
    opened.goto(f"{server.url}/user/login/")
    opened.fill("#email", EMAIL)
    opened.fill("#password", PASSWORD)
    opened.click("[aria-label='Log In']")
    opened.wait_for_url(re.compile(r"/(projects)?/?$|/projects"))
    yield opened
    opened.close()


def next_task(page: Page, press: Locator) -> int:
    """Press a button; the task that Label Studio then hands to the page."""
    with page.expect_response(lambda r: "next_task" in r.url and r.ok, timeout=PATIENCE) as answer:
        press.click()
    return int(answer.value.json()["id"])


def test_label_all_tasks_serves_drawn_boxes_least_certain_first(
    home: Home, page: Page, server: LabelStudioServer
) -> None:
    with home.worker():
        asked = home.finish(home.jobs.start("ask", home.project, size=4))
        assert asked.state == "done", asked.error
        pool = home.house.pool
        (opened,) = pool.rounds(home.project)
        tasks = {t.sample: t.id for t in pool.tasks(home.project)}
        reasons = {tasks[d.sample]: d for d in pool.decisions(opened.id)}
        human = [t for t, d in reasons.items() if d.route == "human"]
        page.goto(f"{server.url}/projects/{home.project}/data")
        for title in ("Needs a human", "Auto-accepted", "Review"):
            expect(page.get_by_text(title).first).to_be_visible(timeout=PATIENCE)
        seen: list[int] = []
        press = page.get_by_text("Label All Tasks").first
        for _ in range(3):
            task = next_task(page, press)
            seen.append(task)
            assert task in reasons
            expect(page.get_by_text(reasons[task].reason).first).to_be_visible(timeout=PATIENCE)
            boxes = shown_boxes(home, task)
            if boxes:
                expect(page.locator("[class*='outliner-item']").first).to_be_visible(timeout=PATIENCE)
            press = page.get_by_role("button", name=re.compile("^Submit")).first
            expect(press).to_be_enabled(timeout=PATIENCE)
        next_task(page, press)
        wait_for_annotations(home, 3)
        kept = [a for a in pool.annotations(home.project) if a.task in seen]
        assert [len(a.regions) for a in kept] == [shown_boxes(home, a.task) for a in kept]
        order = [reasons[t].uncertainty for t in seen if t in human]
        assert order == sorted(order, reverse=True)
        assert len(set(seen)) == 3


def wait_for_annotations(home: Home, count: int) -> None:
    until(lambda: home.house.pool.counts(home.project)["annotations"] == count, 30)


def shown_boxes(home: Home, task: int) -> int:
    """How many boxes of the champion an annotator is shown."""
    house = home.house
    sample = next(t.sample for t in house.pool.tasks(home.project) if t.id == task)
    if house.pool.sample(sample).holdout:
        return 0
    seen = house.pool.predictions(house.champion(home.project).version, [sample])
    return sum((r.score or 0) >= house.settings.show_floor for p in seen for r in p.regions)
