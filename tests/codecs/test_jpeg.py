"""JPEGs: lossy, aligned, as Pillow writes them."""

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from skimage import data

from deepinternal.codecs.jpeg import write_jpeg
from deepinternal.types import InputError


@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_by_quality(tmp_path, channels):
    pixels = (data.astronaut()[40:140, 180:290, :channels] / 255).astype(np.float32)
    errors, sizes = [], []
    for quality in (100, 80, 10):
        path = tmp_path / f"{quality}.jpg"
        write_jpeg(path, pixels, quality=quality)
        image = Image.open(path)
        assert image.format == "JPEG"
        assert image.mode == ("L" if channels == 1 else "RGB")
        if channels == 3:
            assert JpegImagePlugin.get_sampling(image) == 2  # 4:2:0
        read = np.asarray(image).reshape(pixels.shape) / 255
        errors.append(np.sqrt(np.mean((read - pixels) ** 2)))
        sizes.append(path.stat().st_size)
    assert 0 < errors[0] < errors[1] < errors[2] < 0.1
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "quality", "word"),
    [("a.png", 90, ".jpg"), ("a.jpg", 0, "1 to 100"), ("a.jpg", 101, "101")],
)
def test_refused(tmp_path, name, quality, word):
    with pytest.raises(InputError, match=word):
        write_jpeg(tmp_path / name, np.zeros((8, 8, 3)), quality=quality)
    assert not list(tmp_path.iterdir())
