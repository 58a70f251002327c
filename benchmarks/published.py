"""Published figures of super-resolution on whole sets."""

from collections.abc import Iterator
from typing import NamedTuple

CUBIC, RANDOM, UNKNOWN = "cubic", "random", "unknown"  # how small images are made, what is known

SOURCES = {
    "ZSSR": "Shocher, Cohen, Irani, Zero-shot super-resolution using deep internal learning, CVPR 2018",
    "SelfExSR": "Huang, Singh, Ahuja, Single image super-resolution from transformed self-exemplars, "
    "CVPR 2015; figures of github.com/jbhuang0604/SelfExSR",
    "EDSR": "Lim, Son, Kim, Nah, Lee, Enhanced deep residual networks for single image "
    "super-resolution, CVPR workshops 2017",
    "KernelGAN": "Bell-Kligler, Shocher, Irani, Blind super-resolution kernel estimation using an "
    "internal-GAN, NeurIPS 2019",
    "DualSR": "Emad, Peemen, Corporaal, DualSR: zero-shot dual learning for real-world "
    "super-resolution, WACV 2021",
}


TRAINED = ("EDSR",)  # sources whose methods were trained on other images


class Published(NamedTuple):
    """A published mean over a whole set.

    Attributes:
        images: The set.
        factor: The factor.
        degradation: How the small images were made, and what the method knows of it.
        method: The method.
        psnr: Mean Y-PSNR in dB.
        ssim: Mean SSIM; None: not known here.
        source: A key of `SOURCES`.
    """

    images: str
    factor: int
    degradation: str
    method: str
    psnr: float
    ssim: float | None
    source: str


# Set -> 'PSNR/SSIM' at x2, x3, x4; '' where none was published.
_KNOWN_KERNEL = {
    ("ZSSR", "ZSSR, gradual"): {
        "Set5": ("37.37/.9570", "33.42/.9188", "31.13/.8796"),
        "Set14": ("33.00/.9108", "29.80/.8304", "28.01/.7651"),
        "BSD100": ("31.65/.8920", "28.67/.7945", "27.12/.7211"),
    },
    ("SelfExSR", "SelfExSR"): {
        "Set5": ("36.50/.9537", "32.62/.9094", "30.33/.8623"),
        "Set14": ("32.23/.9036", "29.16/.8197", "27.40/.7518"),
        "BSD100": ("31.18/.8855", "28.30/.7843", "26.85/.7108"),
        "Urban100": ("29.38/.9032", "", "24.82/.7386"),
    },
    ("SelfExSR", "cubic interpolation"): {
        "Set5": ("33.64/.9292", "30.39/.8678", "28.42/.8101"),
        "Set14": ("30.22/.8683", "27.53/.7737", "25.99/.7023"),
        "BSD100": ("29.55/.8425", "27.20/.7382", "25.96/.6672"),
        "Urban100": ("26.66/.8408", "", "23.14/.6573"),
    },
    ("EDSR", "EDSR, trained on DIV2K"): {
        "Set5": ("38.11/.9601", "34.65/.9282", "32.46/.8968"),
        "Set14": ("33.92/.9195", "30.52/.8462", "28.80/.7876"),
        "BSD100": ("32.32/.9013", "29.25/.8093", "27.71/.7420"),
        "Urban100": ("32.93/.9351", "28.80/.8653", "26.64/.8033"),
    },
}
_OTHER = (
    Published("BSD100", 2, RANDOM, "ZSSR, true kernel", 29.68, 0.8414, "ZSSR"),
    Published("BSD100", 2, UNKNOWN, "ZSSR, estimated kernel", 28.81, 0.8306, "ZSSR"),
    Published("DIV2KRK", 2, UNKNOWN, "KernelGAN and ZSSR", 30.36, 0.8669, "KernelGAN"),
    Published("DIV2KRK", 4, UNKNOWN, "KernelGAN and ZSSR", 26.81, 0.7316, "KernelGAN"),
    Published("DIV2KRK", 2, UNKNOWN, "DualSR", 30.92, None, "DualSR"),
    Published("DIV2KRK", 2, UNKNOWN, "cubic interpolation", 28.73, 0.8040, "KernelGAN"),
    Published("DIV2KRK", 4, UNKNOWN, "cubic interpolation", 25.33, 0.6795, "KernelGAN"),
)


def _rows() -> Iterator[Published]:
    for (source, method), sets in _KNOWN_KERNEL.items():
        for name, cells in sets.items():
            for factor, cell in zip((2, 3, 4), cells, strict=True):
                if cell:
                    yield Published(
                        name, factor, CUBIC, method, *map(float, cell.split("/")), source
                    )


FIGURES = (*_rows(), *_OTHER)


def beside(images: str, factor: int, degradation: str) -> list[Published]:
    """Returns the figures of a set, the best ones first."""
    key = (images, factor, degradation)
    return sorted((f for f in FIGURES if f[:3] == key), key=lambda f: -f.psnr)
