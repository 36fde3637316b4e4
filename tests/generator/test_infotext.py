"""Infotexts of A1111, its relatives and our own, by hand and by a public reader, and the way back."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given

from generator import infotext, pairs, png
from generator.infotext import parse
from generator.recipe import Control, Mode, Recipe
from pool.schema import BadInput
from tests.generator.recipes import NIGHT, RECIPES, SNOW

SNOW_RECIPE = Recipe(
    prompt="snowy,winter,(snowfall in background:1.2),(heavyfall:1.15),snow,very snowy,photorealistic,"
    "<lora:snowfall:0.8>,",
    negative="Unrealistic",
    mode="img2img",
    steps=20,
    sampler="DPM++ 2M Karras",
    cfg=7.0,
    strength=0.34,
    clip_skip=2,
    seed=712934690,
    size=(500, 375),
    model="realisticVisionV60B1_v60B1VAE",
    model_hash="fe7578cb5e",
    vae="vae-ft-mse-840000-ema-pruned",
    vae_hash="735e4c3a44",
    loras={"snowfall": "f8324b7af7d9"},
)
NIGHT_RECIPE = Recipe(
    prompt="Realism,(dark:1.2),(night:1.5),trash can,trash bag,trash,photo,real,",
    negative="comic,pixel art,((dyeing)),((oil painting)),((impasto)),oil_painting,highres,",
    mode="img2img",
    sampler="DPM++ 3M Karras",
    strength=0.6,
    clip_skip=2,
    size=(500, 375),
)


def test_the_snow_recipe_to_the_letter() -> None:
    assert parse(SNOW) == SNOW_RECIPE
    assert infotext.text(SNOW_RECIPE) == SNOW


def test_the_night_recipe_with_full_width_signs() -> None:
    assert parse(NIGHT) == NIGHT_RECIPE
    words, settings = NIGHT.rsplit("\n", 1)
    plain = settings.replace("，", ", ").replace("：", ": ")
    assert infotext.text(NIGHT_RECIPE) == f"{words}\n{plain}"


@given(RECIPES)
@example(Recipe(""))
@example(Recipe("", negative="a"))
@example(Recipe('a "b", c: d\nModel: x, VAE: y, Seed: 3', extra={"Note": 'say "a, b"\n\\'}))
@example(Recipe("a", strength=0.5, mode="txt2img", extra={"Hires upscale": "2"}))
@example(Recipe("a", strength=0.5, extra={"Hires upscale": "2"}))
@example(Recipe("a", image_cfg=2.0, strength=0.5))
@example(Recipe("a", loras={", b": "", "c,": "12"}, extra={"Empty": ""}))
@example(Recipe("a", controls=(Control("depth", 'b, "c": d'), Control("canny", weight=0.5))))
def test_every_recipe_comes_back(recipe: Recipe) -> None:
    text = infotext.text(recipe)
    assert parse(text) == recipe
    assert infotext.text(parse(text)) == text


@given(RECIPES)
def test_the_settings_are_the_last_line_as_in_a1111(recipe: Recipe) -> None:
    last = infotext.text(recipe).split("\n")[-1]
    assert last.startswith("Steps: ")
    assert list(pairs.split(last))[:2] == ["Steps", "Sampler"]


def test_order_of_extras_is_kept() -> None:
    text = "a\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Version: v1.6.0, ENSD: 31337, Alpha: 1"
    assert list(parse(text).extra) == ["Version", "ENSD", "Alpha"]
    assert infotext.text(parse(text)) == text


NEWER = """street, snow,
(night:1.2) BREAK
<lora:a:0.6> <lora:b:0.4:0.8>
Negative prompt: blurry,
people
Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 99, Size: 832x1216, \
Model hash: abc123, Model: "a model, with comma", VAE: some.safetensors, Denoising strength: 0.45, \
Clip skip: 2, Hires upscale: 2, Hires steps: 12, Hires upscaler: 4x-UltraSharp, \
ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, \
Resize Mode: Crop and Resize, Processor Res: 512, Threshold A: 100.0, Threshold B: 200.0, \
Guidance Start: 0.0, Guidance End: 0.9, Pixel Perfect: False, Control Mode: Balanced", \
ControlNet 2: "Module: depth_leres++, Model: control_v11f1p_sd15_depth [cfd03158], Weight: 1", \
Lora hashes: "a: 1a2b3c, b: 4d5e6f", TI hashes: "c: 1234", Refiner switch at: 0.8, \
Hashes: {"model": "abc123", "vae": "1"}, Version: v1.9.4"""


