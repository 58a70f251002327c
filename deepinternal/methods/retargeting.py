"""What a trained InGAN generator is used for: images of other sizes and shapes.

Images are (H, W, C) in [0, 1]. A net may have learned from a reduced image (`fit_side`); sizes that
users name are those of the full image, and what is made is enlarged to them.

References:
    Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019, section 5.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.nets import ingan as nets
from deepinternal.ops import fitting, patches, shear, spectral
from deepinternal.ops.resize import resize
from deepinternal.ops.warp import warp
from deepinternal.types import Array, InputError, Inputs, Output, PyTree, TrainState

LARGEST = 4096  # greatest side of what is made, in pixels of the net
_MEASURED = 256  # greatest side of the image beside which results are measured


def network(config: ml_collections.ConfigDict) -> nets.Generator:
    """The generator of a config."""
    return nets.Generator(config.channels, config.blocks)


def images(inputs: Inputs, name: str = "image") -> list:
    """The inputs `image1`, `image2`, ..., or others so numbered."""
    found = []
    while (key := f"{name}{len(found) + 1}") in inputs:
        found.append(inputs[key])
    return found


def scale(field: str, text: str) -> tuple[float, float]:
    """Factors 'vertical,horizontal', or one for both.

    Raises:
        InputError: no one or two numbers from 0.05 to 8.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) == 1:
        found *= 2
    if len(found) != 2 or not all(0.05 <= f <= 8 for f in found):
        raise InputError(
            f"{field}={text!r}: give vertical,horizontal factors from 0.05 to 8, such as 1,2"
        )
    return found


def pairs(field: str, text: str) -> list[tuple[float, float]]:
    """Several pairs of factors with semicolons between them; none if the text is empty."""
    return [scale(field, part) for part in text.split(";") if part.strip()]


def target(image: tuple[int, int], factors: tuple[float, float]) -> tuple[int, int]:
    """The size (H, W) that factors of an image's sides lead to."""
    return tuple(max(round(n * f), 1) for n, f in zip(image, factors))


def resizing(size: tuple[int, int]) -> Callable[[Array], Array]:
    """The transformation to a size (H, W): bilinear, without antialiasing."""
    return lambda x: resize(x, output_shape=size, method="linear", antialias=False)


def warping(matrix: Array, size: tuple[int, int]) -> Callable[[Array], Array]:
    """The transformation to a size under a homography of coordinates, mirrored at the borders.

    Args:
        matrix: 3x3, from output to input coordinates, see `ops.shear`.
        size: (H, W).
    """

    def transform(x: Array) -> Array:
        pixels = shear.in_pixels(matrix, size, x.shape[1:3])
        return jax.vmap(lambda one: warp(one, pixels, size, method="linear"))(x)

    return transform


def generate(
    config: ml_collections.ConfigDict,
    weights: PyTree,
    vectors: PyTree,
    image: Array,
    size: tuple[int, int],
    shifts: Array | None = None,
) -> Array:
    """Makes an image of a size, or with shifts of a shape, the outside of which is white.

    Args:
        config: as `methods.ingan.defaults()`.
        weights: of the generator, in `state.params`.
        vectors: likewise, in `state.model_state`.
        image: (h, w, C) in [0, 1], both sides at least 8.
        size: (H, W), static, both at least 16.
        shifts: (2,) of two corners, see `ops.shear`; None for none.

    Returns:
        (H, W, C) in [0, 1].
    """
    weights, _ = spectral.normalized(weights, vectors)
    transform = resizing(size)
    if shifts is not None:
        matrix = shear.homography(shifts)
        transform = warping(matrix, size)
    made = network(config).apply({"params": weights}, 2 * image[None] - 1, transform)[0]
    made = jnp.clip((made + 1) / 2, 0, 1)
    if shifts is not None:
        made = jnp.where(shear.inside(matrix, size)[..., None], made, 1.0)
    return made


