"""Installs the package `deepinternal`; configs, launchers and benchmarks stay in the checkout."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "deepinternal/__init__.py").read_text())[1]

setup(
    name="deepinternal",
    version=version,
    description="Deep internal learning in JAX: networks trained at test time, on one image alone",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["deepinternal", "deepinternal.*"]),
    package_data={"deepinternal.report": ["templates/*"]},
    python_requires=">=3.11",
    entry_points={"console_scripts": ["deepinternal = deepinternal.cli.console:main"]},
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.13",  # by which JAX bounds what it keeps of compiled programs
        "flax>=0.12",
        "imageio>=2.36",
        "jax>=0.10.2",
        "jinja2>=3.1",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.11,<1",
        "pillow>=11",
        "pydantic>=2.9",
        "scikit-image>=0.25",  # sample photographs; brings tifffile
        "scipy>=1.14",
    ],
    extras_require={
        "test": [
            "imageio-ffmpeg>=0.5",
            "matplotlib>=3.9",
            "playwright>=1.50",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "tensorboardX>=2.6",
        ],
        "video": ["imageio-ffmpeg>=0.5"],
        "tensorboard": ["tensorboardX>=2.6", "tensorboard>=2.18"],
        "bench": ["matplotlib>=3.9", "torch>=2.4"],
        "cuda": ["jax[cuda13]>=0.10.2"],
    },
)
