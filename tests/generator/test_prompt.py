"""Prompts by hand as A1111 documents them, against a recursive reader, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from generator import prompt
from generator.prompt import BREAK, LONGEST, Chunk, Lora, Prompt, parse
from pool.schema import BadInput


def weights(text: str) -> list[tuple[str, float]]:
    return [(chunk.text, round(chunk.weight, 9)) for chunk in parse(text).chunks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a cat", [("a cat", 1)]),
        ("a (cat) here", [("a ", 1), ("cat", 1.1), (" here", 1)]),
        ("a ((cat))", [("a ", 1), ("cat", 1.21)]),
        ("[cat]", [("cat", round(1 / 1.1, 9))]),
        ("[[cat]]", [("cat", round(1 / 1.21, 9))]),
        ("([cat])", [("cat", 1)]),
        ("(cat:1.2)", [("cat", 1.2)]),
        ("(cat : 1.2 )", [("cat ", 1.2)]),
        ("(cat:.5)", [("cat", 0.5)]),
        ("(cat:-1)", [("cat", -1)]),
        ("(cat:0)", [("cat", 0)]),
        ("(a (b:1.5):2)", [("a ", 2), ("b", 3)]),
        ("((a:1.2) b)", [("a", 1.32), (" b", 1.1)]),
        (r"\(cat\)", [("(cat)", 1)]),
        (r"\[cat\] \\", [("[cat] \\", 1)]),
        (r"(\(cat\):1.2)", [("(cat)", 1.2)]),
        (r"a\b", [("ab", 1)]),
        ("(cat", [("cat", 1.1)]),
        ("a [cat", [("a ", 1), ("cat", round(1 / 1.1, 9))]),
        ("cat) b", [("cat) b", 1)]),
        ("cat] b", [("cat] b", 1)]),
        ("cat:1.2)", [("cat:1.2)", 1)]),
        ("cat:1.2", [("cat:1.2", 1)]),
        ("(a] b)", [("a] b", 1.1)]),
        ("a: b", [("a: b", 1)]),
        ("()", []),
        ("(a)(b)", [("ab", 1.1)]),
        ("a | b", [("a | b", 1)]),
        ("[a | b", [("a | b", round(1 / 1.1, 9))]),
        (r"[a\|b]", [("a|b", round(1 / 1.1, 9))]),
        ("[(a|b)]", [("a|b", 1)]),
        ("[a:b]", [("a:b", round(1 / 1.1, 9))]),
        ("a\nb", [("a\nb", 1)]),
        ("sand AND_OR SANDY", [("sand AND_OR SANDY", 1)]),
        (r"this A\ND that", [("this AND that", 1)]),
    ],
)
def test_what_a1111_documents(text: str, expected: list[tuple[str, float]]) -> None:
    assert weights(text) == expected


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("（大雪：1.2）", "(大雪:1.2)"),
        ("（（雪））", "((雪))"),
        ("街道，（雪:1.2），夜", "街道,(雪:1.2),夜"),
        ("(雪：1.2）", "(雪:1.2)"),
        ("（雪", "(雪"),
        ("雪）", "雪)"),
        ("雪：夜", "雪:夜"),
        ("雪<lora：大雪：0.8>", "雪<lora:大雪:0.8>"),
    ],
)
def test_full_width_signs_are_their_plain_ones(wide: str, narrow: str) -> None:
    assert parse(wide) == parse(narrow)


def test_other_full_width_signs_and_escaped_ones_are_text() -> None:
    text = "【雪】。、；“夜”《街》＜a＞"
    assert parse(text) == Prompt((Chunk(text),))
    assert parse(r"\（雪\）\：\，") == Prompt((Chunk("（雪）：，"),))


def test_break_starts_a_window_and_has_no_weight() -> None:
    assert parse("a BREAK b").chunks == (Chunk("a"), BREAK, Chunk("b"))
    assert parse("(a\nBREAK  b:2)").chunks == (Chunk("a", 2), BREAK, Chunk("b", 2))
    assert parse("BREAK a BREAK BREAK").chunks == (BREAK, Chunk("a"), BREAK, BREAK)
    assert parse("BREAKFAST break OUTBREAK").chunks == (Chunk("BREAKFAST break OUTBREAK"),)


@pytest.mark.parametrize(
    ("tag", "lora"),
    [
        ("<lora:snowfall:0.8>", Lora("snowfall", 0.8)),
        ("<lora:snowfall>", Lora("snowfall", 1.0)),
        ("<lora:snowfall:0.5:0.8>", Lora("snowfall", 0.8, 0.5)),
        ("<lora:snowfall:0.8:0.8>", Lora("snowfall", 0.8)),
        ("<lora:snowfall:te=0.5:unet=0.8>", Lora("snowfall", 0.8, 0.5)),
        ("<lora:snowfall:unet=0.8>", Lora("snowfall", 0.8, 1.0)),
        ("<lora:snowfall:te=0.5>", Lora("snowfall", 0.5)),
        ("<lora: heavy (snow), v1.2 :-1>", Lora("heavy (snow), v1.2", -1.0)),
        ("<lora:大雪:.5>", Lora("大雪", 0.5)),
        ("<LoRA:a:1>", Lora("a")),
        ("<lyco:a:0.3>", Lora("a", 0.3)),
    ],
)
def test_lora_tags_are_taken_out(tag: str, lora: Lora) -> None:
    assert parse(f"snow, {tag}, night") == Prompt((Chunk("snow, , night"),), (lora,))


def test_loras_keep_their_order_and_may_repeat() -> None:
    loras = parse("<lora:b:1>x<lora:a:2><lora:b:1>").loras
    assert loras == (Lora("b"), Lora("a", 2), Lora("b"))


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("[day:night:0.5]", "prompt editing", "(snow:0.5)"),
        ("[day::5]", "prompt editing", "(snow:0.5)"),
        ("[night:0.5]", "prompt editing", "(snow:0.5)"),
        ("a [(day:1.2)|night] b", "alternation", "one prompt"),
        ("day AND night", "AND", "comma"),
        ("day :1.2 AND night", "AND", "comma"),
        ("<hypernet:x:1>", "networks other than LoRA", r"<\ "),
        ("(snow:1.2.3)", "numbers", "(snow:1.2)"),
        ("(snow:.)", "numbers", "(snow:1.2)"),
        ("(snow:" + "9" * 400 + ")", "finite", "near 1"),
        ("<lora:x:strong>", "one or two weights", "<lora:snowfall:0.8>"),
        ("<lora:x:1:1:4>", "one or two weights", "<lora:snowfall:0.8>"),
        ("<lora:x:dyn=4>", "one or two weights", "<lora:snowfall:0.8>"),
        ("<lora: :1>", "name of a file", "<lora:snowfall:0.8>"),
        ("<lora:x:nan>", "one or two weights", "<lora:snowfall:0.8>"),
        ("<lora:x:" + "9" * 400 + ">", "finite", "near 1"),
        ("a" * (LONGEST + 1), "10,000", "Shorten"),
    ],
)
def test_what_is_refused_says_what_to_write(text: str, what: str, fix: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(text)
    assert what in error.value.expected
    assert fix in error.value.fix


def test_refusals_quote_what_was_written() -> None:
    with pytest.raises(BadInput, match=r"'\[day:night:0\.5\]'"):
        parse("street, [day:night:0.5], snow")
    with pytest.raises(BadInput, match=r"'\[day\|night\]'"):
        parse("street, [day|night], snow")


@pytest.mark.parametrize("name", ["", " a", "a ", "a:b", "a<b", "a>b", "a\nb", "a：b"])
def test_a_lora_must_fit_into_a_tag(name: str) -> None:
    with pytest.raises(BadInput, match="LoRA"):
        Lora(name)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_a_lora_has_finite_weights(weight: float) -> None:
    with pytest.raises(BadInput, match="finite"):
        Lora("a", weight)
    with pytest.raises(BadInput, match="finite"):
        Lora("a", 1.0, weight)


def test_deep_nesting_is_read_in_time_and_within_the_stack() -> None:
    deep = LONGEST // 3
    closed, left_open = parse("(a" * deep + ")" * deep).chunks, parse("(a" * deep).chunks
    assert [chunk.weight for chunk in closed] == pytest.approx([1.1**k for k in range(1, deep + 1)])
    assert [chunk.weight for chunk in left_open] == pytest.approx([chunk.weight for chunk in closed])


@dataclass(frozen=True)
class Node:
    """Text, or a bracket around others; ``weight`` None is the bracket's own factor."""

    inside: str | tuple[Node, ...]
    bracket: str = ""
    weight: str | None = None

    def write(self) -> str:
        if isinstance(self.inside, str):
            return self.inside
        text = "".join(node.write() for node in self.inside)
        if self.bracket == "[":
            return f"[{text}]"
        return f"({text}:{self.weight})" if self.weight else f"({text})"

    def letters(self, weight: float) -> list[tuple[str, float]]:
        """What A1111's rules say of every letter, by recursion instead of a stack of positions."""
        if isinstance(self.inside, str):
            return [(letter, weight) for letter in self.inside]
        factor = float(self.weight) if self.weight else (1.1 if self.bracket == "(" else 1 / 1.1)
        return [letter for node in self.inside for letter in node.letters(weight * factor)]


