"""The speed of a training step of the nets, compared with the same step in plain PyTorch.

    python -m benchmarks.peer_torch [--method=zssr|dip|ingan|kernelgan|all] [--cases=NAME,...]
                                    [--peers=eager,compiled] [--rounds=N] [--steps=N] [--json=FILE]

benchmarks/speed.md explains the columns. `pip install .[bench]` installs PyTorch.
"""

import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags

from benchmarks import common, peer_ingan, peer_kernelgan, peer_nets, timing
from deepinternal.types import InputError

CASES = {**peer_nets.CASES, "ingan": peer_ingan.CASES, "kernelgan": peer_kernelgan.CASES}
METHODS = tuple(CASES)
PEERS = ("eager", "compiled")


def measure(
    case: peer_nets.Case | peer_ingan.Case | peer_kernelgan.Case,
    *,
    steps: int,
    rounds: int,
    peers: Sequence[str] = PEERS,
    device: str = "cpu",
) -> dict[str, Any]:
    """Times a case, with all sides in turns.

    Args:
        case: The case.
        steps: Number of successive steps of each side in a round.
        rounds: Number of rounds.
        peers: Some of `PEERS`.
        device: PyTorch's device, 'cpu' or 'cuda'.

    Returns:
        label, compile_seconds (ours), seconds_per_step by side ('ours' and the peers that work) as
        {'median', 'min', 'max'}; by peer: ratios (ours to the peer's within each round, in the same
        form), ratios_of_least, first_seconds (the first step with PyTorch's compilation); errors of
        the peers that do not work.
    """
    ours = case.ours()
    ours.run(1)
    turns, first, errors = {"ours": lambda: ours.run(steps)}, {}, {}
    for name in peers:
        theirs = case.theirs(compiled=name == "compiled", device=device)
        try:
            first[name] = theirs.run(1)
        except Exception as error:  # torch.compile needs a compiler and cannot compile everything
            errors[name] = str(error).strip().splitlines()[0]
            continue
        turns[name] = lambda theirs=theirs: theirs.run(steps)
    for turn in turns.values():
        turn()
    taken = timing.take_turns(turns, rounds)
    mine, others = taken["ours"], {name: taken[name] for name in turns if name != "ours"}
    return {
        "label": case.label,
        "compile_seconds": ours.compile_seconds,
        "seconds_per_step": {name: timing.spread(values) for name, values in taken.items()},
        "ratios": {name: timing.ratios(mine, values) for name, values in others.items()},
        "ratios_of_least": {name: min(mine) / min(values) for name, values in others.items()},
        "first_seconds": first,
        "errors": errors,
    }


def report(results: dict[str, dict[str, Any]], peers: Sequence[str] = PEERS) -> str:
    """Formats the table; a peer without results has dashes."""
    rows, span, number = [], common.span, common.number
    for name, r in results.items():
        seconds, compiling = r["seconds_per_step"], format(r["compile_seconds"], ".1f")
        row = [name, r["label"], span(seconds["ours"], ".0f", 1e3), compiling]
        for peer in peers:
            row += [span(seconds.get(peer), ".0f", 1e3), span(r["ratios"].get(peer), ".2f")]
            row.append(number(r["ratios_of_least"].get(peer), ".2f"))
            row.append(number(r["first_seconds"].get(peer), ".1f"))
        rows.append(row)
    head = ["case", "nets or sizes", "ours ms", "compile s"]
    for peer in peers:
        head += [f"{peer} ms", f"ours / {peer}", "least / least", "first s"]
    lines = [common.table(head, rows), ""]
    for peer in peers:
        if mean := geometric_means(results, peer):
            known = [r["ratios"][peer]["median"] for r in results.values() if peer in r["ratios"]]
            lines.append(
                f"geometric means, ours / {peer}: {mean['median']:.2f} of the medians, "
                f"{mean['least']:.2f} of the fastest rounds; greatest median {max(known):.2f}"
            )
    return "\n".join(lines)


