"""Applications of a trained InGAN generator: images of other sizes and shapes.

Images are (H, W, C) in [0, 1]. The net may have learned from a reduced image. The sizes
that users give refer to the full image. The net decides the layout of a result; its detail comes
from the patches of the full image (`ops.patches.sharpening`).

References:
    Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019, section 5.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from deepinternal.methods import gan
from deepinternal.methods.factors import Scale, scaled
from deepinternal.methods.ingan.config import Config
from deepinternal.nets.ingan import LEAST, Generator
from deepinternal.ops import fitting, shear
from deepinternal.ops.patches import measures, sharpening, synthesis
from deepinternal.ops.resizing import resize
from deepinternal.ops.warping import warp
from deepinternal.types import Array, InputError, Inputs, Metrics, Output, PyTree, TrainState

_COARSEST = 28  # least side, in pixels, of the image at the coarsest scale of patches
LARGEST = 4096  # greatest side of the net's output, in pixels
_TOGETHER = 2**22  # greatest number of pixels of results that are made at once, except on CPU
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


def resizing(size: tuple[int, int]) -> Callable[[Array], Array]:
    """The transformation to a size (H, W): bilinear, without antialiasing."""
    return lambda x: resize(x, output_shape=size, method="linear", antialias=False)


def warping(
    matrix: Array, size: tuple[int, int], *, within: Array | Sequence[int] | None = None
) -> Callable[[Array], Array]:
    """The transformation to a size by a homography of coordinates, mirrored at the borders.

    Args:
        matrix: 3x3, from output to input coordinates, see `ops.shear`.
        size: (H, W) of the output.
        within: (h, w) of the output, possibly traced, if (H, W) is that of a canvas.
    """

    def transform(x: Array) -> Array:
        pixels = shear.in_pixels(matrix, size if within is None else within, x.shape[1:3])
        return jax.vmap(lambda one: warp(one, pixels, size, method="linear"))(x)

    return transform


def generate(
    config: Config,
    weights: PyTree,
    image: Array,
    size: tuple[int, int],
    *,
    shifts: Array | None = None,
    within: Array | Sequence[int] | None = None,
) -> Array:
    """Makes an image of another size or, with shifts, of another shape with mirrored content around it.

    Args:
        config: The settings.
        weights: The generator's weights, as `trained` returns them.
        image: (h, w, C) in [0, 1], both sides at least 8.
        size: (H, W), static, both at least 16.
        shifts: (2,), shifts of two corners, see `ops.shear`; None: no shifts.
        within: (H', W'), both at least 16, possibly traced: the size of the result, if (H, W) is that
            of a canvas; so one program makes many sizes. Default: (H, W).

    Returns:
        (H, W, C) in [0, 1]. With `within` the rest of the canvas has no meaning.
    """
    transform = resizing(size)
    if shifts is not None or within is not None:
        matrix = shear.homography(jnp.zeros(2) if shifts is None else shifts)
        transform = warping(matrix, size, within=within)
    net = network(config)
    made = net.apply({"params": weights}, 2 * image[None] - 1, transform, size=within)[0]
    return jnp.clip((made + 1) / 2, 0, 1)


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


def patch_factors(
    config: Config, full: tuple[int, int], small: tuple[int, int]
) -> tuple[float, ...]:
    """Returns the factors of the scales at which results are made of patches, from coarse to 1.

    At the coarsest scale, the image's shorter side is 28 pixels, or more if `detail` scales, each at
    least half as large as the next, do not reach that far; the scale is never finer than that of the
    image from which the net learned.

    Args:
        config: The settings.
        full: (H, W) of the full image.
        small: (h, w) of the image from which the net learned.

    Returns:
        The factors; none without `detail`.
    """
    if not config.detail:
        return ()
    coarsest = max(_COARSEST / min(full), 0.5 ** (config.detail - 1))
    return synthesis.scale_factors(config.detail, min(max(small) / max(full), coarsest))


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
    (there, result), *others = _finished(
        config, state, inputs, (config.result_scale, *config.samples)
    )
    back = generate(config, trained(state), there, image.shape[:2])
    varied = _diversity(config, state, image)
    # A zero that depends on all pictures: the measures are computed after them, see `measures.compare`.
    pictures = [back, varied, *(x for _, x in others)]
    zero = sum(jnp.minimum(jnp.min(x), 0) for x in pictures)
    factor = max(1, -(-max(shape) // _MEASURED))
    pair = [_smaller(x, factor) for x in (full, result + zero)]
    scales = _measured_at(min(n for x in pair for n in x.shape[:2]))
    found = measures.compare(*pair, scales=scales)
    figures = {
        "cycle_error": jnp.mean(jnp.abs(back - image)),
        "coherence": found.similarity.coherence,
        "completeness": found.similarity.completeness,
        "sifid": found.sifid,
        "diversity": varied,
    }
    made = {"result": Output(result), "cycle": Output(fitting.enlarged(back, shape))}
    made |= {name: Output(value, "scalar") for name, value in figures.items()}
    for number, x in enumerate(images(inputs, name="full")):
        made[f"input{number + 1}" if number else "input"] = Output(x, source=number)
    named = zip(config.samples, others, strict=True)
    samples = {"{:g}x{:g}".format(*scale): x for scale, (_, x) in named}
    return made | ({"samples": Output(samples, "images")} if samples else {})


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
    size = scaled(full.shape[:2], config.result_scale)
    return jnp.clip(resize(full, output_shape=size), 0, 1)


def _made(config: Config, state: TrainState, inputs: Inputs, scale: Scale) -> Array:
    """The net's output for the (first) image at a factor of its size."""
    full, image = inputs["full1"].shape[:2], inputs["image1"]
    size = fitted(full, image.shape[:2], scaled(full, scale))
    return generate(config, trained(state), image, size)