LEAVES = st.text("ab ,雪;.1", min_size=1, max_size=5).map(Node)
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            Node,
            st.lists(inner, min_size=1, max_size=3).map(tuple),
            st.just("("),
            st.sampled_from([None, "1.2", "0.5", "-1", "2"]),
        )
        | st.builds(Node, st.lists(inner, min_size=1, max_size=3).map(tuple), st.just("["))
    ),
    max_leaves=12,
)


@given(st.lists(NODES, max_size=4))
def test_balanced_brackets_multiply(nodes: list[Node]) -> None:
    expected = [letter for node in nodes for letter in node.letters(1.0)]
    read = [
        (letter, chunk.weight)
        for chunk in parse("".join(node.write() for node in nodes)).chunks
        for letter in chunk.text
    ]
    assert [letter for letter, _ in read] == [letter for letter, _ in expected]
    assert [weight for _, weight in read] == pytest.approx([weight for _, weight in expected])


FINITE = st.floats(allow_nan=False, allow_infinity=False)
PIECES = ["BREAK", "AND", "BR", "EAK", "<lora:x:1>", "<", ":1.2)", ":1.2]", *"\\|()[]，： "]
TEXTS = st.text(max_size=6) | st.lists(st.sampled_from(PIECES) | st.text("ab雪\n", max_size=2)).map("".join)
CHUNKS = st.builds(Chunk, TEXTS.filter(bool), st.just(1.0) | FINITE) | st.just(BREAK)
NAMES = st.text(st.characters(exclude_characters="<>:：\n"), min_size=1, max_size=8).filter(
    lambda name: name == name.strip()
)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    chunks: list[Chunk] = []
    for chunk in draw(st.lists(CHUNKS, max_size=5)):
        if not (chunks and chunk.text and chunks[-1].text and chunks[-1].weight == chunk.weight):
            chunks.append(chunk)
    loras = st.builds(Lora, NAMES, FINITE, st.none() | FINITE)
    apart = loras.filter(lambda lora: lora.weight != lora.text_encoder_weight)
    return Prompt(tuple(chunks), tuple(draw(st.lists(apart, max_size=2))))


