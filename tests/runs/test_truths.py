"""Ground truths whose sides are no multiples of the scale factor are compared where they can be."""

import numpy as np
import pytest
import skimage.metrics
from PIL import Image

from deepinternal.runs.results import read_truth, score_result
from deepinternal.types import InputError

SIZE = (63, 64)  # of the input; the result has 126x128 pixels


@pytest.fixture
def saved(tmp_path):
    def save(height, width):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "x_gt.png")
        return tmp_path / "x_gt.png", pixels

    return save


@pytest.mark.parametrize("size", [(126, 128), (127, 129), (127, 128), (125, 127), (125, 129)])
def test_the_common_part_is_compared(saved, size):
    path, pixels = saved(*size)
    rng = np.random.default_rng(1)
    result, before = (rng.integers(0, 256, (126, 128, 3), np.uint8) for _ in range(2))
    truth = read_truth(path, (126, 128, 3), size=SIZE, name="")
    height, width = min(size[0], 126), min(size[1], 128)
    assert bool(truth.remarks) == (size != (126, 128))
    for remark in truth.remarks:
        assert f"{size[0]}x{size[1]}" in remark
        assert "126x128" in remark
        assert f"on {height}x{width}" in remark
    figures = score_result(result, truth, before / np.float32(255), SIZE)
    inside = (slice(2, height - 2), slice(2, width - 2))
    for prefix, made in (("", result), ("baseline_", before)):
        psnr = skimage.metrics.peak_signal_noise_ratio(pixels[inside], made[inside])
        assert figures[f"{prefix}psnr_rgb"] == pytest.approx(psnr, abs=1e-3)


@pytest.mark.parametrize("size", [(128, 128), (126, 126), (128, 126), (63, 64)])
def test_other_sizes_are_refused_in_one_line(saved, size):
    path, _ = saved(*size)
    named = (
        f"x_gt.png: the ground truth is {size[0]}x{size[1]} but the result will be 126x128; give"
    )
    with pytest.raises(InputError, match=named) as caught:
        read_truth(path, (126, 128, 3), size=SIZE, name="")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        read_truth(path, (size[0] + 1, size[1], 3), size=(size[0] + 1, size[1]), name="")


def test_fractional_factors(saved):
    path, _ = saved(96, 94)
    assert read_truth(path, (95, 95, 3), size=SIZE, name="").pixels.shape == (95, 94, 3)
    with pytest.raises(InputError):
        read_truth(path, (94, 94, 3), size=SIZE, name="")
