"""Installs the package `deepinternal`; configs, launchers and benchmarks stay in the checkout."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "deepinternal/__init__.py").read_text())[1]
url = os.environ.get("REPOSITORY_URL", "").rstrip("/")  # of the GitHub repository, set by a release
jax = "0.10.2"  # the oldest supported version


def long_description():
    """Returns README.md for a package index, where links relative to the checkout lead nowhere.

    They become links to the released version on GitHub or, without a URL, plain text without images.
    """
    text = (here / "README.md").read_text(encoding="utf-8")
    image = r"!\[([^]]*)\]\((?!https?:)([^)]+)\)"
    link = r"(?<!!)\[([^]]+)\]\((?!https?:|#)([^)]+)\)"
    if not url:
        return re.sub(link, r"\1", re.sub(image, "", text))
    text = re.sub(image, rf"![\1]({url}/raw/v{version}/\2)", text)
    return re.sub(link, rf"[\1]({url}/blob/v{version}/\2)", text)


setup(
    name="deepinternal",
    version=version,
    description="Deep internal learning in JAX: networks trained at test time, on one image alone",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    keywords=[
        "JAX",
        "internal learning",
        "super-resolution",
        "denoising",
        "inpainting",
        "segmentation",
        "dehazing",
        "image retargeting",
    ],
    url=url or None,
    project_urls={
        name: f"{url}/{path}"
        for name, path in {
            "Documentation": f"tree/v{version}#readme",
            "Changelog": f"blob/v{version}/CHANGELOG.md",
            "Issues": "issues",
        }.items()
        if url
    },
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["deepinternal", "deepinternal.*"]),
    package_data={
        "": ["*.pyi", "py.typed"],  # packages read their stubs when they run
        "deepinternal.report": ["templates/*"],
    },
    python_requires=">=3.11",
    entry_points={"console_scripts": ["deepinternal = deepinternal.cli.console:main"]},
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.13",  # JAX needs it to limit the size of its cache of compiled programs
        "flax>=0.12",
        "imageio>=2.36",
        "imagecodecs>=2026.3.6",  # Little CMS, and the compressions of TIFF
        f"jax>={jax}",
        "jinja2>=3.1",
        "ml_collections>=1.1",
        "numpy>=2.0",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.11.31,<1",
        "pillow>=12.1",
        "pydantic>=2.9.2",
        "rich>=13.9",
        "scikit-image>=0.25",  # sample photographs
        "scipy>=1.14",
        "tifffile>=2025.3.30",
    ],
    extras_require={
        "cuda12": [f"jax[cuda12]>={jax}"],
        "cuda13": [f"jax[cuda13]>={jax}"],
        "cuda": [f"jax[cuda13]>={jax}"],
        "tpu": [f"jax[tpu]>={jax}"],
        "video": ["imageio-ffmpeg>=0.8"],
        "tensorboard": ["tensorboardX>=2.6.2.2", "tensorboard>=2.18"],
        "heif": ["pillow-heif>=1.1"],  # HEIC photographs
        "bench": [
            "bm3d>=4.0",
            "faiss-cpu>=1.9",
            "matplotlib>=3.9",
            "opencv-python-headless>=4.10",
            "PyWavelets>=1.6",
            "torch>=2.4",
        ],
        "docs": [  # the notebook launch/tour.ipynb and the API reference
            "ipykernel>=6.29",
            "matplotlib>=3.9",
            "nbconvert>=7.16",
            "notebook>=7.2",
            "pdoc>=15",
        ],
        "test": [
            "imageio-ffmpeg>=0.8",
            "matplotlib>=3.9",
            "mypy==2.4.*",
            "pdoc>=15",
            "pillow-heif>=1.1",
            "playwright>=1.50",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff==0.17.*",
            "setuptools>=77",  # with wheels built in
            "tensorboardX>=2.6.2.2",
        ],
    },
)
