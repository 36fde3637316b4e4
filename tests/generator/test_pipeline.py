"""The painter on tiny models with random weights: every mode and size, and what must not leak."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generator.diffusion.options import PainterOptions
from generator.diffusion.pipeline import Painter
from generator.diffusion.shelf import Shelf
from generator.diffusion.source import Source
from generator.pixels import Pixels
from generator.recipe import Control, Recipe
from pool.schema import BadInput, MissingWeights, ThresherError
from tests.generator import tiny

BASE = Recipe("snow street", "night", model="sd", steps=3, sampler="Euler", cfg=3.0, strength=0.6)
TEXT = replace(BASE, mode="txt2img", strength=None)
BOX = np.array([[0.25, 0.25, 0.6, 0.7]])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    models, vaes, loras, nets = (root / name for name in ("Stable-diffusion", "VAE", "Lora", "ControlNet"))
    base, words = tiny.sd(root / "tokenizer"), root / "words"
    xl = tiny.sdxl(words)
    base.save_pretrained(models / "sd")
    xl.save_pretrained(models / "xl")
    tiny.sd(words, 8, seed=8).save_pretrained(models / "pix2pix")
    tiny.sd(words, 9, seed=9).save_pretrained(models / "inpainting")
    tiny.write_file(models / "one file.safetensors", base)
    tiny.residual(words).save_pretrained(models / "residual")
    tiny.vae(77).save_pretrained(vaes / "vae")
    save_file(dict(tiny.vae_names(tiny.vae(77))), vaes / "vae file.safetensors")
    tiny.controlnet(base.unet, 30).save_pretrained(nets / "tiny canny")
    tiny.controlnet(base.unet, 31).save_pretrained(nets / "tiny depth")
    tiny.controlnet(xl.unet, 32).save_pretrained(nets / "xl")
    tiny.lora(loras / "snowfall.safetensors", base.unet, base.text_encoder)
    tiny.lora(loras / "fog.v2.safetensors", base.unet, seed=41)
    tiny.lora(loras / "xl.safetensors", xl.unet)
    save_file({"weight": torch.zeros(2)}, loras / "no lora.safetensors")
    return Shelf(root)


@pytest.fixture(scope="module")
def painter(shelf: Shelf) -> Iterator[Painter]:
    """One for all tests: what one recipe leaves behind would show in another's."""
    painter = Painter(shelf, PainterOptions(batch=4))
    yield painter
    painter.close()


def picture(width: int = 64, height: int = 64, seed: int = 0) -> Pixels:
    """Smooth colours: noise would be all that a tiny VAE sees."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 4, 3)).astype(np.float32)
    rows, columns = np.linspace(0, 3, height).astype(int), np.linspace(0, 3, width).astype(int)
    image: Pixels = small[rows][:, columns].astype(np.uint8)
    return image


def source(width: int = 64, height: int = 64, seed: int = 1, boxes: Any = None) -> Source:
    return Source(picture(width, height, seed), seed, np.empty((0, 4)) if boxes is None else boxes)


def far(a: Pixels, b: Pixels) -> int:
    """The largest difference in grey levels."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


