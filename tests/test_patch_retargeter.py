"""Images, collages and videos that are made of the patches of an image, without a trained net."""

import itertools

import numpy as np
import pytest

from deepinternal import patch_retargeter
from deepinternal.codecs.image_io import to_array
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
IMAGE = to_array(photo(40)[:36])


def _apart(made, image, patch=7):
    """The mean squared difference of the patches of `made` from the nearest ones of `image`."""
    cut = lambda x: np.lib.stride_tricks.sliding_window_view(x, (patch, patch), (0, 1))
    made, image = (cut(x).reshape(-1, x.shape[-1] * patch**2) for x in (made, image))
    squared = (made**2).sum(1)[:, None] - 2 * made @ image.T + (image**2).sum(1)
    return squared.min(1).mean() / made.shape[1]


@pytest.fixture(scope="module")
def maker():
    return patch_retargeter.of_image(IMAGE)


def test_each_size_is_a_run_with_the_options(monkeypatch):
    asked = []

    def run(name, image, **options):
        asked.append((name, options))
        return {"result": np.zeros((*options["result_size"], 3), np.float32)}

    monkeypatch.setattr(patch_retargeter, "run", run)
    maker = patch_retargeter.of_image(IMAGE, preset="bidir", seed=3)
    assert maker.make((40, 50)).shape == (40, 50, 3)
    assert maker.collage(factors=(1, 1.5)).shape == (36 + 4 + 54, 40 + 4 + 60, 3)
    common = {"preset": "retarget,bidir", "seed": 3}
    sizes = [(40, 50), (36, 60), (54, 40), (54, 60)]
    assert asked == [("patches", {"result_size": size, **common}) for size in sizes]


@pytest.mark.slow
def test_frames_of_a_video_follow_from_the_image(maker):
    """The image itself comes first; later frames consist of its patches, unlike a stretched image."""
    sizes = [(36, 40), (36, 48), (36, 60)]
    first, second, third = maker.frames([(size, None) for size in sizes], coherent=True)
    np.testing.assert_allclose(first, IMAGE.pixels, atol=1e-4)
    assert (second.shape, third.shape) == ((36, 48, 3), (36, 60, 3))
    stretched = np.asarray(resize(IMAGE.pixels, output_shape=sizes[-1]))
    assert _apart(third, IMAGE.pixels) < 0.8 * _apart(stretched, IMAGE.pixels)


def test_shapes_need_a_net(maker):
    for call in (
        lambda: maker.make((40, 40), shifts=(0.1, 0.1)),
        lambda: maker.video("trapezoids", frames=2),
        lambda: maker.video("random", frames=2),
    ):
        with pytest.raises(InputError, match="not rectangular need --workdir of a trained InGAN"):
            call()
    with pytest.raises(InputError, match="choose one of grow_shrink"):
        maker.video("spin")


def test_the_sizes_before_the_first_frame_change_in_small_steps():
    way = [(100, 60), *patch_retargeter._way((100, 60), (100, 120)), (100, 120)]
    ratios = [b[1] / a[1] for a, b in itertools.pairwise(way)]
    assert {size[0] for size in way} == {100}
    assert 1 < min(ratios) <= max(ratios) < 1.07
    assert patch_retargeter._way((100, 60), (100, 60)) == []
