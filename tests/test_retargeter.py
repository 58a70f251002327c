"""What a trained InGAN makes, and how it is called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal import net_retargeter, resizer, retargeter, video_paths
from deepinternal.codecs.image_io import read_image, to_array
from deepinternal.methods.ingan import RECIPE, retargeting
from deepinternal.ops import shear
from deepinternal.ops.patches import nearest
from deepinternal.types import InputError
from tests.tiny_methods import photo


@pytest.fixture(scope="module")
def net():
    """A net of random weights, applied to a photograph of 96x96 that it sees at half the size."""
    config = RECIPE.build("smoke", fit_side=48)
    generator = retargeting.network(config)
    given = jnp.zeros((1, 16, 16, 3)), lambda x: x
    weights = jax.jit(lambda key: generator.init(key, *given)["params"])(jax.random.key(0))
    return retargeter.Retargeter(
        config, jax.tree.map(lambda w: 20 * w, weights), to_array(photo(96))
    )


@pytest.fixture(scope="module")
def sharp(net):
    """The same net with a photograph of 48x48, whose pictures are made sharp by patches."""
    config = net.config.replace(fit_side=0, detail=1)
    return retargeter.Retargeter(config, net.weights, to_array(photo(48)))


def test_any_size_and_scale(net):
    made = retargeter.retarget(net, (62, 114))
    assert made.shape == (62, 114, 3)
    assert made.dtype == np.float32
    assert 0 <= made.min() < made.max() <= 1
    np.testing.assert_array_equal(retargeter.retarget(net, scale=(62 / 96, 114 / 96)), made)
    assert net.size(2) == net.size("2") == (192, 192)
    assert net.size("1,1.5") == net.size((1, 1.5)) == (96, 144)


def test_images_of_the_size_of_the_net_are_its_outputs(net):
    """Brought to the size of the net's picture, which is not changed then."""
    plain = retargeter.Retargeter(net.config.replace(fit_side=0), net.weights, net.image)
    generate = jax.jit(retargeting.generate, static_argnums=(0, 3))
    expected = generate(net.config, net.weights, photo(96), (40, 64))
    np.testing.assert_allclose(plain.make((40, 64)), expected, atol=1e-3)


def test_shapes_are_white_outside_to_the_pixel(net):
    shifts = (0.4, -0.4)
    made = retargeter.retarget(net, (96, 96), shifts=shifts)
    inside = np.asarray(shear.inside(shear.homography(jnp.array(shifts)), (96, 96)))
    assert made.shape == (96, 96, 3)
    assert (made[~inside] == 1).all()
    assert 0.3 < inside.mean() < 0.95
    assert (made[inside] < 1).any(-1).mean() > 0.9


