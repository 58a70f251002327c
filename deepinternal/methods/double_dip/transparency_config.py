"""The settings of separation and its presets; see `transparency`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from deepinternal.config import Auto, Preset, field
from deepinternal.methods.fit_config import FitConfig, Odd, replicas_field


class Config(FitConfig):
    """Settings of separation. `task` and `effort` replace the fields that are 'auto', see `TASKS`."""

    task: Literal["single", "pair", "reflection", "frames"] = field(
        "single",
        "what is separated; single: one image; pair: two mixtures of the same layers; reflection: one "
        "photograph of a sharp background behind a soft reflection; frames: three or more photographs "
        "of a still background behind a moving reflection; reflection and frames train no nets",
    )
    strength: float = field(
        1.0, "fraction of the estimated reflection that is removed; only for reflection", ge=0, le=1
    )
    patterns: Literal["auto", "search", "never"] = field(
        "auto",
        "search: if single finds two regular patterns, such as tiles, they are separated by their "
        "periods, and no nets are trained; auto: set by task and effort",
    )
    replicas: int = replicas_field()
    effort: Literal["published", "fast"] = field(
        "published", "values of the fields that are auto: the paper's, or those of fewer steps"
    )
    train_steps: Auto[Annotated[int, Ge(1)]] = field(
        "auto", "number of steps of the fit; auto: set by task and effort", unit="steps"
    )
    exclusion: Auto[Annotated[float, Ge(0)]] = field(
        "auto", "weight of the exclusion loss; auto: set by task and effort"
    )
    alphas: Literal["auto", "learned", "searched"] = field(
        "auto",
        "how the constants of pair are found: learned by nets of their own, or searched before the "
        "fit; auto: set by task and effort",
    )
    alpha_until: int = field(
        1000,
        "first steps, in which the learned constants of pair are pulled to 0.5",
        unit="steps",
        ge=1,
    )
    trust: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "weight of the fitted layers when the layers of pair are finally solved for by least squares; "
        "0: the fitted layers are the result; auto: set by task and effort",
    )
    flips: Auto[Annotated[int, Ge(0)]] = field(
        "auto",
        "interval at which a step fits a mirrored or transposed image; 0: never; auto: set by task "
        "and effort",
        unit="steps",
    )
    depth: Auto[Annotated[int, Ge(1)]] = field(
        "auto",
        "channels of the noise that is the input of each net; auto: set by task and effort",
    )
    filters: Odd = field(5, "side of the kernels of the layers' nets", unit="pixels")
    learning_rate: Auto[Annotated[float, Ge(0)]] = field(
        "auto", "learning rate of Adam; auto: set by task and effort"
    )
    schedule: Literal["auto", "constant", "cosine"] = field(
        "auto",
        "learning rate over the steps; cosine: it falls to 0 at the last step; auto: set by task and "
        "effort",
    )

    def standard(self) -> Mapping[str, Any]:
        """The values of the task and the effort."""
        task = TASKS["pair" if self.task == "pair" else "single"]
        return task["published"] | (task["fast"] if self.effort == "fast" else {})


TASKS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "single": {
        "published": {
            **{"train_steps": 8000, "exclusion": 0.01, "alphas": "learned", "trust": 0.0},
            **{
                "patterns": "never",
                "flips": 2,
                "depth": 3,
                "learning_rate": 5e-4,
                "schedule": "constant",
            },
        },
        "fast": {
            **{"train_steps": 1500, "learning_rate": 3e-3, "schedule": "cosine"},
            "patterns": "search",
        },
    },
    "pair": {
        "published": {
            **{"train_steps": 7000, "exclusion": 0.1, "alphas": "learned", "trust": 0.0},
            **{
                "patterns": "never",
                "flips": 0,
                "depth": 2,
                "learning_rate": 1e-3,
                "schedule": "constant",
            },
        },
        "fast": {
            **{"train_steps": 200, "learning_rate": 3e-3, "schedule": "cosine"},
            **{"alphas": "searched", "trust": 0.003},
        },
    },
}

PRESETS: Mapping[str, Preset] = {
    "single": Preset(
        {"task": "single"},
        "one image, with the published settings (the default of `train`; verbs and calls use `fast`)",
    ),
    "pair": Preset(
        {"task": "pair"}, "two mixtures of the same layers, with the published settings"
    ),
    "reflection": Preset(
        {"task": "reflection"},
        "a sharp background behind a soft reflection on a window, in a second or two and without nets",
        "five synthetic mixtures of 224x224, three of them used to choose settings: SSIM of the "
        "background .851, PSNR 19.3 dB (of the input .791, 14.5 dB), higher in all five; 24 further "
        "ones, on which nothing was chosen: .859, 19.8 dB (.798, 14.4 dB); with these and 24 more, of "
        "soft, double and sharp reflections, 45 of 48 became better",
    ),
    "frames": Preset(
        {"task": "frames"},
        "a still background behind a moving reflection, from three or more aligned photographs",
        "five synthetic scenes of 224x224, behind a reflection that moves by 17 pixels between frames: "
        "PSNR of the background 18.6, 21.6 and 29.6 dB from 3, 5 and 9 frames; 1 s",
    ),
    "fast": Preset(
        {
            **{"effort": "fast", "train_steps": "auto", "learning_rate": "auto"},
            **{"schedule": "auto", "alphas": "auto", "trust": "auto", "patterns": "auto"},
        },
        "for pair, a search for the constants, and fewer steps; for single, a search for two regular "
        "patterns, and without any, nets with fewer steps at a higher learning rate",
        "two mixtures (192x192, weights .7 and .4): weights .705 and .404, correlations of the layers "
        "1.00; the mean of two patterns of tiles (192x192): correlations .94 and .85, 3 s on two cores "
        "of an AMD EPYC",
    ),
    "smoke": Preset(
        {"steps": 10, "channels": "8,16", "skip": "0,4", "filters": 3},
        "a few steps of tiny nets, to check that everything runs",
    ),
}
