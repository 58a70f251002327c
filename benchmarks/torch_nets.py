"""The nets of `benchmarks.peer_torch` in plain PyTorch; the argument `torch` is the module."""

import itertools
from typing import Any

import numpy as np

from deepinternal.nets.skip import SkipNet
from deepinternal.nets.zssr import ZSSRNet


def placed(torch, device: str, values: Any, *, channels_last: bool = True) -> Any:
    """Puts modules and tensors on a device.

    On a GPU, matrix products and convolutions may use TF32, as JAX's do by default, and cuDNN measures
    which of its algorithms is the fastest.

    Args:
        torch: The module.
        device: 'cpu', on which the values stay as they are, or 'cuda'.
        values: A module, a tensor, or a list of them.
        channels_last: Whether images and convolutions have their channels last in memory.
    """
    if device == "cpu":
        return values
    if isinstance(values, list):
        return [placed(torch, device, value, channels_last=channels_last) for value in values]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    images = channels_last and (isinstance(values, torch.nn.Module) or values.dim() == 4)
    return values.to(device, **({"memory_format": torch.channels_last} if images else {}))


def wait(torch, device: str) -> None:
    """Waits for all work of a device."""
    if device != "cpu":
        torch.cuda.synchronize()


def zssr(torch, net: ZSSRNet, depth: int):
    """Returns a `ZSSRNet` for images of `depth` channels in PyTorch."""
    layers = torch.nn

    class Net(layers.Module):
        def __init__(self):
            super().__init__()
            widths = [depth, *[net.features] * (net.layers - 1), depth]
            self.convs = layers.ModuleList(
                layers.Conv2d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(widths)
            )

        def forward(self, x):
            hidden = x
            for i, conv in enumerate(self.convs):
                hidden = conv(torch.relu(hidden) if i else hidden)
            return x + hidden

    return Net()


def skip(torch, net: SkipNet, depth: int):
    """Returns a `SkipNet` with inputs of `depth` channels in PyTorch."""
    layers = torch.nn
    ups, skips = net.up or net.down, net.skip
    skips = (skips,) * len(net.down) if isinstance(skips, int) else skips
    reflect = "reflect" if net.padding == "reflect" else "zeros"
    enlarge = {
        "nearest": {"mode": "nearest"},
        "bilinear": {"mode": "bilinear", "align_corners": False},
        "corners": {"mode": "bilinear", "align_corners": True},
    }[net.upsample]

    def block(a, b, side, stride=1):
        conv = layers.Conv2d(a, b, side, stride, side // 2, padding_mode=reflect)
        norm, act = layers.BatchNorm2d(b, eps=net.epsilon), layers.LeakyReLU(net.slope)
        return layers.Sequential(conv, norm, act)

    class Scale(layers.Module):
        def __init__(self, i, depth):
            super().__init__()
            width, up, last = net.down[i], ups[i], i + 1 == len(net.down)
            inner = width if last else ups[i + 1]
            self.deep = layers.Sequential(
                block(depth, width, net.filter_down, 2),
                block(width, width, net.filter_down),
                *([] if last else [Scale(i + 1, width)]),
                layers.Upsample(scale_factor=2, **enlarge),
            )
            self.skip = block(depth, skips[i], net.filter_skip) if skips[i] else None
            self.join = layers.BatchNorm2d(inner + skips[i], eps=net.epsilon)
            self.up = block(inner + skips[i], up, net.filter_up)
            self.mix = block(up, up, 1) if net.need_1x1 else layers.Identity()

        def forward(self, x):
            deep = self.deep(x)[:, :, : x.shape[2], : x.shape[3]]
            if self.skip is not None:
                deep = torch.cat([self.skip(x), deep], 1)
            return self.mix(self.up(self.join(deep)))

    squash = [layers.Sigmoid()] if net.sigmoid else []
    return layers.Sequential(Scale(0, depth), layers.Conv2d(ups[0], net.outputs, 1), *squash)


def copy_weights(torch, net: SkipNet | ZSSRNet, params, module) -> None:
    """Copies the weights of a net of this library to one of `skip` or `zssr`."""

    def copy(tensor, values):
        with torch.no_grad():
            tensor.copy_(torch.tensor(np.array(values)))

    def kernel(layer, values):
        copy(layer.weight, np.array(values).transpose(3, 2, 0, 1))

    def norm(layer, name):
        copy(layer.weight, params[name]["scale"])
        copy(layer.bias, params[name]["shift"])

    def conv(layer, name):
        kernel(layer, params[name]["kernel"])
        copy(layer.bias, params[name]["bias"])

    if isinstance(net, ZSSRNet):
        for i, layer in enumerate(module.convs):
            kernel(layer, params[f"conv{i}"])
        return
    scale = module[0]
    for i in range(len(net.down)):
        blocks = {"down": scale.deep[0], "deep": scale.deep[1], "skip": scale.skip}
        blocks |= {"up": scale.up, "mix": scale.mix if net.need_1x1 else None}
        for name, block in blocks.items():
            if block is not None:
                conv(block[0], f"{name}{i}")
                norm(block[1], f"{name}{i}_norm")
        norm(scale.join, f"join{i}")
        scale = scale.deep[2]
    conv(module[1], "last")
