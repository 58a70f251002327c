"""The similarity of each pixel to the hinted foreground, and the mask that follows from it.

`evidence` works in two steps. First, an ensemble of small nets learns to tell the two hints apart from
the colours, contrasts and positions of their pixels (`log_odds`). Then the mask and two mixtures of
colours improve each other: the mixtures are fitted to the two sides of the mask, and a minimum cut
makes the mask from the nets, the mixtures and the image's edges (`_rounds`). Far from all hints, where
the nets extrapolate, their weight is smaller, and that of geodesic distances to the hints is greater.

References:
    Rother, Kolmogorov, Blake: GrabCut. SIGGRAPH 2004.
    Bai, Sapiro: A Geodesic Framework for Fast Interactive Image and Video Segmentation and Matting.
    ICCV 2007.
"""

import functools
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
import optax

from deepinternal.nets.pixels import PixelNet
from deepinternal.ops import cuts, gaussian_mixtures
from deepinternal.ops.color import rgb_to_lab
from deepinternal.types import Array, PyTree

_NETS = 8  # in the ensemble
_STEPS = 300
_SAMPLES = 1024  # pixels of each hint that the nets see
_BATCH = 256
_RATE, _DECAY = 3e-3, 0.02
_NOISE = 0.1  # standard deviation of the noise added to features of variance 1
_POSITION = 2.8  # range of the positions along the longer side, in units of the other features
_SURE = 5.3  # greatest log-odds of the nets
_REACH = 0.07  # distance from the hints, relative to the longer side, where the nets' weight falls
_AFAR = 0.4  # weight of the nets far from the hints
_GEODESIC = 3.0  # weight of the geodesic distances there
_STEP = 0.05  # cost of a step of a path between equal colours, relative to colours 20 apart
_LINKS = 20.0  # weight of a link between neighbours at `_SIDE`
_SIDE = 240  # longer side in pixels to which the weight of the links refers
_ROUNDS = 4
_CUT_STEPS = 400  # steps after which at most one pixel changed in cuts of photographs
_COMPONENTS = 5
_FLOOR = 4.0  # variance added to the colours, in squared units of CIELAB
_OUTLIERS = 0.1  # share of colours that no mixture predicts
_DRAWN = 2048  # colours to which a mixture is fitted
_COLOUR = 0.7  # weight of the mixtures
_COLOUR_SURE = 6.0  # greatest log-odds of the mixtures
_KINDS = (np.float32, np.float32, bool, bool, bool)  # of the maps that `_rounds` takes
_to_lab = jax.jit(rgb_to_lab)


