"""ZSSR: zero-shot super-resolution (Shocher, Cohen, Irani, CVPR 2018).

A small net learns, from one image alone, to undo a downscaling: at each step a random augmented crop
of the image (the high-resolution *father*, as the paper calls it) is downscaled (its low-resolution
*son*), and the net learns son -> father. Then it is applied to the image itself.

Where the paper is in the code: section 3.1 (fathers, sons) -> `_draw_pair`; section 3.2 (net, L1,
Adam) -> `nets.zssr`, `loss_fn`, `step`; its learning-rate policy and stopping -> `_policy`; test-time
ensemble (median of 8) and back-projection -> `outputs`; section 3.3 (known kernel, noise) -> the
input `kernel` and the fields `noise_std`, `flips`, `back_projection`.

Deliberate deviations from the authors' code: hidden layers start with 20 times the variance, which
saves about 200 idle steps (field `init_variance`); outside of the image fathers are mirrored, not
black; all resizing mirrors alike on all four sides; rotations and mirrorings are exact (theirs are
one pixel off); the centring of even-sized kernels is exact; images smaller than the crop are
cropped smaller.
The ensemble applies the 8 transformed *weights* to the unchanged image, which is the same thing with
one static shape.

Presets: configs/zssr.py.
"""

import math

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from deepinternal.losses.pixel import l1
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops import augment, kernels, metrics, resize, warp
from deepinternal.types import Array, InputError, Inputs, Method, Output, PyTree, Stage, TrainState

MAX_SCALE = 16.0
SIDE_INPUTS = {"kernel": "kernel"}


def defaults() -> ml_collections.ConfigDict:
    """The published settings for one jump by a factor of 2 with the ideal (cubic) kernel."""
    return ml_collections.ConfigDict(
        {
            "seed": 0,
            "steps": 0,  # at most so many; 0: 3000
            "scale": "2",  # factor, or 'vertical,horizontal'
            "output_shape": "",  # 'height,width' instead of scale
            "kernel": "",  # file or folder of blur kernels; '': cubic downscaling
            "noise_std": 0.0,  # noise added to sons, in units of the [0, 1] range
            "layers": 8,
            "features": 64,
            "init_variance": 2.0,  # of hidden layers, times fan-in; 0.1 in the authors' code
            "precision": "default",  # matmul precision of the net
            "crop": 128,  # side of the fathers, in pixels
            "patch_batch": 1,  # fathers per step
            "learning_rate": 1e-3,
            "min_learning_rate": 9e-6,  # training ends below it
            "evaluate_every": 50,
            "policy_every": 60,
            "policy_wait": 256,  # steps after a change of learning rate before the next
            "policy_slope": 1.5,
            "p_as_is": 0.05,
            "p_dihedral": 0.45,
            "affine_scale_min": 0.5,
            "affine_scale_max": 1.0,
            "affine_scale_difference": 0.25,
            "affine_shear": 0.1,
            "affine_sampling": "cubic",  # or linear
            "flips": "auto",  # rotated and mirrored fathers: on, off, auto: on without a kernel
            "ensemble": "auto",  # median over flips of the net: on, off, auto: as flips
            "back_projection": -1,  # iterations; -1: 10, with a kernel 2
        }
    )


