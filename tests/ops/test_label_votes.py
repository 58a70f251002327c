"""Votes of similar pixels, against all pairs in float64."""

import jax
import numpy as np

from deepinternal.ops.label_votes import window_votes

SHAPE, TEMPERATURE, PLACE = (9, 14), 0.3, 0.02


def _votes(queries, keys, labels, known):
    """All pairs of pixels, for a reach that covers the whole frame."""
    places = np.stack(np.mgrid[: SHAPE[0], : SHAPE[1]], axis=-1).reshape(-1, 2)
    apart = np.square(places[:, None] - places).sum(axis=-1)
    rows = queries.reshape(-1, queries.shape[-1]).astype(np.float64)
    total, weight = 0, 0
    least = np.inf
    for key, label, free in zip(keys, labels, known):
        others = key.reshape(rows.shape).astype(np.float64)
        distance = np.square(rows[:, None] - others).sum(axis=-1) + PLACE * apart
        distance = np.where(free.reshape(-1), distance, np.inf)
        weights = np.exp(-distance / TEMPERATURE)
        total, weight = total + weights @ label.reshape(-1), weight + weights.sum(axis=1)
        least = np.minimum(least, distance.min(axis=1))
    return (total / weight).reshape(SHAPE), least.reshape(SHAPE)


def test_votes_are_means_over_all_pairs():
    rng = np.random.default_rng(0)
    queries, keys = rng.random((*SHAPE, 3)), rng.random((2, *SHAPE, 3))
    labels, known = rng.random((2, *SHAPE)), rng.random((2, *SHAPE)) < 0.7
    inputs = [np.float32(x) for x in (queries, keys, labels)]
    options = {"reach": 14, "temperature": TEMPERATURE, "place": PLACE}
    found = jax.jit(lambda *x: window_votes(*x, **options))(*inputs, known)
    for made, truth in zip(found, _votes(*inputs, known)):
        np.testing.assert_allclose(made, truth, rtol=1e-4, atol=1e-5)


def test_labels_out_of_reach_do_not_vote():
    queries, keys = np.zeros((4, 40, 1), np.float32), np.zeros((1, 4, 40, 1), np.float32)
    labels = np.zeros((1, 4, 40), np.float32)
    labels[0, :, :3] = 1
    known = np.ones(labels.shape, bool)
    vote = jax.jit(lambda *x: window_votes(*x, reach=5, temperature=0.1))
    votes, least = vote(queries, keys, labels, known)
    assert votes[:, :3].min() > 0
    assert votes[:, 20:].max() == 0
    assert np.isinf(least[:, 30:]).all()