def evidence(
    image: np.ndarray, foreground: np.ndarray, background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the log-odds that each pixel is foreground, from hints.

    Args:
        image: (H, W, C) in [0, 1].
        foreground: (H, W) booleans, not all False.
        background: (H, W) booleans, not all False, which do not overlap the foreground.

    Returns:
        The log-odds, float32 (H, W), and the mask that `segmented` makes of them, (H, W) booleans.
    """
    lab, radius = _lab(image), _hole_radius(foreground.shape)
    compiled = _compiling(lab.shape, radius)
    known = log_odds(lab, foreground, background)
    far = _distance(foreground), _distance(background)
    near = np.exp(-np.square(np.minimum(*far) / _REACH))
    paths = _geodesics(lab, foreground, background)
    known = (_AFAR + (1 - _AFAR) * near) * known + _GEODESIC * (1 - near) * paths
    maps = (lab, known, far[0] < far[1], foreground, background)
    made = compiled.result()(jax.random.key(1), *(x.astype(d) for x, d in zip(maps, _KINDS)))
    return tuple(map(np.asarray, made))


def segmented(image: Array, odds: Array, foreground: Array, background: Array) -> Array:
    """Cuts an image into foreground and background.

    Args:
        image: (H, W, C) in [0, 1].
        odds: (H, W), the log-odds of the foreground.
        foreground: (H, W), 1 where a pixel is surely foreground, else 0.
        background: (H, W), 1 where a pixel is surely background, else 0.

    Returns:
        (H, W) booleans, of which each part is connected with a foreground hint.
    """
    weight = _LINKS * max(image.shape[:2]) / _SIDE  # against areas, which grow faster than outlines
    links = cuts.contrast_links(rgb_to_lab(image), weight=weight)
    radius = _hole_radius(image.shape[:2])
    return _cut(-odds, links, foreground > 0.5, background > 0.5, radius=radius)


def _hole_radius(shape: tuple[int, ...]) -> int:
    """The radius in pixels up to which holes of a mask (H, W) are filled."""
    return max(round(max(shape[:2]) / 100), 1)


def log_odds(lab: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Trains an ensemble of nets on the hinted pixels, and applies it to all.

    Args:
        lab: (H, W, 3), CIELAB.
        foreground: (H, W) booleans, not all False.
        background: (H, W) booleans, not all False.

    Returns:
        (H, W), the logarithm of the odds of the ensemble's mean probability.
    """
    features = _features(lab)
    rows, rng = features.reshape(-1, features.shape[-1]), np.random.default_rng(0)
    drawn = [rng.choice(np.flatnonzero(hint), _SAMPLES) for hint in (foreground, background)]
    labels = np.repeat(np.float32([1, 0]), _SAMPLES)
    batches = rng.integers(0, 2 * _SAMPLES, (_STEPS, _BATCH))
    noise = _NOISE * rng.standard_normal((_STEPS, _BATCH, rows.shape[-1]), np.float32)
    inputs = rows[np.concatenate(drawn)]
    begun = _weights(rng, rows.shape[-1])
    odds = _learned(begun, inputs[batches] + noise, labels[batches], rows)
    return np.asarray(odds).reshape(lab.shape[:2])


def _weights(rng: np.random.Generator, features: int) -> PyTree:
    """Draws the initial weights of the ensemble, on the host, since draws compile slowly on CPU."""
    shapes = jax.eval_shape(PixelNet().init, jax.random.key(0), np.zeros((1, features), np.float32))

    def draw(one):
        if len(one.shape) == 1:
            return np.zeros((_NETS, *one.shape), np.float32)
        return rng.standard_normal((_NETS, *one.shape), np.float32) * np.sqrt(2 / one.shape[0])

    return jax.tree.map(lambda one: draw(one).astype(np.float32), shapes)


@jax.jit
def _learned(params: PyTree, inputs: Array, labels: Array, rows: Array) -> Array:
    """The log-odds (m,) of `rows` (m, n) by nets trained on batches (s, b, n) with `labels` (s, b)."""
    net, optimizer = PixelNet(), optax.adamw(_RATE, weight_decay=_DECAY)

    def loss(params, x, y):
        return jnp.mean(optax.sigmoid_binary_cross_entropy(net.apply(params, x), y))

    def step(state, batch):
        params, opt_state = state
        grads = jax.vmap(jax.grad(loss), (0, None, None))(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    begun = (params, optimizer.init(params))
    (params, _), _ = jax.lax.scan(step, begun, (inputs, labels))
    made = jax.lax.map(lambda one: jax.nn.sigmoid(net.apply(one, rows)), params)
    low = jax.nn.sigmoid(-_SURE)
    mean = jnp.clip(jnp.mean(made, axis=0), low, 1 - low)
    return jnp.log(mean) - jnp.log1p(-mean)


@functools.lru_cache(maxsize=8)
def _compiling(shape: tuple[int, ...], radius: int) -> futures.Future:
    """Starts to compile `_rounds` in a thread, while the nets are compiled and trained."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    sizes = [shape] + 4 * [shape[:2]]
    maps = [jax.ShapeDtypeStruct(size, kind) for size, kind in zip(sizes, _KINDS)]
    lowered = _rounds.lower(key, *maps, radius=radius)
    pool = futures.ThreadPoolExecutor(1)
    compiled = pool.submit(lowered.compile)
    pool.shutdown(wait=False)
    return compiled


@functools.partial(jax.jit, static_argnames="radius")
def _rounds(
    key: Array,
    lab: Array,
    known: Array,
    nearer: Array,
    foreground: Array,
    background: Array,
    *,
    radius: int,
) -> tuple[Array, Array]:
    """Alternates between a mask and the mixtures of colours of its sides; returns log-odds and mask.

    The first mixtures are those of the pixels nearer to either hint.
    """
    links = cuts.contrast_links(lab, weight=_LINKS * max(lab.shape[:2]) / _SIDE)

    def improved(mask, key):
        odds = _COLOUR * _colour_odds(key, lab, mask) + known
        mask = _cut(-odds, links, foreground, background, radius=radius)
        return mask, (odds, mask)

    _, made = jax.lax.scan(improved, nearer, jax.random.split(key, _ROUNDS))
    return tuple(x[-1] for x in made)


def _cut(cost: Array, links: Array, foreground, background, *, radius: int) -> Array:
    """The cleaned minimum cut (H, W) that agrees with the hints."""
    cost = cuts.hinted_cost(cost, foreground, background)
    mask = cuts.minimum_cut(cost, links, steps=_CUT_STEPS) > 0.5
    return cuts.cleaned_mask(mask, foreground, background, radius=radius)


def _colour_odds(key: Array, lab: Array, mask: Array) -> Array:
    """The log-odds (H, W) of the colours of a mask's inside against those of its outside."""
    values = lab.reshape(-1, lab.shape[-1])
    outlier = jnp.log(_OUTLIERS) - lab.shape[-1] * jnp.log(100.0)

    def density(key, side):
        total = jnp.cumsum(side.reshape(-1))
        ranks = (jnp.arange(_DRAWN) + 0.5) / _DRAWN * total[-1]
        drawn = values[jnp.searchsorted(total, ranks)]
        mixture = gaussian_mixtures.fit_mixture(
            key, drawn, jnp.ones(_DRAWN), components=_COMPONENTS, floor=_FLOOR
        )
        return jnp.logaddexp(gaussian_mixtures.log_density(mixture, lab), outlier)

    inside, outside = jax.vmap(density)(jax.random.split(key), jnp.stack([mask, ~mask]))
    return jnp.clip(inside - outside, -_COLOUR_SURE, _COLOUR_SURE)


def _features(lab: np.ndarray) -> np.ndarray:
    """Features (H, W, n) of pixels: colours and contrasts at several scales, and positions."""
    from scipy.ndimage import gaussian_filter

    blur = lambda x, sigma: gaussian_filter(x, (sigma, sigma, 0))
    unit, light = max(lab.shape[:2]) / _SIDE, lab[..., :1]
    groups = [blur(lab, scale * unit) for scale in (0.5, 2, 4)]
    for scale in (1.5, 3):
        variance = blur(light**2, scale * unit) - blur(light, scale * unit) ** 2
        groups.append(10 * np.log1p(np.sqrt(np.maximum(variance, 0))))
    found = np.concatenate(groups, axis=-1)
    found = (found - found.mean((0, 1))) / (found.std((0, 1)) + 1e-3)
    h, w = lab.shape[:2]
    places = np.stack(np.mgrid[:h, :w], axis=-1) / max(h, w) * _POSITION
    return np.concatenate([found, places - places.mean((0, 1))], axis=-1).astype(np.float32)


def _geodesics(lab: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Compares the geodesic distances to the hints: from -1, background, to 1, foreground, (H, W)."""
    from skimage.graph import MCP_Geometric

    slopes = np.stack(np.gradient(lab, axis=(0, 1)))
    unit = max(lab.shape[:2]) / _SIDE
    cost = _STEP / unit + np.sqrt(np.sum(slopes**2, axis=(0, -1))) / 20
    near, far = (
        MCP_Geometric(cost).find_costs(np.argwhere(hint))[0] for hint in (foreground, background)
    )
    return (far - near) / (far + near + 1e-9)


def _distance(hinted: np.ndarray) -> np.ndarray:
    """The distance (H, W) to the nearest pixel of a hint, relative to the longer side."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~hinted) / max(hinted.shape)


def _lab(image: np.ndarray) -> np.ndarray:
    """Converts an image (H, W, C) to CIELAB, (H, W, 3)."""
    return np.asarray(_to_lab(np.asarray(image, np.float32)))
