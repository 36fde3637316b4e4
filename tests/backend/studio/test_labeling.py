from __future__ import annotations

from typing import Any, cast
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.studio.labeling import LabelingConfig, data_keys, parse
from pool.schema import BadInput, Label
from tests.backend.studio.bodies import sent

IMAGE = '<Image name="image" value="$image"/>'
BIN_LABELS = '<Label value="垃圾"/><Label value="bin"/>'
BINS = f'<RectangleLabels name="label" toName="image">{BIN_LABELS}</RectangleLabels>'


def view(*parts: str) -> str:
    return f"<View>{''.join(parts)}</View>"


def test_a_plain_config() -> None:
    found = parse(view('<Header value="$why"/>', IMAGE, BINS))
    assert found == LabelingConfig(
        control="label",
        image_tag="image",
        image_key="image",
        labels=(Label("垃圾"), Label("bin")),
        shows_why=True,
    )


def test_labels_carry_what_models_may_call_them() -> None:
    config = view(
        IMAGE,
        '<RectangleLabels name="label" toName="image"><View>',
        '<Label value="满溢的垃圾桶" predicted_values="overflowing bin, 满溢 ,," category="1"/>',
        '</View><Label value="long name" alias="short"/><Label value="x" category="one"/>',
        '<Label value="x"/><Label background="blue"/></RectangleLabels>',
    )
    assert parse(config).labels == (
        Label("满溢的垃圾桶", ("overflowing bin", "满溢"), 1),
        Label("short"),
        Label("x"),
    )


def test_rectangle_beside_labels() -> None:
    config = view(
        IMAGE,
        '<Rectangle name="rect" toName="image"/>',
        '<Ellipse name="ell" toName="image"/>',
        '<Labels name="kind" toName="image"><Label value="a"/></Labels>',
    )
    found = parse(config)
    assert (found.control, found.shape, found.image_tag) == ("kind", "rect", "image")


def test_labels_without_rectangle_draw_no_boxes() -> None:
    config = view(IMAGE, '<Labels name="kind" toName="image"><Label value="a"/></Labels>')
    with pytest.raises(BadInput, match="no such tag"):
        parse(config)


def test_other_tags_do_not_disturb() -> None:
    config = view(
        '<Image name="map" value="$map"/>',
        '<Image name="photo" value="$photo" rotateControl="true"/>',
        '<KeyPointLabels name="kp" toName="photo"><Label value="tip"/></KeyPointLabels>',
        '<Choices name="weather" toName="photo"><Choice value="rain"/></Choices>',
        '<RectangleLabels name="boxes" toName="photo"><Label value="a"/></RectangleLabels>',
        "<!-- a comment with $why -->",
    )
    found = parse(config)
    assert (found.control, found.image_tag, found.image_key) == ("boxes", "photo", "photo")
    assert not found.shows_why


@pytest.mark.parametrize(
    ("tag", "shows"),
    [
        ('<Text name="why" value="$why"/>', True),
        ('<Header value="Why you: $why"/>', True),
        ('<Header value="$whyever"/>', False),
        ('<Header value="why"/>', False),
    ],
)
def test_shows_why(tag: str, shows: bool) -> None:
    assert parse(view(tag, IMAGE, BINS)).shows_why is shows


def test_several_controls_are_listed_and_one_is_chosen_by_name() -> None:
    second = '<RectangleLabels name="signs" toName="image"><Label value="stop"/></RectangleLabels>'
    config = view(IMAGE, BINS, second)
    with pytest.raises(BadInput, match="label, signs"):
        parse(config)
    assert parse(config, "signs").labels == (Label("stop"),)
    with pytest.raises(BadInput, match="label, signs"):
        parse(config, "boxes")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "well-formed"),
        ("<View>", "well-formed"),
        ("<View/>", "no such tag"),
        (view(IMAGE), "no such tag"),
        (view('<Text name="t" value="$t"/>', BINS), "no such tag"),
        (view(IMAGE, '<RectangleLabels name="label" toName="image"/>'), "no <Label>"),
        (view(IMAGE, '<RectangleLabels name="label" toName="image" value="$labels"/>'), "no <Label>"),
        (view('<Image name="image" valueList="$images"/>', BINS), "valueList"),
        (view('<Image name="image" value="$undefined$"/>', BINS), "named data key"),
        (view('<Image name="image" value="$image[0]"/>', BINS), "Paths and lists"),
        (view('<Image name="image" value="$a.b"/>', BINS), "Paths and lists"),
        (view('<Image name="image" value="http://x/y.jpg"/>', BINS), "one plain key"),
        (view('<Image name="image"/>', BINS), "one plain key"),
        (view('<Image name="i{{idx}}" value="$image"/>', IMAGE, BINS), "several images"),
        (
            view(IMAGE, '<Image name="b" value="$b"/>', BINS.replace('toName="image"', 'toName="image,b"')),
            "several images",
        ),
        ("<!DOCTYPE View><View/>", "without DTD"),
        ('<!DOCTYPE v [<!ENTITY a "b">]><View>&a;</View>', "without DTD"),
        ('<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>', "without DTD"),
    ],
)
def test_unusable_configs_say_what_is_wrong(config: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse(config)


def test_every_config_that_label_studio_sent_is_read() -> None:
    for name, body in sent("setup"):
        found = parse(body["schema"])
        assert found.control == "label", name
        assert [label.value for label in found.labels] == [
            "non-overflowing bin",
            "overflowing bin",
            "garbage",
        ]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: text == " ".join(text.split()) and "\ufffe" not in text and "\uffff" not in text
)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_label_names_of_any_script_survive(names: list[str]) -> None:
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
    config = view(IMAGE, f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels>')
    assert [label.value for label in parse(config).labels] == names


def test_data_keys_are_those_that_label_studio_demands() -> None:
    config = view(
        '<Header value="$why"/>',
        IMAGE,
        '<Text name="note" value="Note: $note"/>',
        '<Image name="b" value="b"/>',
    )
    assert data_keys(config) == {"image", "note"}


@pytest.mark.slow
def test_the_sdk_reads_the_same_control_image_and_labels() -> None:
    from label_studio_sdk.label_interface.interface import LabelInterface

    config = view('<Header value="$why"/>', IMAGE, BINS)
    interface = cast("Any", LabelInterface)(config)
    control, image, key = interface.get_first_tag_occurence("RectangleLabels", "Image")
    found = parse(config)
    assert (found.control, found.image_tag, found.image_key) == (control, image, key)
    assert [label.value for label in found.labels] == list(interface.get_control(control).labels)
