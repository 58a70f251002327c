"""Fixtures that read image files which a test has packed."""

import numpy as np
import pytest

from deepinternal.codecs.image_io import image_shape, read_image


@pytest.fixture
def check(tmp_path):
    """Asserts that a file of the given bytes has the expected channels (H, W, C) in [0, 1]."""

    def assert_samples(data, expected, *, levels=None, remarks=0, what=None):
        path = tmp_path / "image"
        path.write_bytes(data)
        image = read_image(path)
        assert image_shape(path) == image.pixels.shape, what
        parts = [image.pixels] if image.alpha is None else [image.pixels, image.alpha[..., None]]
        found = np.concatenate(parts, -1).astype(np.float64)
        assert found.shape == np.shape(expected), what
        atol = (0.51 if levels is None else levels) / (2**image.bit_depth - 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=str(what))
        assert len(image.remarks) == remarks, image.remarks
        return image

    return assert_samples


@pytest.fixture
def refused(tmp_path, refuse):
    """Asserts that a file is refused in one line with the given words."""

    def assert_refused(data, *words):
        (tmp_path / "image").write_bytes(data)
        refuse(read_image, tmp_path / "image", *words)

    return assert_refused
