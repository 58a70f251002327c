"""The cost per image of training several images in one program, by the form of the convolutions.

    python -m benchmarks.batching [--images=1,4] [--forms=loop,grouped,hybrid,patches]
                                  [--presets=ideal,fast] [--steps=N] [--rounds=N] [--json=FILE]
                                  [--config.FIELD=VALUE ...]

benchmarks/speed.md explains the columns.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks import common, timing
from deepinternal import methods
from deepinternal.config import MethodConfig
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.conv.batching import FORMS
from deepinternal.types import InputError, Inputs, Method, input_spec

ONE_BY_ONE = "one by one"


def method(config: MethodConfig, inputs: Inputs, form: str) -> Method:
    """Makes ZSSR with a net whose batched convolutions use a given form.

    Args:
        config: The config of ZSSR.
        inputs: The inputs of an image.
        form: One of `FORMS`.
    """
    factor = 1 if config.net == "interpolated" else 2
    net = ZSSRNet(
        layers=config.layers,
        features=config.features,
        factor=(factor, factor),
        init_variance=config.init_variance,
        precision=config.precision,
        batching=form,
    )
    return methods.find("zssr").method(config, input_spec(inputs), net=net)


def measure(
    config: MethodConfig,
    *,
    images: Sequence[int] = (1, 4),
    forms: Sequence[str] = FORMS,
    steps: int = 4,
    rounds: int = 5,
    photo: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Measures the training of ZSSR.

    Args:
        config: The config of ZSSR, with scale 2.
        images: Numbers of images.
        forms: Forms of the convolutions. A single image has the same program in each form and is
            measured only in the first.
        steps: Number of successive steps of each program in a round.
        rounds: Number of rounds.
        photo: As in `timing.sample`.

    Returns:
        Numbers for each number of images and each form; spreads as {'median', 'min', 'max'}.
    """
    inputs = timing.sample(methods.find("zssr"), config, photo)
    trained = {}
    for n in images:
        for form in (ONE_BY_ONE, *(forms if n > 1 else ())):
            lanes = (1, 1 if form == ONE_BY_ONE else n)
            made = method(config, inputs, forms[0] if form == ONE_BY_ONE else form)
            trained[n, form] = timing.FullStep(made, inputs, steps=steps, images=n, lanes=lanes)
            trained[n, form].run()
    taken = timing.take_turns({key: full.run for key, full in trained.items()}, rounds)
    return [
        {
            "images": n,
            "form": form,
            "compile_seconds": trained[n, form].programs.seconds,
            "seconds_per_image": timing.spread(seconds),
            "ratio_to_one_by_one": timing.ratios(seconds, taken[n, ONE_BY_ONE]),
        }
        for (n, form), seconds in taken.items()
    ]


def report(results: dict[str, list[dict[str, Any]]]) -> str:
    """Formats the table."""
    rows = [
        [
            name,
            str(r["images"]),
            r["form"],
            f"{r['compile_seconds']:.1f}",
            common.span(r["seconds_per_image"], ".1f", 1e3),
            common.span(r["ratio_to_one_by_one"], ".2f"),
        ]
        for name, figures in results.items()
        for r in figures
    ]
    head = ["preset", "images", "form", "compile s", "ms/image", "to one by one"]
    return common.table(head, rows)


def _define_flags() -> None:
    flags.DEFINE_list("images", ["1", "4"], "Numbers of images to train, joined by commas.")
    flags.DEFINE_list("forms", list(FORMS), "Forms of batched convolutions.")
    flags.DEFINE_list("presets", ["ideal", "fast"], "Presets of ZSSR.")
    flags.DEFINE_integer("steps", 4, "Successive steps of each program in a round.", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1)


def main() -> int:
    """Measures, prints the table and writes the JSON file; returns the exit status."""
    args, fields = flags.FLAGS, common.given_fields(flags.FLAGS.field)
    images = common.whole_numbers("images", args.images)
    if not args.forms or not set(args.forms) <= set(FORMS):
        raise InputError(f"--forms={','.join(args.forms)}: choose from {', '.join(FORMS)}")
    options = {"images": images, "forms": args.forms, "steps": args.steps, "rounds": args.rounds}
    recipe = methods.find("zssr")
    configs = {name: recipe.build(name, **fields) for name in args.presets}
    results = {name: measure(config, **options) for name, config in configs.items()}
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(results)}")
    common.write_json({"machine": facts, "fields": fields, "presets": results})
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags)