def geometric_means(results: dict[str, dict[str, Any]], peer: str) -> dict[str, float] | None:
    """Returns the geometric means of the ratios' medians and of the fastest rounds over the cases."""
    known = [r for r in results.values() if peer in r["ratios"]]
    if not known:
        return None
    mean = statistics.geometric_mean
    return {
        "median": mean(r["ratios"][peer]["median"] for r in known),
        "least": mean(r["ratios_of_least"][peer] for r in known),
    }


def _define_flags() -> None:
    flags.DEFINE_string("method", "dip", f"One of {', '.join(METHODS)}, or 'all'.")
    flags.DEFINE_list("peers", list(PEERS), "Modes of PyTorch: eager, compiled.")
    flags.DEFINE_list("cases", [], "Names of cases; default: all cases of the method.")
    flags.DEFINE_integer("steps", 6, "Successive steps of each side in a round.", lower_bound=1)
    flags.DEFINE_integer("rounds", 7, "Rounds.", lower_bound=1)


def main() -> int:
    """Measures, prints the table and writes the JSON file; returns the exit status."""
    args = flags.FLAGS
    cases = chosen(args.method, args.cases, args.peers)
    # Both sides use one device: JAX must not take all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed: pip install .[bench]") from None
    device = torch_device(torch)
    if torch.get_num_threads() != (threads := common.machine()["cores"]):
        torch.set_num_threads(threads)
    results = {}
    for name, case in cases.items():
        options = {"steps": args.steps, "rounds": args.rounds, "peers": args.peers}
        r = results[name] = measure(case, **options, device=device)
        words = [f"{peer} {ratio['median']:.2f}" for peer, ratio in r["ratios"].items()]
        words += [f"{peer} does not work: {error}" for peer, error in r["errors"].items()]
        print(f"{name}: {', '.join(words)}", file=sys.stderr, flush=True)
        jax.clear_caches()
        torch.compiler.reset()
    facts = common.machine() | {"torch": torch.__version__, "threads": torch.get_num_threads()}
    facts["torch_device"] = device
    made = f"{common.describe(facts)}, PyTorch {facts['torch']} on {device}"
    print(f"{made}\n\n{report(results, args.peers)}")
    means = {peer: geometric_means(results, peer) for peer in args.peers}
    figures = {"machine": facts, "method": args.method, "cases": results}
    common.write_json(figures | {"geometric_means": means})
    return 0


def torch_device(torch) -> str:
    """Returns PyTorch's name of the device that JAX uses.

    Raises:
        InputError: This PyTorch cannot use it.
    """
    if jax.default_backend() == "cpu":
        return "cpu"
    if jax.default_backend() == "gpu" and torch.cuda.is_available():
        return "cuda"
    raise InputError(
        f"PyTorch {torch.__version__} cannot use JAX's device, {jax.devices()[0].device_kind}; "
        "install one that can, or compare on CPU with JAX_PLATFORMS=cpu"
    )


def chosen(method: str, names: Sequence[str], peers: Sequence[str]) -> dict[str, Any]:
    """Returns the cases that the flags name.

    Args:
        method: One of `METHODS`, or 'all'.
        names: Names of cases; none: all cases of the method.
        peers: Some of `PEERS`, which are only checked.

    Raises:
        InputError: A method, a case or a peer does not exist.
    """
    if method not in (*METHODS, "all"):
        raise InputError(f"--method={method}: choose one of {', '.join(METHODS)}, or all")
    if not peers or set(peers) - set(PEERS):
        raise InputError(f"--peers={','.join(peers)}: give {', '.join(PEERS)} or both")
    cases = {n: c for m in METHODS if method in (m, "all") for n, c in CASES[m].items()}
    for name in names:
        if name not in cases:
            raise InputError(
                f"--cases={name}: no such case of {method}; choose from {', '.join(cases)}"
            )
    return {name: case for name, case in cases.items() if not names or name in names}


if __name__ == "__main__":
    common.start(main, _define_flags, fields=False)