def prepare(config: ml_collections.ConfigDict, image: np.ndarray, kernel=None) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: the method's config (`scale`, `output_shape`).
        image: (H, W, C) in [0, 1], C = 1 or 3.
        kernel: (K, K) blur kernel, summing to 1, or None.

    Returns:
        `image`, and `kernel` centred for the scale factor where one is given.
    """
    inputs = {"image": jnp.asarray(image, jnp.float32)}
    if kernel is not None:
        scale, _ = target_size(config, image.shape[:2])
        inputs["kernel"] = kernels.centre_kernel(np.asarray(kernel, np.float32), scale)
    return inputs


def example(config: ml_collections.ConfigDict, photo: np.ndarray, kernel=None) -> Array:
    """A low-resolution image made from a photograph, as the method supposes images to be made.

    Args:
        config: the method's config; with an `output_shape` the factor is 2.
        photo: (H, W, C) in [0, 1]: the ground truth, where its sides are multiples of the factor.
        kernel: blur kernel, or None for cubic downscaling.

    Returns:
        (ceil(H / scale), ceil(W / scale), C) in [0, 1], rounded to 8 bits.
    """
    scale = (2.0, 2.0) if config.output_shape else target_size(config, (1, 1))[0]
    photo = jnp.asarray(photo)
    if kernel is None:
        small = resize.resize(photo, scale=tuple(1 / s for s in scale))
    else:
        small = kernels.downscale(photo, kernels.centre_kernel(kernel, scale), scale)
    return jnp.round(jnp.clip(small, 0, 1) * 255) / 255


def target_size(
    config: ml_collections.ConfigDict, size: tuple[int, int]
) -> tuple[tuple[float, float], tuple[int, int]]:
    """((vertical, horizontal) scale factors, output (H, W)) for an input of `size`.

    Raises:
        InputError: a scale or an output shape that is malformed or out of range.
    """
    shape = _numbers("output_shape", config.output_shape, (2,))
    if shape:
        if any(n != int(n) for n in shape):
            raise InputError(f"config.output_shape: {config.output_shape} are not whole numbers")
        shape = tuple(int(n) for n in shape)
        scale = tuple(o / n for o, n in zip(shape, size))
        what = f"config.output_shape={config.output_shape} on a {size[0]}x{size[1]} image: scale"
    else:
        scale = _numbers("scale", config.scale, (1, 2))
        scale = scale if len(scale) == 2 else (*scale, *scale)
        what = f"config.scale={config.scale}: factors"
    if (
        min(scale) < 1
        or max(scale) == 1
        or max(scale) > MAX_SCALE
        or not all(map(np.isfinite, scale))
    ):
        raise InputError(f"{what} must be greater than 1 and at most {MAX_SCALE:g}")
    return scale, shape or resize.output_size(size, scale)


def _numbers(field: str, value, lengths: tuple[int, ...]) -> tuple[float, ...]:
    """Reads '2', '1.5,2', 2 or (1.5, 2); () for an empty text."""
    parts = value.replace("x", ",").split(",") if isinstance(value, str) else np.ravel(value)
    if isinstance(value, str) and not value.strip() and 1 not in lengths:
        return ()
    try:
        numbers = tuple(float(p) for p in parts)
    except ValueError:
        numbers = ()
    if len(numbers) not in lengths:
        form = "a number or two, 'vertical,horizontal'" if 1 in lengths else "'height,width'"
        raise InputError(f"config.{field}={value!r} cannot be read: give {form}")
    return numbers


def _policy(state: TrainState, config: ml_collections.ConfigDict) -> dict[str, Array]:
    """The learning rate falls tenfold where the test error has stopped falling.

    A line is fitted to the last test errors; where 1.5 times its descent is less than the slope's
    standard deviation (least squares, n - 2 degrees of freedom), progress is drowned in noise.
    """
    new = state.model_state
    y = new["test_mse"]
    n = y.shape[0]
    x = (jnp.arange(n) - (n - 1) / 2) * config.evaluate_every
    sxx = jnp.sum(x * x)
    slope = jnp.sum(x * (y - y.mean())) / sxx
    residual = y - y.mean() - slope * x
    deviation = jnp.sqrt(jnp.sum(residual**2) / (n - 2) / sxx)
    due = (state.step % config.policy_every == 0) & (
        state.step - new["changed_at"] > config.policy_wait
    )
    full = jnp.all(jnp.isfinite(y))
    fall = due & full & (-config.policy_slope * slope < deviation)
    return {
        **new,
        "learning_rate": jnp.where(fall, new["learning_rate"] / 10, new["learning_rate"]),
        "changed_at": jnp.where(fall, state.step, new["changed_at"]),
    }


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """ZSSR for images of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of the inputs: `image` (H, W, C), and `kernel` (K, K) where the blur kernel
            is known (centred, as `prepare` returns it).

    Returns:
        The method. Outputs: `result` (H', W', C), and with the ensemble `uncertainty` (H', W'), the
        standard deviation over the flips.

    Raises:
        InputError: a field out of range, or an image too small.
    """
    h, w, channels = input_spec["image"].shape
    scale, shape = target_size(config, (h, w))
    check(config)
    smallest = max(16, math.ceil(4 * max(scale)))
    if min(h, w, config.crop) < smallest:
        raise InputError(
            f"the image is {h}x{w} and config.crop={config.crop}: at scale {max(scale):g} sides must "
            f"be at least {smallest} pixels, for there must be patches to learn from"
        )
    has_kernel = "kernel" in input_spec
    flips = {"on": True, "off": False, "auto": not has_kernel}[config.flips]
    ensemble = {"on": True, "off": False, "auto": flips}[config.ensemble]
    back_projection = config.back_projection
    if back_projection < 0:
        back_projection = 2 if has_kernel else 10
    crop = (min(config.crop, h), min(config.crop, w))
    net = ZSSRNet(
        layers=config.layers,
        features=config.features,
        init_variance=config.init_variance,
        precision=None if config.precision == "default" else config.precision,
    )
    adam = optax.scale_by_adam()
    tests = max(config.policy_wait // config.evaluate_every, 3)

    def down(x: Array, inputs: Inputs, output_shape: tuple[int, int]) -> Array:
        """The degradation assumed: (..., H, W, C) -> (..., *output_shape, C)."""
        if has_kernel:
            return kernels.downscale(x, inputs["kernel"], scale, output_shape=output_shape)
        inverse = tuple(1 / s for s in scale)
        return resize.resize(x, scale=inverse, output_shape=output_shape)

    def up(x: Array, output_shape: tuple[int, int]) -> Array:
        return resize.resize(x, scale=scale, output_shape=output_shape)

    def son_size(size: tuple[int, int]) -> tuple[int, int]:
        return resize.output_size(size, tuple(1 / s for s in scale))

    def _draw_pair(key: Array, inputs: Inputs) -> tuple[Array, Array]:
        """A father (h, w, C) and the son interpolated to its size."""
        key_crop, key_noise = jax.random.split(key)
        matrix = augment.father_transform(
            key_crop,
            (h, w),
            crop,
            p_as_is=config.p_as_is,
            p_dihedral=config.p_dihedral,
            turn=flips,
            scale=(config.affine_scale_min, config.affine_scale_max),
            scale_difference=config.affine_scale_difference,
            shear=config.affine_shear,
        )
        father = warp.warp(inputs["image"], matrix, crop, method=config.affine_sampling)
        father = jnp.clip(father, 0, 1)
        son = down(father, inputs, son_size(crop))
        if config.noise_std:
            noise = jax.random.normal(key_noise, (son.size,)).reshape(son.shape)
            son = son + config.noise_std * noise
        return father, up(jnp.clip(son, 0, 1), crop)

    def init(key: Array, inputs: Inputs) -> TrainState:
        del inputs
        key_net, key = jax.random.split(key)
        params = net.init(key_net, jnp.zeros((1, 8, 8, channels)))["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params={"net": params},
            opt_state={"net": adam.init(params)},
            model_state={
                "learning_rate": jnp.asarray(config.learning_rate, jnp.float32),
                "changed_at": jnp.zeros((), jnp.int32),
                "test_mse": jnp.full((tests,), jnp.inf, jnp.float32),
            },
        )

    def loss_fn(params: PyTree, father: Array, son: Array) -> tuple[Array, dict[str, Array]]:
        loss = l1(net.apply({"params": params["net"]}, son), father)
        return loss, {"l1": loss}

    def done(state: TrainState) -> Array:
        return state.model_state["learning_rate"] < config.min_learning_rate

    def step(state: TrainState, inputs: Inputs, variant=None):
        del variant
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), config.patch_batch)
        father, son = jax.vmap(_draw_pair, (0, None))(keys, inputs)
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, terms), grads = grad_fn(state.params, father, son)
        updates, opt_state = adam.update(grads["net"], state.opt_state["net"])
        rate = state.model_state["learning_rate"]
        updates = jax.tree.map(lambda u: -rate * u, updates)
        new = state.replace(
            step=state.step + 1,
            params={"net": optax.apply_updates(state.params["net"], updates)},
            opt_state={"net": opt_state},
        )
        new = new.replace(model_state=_policy(new, config))
        return _unless(done(state), new, state), {"loss": loss, **terms, "learning_rate": rate}

    def evaluate(state: TrainState, inputs: Inputs):
        """Reconstructs the image from its own downscaled version."""
        image = inputs["image"]
        son = up(jnp.clip(down(image, inputs, son_size((h, w))), 0, 1), (h, w))
        refined = net.apply({"params": state.params["net"]}, son[None])[0]
        error = metrics.mse(jnp.clip(refined, 0, 1), image)
        history = jnp.append(state.model_state["test_mse"][1:], error)
        new = state.replace(model_state={**state.model_state, "test_mse": history})
        scores = {"test_mse": error, "test_psnr": -10 * jnp.log10(error)}
        return _unless(done(state), new, state), scores

    def outputs(state: TrainState, inputs: Inputs) -> dict[str, Output]:
        image = inputs["image"]
        large = up(image, shape)

        def refine(x: Array, _) -> tuple[Array, None]:
            x = x + up(image - down(x, inputs, (h, w)), shape)
            return jnp.clip(x, 0, 1), None

        def back_project(x: Array) -> Array:
            return jax.lax.scan(refine, x, length=back_projection)[0]

        def view(params: PyTree) -> Array:
            return back_project(jnp.clip(net.apply({"params": params}, large[None])[0], 0, 1))

        if not ensemble:
            return {"result": Output(back_project(view(state.params["net"])), "image")}
        # Only the axis-keeping elements where the two axes are scaled differently.
        elements = range(8) if scale[0] == scale[1] else (0, 2, 4, 6)
        weights = jax.tree.map(
            lambda k: jnp.stack([augment.dihedral(k, e) for e in elements]), state.params["net"]
        )
        views = jax.lax.map(view, weights)
        return {
            "result": Output(back_project(jnp.median(views, axis=0)), "image"),
            "uncertainty": Output(jnp.std(views, axis=0).mean(-1), "map"),
        }

    def baseline(inputs: Inputs) -> Array:
        return jnp.clip(up(inputs["image"], shape), 0, 1)

    stage = Stage(
        name="zssr",
        steps=config.steps or 3000,
        step=step,
        evaluate=evaluate,
        evaluate_every=config.evaluate_every,
        done=done,
    )
    return Method("zssr", init, (stage,), outputs, baseline=baseline, progress="test_psnr")


def _unless(frozen: Array, new: TrainState, old: TrainState) -> TrainState:
    """`new`, or `old` to the bit once a run is done; the key never changes."""
    select = lambda a, b: jnp.where(frozen, b, a)  # noqa: E731
    new, key = new.replace(key=None), old.key
    return jax.tree.map(select, new, old.replace(key=None)).replace(key=key)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no image, in one line each.

    Raises:
        InputError: a field out of range.
    """
    if not config.output_shape:
        target_size(config, (1, 1))
    switch = ("auto", "on", "off")
    text = {"flips": switch, "ensemble": switch, "affine_sampling": ("cubic", "linear")}
    text["precision"] = ("default", "high", "highest")
    for field, choices in text.items():
        if config[field] not in choices:
            raise InputError(
                f"config.{field}={config[field]!r}: choose one of {', '.join(choices)}"
            )
    least = {"steps": 0, "noise_std": 0, "layers": 1, "features": 1, "crop": 16}
    least |= {"patch_batch": 1, "evaluate_every": 1, "policy_every": 1, "learning_rate": 0}
    least |= {"affine_scale_min": 0.1, "affine_scale_max": config.affine_scale_min}
    for field, bound in least.items():
        if not config[field] >= bound:
            raise InputError(f"config.{field}={config[field]}: must be at least {bound}")
