"""A training step of KernelGAN in this library and in plain PyTorch; see `benchmarks.peer_torch`."""

import dataclasses
import functools
import time

import numpy as np

from benchmarks import torch_nets
from benchmarks.timing import MethodStep
from deepinternal.estimators import recurrence
from deepinternal.estimators.kernel_statistics import FLOOR
from deepinternal.losses.kernel import boundary_mask
from deepinternal.methods import kernelgan
from deepinternal.methods.kernelgan.inputs import sides
from deepinternal.nets import kernelgan as nets
from deepinternal.types import input_spec

_SIDE = 128  # side of the image
_GAIN = 0.1  # gain of the initial weights


@dataclasses.dataclass(frozen=True)
class Case:
    """A step of some replicas.

    Attributes:
        preset: A preset of the method, '' for the defaults.
        replicas: Number of estimated kernels, side by side in this library, successive in PyTorch.
        as_one: Whether the net in PyTorch is also applied as a single kernel.
    """

    preset: str
    replicas: int = 1
    as_one: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        return f"{self.replicas} x {_SIDE}x{_SIDE}{', as one kernel' if self.as_one else ''}"

    @property
    def config(self) -> kernelgan.Config:
        """The config of the method."""
        return kernelgan.RECIPE.build(self.preset, replicas=self.replicas)

    def ours(self) -> MethodStep:
        """This library's side."""
        inputs = self._inputs()
        return MethodStep(kernelgan.RECIPE.method(self.config, input_spec(inputs)), inputs)

    def theirs(self, *, compiled: bool, device: str = "cpu") -> "Theirs":
        """PyTorch's side."""
        options = {"as_one": self.as_one, "compiled": compiled, "device": device}
        return Theirs(self.config, self._inputs(), **options)

    def _inputs(self):
        return kernelgan.prepare(self.config, _image(self.config))


CASES = {
    "published": Case("published"),
    "published, replicas": Case("published", 4),
    "default": Case(""),
    "one kernel": Case("published", as_one=True),
}


def _image(config: kernelgan.Config) -> np.ndarray:
    """Returns a photograph (H, W, C) with the degradation that the method assumes."""
    import skimage.data

    photo = skimage.data.astronaut()[: 2 * _SIDE, 128 : 128 + 2 * _SIDE].astype(np.float32) / 255
    return kernelgan.example(config, photo).image


class Theirs:
    """The same step in PyTorch: modules with `spectral_norm`, autograd, two Adams per replica."""

    def __init__(self, config: kernelgan.Config, inputs, *, device: str = "cpu", **options):
        """Args: config and inputs of the method; device; further options of `TorchReplica`."""
        import torch

        options["device"] = device
        self._wait = functools.partial(torch_nets.wait, torch, device)
        self._replicas = [TorchReplica(config, inputs, **options) for _ in range(config.replicas)]

    def run(self, steps: int) -> float:
        """Trains; returns the seconds per step of all replicas."""
        start = time.perf_counter()
        for _ in range(steps):
            for replica in self._replicas:
                loss = replica.step()
        loss.item()
        self._wait()
        return (time.perf_counter() - start) / steps