def test_frames_of_a_video_share_two_programs(sharp):
    """One of the net and one of the patches, whatever the sizes and shapes are."""
    before = len(sharp._programs)
    video = sharp.video("random", frames=3, seed=1)
    frames = video_paths.path("random", 3, seed=1)
    way = [sharp.size(frame[:2]) for frame in frames]
    assert len(set(way)) == 3
    assert len(sharp._programs) == before + 2
    height, width = map(max, zip(*way))
    assert video.shape == (3, height, width, 3)
    source = np.asarray(sharp.image.pixels)
    for frame, (h, w), (_, _, *shifts) in zip(video, way, frames):
        top, left = (height - h) // 2, (width - w) // 2
        made = frame[top : top + h, left : left + w]
        assert (frame == 1).all(-1).sum() >= height * width - h * w
        inside = np.asarray(shear.inside(shear.homography(jnp.array(shifts)), (h, w)))
        assert (made[~inside] == 1).all()
        inner = made[h // 2 - 9 : h // 2 + 9, w // 2 - 9 : w // 2 + 9]
        found = nearest(jnp.asarray(inner), jnp.asarray(source)).distance
        assert float(jnp.mean(found)) < 0.3 * np.var(source)


def test_mistakes_are_one_line(net):
    for bad, message in (
        ((4, 30), "4x30: both .* at least 8"),
        ((10**5, 10**5), "must be at most 4096"),
    ):
        with pytest.raises(InputError, match=message):
            net.make(bad)
    with pytest.raises(InputError, match="sum within"):
        net.make((48, 48), shifts=(0.8, 0.8))
    with pytest.raises(InputError, match="give size"):
        retargeter.retarget(net)
    with pytest.raises(InputError, match="scale=9: must be vertical,horizontal factors"):
        retargeter.retarget(net, scale=9)
    with pytest.raises(InputError, match="has 1 channels, but the net was trained on 3"):
        net.applied_to(to_array(np.zeros((50, 50))))
    with pytest.raises(InputError, match="at least 40 pixels"):
        net.applied_to(to_array(np.zeros((30, 50, 3))))
    with pytest.raises(InputError, match="choose one of grow_shrink"):
        net.video("spin")
    with pytest.raises(InputError, match="at least 2"):
        net.video("zoom", frames=1)
    with pytest.raises(InputError, match="no such field, did you mean steps"):
        retargeter.train_retargeter(photo(48), preset="smoke", stepz=1)
    with pytest.raises(InputError, match="no preset 'best'"):
        retargeter.train_retargeter(photo(48), preset="best")


def test_too_little_memory_is_reported_before_any_image_is_made(net, monkeypatch):
    monkeypatch.setattr(net_retargeter, "free", lambda device: 1000.0)
    with pytest.raises(InputError, match=r"size 28x28 of the net takes 0\.0 GB of memory"):
        net.make((56, 56))


def test_too_little_memory_for_a_large_result_of_a_small_net(net, monkeypatch):
    room = iter([1e9, 1000.0])  # before the net makes a small image, and before it is enlarged
    monkeypatch.setattr(net_retargeter, "free", lambda device: next(room))
    with pytest.raises(InputError, match=r"size 58x58 takes 0\.0 GB of memory"):
        net.make((58, 58))


class Black(retargeter.Retargeter):
    """Makes black images, of shapes grey ones."""

    def frames(self, wanted, *, coherent=False):
        for size, shifts in wanted:
            yield np.full((*size, 3), 0.0 if shifts is None else 0.5, np.float32)


@pytest.fixture
def black():
    image = to_array(np.full((80, 120, 3), 0.25, np.float32))
    return Black(RECIPE.build("smoke"), {}, image)


def test_a_collage_holds_all_pairs(black):
    made = black.collage(factors=(2, 1))
    assert made.shape == (160 + 4 + 80, 240 + 4 + 120, 3)
    assert (made[:160, :240] == 0).all()
    assert (made[160:164] == 1).all()
    framed = made[164:, 244:]
    assert (framed[:2] == [1, 0, 0]).all()
    assert (framed[-1, -1] == [1, 0, 0]).all()
    assert (framed[2:-2, 2:-2] == 0.25).all()
    assert black.shapes((0.0, 0.2)).shape == (80 + 4 + 80, 120 + 4 + 120, 3)


def test_videos_keep_the_middle(black):
    made = black.video("grow_shrink", frames=4)  # 1, then twice, then once, then half the width
    assert made.shape == (4, 80, 240, 3)
    assert [int((frame == 0).all(-1)[40].sum()) for frame in made] == [120, 240, 120, 60]
    assert (made[0][:, :60] == 1).all()
    assert (made[0][:, -60:] == 1).all()
    assert {float(frame[40, 60, 0]) for frame in black.video("trapezoids", frames=3)} == {0.0, 0.5}


def test_files_are_named_after_their_sizes(black, tmp_path):
    assert black.write(tmp_path / "a.png", [(20, 30)]) == [tmp_path / "a.png"]
    made = black.write(tmp_path / "a.png", [(20, 30), (10, 15)])
    assert [path.name for path in made] == ["a-20x30.png", "a-10x15.png"]
    assert [read_image(path).pixels.shape for path in made] == [(20, 30, 3), (10, 15, 3)]
    assert resizer.parse_size("20,30") == (20, 30)
    with pytest.raises(InputError, match="--size=wide: give height,width"):
        resizer.parse_size("wide")
