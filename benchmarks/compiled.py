"""Compiles the programs of methods for an accelerator that this machine does not have, and counts.

    python -m benchmarks.compiled --wheels=DIR [--method=NAME[:PRESETS] ...] [--images=1,16]
                                  [--size=HxW] [--triton=true|false] [--programs=KIND,...]
                                  [--variants=N] [--json=FILE] [--config.FIELD=VALUE ...]

DIR holds the compiler for the device, of the versions that belong to the installed jax:

    pip install --no-deps --target=DIR PACKAGES

    H100, CUDA 12   jax-cuda12-pjrt==JAX jax-cuda12-plugin==JAX nvidia-cuda-nvcc-cu12
    H100, CUDA 13   jax-cuda13-pjrt==JAX jax-cuda13-plugin==JAX nvidia-cuda-nvcc nvidia-nvvm
    TPU v5e         libtpu==LIBTPU

where JAX is `jax.__version__`, and LIBTPU the version that `jax[tpu]==JAX` requires. Only the compiler
runs. It cannot tune kernels without the device. benchmarks/accelerators.md explains the columns.
"""

import dataclasses
import importlib
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import topologies

from benchmarks import common, hlo, programs, timing
from deepinternal import methods
from deepinternal.config import MethodConfig
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Recipe
from deepinternal.types import InputError, Inputs, input_spec