def test_a_newer_file_of_a1111() -> None:
    recipe = parse(NEWER)
    assert recipe.prompt == "street, snow,\n(night:1.2) BREAK\n<lora:a:0.6> <lora:b:0.4:0.8>"
    assert recipe.negative == "blurry,\npeople"
    assert recipe.sampler == "DPM++ 2M Karras"
    assert recipe.model == "a model, with comma"
    assert (recipe.cfg, recipe.seed, recipe.size, recipe.vae) == (5.5, 99, (832, 1216), "some.safetensors")
    assert recipe.mode == "txt2img"  # a denoising strength, but that of the second pass
    assert recipe.controls == (
        Control("canny", "control_v11p_sd15_canny", 0.8, 0.0, 0.9),
        Control("depth", "control_v11f1p_sd15_depth"),
    )
    assert recipe.loras == {"a": "1a2b3c", "b": "4d5e6f"}
    assert recipe.extra == {
        "Hires upscale": "2",
        "Hires steps": "12",
        "Hires upscaler": "4x-UltraSharp",
        "TI hashes": "c: 1234",
        "Refiner switch at": "0.8",
        "Hashes": '{"model": "abc123", "vae": "1"}',
        "Version": "v1.9.4",
    }
    assert parse(infotext.text(recipe)) == recipe


def test_a_file_of_sd_next() -> None:
    recipe = parse(
        "fog\nNegative prompt: blur\nSteps: 10, Size: 256x256, Sampler: DPM++ SDE, Scheduler: Karras, "
        "Seed: 6, CFG scale: 15.7, CFG end: 0.3, App: SD.Next, Parser: x, Model: m, Model hash: 335da0800c"
    )
    assert recipe == Recipe(
        "fog",
        "blur",
        "txt2img",
        10,
        "DPM++ SDE Karras",
        15.7,
        seed=6,
        size=(256, 256),
        model="m",
        model_hash="335da0800c",
        extra={"CFG end": "0.3", "App": "SD.Next", "Parser": "x"},
    )


@pytest.mark.parametrize(
    ("written", "sampler"),
    [
        ("Sampler: DPM++ 2M Karras", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 2M, Schedule type: Karras", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 2M Karras, Schedule type: Karras", "DPM++ 2M Karras"),
        ("Schedule type: Exponential, Sampler: DPM++ 2M SDE", "DPM++ 2M SDE Exponential"),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", "DPM++ 2M Karras"),
        ("Sampler: DPM++ 3M SDE, Schedule type: Automatic", "DPM++ 3M SDE Exponential"),
        ("Sampler: Euler a, Schedule type: Automatic", "Euler a"),
        ("Sampler: Euler a, Schedule type: Uniform", "Euler a"),
        ("Sampler: Euler a", "Euler a"),
        ("CFG scale: 7", "DPM++ 2M Karras"),
    ],
)
def test_samplers_with_their_schedules(written: str, sampler: str) -> None:
    assert parse(f"a\nSteps: 20, {written}, Seed: 1").sampler == sampler


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ("Seed: 1", "txt2img"),
        ("Denoising strength: 0.4", "img2img"),
        ("Denoising strength: 0.4, Hires upscale: 2", "txt2img"),
        ("Denoising strength: 1, Image CFG scale: 1.5", "instruct"),
        ("Mode: render", "render"),
        ("Denoising strength: 0.4, mode: Inpaint", "inpaint"),
    ],
)
def test_modes(settings: str, mode: Mode) -> None:
    assert parse(f"a\nSteps: 20, {settings}").mode == mode


def test_our_own_modes_have_a_key_and_a1111s_have_none() -> None:
    assert "Mode: instruct" in infotext.text(Recipe("a", mode="instruct", strength=0.5))
    assert "Mode: render" in infotext.text(Recipe("a", mode="render"))
    assert "Mode: inpaint" in infotext.text(Recipe("a", mode="inpaint", strength=0.5))
    assert "Mode" not in infotext.text(Recipe("a", mode="img2img", strength=0.5))
    assert "Mode" not in infotext.text(Recipe("a", mode="txt2img"))
    assert "Image CFG scale: 1.5" in infotext.text(Recipe("a", mode="instruct"))


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a cat, (sitting:1.2)", "a cat, (sitting:1.2)", ""),
        ("a\nb\n\nc", "a\nb\n\nc", ""),
        ("  a  \r\nb\r\n", "a  \nb", ""),
        ("a\nNegative prompt: b\nc", "a", "b\nc"),
        ("a\nNegative prompt：b", "a", "b"),
        ("Negative prompt: b", "", "b"),
        ("Steps: 20", "", ""),
        ("Model: young woman, hair: red", "Model: young woman, hair: red", ""),
        ("Size: huge, light: soft, mood: grim", "Size: huge, light: soft, mood: grim", ""),
        ("", "", ""),
    ],
)
def test_what_may_be_missing(text: str, prompt: str, negative: str) -> None:
    assert parse(text) == Recipe(prompt, negative, mode="txt2img")


