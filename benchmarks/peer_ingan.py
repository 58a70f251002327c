"""A training step of InGAN in this library and in plain PyTorch; see `benchmarks.peer_torch`."""

import dataclasses
import functools
import math
import time

import numpy as np

from benchmarks import torch_nets
from benchmarks.timing import MethodStep
from deepinternal.methods import ingan
from deepinternal.methods.ingan import scales, training
from deepinternal.types import input_spec


@dataclasses.dataclass(frozen=True)
class Case:
    """A step at one size.

    Attributes:
        preset: A preset of the method.
        image: (h, w) of the image.
        size: (H, W) of the generated image.
    """

    preset: str
    image: tuple[int, int]
    size: tuple[int, int]

    @property
    def label(self) -> str:
        """For the table."""
        return "{}x{} to {}x{}".format(*self.crop, *self.size)

    @property
    def config(self) -> ingan.Config:
        """The config of the method."""
        return ingan.RECIPE.build(self.preset, fit_side=0, fit_pixels=0)

    @property
    def training(self) -> training.Training:
        """The static part of a step."""
        return training.training(self.config, [self.image])

    @property
    def crop(self) -> tuple[int, int]:
        """(h, w) of the crops."""
        return self.training.crop

    def ours(self) -> MethodStep:
        """This library's side."""
        inputs = ingan.prepare(self.config, _image(self))
        method = ingan.RECIPE.method(self.config, input_spec(inputs))
        return MethodStep(method, inputs, (*self.size, False))

    def theirs(self, *, compiled: bool, device: str = "cpu") -> "Theirs":
        """PyTorch's side."""
        return Theirs(self, compiled=compiled, device=device)


CASES = {
    "lite smaller": Case("lite", (112, 137), (80, 96)),
    "lite same": Case("lite", (112, 137), (104, 128)),
    "lite wide": Case("lite", (112, 137), (136, 232)),
    "default same": Case("default", (224, 272), (216, 256)),
}


class Theirs:
    """The same step in PyTorch: modules with `spectral_norm`, autograd, and two Adam optimisers."""

    def __init__(self, case: Case, *, compiled: bool = False, device: str = "cpu"):
        """Args: case; compiled: whether the nets are given to `torch.compile`; device."""
        import torch

        self._torch, self._case, self._device = torch, case, device
        put = functools.partial(torch_nets.placed, torch, device)
        self._config = config = case.config
        image = _image(case).transpose(2, 0, 1)
        self._image = put(torch.from_numpy(np.ascontiguousarray(2 * image - 1))[None])
        depth = self._image.shape[1]
        self._generator = put(generator(torch, config.channels, config.blocks, depth))
        most = case.training.scales
        width = config.discriminator_channels
        self._discriminators = put(
            torch.nn.ModuleList(discriminator(torch, width, depth) for _ in range(most))
        )
        adam = lambda net: torch.optim.Adam(net.parameters(), config.learning_rate, (0.5, 0.999))
        self._average = [p.detach().clone() for p in self._generator.parameters()]
        self._adams = adam(self._generator), adam(self._discriminators)
        given = torch.compile if compiled else lambda f: f
        self._made, self._scores = given(self._generator), given(self._plain_scores)

    def _plain_scores(self, x):
        functional, ratio = self._torch.nn.functional, self._config.ratio
        resize = functools.partial(functional.interpolate, mode="bilinear")
        count = scales.looking(x.shape[2:], len(self._discriminators), ratio)
        total = 0
        for i, net in enumerate(self._discriminators[:count]):
            size = [max(math.floor(n / ratio**i), 9) for n in x.shape[2:]]
            made = net(resize(x, size, antialias=self._config.antialias))
            total = made if i == 0 else total + resize(made, total.shape[2:])
        return total / count

    def _step(self):
        torch, case = self._torch, self._case
        h, w = case.crop
        top, left = (int(torch.randint(n - m + 1, ())) for n, m in zip(case.image, case.crop))
        x = self._image[:, :, top : top + h, left : left + w]
        most = 2 * math.sqrt(3) * self._config.noise_std
        noise = lambda x: x + most * (2 * torch.rand_like(x) - 1)
        mse, (adam, adam_discriminators) = torch.nn.functional.mse_loss, self._adams

        adam.zero_grad()
        made = self._made(noise(x), case.size)
        again = self._made(made, case.crop)
        score = self._scores(made)
        loss = mse(score, torch.ones_like(score)) + 0.1 * torch.abs(again - x).mean()
        loss.backward()
        adam.step()

        adam_discriminators.zero_grad()
        real, false = self._scores(noise(x)), self._scores(noise(made.detach()))
        loss = mse(real, torch.ones_like(real)) + mse(false, torch.zeros_like(false))
        (0.5 * loss).backward()
        adam_discriminators.step()
        if decay := self._config.average:
            now = [p.detach() for p in self._generator.parameters()]
            torch._foreach_lerp_(self._average, now, 1 - decay)
        return loss

    def run(self, steps: int) -> float:
        """Seconds per step."""
        start = time.perf_counter()
        for _ in range(steps):
            loss = self._step()
        loss.item()
        torch_nets.wait(self._torch, self._device)
        return (time.perf_counter() - start) / steps


