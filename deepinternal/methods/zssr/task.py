"""One jump of super-resolution: its static part, the pairs from which it learns, and its self-test.

Images may lie in the upper left of canvases (see `zssr.canvas`): then the inputs hold their `sizes` as
arrays, and the shapes in a `Jump` are those of the canvases.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods.zssr.config import Config
from deepinternal.methods.zssr.jumps import Jump, plan
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops import augment, kernels, metrics, resizing, warping
from deepinternal.types import Array, InputError, Inputs, PyTree

TEST_SIDE = 512  # greatest side of the image in the self-test
Size = Array | None  # (H, W) of an image on a canvas; None: the image fills its array


@dataclasses.dataclass(frozen=True)
class Task:
    """The static part of one jump.

    Attributes:
        config: The settings.
        jump: Factor, shapes and pool.
        net: The network, a `ZSSRNet` or a linen module of the user's own.
        degradation: (h, w, C) -> (ceil(h / scale), ceil(w / scale), C), given by the user, or None.
        has_kernel: Whether the inputs hold a blur kernel.
    """

    config: Config
    jump: Jump
    net: Any
    degradation: Callable[[Array], Array] | None
    has_kernel: bool

    @property
    def crop(self) -> tuple[int, int]:
        """(h, w) of the fathers."""
        return tuple(min(self.config.crop, n) for n in self.jump.base)

    @property
    def own_net(self) -> bool:
        """Whether the network is the user's own, of which only the outputs are known."""
        return not isinstance(self.net, ZSSRNet)

    @property
    def factor(self) -> tuple[int, int]:
        """(vertical, horizontal) factor by which the network itself enlarges."""
        return tuple(getattr(self.net, "factor", (1, 1)))

    @property
    def flips(self) -> bool:
        """Whether fathers are rotated and mirrored."""
        known = self.has_kernel or self.degradation is not None
        return {"on": True, "off": False, "auto": not known}[self.config.flips]

    @property
    def ensemble(self) -> bool:
        """Whether the result combines those of all flips of the image."""
        return {"on": True, "off": False, "auto": self.flips}[self.config.ensemble]

    def decided(self, inputs: Inputs, name: str, otherwise):
        """A decision about the image, see `zssr.blind`, or `otherwise` if there are no decisions."""
        return inputs["decisions"][name] if "decisions" in inputs else otherwise

    def sizes(self, inputs: Inputs) -> tuple[Size, Size]:
        """(H, W) of the base image and of the result."""
        return tuple(inputs["sizes"][self.jump.number]) if "sizes" in inputs else (None, None)

    def down(
        self,
        x: Array,
        inputs: Inputs,
        shape: tuple[int, int] | None = None,
        *,
        size: Size = None,
        small: Size = None,
    ) -> Array:
        """Applies the degradation: (H, W, C) -> (ceil(H / scale), ceil(W / scale), C) or `shape`.

        On a canvas, `size` is the size of the image and `small` that of the result. If `small` is None,
        it is `size` divided by the factor exactly.
        """
        scale = self.jump.scale
        inverse = tuple(1 / s for s in scale)
        shape = shape or resizing.output_size(x.shape[:2], inverse)
        if self.degradation is not None:
            return self.degradation(x)
        if self.has_kernel:
            kernel = inputs["kernel"]
            return kernels.downscale(x, kernel, scale, output_shape=shape, size=size, small=small)
        return resizing.resize(x, scale=inverse, output_shape=shape, size=size)

    def up(self, x: Array, shape: tuple[int, int], *, small: Size = None) -> Array:
        """Enlarges (H, W, C), on a canvas the image of size `small`, by cubic interpolation."""
        return resizing.resize(x, scale=self.jump.scale, output_shape=shape, size=small)

    def refine(
        self,
        params: PyTree,
        x: Array,
        shape: tuple[int, int],
        *,
        size: Size = None,
        small: Size = None,
    ) -> Array:
        """Enlarges with the net: (h, w, C) -> (*shape, C), not clipped.

        On a canvas, `small` is the size of the image and `size` that of the result.
        """

        def apply(x: Array, size: Size) -> Array:
            extra = () if self.own_net else (size,)
            return self.net.apply({"params": params}, x[None], *extra)[0]

        factor = self.factor
        if factor == (1, 1):
            return apply(self.up(x, shape, small=small), size)
        large = apply(x, small)
        rest = tuple(s / f for s, f in zip(self.jump.scale, factor))
        size = None if small is None else small * jnp.asarray(factor)
        return resizing.resize(large, scale=rest, output_shape=shape, size=size)


def draw_pair(task: Task, key: Array, inputs: Inputs) -> tuple[Array, Array]:
    """Draws a father (h, w, C), from the image or an earlier result, and its son."""
    config, jump = task.config, task.jump
    size, sizes = task.sizes(inputs)[0], jump.pool_shapes
    if size is not None:
        results = inputs["sizes"][jump.number + 1 - len(jump.pool) : jump.number, 1]
        sizes = jnp.concatenate([size[None], results])
    source, matrix = augment.draw_father(
        key,
        jump.pool_shapes[0] if size is None else size,
        task.crop,
        factors=jump.pool,
        sizes=sizes,
        p_as_is=config.p_as_is,
        p_dihedral=config.p_dihedral,
        turn=task.decided(inputs, "flips", task.flips),
        scale=(config.affine_scale_min, config.affine_scale_max),
        scale_difference=config.affine_scale_difference,
        shear=config.affine_shear,
    )
    image = jnp.asarray(inputs["image"])
    if len(jump.pool) > 1:
        image, size = inputs["pool"][source], jnp.asarray(sizes)[source]
    father = warping.warp(image, matrix, task.crop, method=config.affine_sampling, size=size)
    father = jnp.clip(father, 0, 1)
    son = task.down(father, inputs)
    std = task.decided(inputs, "noise_std", config.noise_std)
    if "decisions" in inputs or std:
        key_noise = jax.random.fold_in(key, 2)  # `draw_father` splits the same key
        noise = jax.random.normal(key_noise, (son.size,)).reshape(son.shape)
        son = son + std * noise
    return father, jnp.clip(son, 0, 1)