CONTROLS = (Control("canny", weight=1.0), Control("depth", weight=0.7, start=0.0, end=0.8))
MODES = {
    "txt2img": TEXT,
    "img2img": BASE,
    "inpaint": replace(BASE, mode="inpaint"),
    "inpaint at full strength": replace(BASE, mode="inpaint", strength=1.0),
    "inpainting model": replace(BASE, mode="inpaint", model="inpainting", strength=1.0),
    "instruct": replace(BASE, mode="instruct", model="pix2pix", strength=None),
    "residual": replace(BASE, mode="instruct", model="residual", sampler="DDIM", strength=None),
    "txt2img, a control": replace(TEXT, controls=CONTROLS[:1]),
    "txt2img, two controls": replace(TEXT, controls=CONTROLS),
    "img2img, a control": replace(BASE, controls=CONTROLS[:1]),
    "img2img, two controls": replace(BASE, controls=CONTROLS),
    "inpaint, a control": replace(BASE, mode="inpaint", controls=CONTROLS[:1]),
    "inpaint, two controls": replace(BASE, mode="inpaint", controls=CONTROLS),
    "inpainting model, a control": replace(BASE, mode="inpaint", model="inpainting", controls=CONTROLS[:1]),
    "from one file": replace(BASE, model="one file"),
    "another VAE": replace(BASE, vae="vae"),
    # A random LoRA at its full weight magnifies the rounding of batched sums to dozens of grey levels.
    "a LoRA": replace(BASE, prompt="snow <lora:snowfall:0.3>"),
    "SDXL txt2img": replace(TEXT, model="xl"),
    "SDXL img2img": replace(BASE, model="xl"),
    "SDXL inpaint": replace(BASE, model="xl", mode="inpaint"),
    "SDXL, a control": replace(BASE, model="xl", controls=(Control("canny", "xl"),)),
    "LCM": replace(BASE, sampler="LCM", cfg=1.0, steps=2, strength=1.0),
    "SDE": replace(BASE, sampler="DPM++ SDE Karras"),
    "2M Karras": replace(BASE, sampler="DPM++ 2M Karras"),
    "Euler a": replace(BASE, sampler="Euler a"),
    "no guidance": replace(BASE, cfg=1.0),
    "instruct without guidance": replace(BASE, mode="instruct", model="pix2pix", strength=None, cfg=1.0),
}


ALWAYS = (
    "txt2img",
    "img2img",
    "inpaint",
    "inpainting model",
    "instruct",
    "residual",
    "img2img, two controls",
    "SDXL img2img",
    "SDE",
)


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(r, id=n, marks=() if n in ALWAYS else pytest.mark.slow) for n, r in MODES.items()],
)
def test_each_mode_paints_and_batch_equals_single(painter: Painter, recipe: Recipe) -> None:
    """Odd sizes, two in one bucket and one in another: each as alone, as large as it was, in order."""
    sources = [source(50, 37, 1, BOX), source(70, 40, 2, BOX), source(61, 64, 3, BOX)]
    together = painter.paint(recipe, sources)
    for one, result in zip(sources, together, strict=True):
        assert result.shape == one.image.shape
        assert result.dtype == np.uint8
        assert result.std() > 1
        assert far(result, one.image) > 10
    for position in (2, 0):
        assert far(painter.paint(recipe, [sources[position]])[0], together[position]) <= 2


def test_same_seed_same_pixels_in_another_painter(shelf: Shelf, painter: Painter) -> None:
    painter.paint(replace(BASE, prompt="night <lora:fog.v2:1>", model="sd"), [source()])
    first = painter.paint(BASE, [source()])[0]
    other = Painter(shelf)
    np.testing.assert_array_equal(other.paint(BASE, [source()])[0], first)
    other.close()
    np.testing.assert_array_equal(other.paint(BASE, [source()])[0], first)


@pytest.mark.parametrize("mode", ["txt2img", "img2img", "inpaint"])
@pytest.mark.parametrize("size", [(16, 16), (17, 65), pytest.param((500, 375), marks=pytest.mark.slow)])
def test_any_size_comes_back(painter: Painter, size: tuple[int, int], mode: Any) -> None:
    recipe = replace(BASE, mode=mode, strength=None if mode == "txt2img" else 0.6, steps=2)
    result = painter.paint(recipe, [source(*size)])[0]
    assert result.shape == (size[1], size[0], 3)


def test_a_size_in_the_recipe(painter: Painter) -> None:
    assert painter.paint(replace(TEXT, size=(70, 40)), [source(90, 90)])[0].shape == (40, 70, 3)
    shrunk = painter.paint(replace(BASE, size=(64, 48)), [source(128, 96)])[0]
    assert shrunk.shape == (96, 128, 3)


def test_inpaint_leaves_the_boxes_to_the_bit(painter: Painter) -> None:
    boxes = np.array([[0.1, 0.2, 0.35, 0.8], [0.7, 0.0, 1.0, 0.33]])
    for recipe in (MODES["inpaint, two controls"], MODES["SDXL inpaint"]):
        one = source(83, 59, 4, boxes)
        result = painter.paint(recipe, [one])[0]
        kept = np.zeros((59, 83), bool)
        for x1, y1, x2, y2 in boxes:
            kept[
                int(np.floor(y1 * 59)) : int(np.ceil(y2 * 59)),
                int(np.floor(x1 * 83)) : int(np.ceil(x2 * 83)),
            ] = True
        np.testing.assert_array_equal(result[kept], one.image[kept])
        assert (result[~kept] != one.image[~kept]).mean() > 0.5