def _finished(
    config: Config, state: TrainState, inputs: Inputs, scales: Sequence[Scale]
) -> list[tuple[Array, Array]]:
    """The net's outputs for the (first) image at several factors of its size, and the results."""
    full, image = inputs["full1"], inputs["image1"]
    shapes = full.shape[:2], image.shape[:2]
    found, sizes = patch_factors(config, *shapes), [scaled(shapes[0], s) for s in scales]
    canvas = tuple(map(max, zip(*sizes)))
    together = len(sizes) * math.prod(canvas) <= _TOGETHER and min(map(min, sizes)) >= LEAST
    if jax.default_backend() == "cpu" or not together:
        made = [_made(config, state, inputs, scale) for scale in scales]
        return [(x, sharpening.sharp(x, full, found, n)[0]) for x, n in zip(made, sizes)]
    # On accelerators, which small kernels use poorly, all sizes are made at once, side by side on
    # canvases.
    nets = [fitted(*shapes, size) for size in sizes]
    net_canvas, weights = tuple(map(max, zip(*nets))), trained(state)

    def one(net_size, at_scales):
        made = generate(config, weights, image, net_canvas, within=net_size)
        options = {"size": net_size, "sizes": at_scales}
        return made, sharpening.sharp(made, full, found, canvas, **options)[0]

    at_scales = [sharpening.scale_sizes(found, size) for size in sizes]
    pairs = jax.vmap(one)(jnp.array(nets), jnp.array(at_scales))
    cut = lambda x, size: x[: size[0], : size[1]]
    return [(cut(a, n), cut(b, m)) for a, b, n, m in zip(*pairs, nets, sizes)]


def _there_and_back(config: Config, state, inputs: Inputs, scale: Scale) -> tuple[Array, Array]:
    """The net's output for the (first) image at a factor of its size, and the way back from it."""
    there = _made(config, state, inputs, scale)
    return there, generate(config, trained(state), there, inputs["image1"].shape[:2])


def _diversity(config: Config, state: TrainState, image: Array) -> Array:
    """The diversity of the outputs for the four corner crops with 3/4 of the image's sides."""
    (h, w), part = image.shape[:2], [max(3 * n // 4, 8) for n in image.shape[:2]]
    corners = [(y, x) for y in (0, h - part[0]) for x in (0, w - part[1])]
    parts = jnp.stack([image[y : y + part[0], x : x + part[1]] for y, x in corners])
    weights = trained(state)
    one = lambda part: generate(config, weights, part, (h, w))
    made = jax.lax.map(one, parts) if jax.default_backend() == "cpu" else jax.vmap(one)(parts)
    return measures.diversity(made, image)


def _measured_at(side: int) -> tuple[float, ...]:
    """The scales at which an image whose sides are `side` pixels has patches of 7x7."""
    return tuple(scale for scale in (1.0, 0.5, 0.25) if scale * side >= 7) or (7 / side,)


def _smaller(x: Array, factor: int) -> Array:
    """Reduces an image by a whole factor."""
    size = tuple(-(-n // factor) for n in x.shape[:2])
    return x if factor == 1 else fitting.shrunk(x, size)
