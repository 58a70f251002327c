"""Deconvolution: a sharp image from a blurred one with a known kernel, in closed form or by gradients.

The pixels beyond the border of the blurred image are unknown and are estimated, too: the image is
extended, and each iteration predicts the blurred pixels outside the frame from the estimate so far.

References:
    Almeida, Figueiredo: Deconvolving Images With Unknown Boundaries Using the Alternating Direction
    Method of Multipliers. IEEE TIP 2013 (the unknown border; here by prediction).
    Wang, Yang, Yin, Zhang: A New Alternating Minimization Algorithm for Total Variation Image
    Reconstruction. SIAM Journal on Imaging Sciences 2008 (the splitting of gradients).
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.fft import next_fast_len

from deepinternal.types import Array


def blur(image: Array, kernel: Array) -> Array:
    """Correlates an image with a kernel at all positions where the kernel lies inside the image.

    Args:
        image: (H, W, C).
        kernel: (K, L).

    Returns:
        (H - K + 1, W - L + 1, C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import deconvolution
        >>> kernel = np.full((3, 3), 1 / 9, np.float32)
        >>> deconvolution.blur(np.ones((5, 6, 3), np.float32), kernel).shape
        (3, 4, 3)
    """
    planes = jnp.moveaxis(image, -1, 0)[:, None]
    taps = kernel[None, None].astype(planes.dtype)
    planes = lax.conv_general_dilated(planes, taps, (1, 1), "VALID", precision="highest")
    return jnp.moveaxis(planes[:, 0], 0, -1)


@dataclasses.dataclass(frozen=True)
class _Domain:
    """An extended image: a frame of known pixels with a margin as wide as the kernel.

    Attributes:
        shape: (H, W) of the frame.
        margin: The width of the margin above and on the left; the other margins are at least as wide.
        sides: (H', W') with the margin, sizes with a fast Fourier transform.
        transfer: (H', W' // 2 + 1, 1), the transform of the correlation with the kernel.
    """

    shape: tuple[int, int]
    margin: int
    sides: tuple[int, int]
    transfer: Array

    def extended(self, x: Array) -> Array:
        """Extends (H, W, C) to the whole domain by mirroring."""
        room = [(self.margin, s - n - self.margin) for s, n in zip(self.sides, self.shape)]
        return jnp.pad(x, [*room, (0, 0)], mode="symmetric")

    def framed(self, x: Array) -> Array:
        """Cuts the frame (H, W, C) out of the domain."""
        h, w = self.shape
        return x[self.margin : self.margin + h, self.margin : self.margin + w]

    def known(self) -> np.ndarray:
        """(H', W', 1), 1 in the frame and 0 in the margin."""
        mask, (h, w) = np.zeros((*self.sides, 1), np.float32), self.shape
        mask[self.margin : self.margin + h, self.margin : self.margin + w] = 1
        return mask

    def tapered(self, x: Array) -> Array:
        """Blends an extended image into its blurred version towards the ends of the periodic domain."""
        rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(self.margin) / self.margin)
        lines = [np.r_[rise, np.ones(s - 2 * self.margin), rise[::-1]] for s in self.sides]
        weight = jnp.asarray(np.outer(*lines)[..., None], jnp.float32)
        return weight * x + (1 - weight) * self.blurred(x)

    def forward(self, x: Array) -> Array:
        return jnp.fft.rfft2(x, axes=(0, 1))

    def back(self, x: Array) -> Array:
        return jnp.fft.irfft2(x, s=self.sides, axes=(0, 1))

    def blurred(self, x: Array) -> Array:
        return self.back(self.forward(x) * self.transfer)

    def predicted(self, x: Array, observed: Array) -> Array:
        """The blurred image, observed in the frame and predicted from the estimate elsewhere."""
        known = self.known()
        return known * observed + (1 - known) * self.blurred(x)


def _domain(shape: tuple[int, int], kernel: Array) -> _Domain:
    margin = kernel.shape[0]
    sides = tuple(next_fast_len(n + 2 * margin, real=True) for n in shape)
    whole = jnp.zeros(sides).at[:margin, :margin].set(kernel)
    centred = jnp.roll(whole, (-(margin // 2), -(margin // 2)), (0, 1))
    return _Domain(shape, margin, sides, jnp.conj(jnp.fft.rfft2(centred))[..., None])


def _roughness(sides: tuple[int, int]) -> np.ndarray:
    """The power of the transform of the two differences between neighbours, (H', W' // 2 + 1, 1)."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(sides[0]))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(sides[1]))
    return (rows[:, None] + columns).astype(np.float32)[..., None]


def wiener(image: Array, kernel: Array, ratio: Array | float, *, iterations: int = 6) -> Array:
    """Deconvolves by Wiener's filter, for images whose gradients have one variance at all frequencies.

    Args:
        image: (H, W, C), the blurred image.
        kernel: (K, K) correlation kernel of sum 1, centred on K // 2.
        ratio: The variance of the noise divided by that of the gradients of the sharp image.
        iterations: Number of predictions of the pixels outside.

    Returns:
        (H, W, C), not clipped.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import deconvolution
        >>> kernel = np.full((3, 3), 1 / 9, np.float32)
        >>> deblur = lambda image: deconvolution.wiener(image, kernel, 1e-3)
        >>> jax.eval_shape(deblur, np.ones((12, 10, 3), np.float32)).shape
        (12, 10, 3)
    """
    domain = _domain(image.shape[:2], kernel)
    return domain.framed(_wiener(domain, domain.extended(image), ratio, iterations))


def _wiener(domain: _Domain, observed: Array, ratio: Array | float, iterations: int) -> Array:
    power = jnp.abs(domain.transfer) ** 2
    gain = jnp.conj(domain.transfer) / (power + ratio * _roughness(domain.sides) + 1e-9)
    solved = lambda y: domain.back(domain.forward(y) * gain)
    x = solved(domain.tapered(observed))
    again = lambda x, _: (solved(domain.predicted(x, observed)), None)
    return lax.scan(again, x, length=iterations)[0]


def _gradients(x: Array) -> Array:
    return jnp.stack([jnp.roll(x, -1, 0) - x, jnp.roll(x, -1, 1) - x])


def _adjoint(g: Array) -> Array:
    return jnp.roll(g[0], 1, 0) - g[0] + jnp.roll(g[1], 1, 1) - g[1]


def mean_gradient(image: Array) -> Array:
    """Returns the mean length of the gradients of an image, taken over all channels.

    Args:
        image: (H, W, C).

    Returns:
        A scalar.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import deconvolution
        >>> ramp = np.float32([[[0], [0.5], [1]]] * 3)
        >>> float(deconvolution.mean_gradient(ramp))
        0.5
    """
    steps = _gradients(image)[:, :-1, :-1]
    return jnp.mean(jnp.sqrt(jnp.sum(steps**2, axis=(0, 3))))


def total_variation(
    image: Array,
    kernel: Array,
    noise_std: Array | float,
    weight: Array | float,
    *,
    iterations: int = 50,
    penalty: float = 40.0,
) -> Array:
    """Deconvolves under a prior of sparse gradients, whose length is taken over all channels.

    The result minimises |blurred - image|^2 / (2 noise_std^2) + weight * sum of the lengths of the
    gradients, by the alternating direction method of multipliers.

    Args:
        image: (H, W, C) in [0, 1], the blurred image.
        kernel: (K, K) correlation kernel of sum 1, centred on K // 2.
        noise_std: Standard deviation of the noise, positive.
        weight: The inverse of the typical length of the gradients, see `mean_gradient`.
        iterations: Number of iterations.
        penalty: Weight of the splitting, relative to `weight`.

    Returns:
        (H, W, C), not clipped.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import deconvolution
        >>> kernel = np.full((3, 3), 1 / 9, np.float32)
        >>> deblur = lambda x: deconvolution.total_variation(x, kernel, 0.01, 10.0, iterations=3)
        >>> made = jax.jit(deblur)(np.full((12, 10, 3), 0.5, np.float32))
        >>> made.shape, bool(abs(made - 0.5).max() < 1e-4)
        ((12, 10, 3), True)
    """
    domain = _domain(image.shape[:2], kernel)
    observed, rate = domain.extended(image), noise_std**2 * penalty * weight
    power = jnp.abs(domain.transfer) ** 2
    inverse = 1 / (power + rate * _roughness(domain.sides) + 1e-9)

    def iterate(carry, _):
        x, split, dual = carry
        data = domain.forward(domain.predicted(x, observed)) * jnp.conj(domain.transfer)
        x = domain.back((data + rate * domain.forward(_adjoint(split - dual))) * inverse)
        wanted = _gradients(x) + dual
        length = jnp.sqrt(jnp.sum(wanted**2, axis=(0, 3), keepdims=True) + 1e-20)
        split = wanted * jnp.maximum(1 - 1 / (penalty * length), 0)
        return (x, split, wanted - split), None

    x = _wiener(domain, observed, 1e-3, 1)
    split = _gradients(x)
    x, _, _ = lax.scan(iterate, (x, split, jnp.zeros_like(split)), length=iterations)[0]
    return domain.framed(x)