def test_inpaint_of_nothing_but_boxes_is_the_source(painter: Painter) -> None:
    one = source(boxes=np.array([[0.0, 0.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(painter.paint(MODES["inpaint"], [one])[0], one.image)


def test_controls_count(painter: Painter) -> None:
    def with_(*controls: Control) -> Pixels:
        return painter.paint(replace(BASE, controls=controls), [source()])[0]

    plain = painter.paint(BASE, [source()])[0]
    full, none = with_(Control("canny")), with_(Control("canny", weight=0.0))
    assert far(none, plain) <= 1
    assert far(full, plain) > 2
    assert far(with_(*CONTROLS), full) > 0
    assert far(with_(CONTROLS[0], replace(CONTROLS[1], weight=0.0)), full) <= 1
    assert far(with_(Control("canny", end=0.3)), full) > 0


def test_text_counts(painter: Painter) -> None:
    plain = painter.paint(BASE, [source()])[0]
    for changed in (
        replace(BASE, prompt="(snow:1.4) street"),
        replace(BASE, negative="rain"),
        replace(BASE, clip_skip=2),
        replace(BASE, prompt="snow street " * 60),
    ):
        assert far(painter.paint(changed, [source()])[0], plain) > 0


def test_lora_acts_and_leaves_no_trace(painter: Painter) -> None:
    plain = painter.paint(BASE, [source()])[0]
    parts = painter._bench.parts  # type: ignore[union-attr]
    models = [parts[name] for name in ("unet", "text_encoder", "vae")]
    before = [tiny.checksum(model) for model in models]
    worn = {}
    for name in (
        "<lora:snowfall:0.8>",
        "<lora:snowfall:0.3>",
        "<lora:snowfall:0.8><lora:fog.v2:1>",
        "<lora:fog.v2:1>",
    ):
        worn[name] = painter.paint(replace(BASE, prompt=BASE.prompt + name), [source()])[0]
        assert [tiny.checksum(model) for model in models] == before
        assert far(worn[name], plain) > 0
    assert len({image.tobytes() for image in worn.values()}) == 4
    for name in reversed(list(worn)):
        again = painter.paint(replace(BASE, prompt=BASE.prompt + name), [source()])[0]
        np.testing.assert_array_equal(again, worn[name])
    np.testing.assert_array_equal(painter.paint(BASE, [source()])[0], plain)
    assert not any("lora" in name for model in models for name in model.state_dict())
    assert [tiny.checksum(model) for model in models] == before
    nothing = painter.paint(replace(BASE, prompt=BASE.prompt + "<lora:snowfall:0>"), [source()])[0]
    assert far(nothing, plain) <= 1


def test_lora_of_the_text_encoder_alone(painter: Painter) -> None:
    plain = painter.paint(BASE, [source()])[0]
    for tag in ("<lora:snowfall:1.5:0>", "<lora:snowfall:0:1.5>"):
        assert far(painter.paint(replace(BASE, prompt=BASE.prompt + tag), [source()])[0], plain) > 0


def test_a_lora_of_another_family_is_refused(painter: Painter) -> None:
    plain = painter.paint(BASE, [source()])[0]
    with pytest.raises(BadInput, match=r"xl\.safetensors"):
        painter.paint(replace(BASE, prompt="<lora:snowfall:1><lora:xl:1>"), [source()])
    with pytest.raises(BadInput, match="LoRA"):
        painter.paint(replace(BASE, prompt="<lora:no lora:1>"), [source()])
    np.testing.assert_array_equal(painter.paint(BASE, [source()])[0], plain)


def test_a_vae_replaces_the_models_own_and_goes_again(painter: Painter) -> None:
    plain = painter.paint(BASE, [source()])[0]
    folder = painter.paint(replace(BASE, vae="vae"), [source()])[0]
    file = painter.paint(replace(BASE, vae="vae file"), [source()])[0]
    assert far(folder, plain) > 2
    np.testing.assert_array_equal(file, folder)
    np.testing.assert_array_equal(painter.paint(BASE, [source()])[0], plain)


def test_one_file_equals_the_folder(painter: Painter) -> None:
    folder = painter.paint(BASE, [source()])[0]
    np.testing.assert_array_equal(painter.paint(replace(BASE, model="one file"), [source()])[0], folder)


@pytest.mark.slow
def test_the_order_of_recipes_does_not_matter(painter: Painter) -> None:
    recipes = [*MODES.values()][::3]
    there = [painter.paint(recipe, [source(boxes=BOX)])[0] for recipe in recipes]
    back = [painter.paint(recipe, [source(boxes=BOX)])[0] for recipe in reversed(recipes)][::-1]
    for first, second in zip(there, back, strict=True):
        np.testing.assert_array_equal(first, second)


def test_nothing_is_loaded_twice(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    from generator.diffusion import loading

    painter.paint(MODES["img2img, two controls"], [source()])
    calls: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return real(*arguments)

        return call

    for name in ("load", "load_vae", "load_control"):
        monkeypatch.setattr(loading, name, counted(name, getattr(loading, name)))
    for recipe in (BASE, TEXT, MODES["inpaint, two controls"], MODES["img2img, a control"]):
        painter.paint(recipe, [source()])
    assert calls == []
    painter.paint(replace(BASE, vae="vae"), [source()])
    assert calls == ["load_vae"]


def test_out_of_memory_halves_the_batch(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    painter = Painter(shelf, PainterOptions(batch=5))
    sources = [source(seed=seed) for seed in range(1, 7)]
    expected = [painter.paint(BASE, [one])[0] for one in sources]
    unet = painter._bench.parts["unet"]  # type: ignore[union-attr]
    real, seen, limit = unet.forward, [], [2]

    def forward(sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(sample) // 2)
        if seen[-1] > limit[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", forward)
    with caplog.at_level("WARNING", "thresher.generator"):
        for result, wanted in zip(painter.paint(BASE, sources), expected, strict=True):
            assert far(result, wanted) <= 2
    assert "5 images" in caplog.text
    seen.clear()
    painter.paint(BASE, sources)
    assert max(seen) == 2
    limit[0] = 0
    with pytest.raises(ThresherError, match="one image of 64 x 64"):
        painter.paint(BASE, sources)
    limit[0] = 9
    assert len(painter.paint(BASE, sources)) == 6


def test_other_errors_pass(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    painter.paint(BASE, [source()])

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(painter._bench.parts["unet"], "forward", broken)  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="shapes"):
        painter.paint(BASE, [source()])


REFUSED: Sequence[tuple[Recipe, str]] = [
    (replace(BASE, mode="render"), "Mode"),
    (replace(BASE, strength=None), "Denoising strength"),
    (replace(BASE, strength=0.2), "Denoising strength"),
    (replace(MODES["inpaint"], strength=None), "Denoising strength"),
    (replace(BASE, sampler="no such"), "sampler"),
    (replace(BASE, model="pix2pix"), "Model"),
    (replace(BASE, model="inpainting"), "Model"),
    (replace(BASE, mode="instruct"), "Model"),
    (replace(MODES["instruct"], image_cfg=0.5), "Image CFG scale"),
    (replace(MODES["instruct"], controls=CONTROLS), "ControlNet"),
    (replace(BASE, controls=(Control("canny", start=0.5, end=0.5),)), "ControlNet Guidance End"),
    (replace(BASE, controls=(Control("canny", "xl"),)), "control"),
    (replace(MODES["residual"], vae="vae"), "vae"),
    (replace(MODES["residual"], mode="txt2img"), "Model"),
    (replace(BASE, clip_skip=9), "clip_skip"),
]


@pytest.mark.parametrize(("recipe", "field"), REFUSED)
def test_what_cannot_be_painted_is_refused(painter: Painter, recipe: Recipe, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        painter.paint(recipe, [source()])
    assert caught.value.field == field


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3), np.float32)],
)
def test_images_that_are_no_rgb_bytes_are_refused(painter: Painter, image: Any) -> None:
    with pytest.raises(BadInput, match="RGB"):
        painter.paint(BASE, [Source(image, 1)])


def test_a_seed_not_drawn_is_refused(painter: Painter) -> None:
    with pytest.raises(BadInput, match="Seed"):
        painter.paint(BASE, [Source(picture(), -1)])


def test_no_sources_no_work(shelf: Shelf) -> None:
    assert Painter(shelf).paint(BASE, []) == []


@pytest.mark.parametrize(
    "recipe",
    [
        replace(BASE, model="unheard of"),
        replace(BASE, vae="unheard of"),
        replace(BASE, prompt="<lora:unheard of:1>"),
        replace(BASE, controls=(Control("tile"),)),
    ],
)
def test_what_is_missing_is_named(painter: Painter, recipe: Recipe) -> None:
    for call in (painter.complete, lambda asked: painter.paint(asked, [source()])):
        with pytest.raises(MissingWeights, match="is not here"):
            call(recipe)


def test_complete_fills_in_every_hash(shelf: Shelf) -> None:
    painter = Painter(shelf)
    asked = replace(BASE, prompt="x <lora:snowfall:1> <lora:fog.v2:1>", vae="vae file", controls=CONTROLS)
    done = painter.complete(asked)
    assert re.fullmatch(r"[0-9a-f]{10}", done.model_hash)
    file = shelf.vae("vae file")
    assert done.vae_hash == hashlib.sha256(file.read_bytes()).hexdigest()[:10]
    assert set(done.loras) == {"snowfall", "fog.v2"}
    assert len(set(done.loras.values())) == 2
    assert [control.model for control in done.controls] == ["tiny canny", "tiny depth"]
    assert painter.complete(done) == done
    assert painter._bench is None


@pytest.mark.parametrize(
    "wrong",
    [
        replace(BASE, model_hash="fe7578cb5e"),
        replace(BASE, vae="vae", vae_hash="735e4c3a44"),
        replace(BASE, prompt="<lora:snowfall:1>", loras={"snowfall": "f8324b7af7d9"}),
    ],
)
def test_another_files_hash_is_refused(painter: Painter, wrong: Recipe) -> None:
    with pytest.raises(BadInput, match=r"the hash \w+, but got '\w+'"):
        painter.complete(wrong)


def test_a_picture_of_no_numbers_is_named(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    painter.paint(BASE, [source()])
    parts = painter._bench.parts  # type: ignore[union-attr]
    real = parts["vae"].decode
    with monkeypatch.context() as patch:
        patch.setattr(parts["vae"], "decode", lambda *a, **k: (real(*a, **k)[0] * float("nan"),))
        with pytest.raises(ThresherError, match="VAE gave no numbers"):
            painter.paint(BASE, [source()])
    with monkeypatch.context() as patch:
        patch.setattr(parts["vae"], "decode", lambda *a, **k: (real(*a, **k)[0] * 0 - 1,))
        with pytest.raises(ThresherError, match="black all over"):
            painter.paint(BASE, [source()])
    real_forward = parts["unet"].forward
    with monkeypatch.context() as patch:
        patch.setattr(parts["unet"], "forward", lambda *a, **k: (real_forward(*a, **k)[0] * float("nan"),))
        with pytest.raises(ThresherError, match="UNet gave no numbers in float32"):
            painter.paint(BASE, [source()])


def test_half_precision_falls_back_to_a_whole_vae(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    painter = Painter(shelf, PainterOptions(dtype="bfloat16"))
    plain = painter.paint(BASE, [source()])[0]
    vae = painter._bench.parts["vae"]  # type: ignore[union-attr]
    real, used = vae.decode, []

    def decode(latents: torch.Tensor, **kwargs: Any) -> Any:
        used.append(latents.dtype)
        picture = real(latents, **kwargs)[0]
        return (picture if latents.dtype == torch.float32 else picture * float("nan"),)

    monkeypatch.setattr(vae, "decode", decode)
    again = painter.paint(BASE, [source()])[0]
    assert used == [torch.bfloat16, torch.float32]
    assert vae.dtype == torch.bfloat16
    assert far(again, plain) < 40
