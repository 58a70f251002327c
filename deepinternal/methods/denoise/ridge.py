"""Denoising by linear combinations of similar patches (NL-Ridge).

Around each patch of a grid, the most similar patches in a window form a group. Every patch of the
group is estimated as a linear combination of all of them, with the weights of least expected squared
error. With the noisy patches as rows of Y, G = Y Y' and the expected inner products N of the patches'
noise, that error is estimated without knowing the truth, and is least for I - N / G (first pass). With
the first pass's result as a pilot of the truth, whose Gram matrix is P, it is P / (P + N) (second
pass). Both are taken with the condition that the weights of a combination add up to 1, except for
colour in the second pass, which may fade. The estimates of overlapping patches are averaged with
weights 1 / |weights of the combination|^2, as their variance.

N is diagonal for white noise. If the variance of the noise depends on the brightness, for example
because values were clipped (see `clipping`), the entries follow the local brightness. The effect of
clipping on the mean is undone at the end. If the noise of neighbouring pixels is correlated, the
entries of overlapping patches are not zero.

White noise is removed at several sizes of the image at once, see `scales`.

Deliberate deviations from the paper: several sizes; colour is treated as one luma channel and two
chroma channels, which have common weights, with groups by luma; only the patches of a group that are
most similar are estimated; clipped and correlated noise.

References:
    Herbreteau, Kervrann: A unified framework of non-local parametric methods for image denoising. SIAM
    Journal on Imaging Sciences 2024.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.methods.denoise import scales
from deepinternal.methods.denoise.clipping import looked_up, mixed, opponent_variance
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.groups import Plan, add_patches, cut, find_groups, in_parts
from deepinternal.methods.denoise.parts import Parts
from deepinternal.methods.denoise.solving import solve
from deepinternal.ops import filters
from deepinternal.ops.color import opponent_to_rgb, rgb_to_opponent
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.types import Array, Inputs, Metrics, Output, Stage, TrainState

# By the level of the noise, for each pass: the side of the patches, the size of the groups and what is
# added to the stride.
_PASSES = {
    "low": ((7, 18, 0), (7, 55, 1)),
    "middle": ((9, 18, 0), (7, 64, 1)),
    "high": ((11, 20, 0), (9, 120, 1)),
}
MOSAIC = " mosaic"  # ends the variants for images that are denoised at several sizes, see `scales`
_NAMES = ("first", "second")  # of the passes
_ESTIMATED = 16  # patches of a group that are estimated in the second pass
_LEAST = 0.02  # part of the noise's energy that makes the first pass's matrices regular
_ROUNDING = 1e-5  # part of the patches' energy that float32 cannot tell from 0 in these matrices
_ALIKE = 0.99  # greatest correlation of the noise of pixels; a part is always white
_CALIBRATION = 1.15  # the standard deviation of the errors over that which the pilot makes expect
_SMOOTH = 3  # radius of the windows that tell the variance of the noise before the first pass


def _chroma_as_one(channels: Array) -> Array:
    """Adds up both chroma channels of (groups, C, ...), whose combinations have the same weights."""
    if channels.shape[1] == 1:
        return channels
    return jnp.stack([channels[:, 0], channels[:, 1] + channels[:, 2]], axis=1)


def _covariance(energy: Array, places: Array, alike: Array) -> Array:
    """The expected inner products (groups, c, group, group) of the noise of patches.

    Args:
        energy: (groups, c, group), the expected squared norm of each patch's noise.
        places: (groups, group, 2).
        alike: (16, 16, c), the correlation of the noise of pixels by their distance, periodic.
    """
    diagonal = lambda: energy[..., None] * jnp.eye(energy.shape[-1])

    def full():
        apart = places[:, :, None] - places[:, None]
        # Bartlett's lag window, with which the matrices stay positive semidefinite.
        near = jnp.prod(jnp.maximum(1 - jnp.abs(apart) / 8, 0), axis=-1)[:, None]
        found = jnp.moveaxis(alike[apart[..., 0] % 16, apart[..., 1] % 16], -1, 1)
        size = jnp.sqrt(energy)
        return near * found * size[..., None] * size[..., None, :]

    others = jnp.abs(alike.at[0, 0].set(0))
    return lax.cond(jnp.max(others) > 0.02, full, diagonal)


def _combined(
    plan: Plan, noisy: Array, pilot: Array, variance: Array, alike: Array, places: Array
) -> tuple[Array, Array, Array]:
    """Estimates the patches that are most similar to the first one of each group.

    Args:
        plan: The pass.
        noisy: (window, W, C).
        pilot: (window, W, C).
        variance: (window, W, C), that of the noise.
        alike: (16, 16, c), see `_covariance`, for luma and chroma.
        places: (groups, group, 2).

    Returns:
        The estimates (groups, estimated, patch, patch, C), their weights (groups, estimated, C), and
        the variance of their errors (groups, estimated), the mean over the channels.
    """
    (count, group, _), patch, n = places.shape, plan.patch, plan.patch**2
    channels_first = lambda x: jnp.moveaxis(cut(x, places, patch), -1, 1).reshape(
        count, -1, group, n
    )
    values = channels_first(noisy)
    known = channels_first(pilot) if plan.second else values
    # Where weights add up to 1, what all patches have in common changes nothing but rounding.
    whole = np.float32([1, not plan.second, not plan.second])[: values.shape[1], None, None]
    known = known - whole * jnp.mean(known, axis=-2, keepdims=True)
    whole = whole[:2]  # of luma and chroma
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    gram = _chroma_as_one(product(known, jnp.swapaxes(known, -1, -2)))
    sums = lambda x: sum(x[i : x.shape[0] - patch + 1 + i] for i in range(patch))
    energy = jnp.swapaxes(sums(jnp.swapaxes(sums(variance), 0, 1)), 0, 1)
    energy = _chroma_as_one(jnp.moveaxis(energy[places[..., 0], places[..., 1]], -1, 1))
    noise = _covariance(energy, places, alike)
    eye = jnp.eye(group)
    matrix = gram + noise * (1 if plan.second else _LEAST)
    size = jnp.trace(matrix, axis1=-2, axis2=-1)[..., None, None] / group
    matrix += size * (_ROUNDING * eye + whole)
    right = noise[..., : plan.estimated]
    found = solve(matrix, jnp.concatenate([right, jnp.ones_like(right[..., :1])], axis=-1))
    total = jnp.sum(found, axis=-2, keepdims=True)
    multiples = found[..., -1:] * total[..., :-1] / total[..., -1:]
    weights = eye[:, : plan.estimated] - found[..., :-1] + whole * multiples
    trust = 1 / jnp.maximum(jnp.sum(weights**2, axis=-2), 1 / group)
    # The expected squared error of the best weights, for the pilot as the truth.
    risk = jnp.sum(noise[..., : plan.estimated] * weights, axis=(1, 2)) / values.shape[1] / n
    channels = np.minimum(np.arange(values.shape[1]), 1)
    made = product(jnp.swapaxes(weights, -1, -2)[:, channels], values)
    last = lambda x: jnp.moveaxis(x, 1, -1)
    made = last(made).reshape(count, plan.estimated, patch, patch, -1)
    return made, last(trust[:, channels]), jnp.maximum(risk, 0)


def _step(
    plan: Plan, state: TrainState, inputs: Inputs, variant=None
) -> tuple[TrainState, Metrics]:
    """Adds the estimates of one strip; nothing, once all strips of the image are done."""
    del variant
    kept, (height, width) = state.model_state, _size(inputs)
    rows, real = plan.places(state.step * plan.rows + jnp.arange(plan.rows), height)
    _, real_columns = plan.places(jnp.arange(plan.count(1)), width)
    real = (real[:, None] & real_columns).reshape(-1)
    # The part of the image that the strip needs.
    top = jnp.clip(rows[0] - plan.reach, 0, plan.shape[0] - plan.window)
    part = lambda image: lax.dynamic_slice_in_dim(image, top, plan.window)
    noisy = rgb_to_opponent(part(_noisy(inputs)))
    pilot = part(kept["pilot"]) if plan.second else noisy
    inside = (top + jnp.arange(plan.window) < height)[:, None]
    inside = inside & (jnp.arange(plan.shape[1]) < width)
    places = find_groups(plan, jnp.where(inside, pilot[..., 0], jnp.inf), rows - top, width)
    variance, alike = part(kept["variance"]), _alike(inputs)
    below = jnp.stack([top, 0 * top])

    def added(sums, part):
        places, real = part
        made, trust, risk = _combined(plan, noisy, pilot, variance, alike, places)
        loss = jnp.sum(real[:, None, None] / trust)
        trust = jnp.where(real[:, None, None], trust, 0)
        trust = jnp.broadcast_to(trust[:, :, None, None], made.shape)
        parts = {
            "total": made * trust,
            "weight": trust,
            "risk": trust[..., :1] * risk[:, :, None, None, None],
        }
        shown = places[:, : plan.estimated] + below
        return {name: add_patches(sums[name], shown, x) for name, x in parts.items()}, loss

    sums = {name: kept[name] for name in ("total", "weight", "risk")}
    sums, loss = in_parts(added, sums, places, real)
    loss = jnp.sum(loss) / jnp.maximum(jnp.sum(real) * plan.estimated * plan.shape[2], 1)
    step = jnp.minimum(state.step + 1, kept["strips"])
    return state.replace(step=step, model_state=kept | sums), {"loss": loss}


def _image_size(inputs: Inputs) -> tuple[Array | int, Array | int]:
    """The (h, w) of the image in the upper left of its array."""
    if "size" in inputs:
        return inputs["size"][0], inputs["size"][1]
    return inputs["image"].shape[:2]


def _size(inputs: Inputs) -> tuple[Array | int, Array | int]:
    """The (h, w) of what is denoised: the image, or its mosaic."""
    size = _image_size(inputs)
    return scales.mosaic_size(*size) if "mosaic" in inputs else size


def _noisy(inputs: Inputs) -> Array:
    return inputs.get("mosaic", inputs["image"])


def _strips(plan: Plan, inputs: Inputs) -> Array:
    """The number of strips of the image, int32."""
    count = -(-(_size(inputs)[0] - plan.patch) // plan.stride) + 1
    return jnp.asarray(-(-count // plan.rows), jnp.int32)


def _result(state: TrainState) -> Array:
    weight = state.model_state["weight"]  # 0 beyond the image
    return state.model_state["total"] / jnp.where(weight > 0, weight, 1)


def _alike(inputs: Inputs) -> Array:
    """The correlation (16, 16, c) of the noise of pixels by their distance, of luma and chroma."""
    noise = inputs["noise"]
    found = jnp.fft.ifft2(noise["power"], axes=(0, 1)).real
    found *= mixed(noise["std"] ** 2, noise["mixing"])
    if found.shape[-1] == 3:
        found = jnp.stack([found[..., 0], found[..., 1] + found[..., 2]], axis=-1)
    found *= _ALIKE / jnp.maximum(found[0, 0], 1e-12)
    return found.at[0, 0].set(1)


def _begun(plan: Plan, inputs: Inputs, pilot: Array, mean: Array) -> dict:
    """The model state at the beginning of a pass; `mean` are RGB values, as of the pilot."""
    return {
        "pilot": pilot,
        "total": jnp.zeros(plan.shape),
        "weight": jnp.zeros(plan.shape),
        "risk": jnp.zeros((*plan.shape[:2], 1)),
        "variance": opponent_variance(mean, inputs["noise"]) * inputs.get("share", 1.0),
        "strips": _strips(plan, inputs),
    }


def _smoothed(image: Array, inside: Array) -> Array:
    """The mean (H, W, C) of the pixels of a square window that are `inside` (H, W)."""
    inside = inside[..., None].astype(image.dtype)
    share = filters.box(inside, _SMOOTH)
    return filters.box(image * inside, _SMOOTH) / jnp.where(share > 1e-4, share, 1)


def _init(plan: Plan, key: Array, inputs: Inputs) -> TrainState:
    image, (height, width) = _noisy(inputs), _size(inputs)
    rows, columns = (jnp.arange(n) < m for n, m in zip(image.shape[:2], (height, width)))
    inside = rows[:, None] & columns
    kept = _begun(plan, inputs, jnp.zeros(plan.shape), _smoothed(image, inside))
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, kept)


def _advance(plan: Plan, state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
    """Begins the next pass, with the result of this one as its pilot."""
    pilot = _result(state)
    kept = _begun(plan, inputs, pilot, opponent_to_rgb(pilot))
    return state.replace(step=jnp.zeros((), jnp.int32), model_state=kept), inputs


def _done(state: TrainState) -> Array:
    """Whether all strips of the image are done, on a canvas before those of the canvas."""
    return state.step >= state.model_state["strips"]


def _outputs(state: TrainState, inputs: Inputs) -> dict[str, Output]:
    kept, size, shape = state.model_state, inputs.get("size"), inputs["image"].shape
    luma = kept["weight"][..., 0]
    error = _CALIBRATION**2 * kept["risk"][..., 0] / jnp.where(luma > 0, luma, 1)
    found, (height, width) = _result(state), _image_size(inputs)
    if "mosaic" in inputs:
        rows, columns = (jnp.arange(n) < m for n, m in zip(shape[:2], (height, width)))
        error = jnp.where(rows[:, None] & columns, error[: shape[0]], 0)
        found = scales.fused(found, (height, width), shape)
    result = looked_up(opponent_to_rgb(found), inputs["noise"]["level"])
    psnr = mse_to_psnr(jnp.sum(error) / (height * width))
    return {
        "result": Output(result, size=size),
        "uncertainty": Output(jnp.sqrt(error), "map", size=size),
        "expected_psnr": Output(psnr, "scalar"),
    }


def parts(config: Config, shape: tuple[int, int, int], variant: str) -> Parts:
    """Returns the parts of the method.

    Args:
        config: The settings.
        shape: (H, W, C) of the images.
        variant: The level of their noise, with `MOSAIC` if they are denoised as mosaics.
    """
    if variant.endswith(MOSAIC):
        shape = (*scales.mosaic_size(*shape[:2]), shape[2])
    plans = passes(config, shape, variant.removesuffix(MOSAIC))
    stages = []
    for name, plan, following in zip(_NAMES, plans, (*plans[1:], None)):
        step = functools.partial(_step, plan)
        step.frozen = True  # see `types.Stage`
        advance = functools.partial(_advance, following) if following else None
        stages.append(Stage(name, plan.strips, step, done=_done, advance=advance))
    return Parts(
        functools.partial(_init, plans[0]),
        tuple(stages),
        _outputs,
    )


def passes(config: Config, shape: tuple[int, int, int], level: str) -> tuple[Plan, ...]:
    """Returns the static part of each pass, for images of a shape (H, W, C) with noise of a level."""
    found = []
    for number, (patch, group, added) in enumerate(_PASSES[level]):
        patch = min(patch, min(shape[:2]) // 2)
        reach = min(config.reach, min(shape[:2]) - patch)
        group = min(group, (reach + 1) ** 2)
        found.append(
            Plan(
                shape=shape,
                patch=patch,
                group=group,
                estimated=min(_ESTIMATED, group) if number else group,
                stride=min(config.stride + added, patch),
                reach=reach,
                second=number > 0,
            )
        )
    return tuple(found)
