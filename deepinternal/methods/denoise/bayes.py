"""Images with missing pixels: the patches of a group share a normal distribution (NL-Bayes).

Around each patch of a grid, the most similar patches in a window form a group, as in `ridge`. Their
mean and their covariance C are taken from the image as it was filled in so far. The known values y of a
patch, with noise of variance R, then determine the expectation of the whole patch, mean + C (M C M +
R)^-1 M (y - mean), where M marks the known pixels -> `conditional`. The estimates of overlapping
patches are averaged, and the next round begins with the result. R is at least the square of a level
that falls from round to round, so that the groups first agree on what is certain.

Deliberate deviations from the papers: the means and covariances have no prior, but all rounds are
alike and the level falls; colour is treated as luma and chroma, with groups by luma; only the patches
of a group that are most similar are estimated, by a few steps of conjugate gradients.

References:
    Lebrun, Buades, Morel: A Nonlocal Bayesian Image Denoising Algorithm. SIAM Journal on Imaging
    Sciences 2013.
    Aguerrebere, Almansa, Delon, Gousseau, Muse: A Bayesian Hyperprior Approach for Joint Image
    Denoising and Interpolation. IEEE Transactions on Computational Imaging 2017.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.methods.denoise.clipping import looked_up, opponent_variance
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.groups import Plan, add_patches, cut, find_groups, in_parts
from deepinternal.methods.denoise.parts import Parts
from deepinternal.ops import filters
from deepinternal.ops.color import opponent_to_rgb, rgb_to_opponent
from deepinternal.ops.metrics import mse_to_psnr
from deepinternal.types import Array, Inputs, Output, Stage, TrainState

# By the share of missing pixels: the side of the patches and the size of the groups.
_SIZES = {"few": (7, 64), "many": (9, 100)}
MANY = 0.6  # share of missing pixels above which the larger patches are used
_ESTIMATED = 16  # patches of a group that are estimated
_FIRST, _LAST = 20 / 255, 2 / 255  # levels of the rounds
_SHARE = 0.5  # share of the noise's variance in R, since every round smooths once more
_SOLVING = 15  # steps of conjugate gradients
_NEAR = 2  # radius of the windows over which the spread of the estimates is averaged
# The standard deviation of the errors over the spread of the estimates.
_CALIBRATION = {"few": 2.4, "many": 2.9}
_KEPT = 0.08  # share of the noise's variance that remains in the result
_LEAST = 12**-0.5 / 255  # least uncertainty, that of rounding to 8 bits


def conditional(
    covariance: Array, known: Array, values: Array, noise: Array, *, steps: int
) -> Array:
    """Returns the expectation of normally distributed vectors, given some of their entries.

    Args:
        covariance: (..., n, n), of vectors with mean 0.
        known: (..., n, k) of zeros and ones, for k vectors.
        values: (..., n, k); only those of known entries matter.
        noise: (..., n, k), the variance of the noise of the values, positive.
        steps: Number of steps of conjugate gradients; n solve the equations up to rounding.

    Returns:
        (..., n, k).
    """
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    inner = lambda a, b: jnp.sum(a * b, axis=-2, keepdims=True)
    ratio = lambda a, b: a / jnp.maximum(b, 1e-20)
    diagonal = known * jnp.diagonal(covariance, axis1=-2, axis2=-1)[..., None] + noise
    left = known * values

    def step(_, state):
        found, left, way, size = state
        change = known * product(covariance, way) + noise * way
        length = ratio(size, inner(way, change))
        found, left = found + length * way, left - length * change
        following = inner(left, left / diagonal)
        return found, left, left / diagonal + ratio(following, size) * way, following

    start = (jnp.zeros_like(left), left, left / diagonal, inner(left, left / diagonal))
    return product(covariance, lax.fori_loop(0, steps, step, start)[0])


def _estimated(plan: Plan, noisy: Array, known: Array, pilot: Array, noise: Array, places):
    """Estimates the patches that are most similar to the first one of each group.

    Args:
        plan: The pass.
        noisy: (window, W, C), luma and chroma.
        known: (window, W, 1).
        pilot: (window, W, C), the image as it was filled in so far.
        noise: (window, W, C), the variance of the noise.
        places: (groups, group, 2).

    Returns:
        (groups, estimated, patch, patch, C).
    """
    count, patch, n = len(places), plan.patch, plan.patch**2
    few = places[:, : plan.estimated]
    # (groups, C, n, patches)
    vectors = lambda x, where: jnp.moveaxis(
        cut(x, where, patch).reshape(count, where.shape[1], n, -1), (1, 3), (3, 1)
    )
    patches = vectors(pilot, places)
    mean = jnp.mean(patches, axis=-1, keepdims=True)
    patches = patches - mean
    found = jnp.matmul(patches, jnp.swapaxes(patches, -1, -2), precision=lax.Precision.HIGHEST)
    found = found / plan.group
    if noisy.shape[-1] == 3:  # both chroma channels have one covariance
        chroma = (found[:, 1:2] + found[:, 2:]) / 2
        found = jnp.concatenate([found[:, :1], chroma, chroma], axis=1)
    values = vectors(noisy, few) - mean
    made = (
        conditional(found, vectors(known, few), values, vectors(noise, few), steps=_SOLVING) + mean
    )
    return jnp.moveaxis(made, (1, 3), (3, 1)).reshape(count, plan.estimated, patch, patch, -1)


def _step(plan: Plan, levels: np.ndarray, state: TrainState, inputs: Inputs, variant=None):
    """Adds the estimates of one strip."""
    del variant
    kept, (height, width) = state.model_state, plan.shape[:2]
    rows, real = plan.places(state.step * plan.rows + jnp.arange(plan.rows), height)
    _, real_columns = plan.places(jnp.arange(plan.count(1)), width)
    real = (real[:, None] & real_columns).reshape(-1)
    top = jnp.clip(rows[0] - plan.reach, 0, height - plan.window)
    part = lambda image: lax.dynamic_slice_in_dim(image, top, plan.window)
    noisy, known = rgb_to_opponent(part(inputs["image"])), part(_known(inputs))
    pilot = part(kept["pilot"])
    level = jnp.asarray(levels)[kept["round"]]
    noise = _SHARE * opponent_variance(opponent_to_rgb(pilot), inputs["noise"])
    noise = jnp.maximum(noise, level**2)
    places = find_groups(plan, pilot[..., 0], rows - top, width)

    def added(sums, groups):
        places, real = groups
        made = _estimated(plan, noisy, known, pilot, noise, places)
        weight = jnp.where(real[:, None, None, None, None], jnp.ones_like(made[..., :1]), 0)
        squares = jnp.mean(made**2, axis=-1, keepdims=True)
        new = {"total": made * weight, "weight": weight, "squares": squares * weight}
        shown = places[:, : plan.estimated] + jnp.stack([top, 0 * top])
        sums = {name: add_patches(sums[name], shown, x) for name, x in new.items()}
        return sums, jnp.zeros(())

    sums = {name: kept[name] for name in ("total", "weight", "squares")}
    sums, _ = in_parts(added, sums, places, real)
    state = state.replace(step=state.step + 1, model_state=kept | sums)
    return state, {"loss": level}


def _known(inputs: Inputs) -> Array:
    return inputs["mask"] if "mask" in inputs else jnp.ones_like(inputs["image"][..., :1])


def _begun(pilot: Array, number: Array) -> dict[str, Array]:
    """The model state at the beginning of a round."""
    one = jnp.zeros((*pilot.shape[:2], 1))
    sums = {"total": jnp.zeros(pilot.shape), "weight": one, "squares": one}
    return {"pilot": pilot, "round": number, **sums}


def _init(key: Array, inputs: Inputs) -> TrainState:
    kept = _begun(rgb_to_opponent(inputs["image"]), jnp.zeros((), jnp.int32))
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, kept)


def _mean(state: TrainState) -> Array:
    return state.model_state["total"] / jnp.maximum(state.model_state["weight"], 1)


def _is_exact(inputs: Inputs) -> Array:
    """Bool (H, W, 1), the pixels whose values are known without noise."""
    return (_known(inputs) > 0) & (jnp.max(inputs["noise"]["std"]) == 0)


def _advance(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
    """Begins the next round."""
    pilot = jnp.where(_is_exact(inputs), rgb_to_opponent(inputs["image"]), _mean(state))
    kept = _begun(pilot, state.model_state["round"] + 1)
    return state.replace(step=jnp.zeros((), jnp.int32), model_state=kept), inputs


def _outputs(calibration: float, state: TrainState, inputs: Inputs) -> dict[str, Output]:
    kept, mean = state.model_state, _mean(state)
    result = looked_up(opponent_to_rgb(mean), inputs["noise"]["level"])
    exact = _is_exact(inputs)
    spread = kept["squares"] / jnp.maximum(kept["weight"], 1) - jnp.mean(mean**2, -1, keepdims=True)
    spread = jnp.where(exact, 0, jnp.maximum(spread, 0))
    share = jnp.where(exact, 0.0, 1.0)
    radius = min(_NEAR, (min(mean.shape[:2]) - 1) // 2)
    local = filters.box(spread, radius) / jnp.maximum(filters.box(share, radius), 1e-3)
    local = calibration**2 * local + _KEPT * jnp.mean(inputs["noise"]["std"] ** 2)
    std = jnp.where(exact, _LEAST, jnp.sqrt(jnp.maximum(local, _LEAST**2)))
    return {
        "result": Output(jnp.where(exact, inputs["image"], result)),
        "uncertainty": Output(std[..., 0], "map"),
        "expected_psnr": Output(mse_to_psnr(jnp.mean(std**2)), "scalar"),
    }


def parts(config: Config, shape: tuple[int, int, int], share: str) -> Parts:
    """Returns the parts of the method for a share of missing pixels; see `denoise.ALGORITHMS`."""
    patch, group = _SIZES[share]
    patch = min(patch, min(shape[:2]) // 2)
    reach = min(config.reach, min(shape[:2]) - patch)
    group = min(group, (reach + 1) ** 2)
    plan = Plan(
        shape=shape,
        patch=patch,
        group=group,
        estimated=min(_ESTIMATED, group),
        stride=min(config.stride, patch),
        reach=reach,
        second=True,
    )
    step = functools.partial(_step, plan, np.float32(np.geomspace(_FIRST, _LAST, config.rounds)))
    # All rounds have the same functions, so that their programs are compiled once.
    names = [f"round {n}" for n in range(1, config.rounds + 1)]
    stages = [Stage(name, plan.strips, step, advance=_advance) for name in names[:-1]]
    outputs = functools.partial(_outputs, _CALIBRATION[share])
    return Parts(_init, (*stages, Stage(names[-1], plan.strips, step)), outputs)