@pytest.mark.parametrize(
    "text",
    [
        "a\nSteps: 30, Seed: 5,\nSize: 512x384, Model: m",
        "a\nSteps: 30, Seed: 5\nSize: 512x384\nModel: m",
        "a\nSteps: 30, Seed:\n5, Size: 512x384, Model: m",
        "a\nSteps：30，Seed：5，\nSize：512x384，Model：m，",
        "a\n  steps: 30, SEED: 5, size: 512 × 384, model: m\n".replace("steps", "Steps"),
        "a\nSteps:30,Seed:5,Size:512x384,Model:m",
        "a\nSeed: 5, Steps: 30, Size: 512x384, Model: m",
        "a\nSteps: 1, Steps: 30, Seed: 5, Size: 512x384, Model: m",
        'a\nSteps: "30", Seed: 5, Size: 512X384, Model: "m"',
    ],
)
def test_settings_as_people_paste_them(text: str) -> None:
    assert parse(text) == Recipe("a", mode="txt2img", steps=30, seed=5, size=(512, 384), model="m")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("Steps: many", "Steps"),
        ("Steps: 0", "Steps"),
        ("Steps: 20.5", "Steps"),
        ("CFG scale: high", "CFG scale"),
        ("CFG scale: -1", "CFG scale"),
        ("CFG scale: nan", "CFG scale"),
        ("CFG scale: " + "9" * 400, "CFG scale"),
        ("Seed: -2", "Seed"),
        ("Seed: 4294967296", "Seed"),
        ("Seed: " + "9" * 5000, "Seed"),
        ("Size: 512", "Size"),
        ("Size: 8x512", "Size"),
        ("Denoising strength: 1.5", "Denoising strength"),
        ("Clip skip: 0", "Clip skip"),
        ("Mode: outpaint", "Mode"),
        ("Sampler: ", "Sampler"),
        ("Lora hashes: snowfall", "Lora hashes"),
        ('ControlNet 0: "Module: openpose, Model: x"', "ControlNet 0"),
        ('ControlNet 0: "Module: scribble_hed, Model: x"', "ControlNet 0"),
        ('ControlNet 0: "Module: canny, Weight: heavy"', "ControlNet 0 Weight"),
        ('ControlNet 0: "Module: canny, Weight: 3"', "ControlNet Weight"),
        ('ControlNet 0: "Module: canny, starting/ending: 1"', "ControlNet 0 Guidance Start"),
        ('Note: "\\u0007"', "Note"),
    ],
)
def test_bad_values_are_named(settings: str, word: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(f"a\nSteps: 20, {settings}")
    assert error.value.field == word
    assert error.value.fix


def test_an_endless_infotext_is_refused() -> None:
    with pytest.raises(BadInput, match="1,000,000"):
        parse("a" * (infotext.LONGEST + 1))


def test_a_public_reader_agrees() -> None:
    from sd_parsers import ParserManager

    recipe = replace(SNOW_RECIPE, prompt=SNOW_RECIPE.prompt + "雪", extra={"Version": "v1.6.0"})
    data = png.write(np.zeros((16, 24, 3), np.uint8), infotext.text(recipe))
    found = ParserManager().parse(io.BytesIO(data))
    assert found is not None
    assert found.generator.value == "AUTOMATIC1111"
    (sampler,) = found.samplers
    assert sampler.name == "DPM++ 2M Karras"
    assert sampler.parameters == {"cfg_scale": "7", "seed": "712934690", "steps": "20"}
    assert sampler.model is not None
    assert (sampler.model.name, sampler.model.hash) == (recipe.model, recipe.model_hash)
    assert [prompt.value for prompt in sampler.prompts] == [recipe.prompt]
    assert [prompt.value for prompt in sampler.negative_prompts] == [recipe.negative]
    assert found.metadata["VAE"] == recipe.vae
    assert found.metadata["Denoising strength"] == "0.34"
    assert found.metadata["Size"] == "500x375"
