"""Applications of a trained InGAN generator: images of other sizes and shapes.

Images are (H, W, C) in [0, 1]. The net may have learned from a reduced image. The sizes
that users give refer to the full image, and results are enlarged to them.

References:
    Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019, section 5.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods import gan
from deepinternal.methods.ingan.config import Config, Scale
from deepinternal.nets.ingan import LEAST, Generator
from deepinternal.ops import fitting, shear
from deepinternal.ops.patches import measures, voting
from deepinternal.ops.resizing import resize
from deepinternal.ops.warping import warp
from deepinternal.types import Array, InputError, Inputs, Metrics, Output, PyTree, TrainState

LARGEST = 4096  # greatest side of the net's output, in pixels
_MEASURED = 256  # greatest side of the image with which results are compared


def network(config: Config) -> Generator:
    """The generator of a config."""
    return Generator(config.channels, config.blocks, config.precision)


def trained(state: TrainState) -> PyTree:
    """The generator's normalised weights, averaged if the state holds an average."""
    net = gan.nets(state)["generator"]
    weights, _ = gan.normalized(net.replace(params=state.model_state.get("average", net.params)))
    return weights


def images(inputs: Inputs, *, name: str = "image") -> list:
    """Returns the inputs `image1`, `image2`, ..., or those with another name before the number."""
    found = []
    while (key := f"{name}{len(found) + 1}") in inputs:
        found.append(inputs[key])
    return found


