"""One jump of super-resolution: what is static in it, and the pairs it learns from."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections

from deepinternal.methods.sr.jumps import Jump
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops import augment, kernels, resize, warp
from deepinternal.types import Array, InputError, Inputs, PyTree


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static in one jump.

    Attributes:
        config: the method's config.
        jump: factor, shapes and pool.
        net: the network.
        degradation: (h, w, C) -> (ceil(h / scale), ceil(w / scale), C), given by the user, or None.
        has_kernel: whether the inputs hold a blur kernel.
    """

    config: ml_collections.ConfigDict
    jump: Jump
    net: ZSSRNet
    degradation: Callable[[Array], Array] | None
    has_kernel: bool

    @property
    def crop(self) -> tuple[int, int]:
        """(h, w) of the fathers."""
        return tuple(min(self.config.crop, n) for n in self.jump.base)

    @property
    def flips(self) -> bool:
        """Whether fathers are rotated and mirrored."""
        known = self.has_kernel or self.degradation is not None
        return {"on": True, "off": False, "auto": not known}[self.config.flips]

    @property
    def ensemble(self) -> bool:
        """Whether the net is applied to all flips of the image."""
        return {"on": True, "off": False, "auto": self.flips}[self.config.ensemble]

    def down(self, x: Array, inputs: Inputs, shape: tuple[int, int] | None = None) -> Array:
        """The degradation assumed: (H, W, C) -> (ceil(H / scale), ceil(W / scale), C) or `shape`."""
        scale = self.jump.scale
        inverse = tuple(1 / s for s in scale)
        shape = shape or resize.output_size(x.shape[:2], inverse)
        if self.degradation is not None:
            return self.degradation(x)
        if self.has_kernel:
            return kernels.downscale(x, inputs["kernel"], scale, output_shape=shape)
        return resize.resize(x, scale=inverse, output_shape=shape)

    def up(self, x: Array, shape: tuple[int, int]) -> Array:
        """Cubic enlargement of (H, W, C) by the factor."""
        return resize.resize(x, scale=self.jump.scale, output_shape=shape)

    def refine(self, params: PyTree, x: Array, shape: tuple[int, int]) -> Array:
        """The net's enlargement: (h, w, C) -> (*shape, C), not clipped."""
        if self.net.factor == (1, 1):
            return self.net.apply({"params": params}, self.up(x, shape)[None])[0]
        large = self.net.apply({"params": params}, x[None])[0]
        rest = tuple(s / f for s, f in zip(self.jump.scale, self.net.factor))
        return resize.resize(large, scale=rest, output_shape=shape)


def draw_pair(task: Task, key: Array, inputs: Inputs) -> tuple[Array, Array]:
    """A father (h, w, C), from the image or an earlier result, and its son."""
    config = task.config
    source, matrix = augment.draw_father(
        key,
        task.jump.base,
        task.crop,
        factors=task.jump.pool,
        p_as_is=config.p_as_is,
        p_dihedral=config.p_dihedral,
        turn=task.flips,
        scale=(config.affine_scale_min, config.affine_scale_max),
        scale_difference=config.affine_scale_difference,
        shear=config.affine_shear,
    )
    image, size = inputs["image"], None
    if len(task.jump.pool) > 1:
        sizes = [resize.output_size(task.jump.base, factor) for factor in task.jump.pool]
        image, size = inputs["pool"][source], jnp.asarray(sizes)[source]
    father = warp.warp(image, matrix, task.crop, method=config.affine_sampling, size=size)
    father = jnp.clip(father, 0, 1)
    son = task.down(father, inputs)
    if config.noise_std:
        key_noise = jax.random.fold_in(key, 2)  # `draw_father` uses the two children before it
        noise = jax.random.normal(key_noise, (son.size,)).reshape(son.shape)
        son = son + config.noise_std * noise
    return father, jnp.clip(son, 0, 1)


def check_degradation(task: Task, image) -> None:
    """Refuses a degradation that does not make images of the son's size."""
    for size in (task.crop, task.jump.shape):
        small = resize.output_size(size, tuple(1 / s for s in task.jump.scale))
        spec = jax.ShapeDtypeStruct((*size, image.shape[-1]), jnp.float32)
        made = jax.eval_shape(task.degradation, spec)
        if getattr(made, "shape", None) != (*small, image.shape[-1]):
            raise InputError(
                f"down: makes {getattr(made, 'shape', made)} of {spec.shape}; at this scale it must "
                f"make {(*small, image.shape[-1])}"
            )
