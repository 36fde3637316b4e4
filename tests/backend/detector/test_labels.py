from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.detector.labels import match_classes
from pool.schema import Label, NoLabelMap

COCO = ("person", "bicycle", "car", "truck", "traffic light", *(f"thing {i}" for i in range(75)))


def test_names_that_are_equal() -> None:
    assert match_classes(COCO, [Label("car"), Label("person")]) == {"person": "person", "car": "car"}


@pytest.mark.parametrize("value", ["Traffic Light", "traffic_light", "TRAFFIC-LIGHT", " trafficlight "])
def test_names_that_differ_in_dress_only(value: str) -> None:
    assert match_classes(COCO, [Label(value)]) == {"traffic light": value}


def test_predicted_values_come_first_and_may_be_many() -> None:
    labels = [Label("Fahrzeug", ("truck", "car", "spaceship")), Label("人", ("person",), category=4)]
    assert match_classes(COCO, labels) == {"person": "人", "car": "Fahrzeug", "truck": "Fahrzeug"}


def test_category_is_a_class_index() -> None:
    assert match_classes(("a", "b"), [Label("满", category=1), Label("空", category=0)]) == {
        "a": "空",
        "b": "满",
    }


def test_a_category_out_of_range_falls_through_to_the_name() -> None:
    assert match_classes(("bin",), [Label("bin", category=7)]) == {"bin": "bin"}


def test_predicted_values_of_another_model_fall_through_to_the_name() -> None:
    assert match_classes(("bin",), [Label("bin", ("trash can",))]) == {"bin": "bin"}


def test_a_stronger_rule_of_one_label_beats_the_name_of_another() -> None:
    with pytest.raises(NoLabelMap, match="'car'"):
        match_classes(("car",), [Label("vehicle", ("car",)), Label("car")])


def test_two_labels_that_want_one_class() -> None:
    with pytest.raises(NoLabelMap, match=r"'car' is wanted by two labels, 'a' and 'b'"):
        match_classes(COCO, [Label("a", ("car",)), Label("b", ("car",))])


def test_a_loose_name_that_fits_two_classes() -> None:
    with pytest.raises(NoLabelMap, match=r"fits several model classes.*predicted_values=\"Full Bin\""):
        match_classes(("Full Bin", "full_bin"), [Label("FULL BIN")])
    assert match_classes(("Full Bin", "full_bin"), [Label("full_bin")]) == {"full_bin": "full_bin"}
    taken = [Label("other", ("Full Bin",)), Label("FULL BIN")]
    assert match_classes(("Full Bin", "full_bin"), taken) == {"Full Bin": "other", "full_bin": "FULL BIN"}


def test_what_nobody_maps_lists_both_sides_and_the_three_fixes() -> None:
    with pytest.raises(NoLabelMap) as caught:
        match_classes(COCO, [Label("person"), Label("overflowing bin"), Label("垃圾")])
    text = str(caught.value)
    for part in (
        "'overflowing bin', '垃圾'",
        "project labels: 'person', 'overflowing bin', '垃圾'",
        "model classes:  'person', 'bicycle'",
        "and 60 more",
        '<Label value="overflowing bin" predicted_values="bicycle"/>',
        'category="0"',
        "--cold-start",
    ):
        assert part in text, part


names = st.text(min_size=1, max_size=8)


@given(st.lists(names, min_size=1, max_size=8, unique=True), st.data())
def test_every_label_gets_a_class_and_no_class_two(classes: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(classes), min_size=1, unique=True))
    mapping = match_classes(classes, [Label(value) for value in chosen])
    assert mapping == {name: name for name in classes if name in chosen}
    assert list(mapping) == [name for name in classes if name in mapping]


@given(
    st.lists(names, min_size=1, max_size=6, unique=True),
    st.lists(
        st.builds(Label, names, st.lists(names, max_size=3).map(tuple), st.none() | st.integers(-2, 8)),
        min_size=1,
        max_size=4,
        unique_by=lambda label: label.value,
    ),
)
def test_a_map_is_complete_or_refused(classes: list[str], labels: list[Label]) -> None:
    try:
        mapping = match_classes(classes, labels)
    except NoLabelMap:
        return
    assert set(mapping) <= set(classes)
    assert set(mapping.values()) == {label.value for label in labels}