# The device as XLA describes it: "stream_executor/device_description.proto", `GpuTargetConfigProto`.
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 } core_count: 132 clock_rate_ghz: 1.98 fpus_per_core: 128
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_core: 233472 shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448 l2_cache_size: 52428800
  memory_bandwidth: 3352320000000 device_memory_size: 84942979072
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
_TPU_ENVIRONMENT = {  # what libtpu would ask of the host of a TPU
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
_SHOWN = 500  # maximum length of an error
_CUDA_PLUGIN = "jax_plugins/xla_cuda*/xla_cuda_plugin.so"
_CUDA_TOOLS = ("nvidia/cu13", "nvidia/cuda_nvcc")  # folders with bin/ptxas and nvvm/libdevice


@dataclasses.dataclass(frozen=True)
class Target:
    """A device to compile for.

    Attributes:
        name: The device's name.
        backend: 'gpu' or 'tpu'.
        sharding: Places arguments on it.
    """

    name: str
    backend: str
    sharding: jax.sharding.Sharding


def target(folder: Path) -> Target:
    """Loads the compiler for a device; it must be called before JAX is used.

    Args:
        folder: The folder of the wheels; see the module's docstring.

    Raises:
        InputError: The folder has no compiler, or one of another version.
    """
    plugin = next(folder.glob(_CUDA_PLUGIN), None)
    library = folder / "libtpu" / "libtpu.so"
    if plugin:
        environment = _cuda_environment(folder)
        name, options = "", {"platform": "cuda", "target_config": _H100, "topology": "1x1x1"}
    elif library.is_file():
        environment = _TPU_ENVIRONMENT | {"TPU_LIBRARY_PATH": str(library)}
        name, options = "v5e:2x2", {"platform": "tpu"}
    else:
        raise InputError(
            f"--wheels={folder}: holds no compiler for an accelerator; --help says how to get one"
        )
    os.environ |= environment | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # failures are in the table
    jax.config.update("jax_platforms", "cpu")  # of everything that is run
    if plugin:
        _load_cuda(folder, plugin.parent.name.replace("xla_", "jax_") + "_plugin")
    device = topologies.get_topology_desc(name, **options).devices[0]
    mesh = jax.sharding.Mesh(np.array([device]), ("devices",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return Target(device.device_kind, "gpu" if plugin else "tpu", sharding)


def _cuda_environment(folder: Path) -> dict[str, str]:
    """The environment variables that the compiler for GPUs reads when it is loaded."""
    versions = [re.findall(r"_plugin-(.+)\.dist-info", p.name) for p in folder.glob("jax_cuda*")]
    versions = [found[0] for found in versions if found]
    if versions != [jax.__version__]:
        raise InputError(
            f"--wheels={folder}: holds the CUDA plugin of jax {' and '.join(versions) or '(none)'}, "
            f"but jax {jax.__version__} is installed; --help says how to get the right one"
        )
    tools = next((t for name in _CUDA_TOOLS if (t := folder / name).is_dir()), None)
    if tools is None:
        raise InputError(f"--wheels={folder}: lacks the wheel of nvcc; --help says how to get it")
    xla = f"--xla_gpu_cuda_data_dir={tools} --xla_gpu_autotune_level=0"
    return {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {xla}".strip(),
        "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }


def _load_cuda(folder: Path, package: str) -> None:
    """Lets JAX find the plugin, and tells the compiler of the functions that call CUDA's solvers."""
    sys.path.append(str(folder))
    for name, function in importlib.import_module(f"{package}._solver").registrations().items():
        if name.endswith("_ffi"):
            jax.ffi.register_ffi_target(name, function, platform="CUDA")


def measure(
    recipe: Recipe,
    config: MethodConfig,
    device: Target,
    *,
    images: int = 1,
    kinds: Sequence[str] = (),
    most_variants: int = 1,
    options: str = "",
    size: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Compiles the programs of a method for its example.

    Args:
        recipe: The recipe of the method.
        config: The config of the method.
        device: The device.
        images: The number of images that train side by side.
        kinds: The kinds of programs, such as 'steps'; none: all.
        most_variants: The maximum number of variants of a step; 0: all.
        options: The user's options for XLA, see `engine.compiling.parse_options`.
        size: (H, W) of the photograph that takes the place of the method's example.

    Returns:
        For each program its figures: seconds, kernels by kind, MB (1e6 bytes) moved by a step, or by
        the program if it is none of training, and MB of temporary memory. `error` is '' or what the
        compiler says.
    """
    inputs = timing.sample(recipe, config) if size is None else _photograph(recipe, config, size)
    with programs.traced_for(device.backend):
        listed = programs.all_programs(
            recipe.method(config, input_spec(inputs)),
            inputs,
            lanes=images,
            most_variants=most_variants,
            options=options,
            sharding=device.sharding,
        )
        chosen = [p for p in listed if not kinds or p.kind in kinds]
        return [{"program": p.name, "images": images, **_figures(p)} for p in chosen]


def _photograph(recipe: Recipe, config: MethodConfig, size: tuple[int, int]) -> Inputs:
    """Prepares a photograph (H, W, 3) of any size, without side inputs."""
    if recipe.grouping(config).kind != "single":
        raise InputError(f"--size: {recipe.name} takes several images; leave it out")
    photo = resize(timing.bundled_photo(), output_shape=size)
    return recipe.prepare(config, np.asarray(photo.clip(0, 1)))


def _figures(program: programs.Program) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        compiled = program.traced.lower().compile(program.options)
    except Exception as error:
        return {"error": " ".join(str(error).split())[:_SHOWN], "steps": program.steps}
    seconds = time.perf_counter() - began
    counts = hlo.Module(compiled.as_text()).per_step(program.steps)
    return {
        "error": "",
        "steps": program.steps,
        "compile_seconds": seconds,
        "kernels": dict(counts.kernels),
        "moved_mb": counts.bytes / 1e6,
        "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
    }


def report(results: Sequence[dict[str, Any]]) -> str:
    """Formats the table, and the errors below it."""
    kinds = [k for k in hlo.KINDS if any(r.get("kernels", {}).get(k) for r in results)]
    rows = [
        [
            r["method"],
            str(r["images"]),
            r["program"],
            common.number(r.get("compile_seconds"), ".1f"),
            str(sum(r["kernels"].values())) if "kernels" in r else "-",
            *(str(r["kernels"].get(kind, 0)) if "kernels" in r else "-" for kind in kinds),
            common.number(r.get("moved_mb"), ".1f"),
            common.number(r.get("temporary_mb"), ".0f"),
            "failed" if r["error"] else "ok",
        ]
        for r in results
    ]
    head = ["method", "images", "program", "compile s", "kernels", *kinds]
    lines = [common.table([*head, "MB", "temporary MB", "status"], rows)]
    for r in results:
        if r["error"]:
            lines.append(f"{r['method']}, {r['images']} images, {r['program']}: {r['error']}")
    return "\n\n".join(lines)


def _chosen(texts: Sequence[str], fields: dict[str, str]) -> dict[str, tuple[Recipe, MethodConfig]]:
    """Builds the configs that `--method` names, by name."""
    found = {}
    for text in texts or [f"{name}:{p}" for name in methods.names() for p in ("", "fast")]:
        name, _, presets = text.partition(":")
        recipe = methods.find(name)
        found[text.removesuffix(":")] = recipe, recipe.build(presets, **fields)
    return found


def parse_size(text: str) -> tuple[int, int]:
    """Parses '256x384' to (height, width). Raises InputError for other forms."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if not found:
        raise InputError(f"--size={text}: give HEIGHTxWIDTH in pixels, such as 256x384")
    return int(found[1]), int(found[2])


def _define_flags() -> None:
    flags.DEFINE_string("wheels", None, "Folder with the compiler for the device.")
    flags.DEFINE_multi_string(
        "method", [], "NAME[:PRESETS], may be repeated; default: all methods, also with 'fast'."
    )
    flags.DEFINE_list("images", ["1"], "Numbers of images side by side, joined by commas.")
    flags.DEFINE_string("size", None, "HxW of a photograph instead of the method's example.")
    flags.DEFINE_list("programs", [], f"Of {', '.join(programs.KINDS)}; default: all.")
    flags.DEFINE_integer("variants", 1, "Most variants of a step; 0: all.", lower_bound=0)
    flags.DEFINE_boolean(
        "triton",
        None,
        "Whether Triton computes matrix products on GPUs; default: the engine decides.",
    )


def main() -> int:
    """Compiles, prints the table and writes the JSON file; returns 1 if a program failed."""
    args, fields = flags.FLAGS, common.given_fields(flags.FLAGS.field)
    images, chosen = common.whole_numbers("images", args.images), _chosen(args.method, fields)
    size = parse_size(args.size) if args.size else None
    if unknown := [kind for kind in args.programs if kind not in programs.KINDS]:
        raise InputError(f"--programs={unknown[0]}: choose from {', '.join(programs.KINDS)}")
    if not args.wheels:
        raise InputError("--wheels: give the folder of the compiler; --help says how to get it")
    device = target(Path(args.wheels).absolute())
    given = "" if args.triton is None else f"xla_gpu_enable_triton_gemm={args.triton}"
    options = {"kinds": args.programs, "most_variants": args.variants, "size": size}
    options["options"] = given
    settings = {"device": device.name, "fields": fields, **options}
    results: list[dict[str, Any]] = []
    for name, (recipe, config) in chosen.items():
        for n in images:
            print(f"{name}, {n} images", file=sys.stderr, flush=True)
            found = measure(recipe, config, device, images=n, **options)
            results += [{"method": name, **r} for r in found]
            common.write_json({"jax": jax.__version__, **settings, "programs": results})
    title = ", ".join(filter(None, [device.name, f"jax {jax.__version__}", given]))
    print(f"{title}\n\n{report(results)}")
    return int(any(r["error"] for r in results))


if __name__ == "__main__":
    common.start(main, _define_flags)