def self_test(task: Task, params: PyTree, inputs: Inputs) -> Array:
    """Mean squared error of the image, or its centre, enlarged from its own downscaled version."""
    window = tuple(min(n, TEST_SIDE) for n in task.jump.base)
    base, _ = task.sizes(inputs)
    if base is None:
        y, x = ((n - m) // 2 for n, m in zip(task.jump.base, window))
        image = inputs["image"][y : y + window[0], x : x + window[1]]
        son = jnp.clip(task.down(image, inputs), 0, 1)
        return metrics.mse(jnp.clip(task.refine(params, son, window), 0, 1), image)
    size = jnp.minimum(base, TEST_SIDE)
    start, channels = (base - size) // 2, inputs["image"].shape[-1]
    image = jax.lax.dynamic_slice(inputs["image"], (*start, 0), (*window, channels))
    inverse = tuple(1 / s for s in task.jump.scale)
    # Rounded up on the host for every possible size, because float32 is not precise enough.
    rounded = np.array([resizing.output_size((n, n), inverse) for n in range(max(window) + 1)])
    small = jnp.asarray(rounded)[size, jnp.arange(2)]
    son = jnp.clip(task.down(image, inputs, size=size, small=small), 0, 1)
    made = jnp.clip(task.refine(params, son, window, size=size, small=small), 0, 1)
    inside = [jnp.arange(n) < m for n, m in zip(window, size)]
    errors = jnp.where(inside[0][:, None, None] & inside[1][:, None], jnp.square(made - image), 0)
    return jnp.sum(errors) / (jnp.prod(size) * channels)


def build(
    config: Config,
    spec: Inputs,
    down: Callable[[Array], Array] | None = None,
    net: Any = None,
) -> list[Task]:
    """Returns the jumps for inputs of given shapes. Arguments and errors are those of `zssr.make`."""
    size, has_kernel = spec["image"].shape[:2], "kernel" in spec
    alone = has_kernel or down is not None
    path = plan(config, size, back_projection=2 if has_kernel else 10, alone=alone)
    largest = max(max(jump.scale) for jump in path)
    smallest = max(16, math.ceil(4 * largest))
    if min(*size, config.crop) < smallest:
        raise InputError(
            f"the image is {size[0]}x{size[1]} and config.crop={config.crop}: at scale {largest:g} the "
            f"sides of both must be at least {smallest} pixels"
        )
    if len({jump.scale for jump in path}) > 1 and alone:
        raise InputError(
            f"config.scale={config.plain()['scale']}: with a kernel or a degradation give a single "
            "factor, the one to which it belongs"
        )
    factor = (1, 1)
    if config.net == "subpixel":
        factor = tuple(math.ceil(max(jump.scale[axis] for jump in path)) for axis in (0, 1))
    net = net or ZSSRNet(
        layers=config.layers,
        features=config.features,
        factor=factor,
        init_variance=config.init_variance,
        precision=config.precision,
    )
    return [Task(config, jump, net, down, has_kernel) for jump in path]


def check_degradation(task: Task, channels: int) -> None:
    """Refuses a degradation that does not return images of the son's size."""
    for size in (task.crop, task.jump.shape):
        small = resizing.output_size(size, tuple(1 / s for s in task.jump.scale))
        spec = jax.ShapeDtypeStruct((*size, channels), jnp.float32)
        try:
            made = jax.eval_shape(task.degradation, spec)
        except Exception as error:  # whatever the user's function raises
            why = " ".join(str(error).split())[:200]
            raise InputError(
                f"down: cannot be traced for {spec.shape} ({type(error).__name__}: {why}); give a "
                "differentiable function of a JAX array"
            ) from error
        _check("down", made, spec.shape, (*small, channels))


def check_net(task: Task, channels: int) -> None:
    """Refuses a net that is not a linen module for images, or that has other variables than weights."""
    net, optimizer = task.net, task.config.optimizer
    if isinstance(net, type) or not all(hasattr(net, name) for name in ("init", "apply")):
        what = net if isinstance(net, type) else type(net)
        raise InputError(
            f"net: {what.__name__} is not an instance; give an instance of a linen module"
        )
    if optimizer != "adam":
        raise InputError(
            f"config.optimizer={optimizer}: needs the built-in net; give adam with a net of your own"
        )
    shape = (1, *task.crop, channels)
    spec = jax.ShapeDtypeStruct(shape, jnp.float32)
    made, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), spec)
    if set(variables) != {"params"}:
        raise InputError(f"net: has {', '.join(sorted(variables))}; it must have only params")
    _check("net", made, shape, (1, *(n * f for n, f in zip(task.crop, task.factor)), channels))


def _check(name: str, made: Any, shape: tuple[int, ...], right: tuple[int, ...]) -> None:
    shape_made = getattr(made, "shape", made)
    if shape_made != right:
        raise InputError(
            f"{name}: returns {shape_made} for {shape}; at this scale it must return {right}"
        )
