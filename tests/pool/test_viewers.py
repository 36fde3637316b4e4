"""Whether a detector's reader and a browser show the picture that is stored: their word is the truth."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pool.pictures import decode
from tests.pool.drawings import encode, scene
from tests.pool.test_pictures import XMP, frames, kinds_of_pixels, oriented

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def files() -> dict[str, bytes]:
    """Files of 40 x 30 pixels as they lie in the file, turned in every way that a file can say."""
    image = scene(11, 40, 30)
    turned = {
        f"{kind} turned {orientation}": oriented(image, kind, orientation)
        for kind in ("JPEG", "PNG", "WEBP")
        for orientation in (1, 3, 6, 7)
    }
    return turned | {"xmp only": encode(image, xmp=XMP), "mpo": frames("MPO")} | kinds_of_pixels()


SHOWN_AS_THEY_CAME = {name: data for name, data in files().items() if "tiff" not in name}


@pytest.mark.parametrize("name", SHOWN_AS_THEY_CAME)
def test_opencv_reads_what_decode_describes(name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    data = SHOWN_AS_THEY_CAME[name]
    picture = decode(data)
    came, stored = (
        cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (data, picture.data)
    )
    assert came.shape == stored.shape == (picture.height, picture.width, 3)
    # As it came and as it is stored must be the same picture, not one of its mirror images.
    assert np.abs(came.astype(float) - stored).mean() < 3


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    opened = chromium.new_page()
    yield opened
    opened.close()


SHOW = """async url => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext("2d");
    [pen.fillStyle] = ["white"];
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, Array.from(pixels)];
}"""


@pytest.mark.browser
@pytest.mark.parametrize("name", files())
def test_a_browser_shows_what_decode_describes(name: str, page: Page) -> None:
    data = files()[name]
    picture = decode(data)
    stored = shown(page, picture.data)
    assert stored.size == (picture.width, picture.height)
    if name in SHOWN_AS_THEY_CAME:
        came = shown(page, data)
        assert came.size == stored.size
        assert np.abs(np.asarray(came, dtype=float) - np.asarray(stored)).mean() < 3


def shown(page: Page, data: bytes) -> Image.Image:
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    width, height, pixels = page.evaluate(SHOW, url)
    values = np.array(pixels, dtype=np.uint8).reshape(height, width, 4)
    return Image.fromarray(values[:, :, :3])
