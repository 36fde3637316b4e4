"""A reviewer's way: the live report, the task it links to, the consensus copied there and submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend import loop
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio import convert, review
from backend.studio.client import Studio
from pool.schema import Box, Region
from tests.browser.test_labeling import PATIENCE, home, page
from tests.live.conftest import ann, bob
from tests.live.home import Home

__all__ = ["ann", "bob", "home", "page"]

BIN = Region("overflowing bin", Box(0.1, 0.1, 0.4, 0.5))
BAG = Region("garbage", Box(0.6, 0.6, 0.8, 0.9))


@pytest.fixture
def disputed(home: Home, ann: Studio, bob: Studio) -> int:
    """A task on which two people differ, with the consensus written into Label Studio."""
    house = home.house
    loop.prelabel(house, home.project, Job("look"))
    loop.push(house, home.project, Job("push"))
    task = house.pool.tasks(home.project)[0].id
    project = house.pool.project(home.project)
    for person, regions in ((ann, (BIN, BAG)), (bob, (BIN,))):
        person.create_annotation(task, result=convert.results(regions, project, (640, 480)), lead_time=9.0)
    loop.collect(house, home.project, Job("collect"), full=True)
    loop.review(house, home.project, Job("review"))
    return task


def test_from_the_report_to_an_accepted_review(
    home: Home,
    page: Page,
    server: LabelStudioServer,
    disputed: int,
    tmp_path: Path,
) -> None:
    address = f"{home.house.settings.public_url}/projects/{home.project}/consensus"
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    expect(page.get_by_role("heading", name="Summary")).to_be_visible()
    link = page.get_by_role("link", name=f"Open task {disputed}")
    with page.expect_download() as download:
        page.get_by_role("link", name="tasks.csv").click()
    download.value.save_as(tmp_path / "tasks.csv")
    assert str(disputed) in (tmp_path / "tasks.csv").read_text(encoding="utf-8")
    assert said == []

    assert link.get_attribute("href") == f"{server.url}/projects/{home.project}/data?task={disputed}"
    page.goto(str(link.get_attribute("href")))
    shown = page.locator(".lsf-annotation-button", has_text="consensu")  # Label Studio shortens the name
    expect(shown).to_be_visible(timeout=PATIENCE)
    shown.click()
    expect(page.locator("[class*='outliner-item']").nth(1)).to_be_visible(timeout=PATIENCE)
    shown.hover()
    shown.locator("[class*='trigger']").click()
    page.get_by_text("Duplicate Annotation").click()
    submit = page.get_by_role("button", name="Submit").first
    expect(submit).to_be_enabled(timeout=PATIENCE)
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as made:
        submit.click()
    assert made.value.ok

    loop.collect(home.house, home.project, Job("collect"), full=True)
    loop.review(home.house, home.project, Job("again"))
    task = home.house.studio.task(disputed)
    assert task["data"]["review"] == "settled"
    assert review.starred(task)
    assert [len(a["result"]) for a in task["annotations"] if a["ground_truth"]] == [2]
