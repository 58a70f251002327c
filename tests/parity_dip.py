"""Compares fits of DIP with the same fits in plain PyTorch, step by step.

    python -m tests.parity_dip [--cases=NAME,...] [--steps=N]

Both sides start from the weights and the input of this library's fit and add the same perturbations to
the input, so that any difference in nets, loss, gradients, Adam or averaging shows. Prints for each
case the greatest differences over the steps of the PSNR against the degraded image and of the averaged
output, and the difference of the last average's PSNR against the photograph. In float64 the PSNR may
differ by 1e-3 dB over 100 steps, in float32 by 0.05 dB over 30 steps; exits with 1 if a case differs by
more. In float32 a net of five scales does: the first step of Adam divides each gradient by its own
magnitude, so that gradients as small as their rounding errors move weights by chance. Run by hand;
`pip install .[bench]` installs PyTorch.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data

from benchmarks import torch_nets
from deepinternal.engine.compiling import compiler_options
from deepinternal.methods import dip
from deepinternal.methods.dip_tasks import TASKS
from deepinternal.types import Inputs, Method, TrainState, input_spec


@dataclasses.dataclass(frozen=True)
class Case:
    """A fit that both sides make.

    Attributes:
        presets: Presets of DIP.
        side: Side of the image in pixels.
        dtype: Type of all arrays.
        steps: Number of steps.
        limit: Greatest difference in dB.
        fields: Further fields of DIP.
    """

    presets: str
    side: int
    dtype: str
    steps: int
    limit: float
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)


_SMALL = {"channels": "8,16,16", "precision": "highest"}
CASES = {
    "small": Case("denoise", 64, "float64", 100, 1e-3, _SMALL),
    "holes": Case("inpaint", 64, "float64", 100, 1e-3, {**_SMALL, "skip": "16", "average": 0.99}),
    "fast": Case(
        "fast", 128, "float32", 30, 0.05, {"precision": "highest", "schedule": "constant"}
    ),
    "published": Case("denoise", 256, "float32", 30, 0.05, {"precision": "highest"}),
}


def fits(case: Case) -> Iterator[dict[str, dict[str, Any]]]:
    """Makes the fit on both sides.

    Yields:
        For each step 'ours' and 'theirs', each with 'psnr' against the degraded image, before the
        update, and 'average', the averaged outputs (H, W, C).
    """
    config = dip.RECIPE.build(case.presets, **case.fields, early_stop=False, backtrack=0.0)
    inputs, _ = sample(case, config)
    method = dip.RECIPE.method(config, input_spec(inputs))
    # The wrapped functions, since a method's own compute in float32.
    init = jax.jit(method.init.__wrapped__).lower(jax.random.key(0), inputs)
    state = init.compile(compiler_options("init"))(jax.random.key(0), inputs)
    state = jax.tree.map(_as(case.dtype), state)
    theirs = _theirs(config, inputs, state)
    for ours in _ours(config, method, state, inputs, case.steps):
        yield {"ours": ours, "theirs": theirs.send(ours.pop("perturbed"))}


def sample(case: Case, config: dip.Config) -> tuple[Inputs, np.ndarray]:
    """Returns the inputs of a fit, in the type of the case, and the photograph (H, W, 3)."""
    photo = skimage.data.astronaut()[: case.side, 160 : 160 + case.side].astype(np.float32) / 255
    image, _, sides = TASKS[config.task].example(config, photo, np.random.default_rng(0))
    inputs = dip.RECIPE.prepare(config, np.clip(image, 0, 1).astype(np.float32), **sides)
    return {name: _as(case.dtype)(x) for name, x in inputs.items()}, photo


def _as(dtype: str):
    floating = lambda x: jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)
    return lambda x: jnp.asarray(x, dtype) if floating(x) else x


def _ours(config, method: Method, state: TrainState, inputs: Inputs, steps: int):
    """Yields this library's steps, each with its 'perturbed' input of the net."""

    def step(state):
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), 2)
        z = state.model_state["z"]["image"]
        draws = jax.random.normal(jax.random.fold_in(key, 0), (z.size,)).reshape(z.shape)
        state, logged = method.stages[0].step.__wrapped__(state, inputs)
        return state, logged["psnr"], z + config.jitter * draws

    step = jax.jit(step).lower(state).compile(compiler_options("steps"))
    for _ in range(steps):
        state, psnr, x = step(state)
        average = state.model_state["kept"]["image"]
        yield {"perturbed": np.asarray(x), "psnr": float(psnr), "average": np.asarray(average)}


def _theirs(config, inputs: Inputs, state: TrainState):
    """A generator that makes PyTorch's step with each input of the net that is sent to it."""
    steps = _theirs_steps(config, inputs, state)
    next(steps)
    return steps


def _theirs_steps(config, inputs: Inputs, state: TrainState):
    import torch

    first = lambda x: torch.tensor(np.moveaxis(np.asarray(x), -1, 0)[None])
    image = first(inputs["image"])
    mask = first(inputs["mask"]) if "mask" in inputs else torch.ones_like(image)
    net = dip.network(config, image.shape[1])
    module = torch_nets.skip(torch, net, state.model_state["z"]["image"].shape[-1])
    module = module.to(image.dtype)
    torch_nets.copy_weights(torch, net, state.params["image"], module)
    rate = float(np.float32(config.learning_rate))  # as in `fit`; else fits part within 100 steps
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    average, made = torch.zeros_like(image), None
    for count in itertools.count():
        x = first((yield made))
        optimizer.zero_grad()
        y = module(x)
        loss = torch.nn.functional.mse_loss(y * mask, image * mask)
        loss.backward()
        optimizer.step()
        decay = min(config.average, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * y.detach()
        last = np.moveaxis(average.numpy()[0], 0, -1)
        made = {"psnr": -10 * np.log10(loss.item()), "average": last}


def compare(case: Case) -> dict[str, float]:
    """Returns the greatest differences over the steps of a case.

    Returns:
        'psnr' in dB; 'average', of the averaged outputs; 'truth', the difference in dB of the last
        averages' PSNR against the photograph.
    """
    config = dip.RECIPE.build(case.presets, **case.fields)
    _, photo = sample(case, config)
    worst = {"psnr": 0.0, "average": 0.0}
    for both in fits(case):
        ours, theirs = both["ours"], both["theirs"]
        for name in worst:
            worst[name] = max(worst[name], float(np.abs(ours[name] - theirs[name]).max()))
    psnr = lambda made: -10 * np.log10(np.mean((np.clip(made, 0, 1) - photo) ** 2))
    return worst | {"truth": abs(psnr(ours["average"]) - psnr(theirs["average"]))}


def main() -> int:
    """Compares the cases and prints a line for each; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="names, with commas")
    parser.add_argument("--steps", type=int, default=0, help="0: those of the case")
    args = parser.parse_args()
    failed = False
    for name in args.cases.split(","):
        case = CASES[name]
        case = dataclasses.replace(case, steps=args.steps or case.steps)
        with jax.enable_x64(case.dtype == "float64"):
            found = compare(case)
        failed |= not max(found["psnr"], found["truth"]) <= case.limit
        words = [f"{key} {value:.2g}" for key, value in found.items()]
        print(f"{name} ({case.dtype}, {case.side}x{case.side}, {case.steps} steps):", *words)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
