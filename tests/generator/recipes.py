"""Every kind of valid recipe, for hypothesis; and the two recipes that this project began with."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from generator.recipe import Control, ControlKind, Mode, Recipe

SNOW = (
    "snowy,winter,(snowfall in background:1.2),(heavyfall:1.15),snow,very snowy,photorealistic,"
    "<lora:snowfall:0.8>,\n"
    "Negative prompt: Unrealistic\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 712934690, Size: 500x375, "
    "Model hash: fe7578cb5e, Model: realisticVisionV60B1_v60B1VAE, VAE hash: 735e4c3a44, "
    "VAE: vae-ft-mse-840000-ema-pruned, Denoising strength: 0.34, Clip skip: 2, "
    'Lora hashes: "snowfall: f8324b7af7d9"'
)
NIGHT = (
    "Realism,(dark:1.2),(night:1.5),trash can,trash bag,trash,photo,real,\n"
    "Negative prompt: comic,pixel art,((dyeing)),((oil painting)),((impasto)),oil_painting,highres,\n"
    "Steps：20，Sampler：DPM++ 3M Karras，CFG scale：7，Seed：-1，Size：500x375，"
    "Denoising strength：0.6，Clip skip：2"
)

LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
SIGNS = [*',:"\\{}[]，： \n\u2028\u3000', '", ', "Seed: 3, ", "Steps", "Negative prompt", "雪", ":1.2)"]


def _kept(text: str) -> str:
    """What a prompt may be: no line that an infotext is cut at, no white space around it."""
    lines = [line for line in text.split("\n") if not line.strip().startswith(("Steps", "Negative prompt"))]
    return "\n".join(lines).strip()


TEXTS = st.text(LETTERS, max_size=12) | st.lists(st.sampled_from(SIGNS), max_size=8).map("".join)
PROMPTS = st.lists(TEXTS, max_size=3).map("\n".join).map(_kept)
LINES = TEXTS.map(lambda text: text.replace("\n", "").strip())
FACTORS = st.floats(0, 1)
CONTROLS = st.builds(
    lambda kind, model, weight, span: Control(kind, model, weight, min(span), max(span)),
    st.sampled_from(get_args(ControlKind)),
    LINES.filter(lambda model: model.casefold() != "none" and not model.endswith("]")),
    st.floats(0, 2),
    st.tuples(FACTORS, FACTORS),
)
LORAS = st.dictionaries(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>:："), min_size=1, max_size=9
    ).filter(lambda name: name == name.strip()),
    st.text("0123456789abcdef", max_size=12),
    max_size=3,
)
EXTRA = st.dictionaries(
    st.from_regex(r"Ex[\w/\-]( [\w/\-]{1,5}){0,2}", fullmatch=True)
    | st.sampled_from(["Hires upscale", "Version", "ENSD", "Mask blur", "键", "ControlNet 0 Foo", "x"]),
    TEXTS,
    max_size=4,
)
SIDES = st.integers(16, 4096)
GUIDANCE = st.floats(0, allow_infinity=False) | st.sampled_from([7.0, 1.5])
RECIPES = st.builds(
    Recipe,
    prompt=PROMPTS,
    negative=PROMPTS,
    mode=st.sampled_from(get_args(Mode)),
    steps=st.integers(1, 1000),
    sampler=LINES.filter(bool)
    | st.sampled_from(["DPM++ 2M Karras", "Euler a", "DPM++ 3M SDE Exponential"]),
    cfg=GUIDANCE,
    image_cfg=GUIDANCE,
    strength=st.none() | FACTORS,
    clip_skip=st.integers(1, 12),
    seed=st.integers(-1, 2**32 - 1),
    size=st.none() | st.tuples(SIDES, SIDES),
    model=LINES,
    model_hash=LINES,
    vae=LINES,
    vae_hash=LINES,
    loras=LORAS,
    controls=st.lists(CONTROLS, max_size=2).map(tuple),
    extra=EXTRA,
)