def fitted(full: tuple[int, int], small: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The size for the net, at least 16, of what shall have `size` beside a full image.

    Args:
        full: (H, W) of the image.
        small: (h, w) of the one that was learned from.
        size: (H', W') wanted.

    Raises:
        InputError: larger than the net can make.
    """
    found = tuple(max(round(n * b / a), nets.LEAST) for n, a, b in zip(size, full, small))
    if max(found) > LARGEST or found[0] * found[1] > LARGEST**2 / 4:
        raise InputError(
            f"size {size[0]}x{size[1]}: too large, {found[0]}x{found[1]} pixels of the net; no side "
            f"may be over {LARGEST}, nor the pixels over {LARGEST // 2} x {LARGEST // 2}"
        )
    return found


def brought_to(made: Array, size: tuple[int, int], image: Array, full: Array, detail: int) -> Array:
    """What the net has made at a wanted size, (*size, C) in [0, 1].

    Args:
        made: (h', w', C) in [0, 1].
        size: (H', W').
        image: (h, w, C), which the net has seen.
        full: (H, W, C).
        detail: how often patches of the full image take the place of those that were made, where the
            image is a reduced one; 0 for cubic enlarging.
    """
    if made.shape[:2] == tuple(size):
        return made
    if detail and image.shape != full.shape:
        made = patches.detailed(made, image, full, passes=detail)
    return jnp.clip(resize(made, output_shape=tuple(size)), 0, 1)


def outputs(config: ml_collections.ConfigDict, state, inputs: Inputs) -> dict[str, Output]:
    """What a trained net makes of the (first) image, and figures about it.

    Args:
        config: as `methods.ingan.defaults()`.
        state: the training state.
        inputs: of the method.

    Returns:
        `result`, `cycle`, `input`, ..., `samples/VxH`, ..., and scalars: `cycle_error`, the mean
        absolute error of the way back; `coherence`, `completeness` and `sifid` of the result beside
        the image, see `ops.patches`, at sides of at most 256 pixels of the image; `diversity` of what
        is made, at the image's size, of its four corners, each 3/4 of the sides.
    """
    full, image = inputs["full1"], inputs["image1"]
    shape = full.shape[:2]

    def finished(there, factors):
        return Output(brought_to(there, target(shape, factors), image, full, config.detail))

    factors = scale("result_scale", config.result_scale)
    there, back = _there_and_back(config, state, inputs, factors)
    result = finished(there, factors)
    factor = max(1, -(-max(shape) // _MEASURED))
    pair = [_smaller(x, factor) for x in (full, result.value)]
    scales = _measured_at(min(n for x in pair for n in x.shape[:2]))
    similar = patches.bidirectional_similarity(*pair, scales=scales)
    found = {
        "result": result,
        "cycle": Output(fitting.enlarged(back, shape)),
        "cycle_error": Output(jnp.mean(jnp.abs(back - image)), "scalar"),
        "coherence": Output(similar.coherence, "scalar"),
        "completeness": Output(similar.completeness, "scalar"),
        "sifid": Output(patches.sifid(*pair, scales=scales), "scalar"),
        "diversity": Output(_diversity(config, state, image), "scalar"),
    }
    for number, x in enumerate(images(inputs, "full")):
        name = "input" if number == 0 else f"input{number + 1}"
        found[name] = Output(x, source=number)
    for factors in pairs("samples", config.samples):
        there, _ = _there_and_back(config, state, inputs, factors)
        found["samples/{:g}x{:g}".format(*factors)] = finished(there, factors)
    return found


def evaluate(config: ml_collections.ConfigDict, state, inputs: Inputs):
    """The state, and what the net makes of the (first) image so far: as `outputs`, but not enlarged.

    Args:
        config: as `methods.ingan.defaults()`.
        state: the training state.
        inputs: of the method.

    Returns:
        `(state, metrics)`: `result` and `cycle`, pictures; `cycle_error`.
    """
    factors = scale("result_scale", config.result_scale)
    there, back = _there_and_back(config, state, inputs, factors)
    error = jnp.mean(jnp.abs(back - inputs["image1"]))
    return state, {"result": there, "cycle": back, "cycle_error": error}


def _there_and_back(config, state, inputs: Inputs, factors) -> tuple[Array, Array]:
    """What the net makes of the (first) image at factors of its size, and of that at its own."""
    image = inputs["image1"]
    full, small = inputs["full1"].shape[:2], image.shape[:2]
    make = functools.partial(generate, config, *trained(state))
    there = make(image, fitted(full, small, target(full, factors)))
    return there, make(there, small)


def trained(state: TrainState) -> tuple[PyTree, PyTree]:
    """The generator's weights that are used, averaged ones if there are, and its vectors."""
    weights = state.model_state.get("average", state.params["generator"])
    return weights, state.model_state["generator"]


def _diversity(config: ml_collections.ConfigDict, state, image: Array) -> Array:
    (h, w), part = image.shape[:2], [max(3 * n // 4, 8) for n in image.shape[:2]]
    corners = [(y, x) for y in (0, h - part[0]) for x in (0, w - part[1])]
    parts = jnp.stack([image[y : y + part[0], x : x + part[1]] for y, x in corners])
    make = functools.partial(generate, config, *trained(state), size=(h, w))
    return patches.diversity(jax.lax.map(make, parts), image)


def _measured_at(side: int) -> tuple[float, ...]:
    """The scales at which an image of so many pixels a side has patches of 7x7."""
    return tuple(scale for scale in (1.0, 0.5, 0.25) if scale * side >= 7) or (7 / side,)


def _smaller(x: Array, factor: int) -> Array:
    size = tuple(-(-n // factor) for n in x.shape[:2])
    return x if factor == 1 else fitting.shrunk(x, size)


def stretched(config: ml_collections.ConfigDict, inputs: Inputs) -> Array:
    """The (first) image at the result's size by cubic interpolation."""
    full = inputs["full1"]
    size = target(full.shape[:2], scale("result_scale", config.result_scale))
    return jnp.clip(resize(full, output_shape=size), 0, 1)


def collage(
    make: Callable[[tuple[int, int]], np.ndarray],
    image: np.ndarray,
    factors: Sequence[float] = (2, 1.25, 1, 0.66, 0.33),
    gap: int = 4,
) -> np.ndarray:
    """Images of all pairs of factors in one, the image itself framed in it.

    Args:
        make: from a size (H, W) to an image of it.
        image: (H, W, C) in [0, 1], the input.
        factors: vertically and horizontally.
        gap: white pixels between them.

    Returns:
        (H', W', C) in [0, 1].
    """
    shape, rows = image.shape[:2], []
    for vertical in factors:
        row = []
        for horizontal in factors:
            size = target(shape, (vertical, horizontal))
            is_input = vertical == horizontal == 1
            made = np.array(image if is_input else make(size))
            if is_input:
                frame = max(min(shape) // 40, 1)
                colour = np.array([1.0, 0, 0])[: image.shape[-1]]
                made[:frame], made[-frame:], made[:, :frame], made[:, -frame:] = (colour,) * 4
            row.append(np.pad(made, ((0, gap), (0, gap), (0, 0)), constant_values=1))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)[:-gap, :-gap]