def _image(case: Case) -> np.ndarray:
    return np.random.default_rng(0).random((*case.image, 3), np.float32)


def generator(torch, channels: int, blocks: int, depth: int):
    """Returns `nets.ingan.Generator` in PyTorch."""
    layers, functional = torch.nn, torch.nn.functional

    def block(a, b, side, act=True):
        conv = layers.Conv2d(a, b, side, padding=side // 2, padding_mode="reflect")
        norm = layers.BatchNorm2d(b)
        activation = layers.LeakyReLU(0.2) if act else layers.Identity()
        return layers.Sequential(layers.utils.spectral_norm(conv), norm, activation)

    class Residual(layers.Module):
        def __init__(self, width):
            super().__init__()
            inner = width // 4
            self.net = layers.Sequential(
                block(width, inner, 1), block(inner, inner, 3), block(inner, width, 1, act=False)
            )

        def forward(self, x):
            return x + self.net(x)

    class Generator(layers.Module):
        def __init__(self):
            super().__init__()
            widths = [channels * 2**i for i in range(4)]
            self.entry = block(depth, channels, 7)
            self.down = layers.ModuleList(block(a, 2 * a, 3) for a in widths[:3])
            self.middle = layers.Sequential(*[Residual(widths[3]) for _ in range(blocks)])
            self.up = layers.ModuleList(block(2 * a, a, 3) for a in widths[2::-1])
            self.last = layers.Conv2d(channels, depth, 7, padding=3, padding_mode="reflect")

        def forward(self, x, size):
            x = functional.interpolate(self.entry(x), size, mode="bilinear")
            levels = []
            for down in self.down:
                levels.append(x)
                x = functional.max_pool2d(down(x), 2)
            x = self.middle(x)
            for up in self.up:
                x = up(functional.interpolate(x, scale_factor=2)) + levels.pop()
            return torch.tanh(self.last(x))

    return Generator()


def discriminator(torch, channels: int, depth: int):
    """Returns `nets.ingan.PatchDiscriminator` in PyTorch."""
    layers = torch.nn
    norm = layers.utils.spectral_norm

    def block(a, b, stride=1):
        conv = norm(layers.Conv2d(a, b, 3, stride))
        return [conv, layers.BatchNorm2d(b), layers.LeakyReLU(0.2)]

    return layers.Sequential(
        *block(depth, channels),
        *block(channels, 2 * channels, 2),
        *block(2 * channels, 2 * channels),
        norm(layers.Conv2d(2 * channels, 1, 1)),
        layers.Sigmoid(),
    )