def target(image: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """The size (H, W) of an image whose sides are multiplied by `scale`."""
    return tuple(max(round(n * f), 1) for n, f in zip(image, scale))


def resizing(size: tuple[int, int]) -> Callable[[Array], Array]:
    """The transformation to a size (H, W): bilinear, without antialiasing."""
    return lambda x: resize(x, output_shape=size, method="linear", antialias=False)


def warping(matrix: Array, size: tuple[int, int]) -> Callable[[Array], Array]:
    """The transformation to a size by a homography of coordinates, mirrored at the borders.

    Args:
        matrix: 3x3, from output to input coordinates, see `ops.shear`.
        size: (H, W) of the output.
    """

    def transform(x: Array) -> Array:
        pixels = shear.in_pixels(matrix, size, x.shape[1:3])
        return jax.vmap(lambda one: warp(one, pixels, size, method="linear"))(x)

    return transform


def generate(
    config: Config,
    weights: PyTree,
    image: Array,
    size: tuple[int, int],
    *,
    shifts: Array | None = None,
) -> Array:
    """Makes an image of another size or, with shifts, of another shape on a white background.

    Args:
        config: The settings.
        weights: The generator's weights, as `trained` returns them.
        image: (h, w, C) in [0, 1], both sides at least 8.
        size: (H, W), static, both at least 16.
        shifts: (2,), shifts of two corners, see `ops.shear`; None: no shifts.

    Returns:
        (H, W, C) in [0, 1].
    """
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
    """Converts a size relative to the full image to the size, at least 16, of the net's output.

    Args:
        full: (H, W) of the full image.
        small: (h, w) of the image from which the net learned.
        size: (H', W') of the result.

    Raises:
        InputError: The size is too large for the net.
    """
    found = tuple(max(round(n * b / a), LEAST) for n, a, b in zip(size, full, small))
    if max(found) > LARGEST or found[0] * found[1] > LARGEST**2 / 4:
        raise InputError(
            f"size {size[0]}x{size[1]}: the net would have to make {found[0]}x{found[1]} pixels; its "
            f"sides must be at most {LARGEST} and their product at most {LARGEST // 2} x {LARGEST // 2}"
        )
    return found


def brought_to(made: Array, size: tuple[int, int], image: Array, full: Array, detail: int) -> Array:
    """Brings the net's output to the size of the result, (*size, C) in [0, 1].

    Args:
        made: (h', w', C) in [0, 1], the net's output.
        size: (H', W') of the result.
        image: (h, w, C), the image from which the net learned.
        full: (H, W, C), the full image.
        detail: Number of passes that replace the output's patches by those of the full image, if the
            net learned from a reduced image; 0: cubic enlargement.
    """
    if made.shape[:2] == tuple(size):
        return made
    if detail and image.shape != full.shape:
        made = voting.detailed(made, image, full, passes=detail)
    return jnp.clip(resize(made, output_shape=tuple(size)), 0, 1)


def outputs(config: Config, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    """Returns the results of a trained net for the (first) image, and measures of them.

    Args:
        config: The settings.
        state: The training state.
        inputs: The method's inputs.

    Returns:
        `result`, `cycle`, `input`, ..., `samples` by their factors ('2x1'), and scalars:
        `cycle_error`, the mean absolute error of the reconstruction; `coherence`, `completeness` and
        `sifid`, which compare the result with the image at sides of at most 256 pixels (see
        `ops.patches.measures`); `diversity` of the outputs, at the image's size, for the four corner
        crops with 3/4 of its sides.
    """
    full, image = inputs["full1"], inputs["image1"]
    shape = full.shape[:2]

    def finished(made, scale):
        return brought_to(made, target(shape, scale), image, full, config.detail)

    there, back = _there_and_back(config, state, inputs, config.result_scale)
    result = finished(there, config.result_scale)
    factor = max(1, -(-max(shape) // _MEASURED))
    pair = [_smaller(x, factor) for x in (full, result)]
    scales = _measured_at(min(n for x in pair for n in x.shape[:2]))
    similar = measures.bidirectional_similarity(*pair, scales=scales)
    figures = {
        "cycle_error": jnp.mean(jnp.abs(back - image)),
        "coherence": similar.coherence,
        "completeness": similar.completeness,
        "sifid": measures.sifid(*pair, scales=scales),
        "diversity": _diversity(config, state, image),
    }
    found = {"result": Output(result), "cycle": Output(fitting.enlarged(back, shape))}
    found |= {name: Output(value, "scalar") for name, value in figures.items()}
    for number, x in enumerate(images(inputs, name="full")):
        found[f"input{number + 1}" if number else "input"] = Output(x, source=number)
    samples = {
        "{:g}x{:g}".format(*scale): finished(_made(config, state, inputs, scale), scale)
        for scale in config.samples
    }
    return found | ({"samples": Output(samples, "images")} if samples else {})


def evaluate(config: Config, state: TrainState, inputs: Inputs) -> tuple[TrainState, Metrics]:
    """Evaluates the net on the (first) image, at the size of the net's output.

    Args:
        config: The settings.
        state: The training state.
        inputs: The method's inputs.

    Returns:
        `(state, metrics)` with the pictures `result` and `cycle`, and `cycle_error`.
    """
    there, back = _there_and_back(config, state, inputs, config.result_scale)
    error = jnp.mean(jnp.abs(back - inputs["image1"]))
    return state, {"result": there, "cycle": back, "cycle_error": error}


def stretched(config: Config, inputs: Inputs) -> Array:
    """The (first) image resized to the result's size by cubic interpolation."""
    full = inputs["full1"]
    size = target(full.shape[:2], config.result_scale)
    return jnp.clip(resize(full, output_shape=size), 0, 1)


def _made(config: Config, state: TrainState, inputs: Inputs, scale: Scale) -> Array:
    """The net's output for the (first) image at a factor of its size."""
    full, image = inputs["full1"].shape[:2], inputs["image1"]
    size = fitted(full, image.shape[:2], target(full, scale))
    return generate(config, trained(state), image, size)


def _there_and_back(config: Config, state, inputs: Inputs, scale: Scale) -> tuple[Array, Array]:
    """The net's output for the (first) image at a factor of its size, and the way back from it."""
    there = _made(config, state, inputs, scale)
    return there, generate(config, trained(state), there, inputs["image1"].shape[:2])


def _diversity(config: Config, state: TrainState, image: Array) -> Array:
    (h, w), part = image.shape[:2], [max(3 * n // 4, 8) for n in image.shape[:2]]
    corners = [(y, x) for y in (0, h - part[0]) for x in (0, w - part[1])]
    parts = jnp.stack([image[y : y + part[0], x : x + part[1]] for y, x in corners])
    weights = trained(state)
    made = jax.lax.map(lambda part: generate(config, weights, part, (h, w)), parts)
    return measures.diversity(made, image)


def _measured_at(side: int) -> tuple[float, ...]:
    """The scales at which an image whose sides are `side` pixels has patches of 7x7."""
    return tuple(scale for scale in (1.0, 0.5, 0.25) if scale * side >= 7) or (7 / side,)


def _smaller(x: Array, factor: int) -> Array:
    size = tuple(-(-n // factor) for n in x.shape[:2])
    return x if factor == 1 else fitting.shrunk(x, size)


def framed(image: np.ndarray) -> np.ndarray:
    """Draws a red frame, or a white one if C is 1, into an image (H, W, C)."""
    width = max(min(image.shape[:2]) // 40, 1)
    made = np.broadcast_to(np.float32([1, 0, 0])[: image.shape[-1]], image.shape).copy()
    made[width:-width, width:-width] = image[width:-width, width:-width]
    return made


def grid(rows: Sequence[Sequence[np.ndarray]], *, gap: int = 4) -> np.ndarray:
    """Joins images (H, W, C), of equal height in a row and equal width in a column, with white gaps."""
    edge = ((0, gap), (0, gap), (0, 0))
    padded = [[np.pad(x, edge, constant_values=1) for x in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in padded])[:-gap, :-gap]