class TorchReplica:
    """The nets of one kernel and their step, for an image without noise."""

    def __init__(
        self,
        config: kernelgan.Config,
        inputs,
        *,
        as_one: bool = False,
        compiled: bool = False,
        device: str = "cpu",
    ):
        """Prepares nets and optimisers.

        Args:
            config: The config of the method.
            inputs: Its inputs.
            as_one: As in `Case`.
            compiled: Whether `torch.compile` is used.
            device: 'cpu' or 'cuda'.
        """
        import torch

        # Backward passes of layers with one channel crash with channels last, at least on CPU.
        put = functools.partial(torch_nets.placed, torch, device, channels_last=False)

        self._torch, self._config, self._as_one = torch, config, as_one
        image, statistics = inputs["image"], inputs["statistics"]
        self._sides = sides(config, image.shape[:2])
        first = np.ascontiguousarray(2 * image.transpose(2, 0, 1) - 1)
        self._image = put(torch.from_numpy(first)[None])
        self._places = statistics["large"].tolist(), statistics["small"].tolist()
        self._prior = Prior(torch, statistics if config.covariance else None, device)
        self.generator = put(generator(torch, config.features))
        self.discriminator = put(discriminator(torch, config.features, image.shape[-1]))
        adam = lambda net: torch.optim.Adam(net.parameters(), config.learning_rate, (0.5, 0.999))
        self._adams = adam(self.generator), adam(self.discriminator)
        # Not the discriminator: `torch.compile` cannot differentiate two calls of it in one graph,
        # because spectral normalisation updates its vectors in place.
        given = torch.compile if compiled else lambda f: f
        self._downscaled = given(self._plainly_downscaled)
        self._terms = given(self._plain_terms)
        self._average = put(torch.zeros(nets.KERNEL_SIZE, nets.KERNEL_SIZE))
        self._near = self._since = 0

    def _crop(self, kind: int):
        places, side = self._places[kind], self._sides[kind]
        top, left = places[int(self._torch.randint(len(places), ()))]
        return self._image[:, :, top : top + side, left : left + side]

    def _plainly_downscaled(self, x):
        if self._as_one:
            return downscaled(self._torch, explicit_kernel(self._torch, self.generator), x)
        return self.generator(x.transpose(0, 1)).transpose(0, 1)

    def _plain_terms(self, made, large):
        kernel = explicit_kernel(self._torch, self.generator)
        return kernel, self._prior(kernel, made, large)

    def weights(self) -> dict[str, float]:
        """Returns the weights of `kernelgan.training.weights`."""
        c = self._config
        falls = (self._since + c.bicubic_every - 1) // c.bicubic_every
        bicubic = max(c.bicubic * c.bicubic_fall**-falls, 1e-6 * c.bicubic)
        late = bicubic < 1e-3 * c.bicubic
        weights = {"bicubic": bicubic, "sum": c.sum, "boundary": c.boundary}
        weights |= {"covariance": c.covariance if falls else 0.0}
        return weights | {
            n: getattr(c, n) if late else 0.0 for n in ("centre", "sparse", "negative")
        }

    def step(self):
        """Takes one step of both nets; returns the generator's loss."""
        torch, config, (adam, adam_discriminator) = self._torch, self._config, self._adams
        noise = lambda x: x + FLOOR * torch.randn_like(x)
        large, real = self._crop(0), self._crop(1)

        adam.zero_grad()
        made = self._downscaled(large)
        kernel, terms = self._terms(made, large)
        weights = self.weights()
        loss = torch.abs(self.discriminator(noise(made)) - 1).mean()
        loss = loss + sum(weights[name] * term for name, term in terms.items())
        loss.backward()
        adam.step()

        adam_discriminator.zero_grad()
        with torch.no_grad():
            made = self._downscaled(large)
        on_real, on_made = self.discriminator(noise(real)), self.discriminator(noise(made))
        (0.5 * torch.abs(on_real - 1).mean() + 0.5 * torch.abs(on_made).mean()).backward()
        adam_discriminator.step()

        self._average.lerp_(kernel.detach(), 0.02)
        if self._near < 3:
            self._near = self._near + 1 if terms["bicubic"] < config.bicubic_reached else 0
        self._since += self._near >= 3
        if self._since and self._since % config.decay_every == 0:
            for group in (*adam.param_groups, *adam_discriminator.param_groups):
                group["lr"] = config.learning_rate * 0.1 ** (self._since // config.decay_every)
        return loss


def generator(torch, features: int):
    """Returns `nets.kernelgan.LinearGenerator` in PyTorch, layer by layer; colours form a batch."""
    ends = [1, *[features] * (len(nets.SIZES) - 1), 1]
    strides = [*[1] * (len(nets.SIZES) - 1), nets.STRIDE]
    layers = [
        torch.nn.Conv2d(a, b, k, stride, bias=False)
        for k, a, b, stride in zip(nets.SIZES, ends[:-1], ends[1:], strides)
    ]
    for layer in layers:
        torch.nn.init.xavier_normal_(layer.weight, _GAIN)
    return torch.nn.Sequential(*layers)


def explicit_kernel(torch, net):
    """Returns the kernel (13, 13) of all layers of `generator`, their response to a single point."""
    made = torch.ones(1, 1, 1, 1, device=net[0].weight.device)
    for i, layer in enumerate(net):
        made = torch.nn.functional.conv2d(
            made, layer.weight, padding=0 if i else nets.KERNEL_SIZE - 1
        )
    return made[0, 0].flip(0, 1)


def downscaled(torch, kernel, x):
    """Downscales (1, C, H, W) with one kernel."""
    made = torch.nn.functional.conv2d(x.transpose(0, 1), kernel[None, None], stride=nets.STRIDE)
    return made.transpose(0, 1)


def discriminator(torch, features: int, depth: int, hidden: int = 5):
    """Returns `nets.kernelgan.Discriminator` in PyTorch."""
    layers = torch.nn

    def conv(a, b, size=1):
        layer = layers.Conv2d(a, b, size)
        layers.init.xavier_normal_(layer.weight, _GAIN)
        layers.init.zeros_(layer.bias)
        return layers.utils.spectral_norm(layer)

    def block():
        return [conv(features, features), layers.BatchNorm2d(features), layers.ReLU()]

    return layers.Sequential(
        conv(depth, features, nets.PATCH),
        *(layer for _ in range(hidden) for layer in block()),
        conv(features, 1),
        layers.Sigmoid(),
    )


class Prior:
    """The generator's loss terms except the adversarial one.

    Args:
        statistics: As from `estimators.kernel_statistics`; None: no covariance term.
        device: 'cpu' or 'cuda'.
    """

    def __init__(self, torch, statistics=None, device="cpu"):
        self._torch, self._statistics = torch, None
        put = lambda array: torch_nets.placed(torch, device, torch.from_numpy(array))
        self._mask = put(boundary_mask(nets.KERNEL_SIZE))
        if statistics is not None:
            self._statistics = {name: put(statistics[name]) for name in ("coarse", "whitening")}
            self._noise = FLOOR**2 + float(statistics["grey_noise_std"]) ** 2

    def __call__(self, kernel, made, crop):
        """Returns the terms by name.

        Args:
            kernel: (13, 13).
            made: (1, C, h, w), `crop` downscaled.
            crop: (1, C, H, W).
        """
        torch = self._torch
        h, w = made.shape[2:]
        cubic = functools.partial(torch.nn.functional.interpolate, mode="bicubic", antialias=True)
        small = cubic(crop, scale_factor=0.5)[:, :, 3 : 3 + h, 3 : 3 + w]
        variance = small.var(correction=0) + FLOOR**2
        axis, total = torch.arange(float(len(kernel)), device=kernel.device), kernel.sum()
        centre = torch.stack([axis @ kernel.sum(1), axis @ kernel.sum(0)]) / total
        terms = {
            "bicubic": torch.nn.functional.mse_loss(made, small) / variance,
            "sum": torch.abs(1 - total),
            "boundary": (torch.abs(kernel) * self._mask).mean(),
            "centre": ((centre - len(kernel) / 2) ** 2).mean(),
            "sparse": ((torch.abs(kernel) + 1e-9) ** 0.2).mean(),
            "negative": torch.relu(-kernel).sum(),
        }
        if self._statistics is not None:
            terms["covariance"] = self._covariance(kernel)
        return terms

    def _covariance(self, kernel):
        """Computes `kernelgan.estimate.divergence`."""
        torch, side, size = self._torch, recurrence.SIDE, nets.KERNEL_SIZE
        reach = 2 * (side - 1) + size
        places = [(2 * i, 2 * j) for i in range(side) for j in range(side)]
        pads = [(j, reach - size - j, i, reach - size - i) for i, j in places]
        rows = torch.stack([torch.nn.functional.pad(kernel, pad).flatten() for pad in pads])
        rows = rows - rows.mean(0)
        eye = torch.eye(len(rows), device=kernel.device)
        whitening = self._statistics["whitening"]
        covariance = rows @ self._statistics["coarse"] @ rows.T + self._noise * eye
        whitened = whitening @ covariance @ whitening
        traces = torch.trace(whitened) + torch.trace(torch.linalg.inv(whitened))
        return traces / (2 * len(rows)) - 1
