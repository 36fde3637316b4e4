"""Variants of a small pool, painted by the renderers: planned once, judged, taken in, overruled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend import admission, asking, gallery, learning, painting, parents, variants
from backend.demo.scenes import LABELS, jpeg, render
from backend.house import House, Job, Stopped
from backend.intake import one
from backend.snapshot import rows
from backend.studio.proposals import proposed
from backend.variants import Wish, plan
from generator import infotext, png
from generator.pixels import Pixels
from pool.schema import (
    BadInput,
    Box,
    NotReady,
    Prediction,
    Region,
    Sample,
    Task,
    ThresherError,
    UnknownRecord,
    Variant,
)
from tests.backend.small import say, sides, small_house

JOB = Job("generate-1")
WISH = Wish(("night", "haze:light"), parents=("random:3",), per_parent=2, model="physical")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path, holdout_share=0.3, imgsz=160) as opened:
        scenes = [render(seed, (320, 240)) for seed in range(3)]
        drawn = [one(opened, jpeg(s), f"street-{n}.jpg") for n, s in enumerate(scenes)]
        opened.pool.bind_tasks([Task(1, 100 + n, s.id, f"/data/s{n}.jpg") for n, s in enumerate(drawn)])
        learning.look(opened, opened.champion(1), Job("look"))
        yield opened


def street(house: House) -> list[Sample]:
    found = [s for s in parents.eligible(house, 1).values() if s.name.startswith("street")]
    assert found
    return found


def generate(house: House, wish: Wish = WISH, job: Job = JOB) -> dict[str, Any]:
    plan(house, house.champion(1), wish, job)
    return painting.paint(house, house.champion(1), job)


def test_what_passes_enters_the_pool_with_its_lineage_on_its_roots_side(house: House) -> None:
    names = tuple(s.name for s in street(house))
    report = generate(house, replace(WISH, parents=names))
    made = house.pool.variants(1)
    assert report["painted"] == len(made) == 2 * len(names)
    assert {v.state for v in made} <= {"passed", "rejected"}
    passed = [v for v in made if v.state == "passed"]
    assert passed, [v.reason for v in made]
    for each in passed:
        sample, parent = house.pool.sample(str(each.sample)), house.pool.sample(each.parent)
        assert (sample.source, sample.parent, sample.root) == ("generated", parent.id, parent.root)
        assert not sample.holdout
        assert (sample.width, sample.height) == (parent.width, parent.height)
        assert each.condition.split(":")[0] in sample.name
        data = house.images.read(sample)
        assert png.read(data) == each.recipe == sample.recipe
        assert infotext.parse(each.recipe).seed == each.seed
        assert each.bytes == len(data)
        gates = {check["gate"] for check in each.gates["checks"]}
        assert {"structure", "found", "strange", "copy", "twin", "black"} <= gates
        assert next(iter(house.pool.predictions(house.champion(1).version, [sample.id]))).uncertainty
    for each in made:  # rejected ones are kept, too
        assert house.images.exists(f"{each.sample}{each.suffix}")
        assert each.reason


def test_the_same_wish_twice_makes_nothing_twice_and_another_seed_other_pictures(house: House) -> None:
    generate(house)
    before = house.pool.variants(1)
    report = plan(house, house.champion(1), WISH, Job("generate-2"))
    assert (report["planned"], report["known"]) == (0, len(before))
    assert painting.paint(house, house.champion(1), Job("generate-2"))["painted"] == 0
    generate(house, replace(WISH, parents=(before[0].parent,), seed=5), Job("generate-3"))
    pictures = [v.sample for v in house.pool.variants(1)]
    assert len(set(pictures)) == len(pictures) > len(before)


def test_a_killed_job_goes_on_with_what_is_left(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "CHUNK", 1)
    plan(house, house.champion(1), WISH, JOB)
    looks = iter([False, False, False, True])
    with pytest.raises(Stopped):
        painting.paint(house, house.champion(1), replace(JOB, cancelled=lambda: next(looks)))
    made = house.pool.variants(1, states=["passed", "rejected"])
    assert len(made) == 3
    told: list[tuple[int, int]] = []
    job = replace(JOB, tell=lambda step, done, total, note="": told.append((done, total)))
    assert painting.paint(house, house.champion(1), job)["painted"] == 3
    assert told[0] == (4, 6)
    assert told[-1] == (6, 6)
    assert all(v in house.pool.variants(1) for v in made)


def test_a_variant_alone_is_the_variant_of_the_job(house: House) -> None:
    generate(house)
    made = house.pool.variants(1)
    plain = {v.id: v.sample for v in made}
    wanted = replace(WISH, parents=(made[0].parent,))
    house.pool.save_variants([replace(v, state="failed", sample=None) for v in made])
    generate(house, wanted, Job("again"))
    for each in house.pool.variants(1, job="again"):
        assert each.sample == plain[each.id]


def test_a_parent_that_is_gone_costs_only_its_own_variants(house: House) -> None:
    plan(house, house.champion(1), WISH, JOB)
    gone = house.pool.variants(1)[0].parent
    house.images.local(house.pool.sample(gone)).unlink()
    report = painting.paint(house, house.champion(1), JOB)
    assert report["failed"] == 2
    for each in house.pool.variants(1):
        assert (each.state == "failed") is (each.parent == gone)
    assert "is not in" in house.pool.variants(1, states=["failed"])[0].reason


def test_the_disk_budget_is_kept(house: House) -> None:
    generate(house, replace(WISH, parents=("random:1",)))
    spent = house.pool.variant_bytes() / 1e9
    small = replace(WISH, parents=("random:5",))
    with small_house(house.settings.data_dir, variants_gb=spent / 2) as cramped:
        plan(cramped, cramped.champion(1), small, Job("more"))
        with pytest.raises(NotReady, match="THRESHER_VARIANTS_GB"):
            painting.paint(cramped, cramped.champion(1), Job("more"))
        assert cramped.pool.variants(1, job="more", states=["planned"])


def test_parents_are_never_holdout_nor_generated(house: House) -> None:
    known = parents.eligible(house, 1)
    _, holdout = sides(house)
    assert known.keys().isdisjoint(s.id for s in holdout)
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    made = next(v for v in house.pool.variants(1) if v.state == "passed")
    house.pool.bind_tasks([Task(1, 500, str(made.sample), "/data/v.png")])
    assert made.sample not in parents.eligible(house, 1)
    for word, why in (
        (holdout[0].name, "holdout"),
        (str(made.sample), "generated"),
        ("nowhere.jpg", "hardest"),
        ("hardest:0", "above 0"),
        ("hardest:-1", "above 0"),
        ("random:x", "above 0"),
    ):
        with pytest.raises(BadInput, match=why):
            parents.chosen(house, house.champion(1), [word], 0)


def test_the_worst_labelled_and_the_most_doubtful_images_are_the_hardest(house: House) -> None:
    model = house.champion(1)
    known = parents.eligible(house, 1)
    seen = {p.sample: p for p in house.pool.predictions(model.version)}
    right, wrong = sorted(known)[:2]
    say(house, known[right], "ann", agreed(seen[right].regions))
    say(house, known[wrong], "ann", other())
    errors = parents.image_errors(house, model, sorted(known))
    assert errors == {right: 0.0, wrong: 1.0}
    order = parents.hardest(house, model, known, len(known), 0)
    assert order.index(wrong) < order.index(right)
    assert order == parents.hardest(house, model, known, len(known), 0)
    assert order[:3] == parents.hardest(house, model, known, 3, 0)


def agreed(regions: Sequence[Region]) -> list[Region]:
    """What somebody says who agrees with the champion."""
    return [replace(r, score=None) for r in regions if (r.score or 0) >= 0.25]


def other() -> list[Region]:
    """A box where the champion sees none."""
    return [Region(LABELS[2], Box(0.01, 0.01, 0.06, 0.06))]


def inside(house: House, **changes: object) -> Variant:
    """A variant in the pool, of a street, with its task."""
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house)), **changes))  # type: ignore[arg-type]
    passed = next(v for v in house.pool.variants(1) if v.state == "passed")
    house.pool.bind_tasks([Task(1, 500, str(passed.sample), "/data/v.png")])
    return passed


def shown(house: House, variant: Variant, project: int = 1) -> Prediction:
    """What people are shown of it."""
    own = house.pool.predictions(house.champion(1).version, [str(variant.sample)])
    (met,) = proposed(house.pool, project, own)
    return met


def test_people_are_shown_the_parents_boxes_on_a_variant(house: House) -> None:
    for sample in street(house):
        say(house, sample, "ann", other())
    variant = inside(house)
    met = shown(house, variant)
    assert [(r.label, r.box) for r in met.regions] == [(r.label, r.box) for r in other()]
    (own,) = house.pool.predictions(house.champion(1).version, [str(variant.sample)])
    assert met.uncertainty == own.uncertainty
    assert shown(house, variant, project=2) == own  # another project knows nothing of it
    # They are a proposal: no training set has them before a person answered.
    taught = rows(house.pool, 1, holdout=False, labels=LABELS)[0]
    assert variant.sample not in {row.sample.id for row in taught}


def test_what_is_proposed_follows_what_people_say_of_the_parent(house: House) -> None:
    variant = inside(house)
    before = shown(house, variant).regions
    say(house, house.pool.sample(variant.parent), "ann", other())
    assert variants.refresh(house, house.champion(1)) >= 1
    after = shown(house, variant).regions
    assert [r.box for r in after] == [r.box for r in other()]
    assert after != before
    say(house, house.pool.sample(str(variant.sample)), "ann", other())
    say(house, house.pool.sample(variant.parent), "bob", ())
    kept = house.pool.variant(variant.id)
    variants.refresh(house, house.champion(1))
    assert house.pool.variant(variant.id) == kept  # it was answered


def test_turned_boxes_stay_turned(house: House) -> None:
    turned = [replace(other()[0], box=Box(0.3, 0.3, 0.5, 0.6, 30.0))]
    for sample in street(house):
        say(house, sample, "ann", turned)
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    assert {r.box.rotation for v in house.pool.variants(1) for r in v.regions} == {30.0}


def test_a_person_may_overrule_the_gates_both_ways(house: House) -> None:
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    made = house.pool.variants(1)
    passed = next(v for v in made if v.state == "passed")
    assert admission.refuse(house, 1, [passed]) == 1
    assert house.pool.variant(passed.id).state == "refused"
    with pytest.raises(BadInput, match="refused"):
        admission.refuse(house, 1, [house.pool.variant(passed.id)])
    assert admission.accept(house, [house.pool.variant(passed.id[:12])]) == 1
    assert house.pool.variant(passed.id).state == "accepted"
    with pytest.raises(BadInput, match="rejected"):
        admission.accept(house, [house.pool.variant(passed.id)])
    with pytest.raises(UnknownRecord, match="No variant"):
        admission.found(house, 1, ["zz"])


def test_an_answered_variant_is_not_taken_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    passed = next(v for v in house.pool.variants(1) if v.state == "passed")
    house.pool.bind_tasks([Task(1, 500, str(passed.sample), "/data/v.png")])
    say(house, house.pool.sample(str(passed.sample)), "ann", other())
    monkeypatch.setattr("backend.intake.answers", lambda *_, **__: {})  # nothing new in Label Studio
    with pytest.raises(BadInput, match="nobody answered"):
        admission.refuse(house, 1, [passed])
    assert house.pool.variant(passed.id).state == "passed"


def test_rounds_hold_no_more_variants_than_their_share_and_say_where_they_come_from(house: House) -> None:
    generate(house, replace(WISH, parents=("random:6",), per_parent=2))
    made = [v for v in house.pool.variants(1) if v.state == "passed"]
    for number, each in enumerate(made):
        house.pool.bind_tasks([Task(1, 500 + number, str(each.sample), f"/data/v{number}.png")])
    assert len(made) >= 2
    names = {v.sample for v in made}
    house_share = house.settings.variant_share
    size = 5
    decided = asking.decide(
        house, house.champion(1), asking.wish(house.settings, {"size": size}), "round", Job("round")
    ).decisions
    ours = [d for d in decided if d.sample in names]
    assert len(ours) <= int(house_share * size)
    assert not [d for d in ours if d.strategy in ("audit", "holdout")]
    for decision in ours:
        assert "Painted from" in decision.reason


def test_limits_are_read_from_words() -> None:
    found = admission.limits("strange=1, found = 0.6")
    assert (found.strange, found.found) == (1, 0.6)
    assert admission.limits("") == admission.limits(" , ")
    for text, why in (("strange", "name=number"), ("tone=1", "name=number"), ("found=much", "found")):
        with pytest.raises(BadInput, match=why):
            admission.limits(text)


def test_what_no_vocabulary_or_recipe_knows_is_said_before_a_job_begins(
    house: House, tmp_path: Path
) -> None:
    for wish, why in (
        (Wish(("snwo",)), "snow"),
        (Wish(recipe="a street\nSteps: many, Sampler: Euler"), "Steps"),
        (Wish(parents=("nowhere.jpg",)), "parents"),
    ):
        with pytest.raises(BadInput, match=why):
            variants.check(house, 1, wish)
    own = tmp_path / "own.yaml"
    own.write_text("conditions: {smog: {prompt: thick smog, strength: 0.4}}", encoding="utf-8")
    with small_house(tmp_path / "b", weather=own) as other_house:
        assert "smog" in variants.vocabulary(other_house).conditions
    with (
        small_house(tmp_path / "c", weather=tmp_path / "none.yaml") as lost,
        pytest.raises(BadInput, match="THRESHER_WEATHER"),
    ):
        variants.vocabulary(lost)


def test_conditions_are_weak_where_answers_or_the_gates_say_so(house: House) -> None:
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    errors, counts = parents.condition_errors(house, house.champion(1))
    made = [v for v in house.pool.variants(1) if v.state == "passed"]
    assert counts == {name: sum(v.condition == name for v in made) for name in {v.condition for v in made}}
    assert all(0.0 <= e <= 1.0 for e in errors.values())
    told = made[0]
    house.pool.bind_tasks([Task(1, 500, str(told.sample), "/data/v.png")])
    say(house, house.pool.sample(str(told.sample)), "ann", other())
    after, _ = parents.condition_errors(house, house.champion(1))
    assert after[told.condition] == 1.0  # nothing there was where ann drew


def test_the_contact_sheet_shows_parents_beside_their_variants(house: House, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="thresher generate"):
        gallery.sheet(house, 1, tmp_path / "none.png")
    generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    path = tmp_path / "sheet.png"
    assert gallery.sheet(house, 1, path) == len(house.pool.variants(1))
    with Image.open(path) as picture:
        assert picture.width > 3 * 200
    with pytest.raises(BadInput, match="png"):
        gallery.sheet(house, 1, tmp_path / "sheet.gif")
    listed = gallery.rows(house, 1)
    assert {row["by"] for row in listed} == {"renderer"}
    assert sum(int(str(n)) for row in gallery.counts(listed) for n in row[1:] if n) == len(listed)


def test_a_picture_of_the_painter_that_is_no_picture_is_rejected_with_its_reason(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def black(
        house: House, known: object, recipe: object, ready: Sequence[tuple[object, object, Pixels]]
    ) -> list[Pixels]:
        return [np.zeros_like(picture) for _, _, picture in ready]

    monkeypatch.setattr(painting, "_pictures", black)
    report = generate(house, replace(WISH, parents=("random:1",), per_parent=1))
    assert report["rejected"] == 1
    (made,) = house.pool.variants(1)
    assert "of 255" in made.reason
    assert made.sample not in house.pool.samples()


def test_what_looks_like_a_holdout_image_never_teaches(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "near_holdout", lambda *_: True)
    report = generate(house, replace(WISH, parents=tuple(s.name for s in street(house))))
    assert report["passed"] == 0
    held = [v for v in house.pool.variants(1) if v.reason == admission.HOLDOUT]
    assert held
    with pytest.raises(BadInput, match="holdout"):
        admission.accept(house, held[:1])
    monkeypatch.undo()
    hashes = np.array([0b1111], dtype=np.uint64)
    assert admission.near_holdout(0, hashes)
    assert not admission.near_holdout(0b11111 << 8, hashes)


def test_a_recipe_out_of_a_variants_own_file_is_that_variant(house: House) -> None:
    first = inside(house)
    found = png.read(house.images.read(f"{first.sample}{first.suffix}"))
    wish = Wish(recipe=str(found), parents=(first.parent,), per_parent=1)
    report = plan(house, house.champion(1), wish, Job("again"))
    assert (report["planned"], report["known"]) == (0, 1)


def test_large_parents_are_painted_smaller_and_stay_large(house: House) -> None:
    assert variants.working_size(4608, 3456, 1024) == (1024, 768)
    wide = one(house, png.write(np.full((40, 5000, 3), 90, np.uint8), "x"), "wide.png")
    house.pool.bind_tasks([Task(1, 900, wide.id, "/data/wide.png")])
    if wide.holdout:
        pytest.skip("the split took it")
    plan(house, house.champion(1), replace(WISH, parents=("wide.png",)), JOB)
    assert {infotext.parse(v.recipe).size for v in house.pool.variants(1)} == {(1024, 16)}
    assert painting.paint(house, house.champion(1), JOB)["failed"] == 0


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8\xff\xe0 no picture"])
def test_a_damaged_parent_costs_only_its_own_variants(house: House, damage: bytes) -> None:
    plan(house, house.champion(1), WISH, JOB)
    broken = house.pool.variants(1)[0].parent
    house.images.local(house.pool.sample(broken)).write_bytes(damage)
    assert painting.paint(house, house.champion(1), JOB)["failed"] == 2
    assert {v.parent for v in house.pool.variants(1, states=["failed"])} == {broken}


def test_one_picture_that_cannot_be_painted_costs_only_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = painting._pictures
    plan(house, house.champion(1), WISH, JOB)
    bad = house.pool.variants(1)[0].id

    def picky(house: House, known: Any, recipe: Any, ready: Any) -> list[Pixels]:
        if any(v.id == bad for v, _, _ in ready):
            raise ThresherError("The model gave a black picture.")
        return real(house, known, recipe, ready)

    monkeypatch.setattr(painting, "_pictures", picky)
    assert painting.paint(house, house.champion(1), JOB)["failed"] == 1
    (failed,) = house.pool.variants(1, states=["failed"])
    assert (failed.id, failed.reason) == (bad, "The model gave a black picture.")


def test_a_gate_that_breaks_costs_only_its_picture(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(admission, "judge", broken)
    report = generate(house, replace(WISH, parents=("random:1",)))
    assert report["failed"] == 2
    assert "no such thing" in house.pool.variants(1)[0].reason


def test_what_a_dead_job_left_is_made_by_the_next(house: House) -> None:
    plan(house, house.champion(1), Wish(parents=("random:2",), model="physical"), Job("dead"))
    report = generate(house, Wish(parents=("random:1",), model="physical"), Job("next"))
    assert report["painted"] >= 4
    assert house.pool.variants(1, states=["planned"]) == []


def test_recipes_that_start_from_no_picture_are_refused_with_near_names(house: House) -> None:
    for recipe, why in (
        ("street-snwo", "street-snow"),
        ("a street\nSteps: 4, Sampler: Euler, Size: 512x512", "Denoising strength"),
    ):
        with pytest.raises(BadInput, match=why):
            variants.check(house, 1, Wish(recipe=recipe))
    with pytest.raises(BadInput, match="physical"):
        variants.check(house, 1, Wish(recipe="street-snow", model="physical"))


def test_a_project_that_nobody_looked_at_may_be_wished_for(tmp_path: Path) -> None:
    with small_house(tmp_path) as fresh:
        variants.check(fresh, 1, Wish(model="physical"))  # the job looks first


def test_the_small_model_paints_by_diffusion(tmp_path: Path) -> None:
    with small_house(tmp_path, holdout_share=0.0, imgsz=64, diffusion_batch=2) as opened:
        learning.look(opened, opened.champion(1), Job("look"))
        wish = Wish(("night", "haze:heavy"), parents=("random:2",), per_parent=2)
        assert generate(opened, wish)["painted"] == 4
        made = opened.pool.variants(1)
        assert not [v for v in made if v.state == "failed"], [v.reason for v in made]
        recipes = [infotext.parse(v.recipe) for v in made]
        assert {(r.mode, r.model) for r in recipes} == {("instruct", "street-weather")}
        assert len({r.model_hash for r in recipes}) == 1
        assert len(recipes[0].model_hash) == 10
        parent = opened.pool.sample(made[0].parent)
        bright = painting.read(opened, parent).mean()
        for each in made:
            with Image.open(opened.images.local(f"{each.sample}{each.suffix}")) as picture:
                assert picture.size == (parent.width, parent.height)
                if each.condition == "night" and each.parent == parent.id:
                    assert np.asarray(picture).mean() < bright


def test_few_camera_images_leave_room_for_few_generated_ones() -> None:
    assert asking._most_generated(0.2, 100, 10) == 2
    assert asking._most_generated(0.2, 50, 1000) == 10
    assert asking._most_generated(0.29, 100, 1000) == 29
    assert asking._most_generated(1.0, 7, 0) == 7
    assert asking._most_generated(0.0, 7, 50) == 0
