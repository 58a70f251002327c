"""The settings that DIP and all decompositions share: the nets' channels and the learning rate."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Predicate

from deepinternal.config import NetConfig, field, whole_numbers
from deepinternal.field_forms import Form
from deepinternal.methods import optimizers
from deepinternal.nets.skip import SkipNet
from deepinternal.types import Array, InputError

Channels, Skip = whole_numbers(at_least=1), whole_numbers(at_least=0)
Odd = Annotated[
    int, Ge(1), Predicate(lambda side: side % 2 == 1), Form("an odd whole number of at least 1")
]


def replicas_field() -> Any:
    """The field `replicas` of decompositions whose result is the median over seeds."""
    return field(
        1,
        "number of seeds that are fitted side by side; the result is their median, and the output "
        "`seed_spread` says how far they differ; without nets, nothing depends on the seed",
        ge=1,
    )


class FitConfig(NetConfig):
    """The fields of DIP and of all decompositions; see `methods.fit`."""

    channels: Channels = field(
        "8,16,32,64,128", "channels of the nets at each scale, the finest scale first"
    )
    skip: Skip = field(
        "0,0,0,4,4",
        "channels of the skip branches, one number for all scales or one for each; 0: no branch",
    )
    learning_rate: float = field(1e-3, "learning rate of Adam", ge=0)
    schedule: Literal["constant", "cosine"] = field(
        "constant", "learning rate over the steps; cosine: it falls to 0 at the last step"
    )
    fit_pixels: int = field(
        1_200_000,
        "greatest number of pixels of the fitted image, to which larger images are reduced; 0: no "
        "limit",
        unit="pixels",
        ge=0,
    )

    def standard(self) -> Mapping[str, Any]:
        """The values that replace 'auto', by field."""
        return {}

    def resolved(self) -> Self:
        """The config with every 'auto' replaced.

        Raises:
            InputError: `skip` has neither one number nor as many as `channels`.
        """
        auto = {n: value for n, value in self.standard().items() if getattr(self, n) == "auto"}
        config = self.model_copy(update=auto)
        if len(config.skip) not in (1, len(config.channels)):
            raise InputError(
                f"config.skip={','.join(map(str, config.skip))}: give one number or "
                f"{len(config.channels)}, as many as config.channels has"
            )
        return config

    def net(self, outputs: int, *, scales: int = 0, **options: Any) -> SkipNet:
        """Returns a net with these channels.

        Args:
            outputs: Channels of its output.
            scales: Number of scales, counted from the finest; 0: all.
            **options: Further attributes of `SkipNet`.
        """
        count = len(self.channels)
        skip = self.skip * count if len(self.skip) == 1 else self.skip
        scales = scales or count
        options |= {"down": self.channels[:scales], "skip": skip[:scales]}
        return SkipNet(outputs, precision=self.precision, **options)

    def rate(self, steps: int) -> float | Callable[[Array], Array]:
        """The learning rate of a stage of `steps` steps: a number, or a function of the step."""
        if self.schedule == "constant":
            return self.learning_rate
        return optimizers.short_run(steps, self.learning_rate)
