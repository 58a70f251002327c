"""PSNR as a fit goes on, beside the same fit written plainly in PyTorch, from the same weights.

    python -m benchmarks.peer_curve --image=FILE [--task=denoise|inpaint] [--mask=FILE]
        [--box=y0,x0,y1,x1] [--steps=N] [--every=N] [--config.FIELD=VALUE ...] [--json=FILE]

Both begin with the same image, net input and weights; their perturbations are drawn by each. What
the columns mean: benchmarks/README.md. PyTorch comes with `pip install .[bench]`.
"""

import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import common, torch_nets
from deepinternal.codecs.image_io import read_image
from deepinternal.methods import dip, registry
from deepinternal.methods.double_dip.common import pixel_box
from deepinternal.ops.metrics import psnr
from deepinternal.types import InputError, input_spec
from launch import cli

SIGMA = 25 / 255  # of the noise, in denoising


def ours(method, state, inputs, every: int) -> Iterator[tuple[np.ndarray, float]]:
    """The averaged layer after every so many steps, and the seconds they took; (H, W, C)."""
    step = jax.jit(method.step, donate_argnums=0)
    while True:
        start = time.perf_counter()
        for _ in range(every):
            state, _ = step(state, inputs)
        made = np.asarray(state.model_state["kept"]["image"])
        yield made, time.perf_counter() - start


def theirs(torch, config, params, z, inputs, every: int) -> Iterator[tuple[np.ndarray, float]]:
    """The same, by PyTorch."""
    first = lambda a: torch.tensor(np.array(a).transpose(2, 0, 1)[None])
    net = dip.network(config, inputs["image"].shape[-1])
    module = torch_nets.skip(torch, net, z.shape[-1])
    torch_nets.copy_weights(torch, net, params, module)
    optimizer = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    z, image = first(z), first(inputs["image"])
    weight = first(inputs["mask"]) if "mask" in inputs else torch.ones(1)
    average, taken = torch.zeros(()), 0
    while True:
        start = time.perf_counter()
        for _ in range(every):
            optimizer.zero_grad()
            made = module(z + config.jitter * torch.randn_like(z))
            torch.nn.functional.mse_loss(made * weight, image * weight).backward()
            optimizer.step()
            kept = made.detach()
            # As `optimizers.moving_average`: over fewer steps while there are few.
            decay = min(config.average, (1 + taken) / (10 + taken))
            average, taken = decay * average + (1 - decay) * kept, taken + 1
        yield average[0].numpy().transpose(1, 2, 0), time.perf_counter() - start


def curves(torch, config, truth: np.ndarray, mask: np.ndarray | None, steps: int, every: int):
    """Rows of steps, PSNR and seconds of both.

    Args:
        torch: the module.
        config: as `dip.defaults()`.
        truth: (H, W, C) in [0, 1], sides multiples of what the net needs.
        mask: (H, W), as `dip.prepare` takes it.
        steps: in all.
        every: steps from row to row.

    Yields:
        Dicts of 'steps', 'ours', 'theirs' (dB), 'ours_seconds', 'theirs_seconds' (of these steps).
    """
    noise = np.random.default_rng(0).normal(0, SIGMA, truth.shape)
    image = truth if mask is not None else np.clip(truth + noise, 0, 1)
    inputs = dip.prepare(config, np.float32(image), mask)
    method = dip.make(config, input_spec(inputs))
    inputs = jax.tree.map(jnp.asarray, inputs)
    state = jax.jit(method.init)(jax.random.key(config.seed), inputs)
    weights = jax.tree.map(np.array, state.params["image"])
    pair = (
        ours(method, jax.tree.map(jnp.copy, state), inputs, every),
        theirs(torch, config, weights, np.array(state.model_state["z"]["image"]), inputs, every),
    )
    known = np.asarray(inputs["mask"]) if mask is not None else 0.0
    for done in range(every, steps + 1, every):
        row = {"steps": done}
        for name, curve in zip(("ours", "theirs"), pair):
            made, seconds = next(curve)
            made = known * image + (1 - known) * np.clip(made, 0, 1)
            row |= {name: float(psnr(truth, np.float32(made))), f"{name}_seconds": seconds}
        yield row


def _define_flags() -> None:
    flags.DEFINE_string("image", None, "Photograph without defects.", required=True)
    flags.DEFINE_enum("task", "denoise", ("denoise", "inpaint"), "What is to be undone.")
    flags.DEFINE_string("mask", None, "For inpaint: white = known.")
    flags.DEFINE_string("box", None, "Part of the image to take: y0,x0,y1,x1.")
    flags.DEFINE_integer("steps", 500, "Steps of both.", lower_bound=1)
    flags.DEFINE_integer("every", 50, "Steps between two rows.", lower_bound=1)
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")
    flags.DEFINE_string("json", None, "File for the figures.")


def main() -> int:
    """Runs both, prints a row as soon as it is there, writes the JSON file."""
    args = flags.FLAGS
    common.check_writable(args.json)
    if (args.task == "inpaint") != bool(args.mask):
        raise InputError(f"--mask: with --task=inpaint, and only with it; --task={args.task}")
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed: pip install .[bench]") from None
    config = registry.preset("dip", args.task, dip.defaults())
    common.override(config, args.set)
    # Of both the averaged output is compared, at every step.
    config.update({"early_stop": False, "backtrack": 0.0, "average": config.average or 0.99})
    truth = read_image(args.image).pixels
    mask = read_image(args.mask).pixels.mean(-1) if args.mask else None
    box = args.box and pixel_box(args.box, truth.shape[:2], "--box")
    if box:
        part = (slice(box[0], box[2]), slice(box[1], box[3]))
        truth, mask = truth[part], mask if mask is None else mask[part]
    facts = common.machine() | {"torch": torch.__version__}
    print(f"{common.describe(facts)}, PyTorch {facts['torch']}\n")
    print("| steps | ours dB | PyTorch dB | difference | ours s | PyTorch s |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for row in curves(torch, config, truth, mask, args.steps, args.every):
        rows.append(row)
        seconds = f"{row['ours_seconds']:.1f} | {row['theirs_seconds']:.1f}"
        levels = f"{row['ours']:.2f} | {row['theirs']:.2f} | {row['ours'] - row['theirs']:+.2f}"
        print(f"| {row['steps']} | {levels} | {seconds} |", flush=True)
    common.write_json(args.json, {"machine": facts, "config": config.to_dict(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
