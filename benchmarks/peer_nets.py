"""A training step of nets in this library and in plain PyTorch; see `benchmarks.peer_torch`."""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import torch_nets
from deepinternal.engine.compiling import compiler_options
from deepinternal.methods.optimizers import adam
from deepinternal.nets.skip import SkipNet
from deepinternal.nets.zssr import ZSSRNet

LEARNING_RATE = 1e-3
_HOURGLASS = {"down": (8, 16, 32, 64, 128), "skip": (0, 0, 0, 4, 4), "upsample": "corners"}
_LAYER = functools.partial(SkipNet, **_HOURGLASS)
_SMALL = functools.partial(SkipNet, down=(8, 16, 32), skip=0, upsample="corners")


@dataclasses.dataclass(frozen=True)
class Case:
    """Nets that are trained side by side, each on its own input and target.

    Attributes:
        nets: The nets, all of one kind.
        depth: Channels of the inputs.
        size: (H, W) of the images.
    """

    nets: tuple[SkipNet | ZSSRNet, ...]
    depth: int
    size: tuple[int, int]

    @property
    def label(self) -> str:
        """For the table."""
        return f"{len(self.nets)} x {self.size[0]}x{self.size[1]}"

    def outputs(self, net: SkipNet | ZSSRNet) -> int:
        """The channels of a net's result."""
        return net.outputs if isinstance(net, SkipNet) else self.depth

    def ours(self) -> "Ours":
        """This library's side."""
        return Ours(self)

    def theirs(self, *, compiled: bool, device: str = "cpu") -> "Theirs":
        """PyTorch's side."""
        return Theirs(self, compiled=compiled, device=device)


CASES = {
    "zssr": {"zssr": Case((ZSSRNet(),), 3, (128, 128))},
    "dip": {
        "textures": Case((_LAYER(3, filter_down=5, filter_up=5),) * 2, 3, (416, 416)),
        "segmentation": Case((_SMALL(3), _SMALL(3), _SMALL(1)), 2, (448, 576)),
        "dehazing": Case((_LAYER(3), _LAYER(1), _LAYER(3)), 8, (320, 512)),
        "watermark mask": Case(
            (SkipNet(1, (8, 16, 32, 64), skip=(0, 0, 0, 4), upsample="corners"),), 2, (320, 480)
        ),
        "denoising": Case((SkipNet(3),), 32, (256, 256)),
        "inpainting": Case((SkipNet(3, skip=128, upsample="nearest"),), 32, (256, 256)),
    },
}


class Ours:
    """A jitted step of this library: forward pass, backward pass, Adam.

    Attributes:
        loss: The loss of the last step, before its update.
    """

    loss = float("nan")

    def __init__(self, case: Case):
        x, targets = _batch(case)
        self._x, self._targets = jnp.asarray(x), [jnp.asarray(t) for t in targets]
        keys = jax.random.split(jax.random.key(0), len(case.nets))
        params = [
            jax.jit(net.init)(k, jnp.zeros((1, 64, 64, case.depth)))["params"]
            for net, k in zip(case.nets, keys)
        ]
        optimizer = adam()
        self._state = (params, optimizer.init(params))

        def loss_fn(params, x, targets):
            made = [net.apply({"params": p}, x) for net, p in zip(case.nets, params)]
            return sum(jnp.mean((y - t) ** 2) for y, t in zip(made, targets))

        def step(state, x, targets):
            params, moments = state
            loss, grads = jax.value_and_grad(loss_fn)(params, x, targets)
            updates, moments = optimizer.update(grads, moments)
            updates = jax.tree.map(lambda u: LEARNING_RATE * u, updates)
            return (optax.apply_updates(params, updates), moments), loss

        start = time.perf_counter()
        lowered = jax.jit(step, donate_argnums=0).lower(self._state, self._x, self._targets)
        self._step = lowered.compile(compiler_options("steps"))
        self.compile_seconds = time.perf_counter() - start

    def run(self, steps: int) -> float:
        """Seconds per step."""
        start = time.perf_counter()
        for _ in range(steps):
            self._state, loss = self._step(self._state, self._x, self._targets)
        jax.block_until_ready((self._state, loss))
        self.loss = float(loss)
        return (time.perf_counter() - start) / steps

    @property
    def params(self):
        """The weights of each net."""
        return self._state[0]


class Theirs:
    """The same step in plain PyTorch: modules, autograd, `torch.optim.Adam`.

    Attributes:
        nets: The modules.
        loss: The loss of the last step, before its update.
    """

    loss = float("nan")

    def __init__(self, case: Case, *, compiled: bool = False, device: str = "cpu"):
        """Args: case; compiled: whether nets and loss are given to `torch.compile`; device."""
        import torch

        self._torch, self._device = torch, device
        x, targets = _batch(case)
        first = lambda a: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
        put = lambda values: torch_nets.placed(torch, device, values)
        self._x, self._targets = put(first(x)), put([first(t) for t in targets])
        build = torch_nets.skip if isinstance(case.nets[0], SkipNet) else torch_nets.zssr
        self.nets = put([build(torch, net, case.depth) for net in case.nets])
        params = [p for net in self.nets for p in net.parameters()]
        self._optimizer = torch.optim.Adam(params, lr=LEARNING_RATE)
        self._loss = torch.compile(self._plain_loss) if compiled else self._plain_loss

    def _plain_loss(self, x, targets):
        mse = self._torch.nn.functional.mse_loss
        return sum(mse(net(x), t) for net, t in zip(self.nets, targets))

    def run(self, steps: int) -> float:
        """Seconds per step."""
        start = time.perf_counter()
        for _ in range(steps):
            self._optimizer.zero_grad()
            loss = self._loss(self._x, self._targets)
            loss.backward()
            self._optimizer.step()
        self.loss = loss.item()
        torch_nets.wait(self._torch, self._device)
        return (time.perf_counter() - start) / steps


def _batch(case: Case) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns noise and a target (1, H, W, C) for each net."""
    rng = np.random.default_rng(0)
    draw = lambda channels: rng.random((1, *case.size, channels), np.float32)
    return 0.1 * draw(case.depth), [draw(case.outputs(net)) for net in case.nets]