@given(prompts())
@example(Prompt((Chunk(" a "), BREAK, Chunk(" b "), BREAK, Chunk(" c ", 2.0), BREAK, BREAK)))
@example(Prompt((Chunk("<"), Chunk("lora:x:1>", 1.2), Chunk("<lora:x:1>"))))
@example(Prompt((Chunk("a", 1e-300), Chunk("b", 1e300), Chunk("c", -0.5))))
def test_there_and_back(given: Prompt) -> None:
    text = prompt.format(given)
    assert parse(text) == given
    assert prompt.format(parse(text)) == text


@given(st.lists(st.sampled_from([*PIECES, ":1.3)", "1.2", "a", "\n", "BREAK "]), max_size=12).map("".join))
def test_whatever_is_read_comes_back(text: str) -> None:
    try:
        read = parse(text)
    except BadInput:
        assume(False)
    assert parse(prompt.format(read)) == read
    for one, two in pairwise(read.chunks):
        assert one.weight != two.weight or not (one.text and two.text)


@pytest.mark.parametrize(
    "text",
    [
        "snow, (night:1.2) BREAK (a:0.5)<lora:x:0.8>",
        r"a \(cat\), \[b\]",
        "<lora:x:0.5:0.8><lora:y:1>",
        "雪，夜".replace("，", r"\，"),
    ],
)
def test_plain_prompts_are_written_plainly(text: str) -> None:
    assert prompt.format(parse(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.0, "7"),
        (0.34, "0.34"),
        (-1.0, "-1"),
        (0.0, "0"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22),
        (100.0, "100"),
    ],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert prompt.number(value) == text
