"""Counts the kernels of a compiled program and the bytes that they move, from its HLO text."""

import collections
import dataclasses
import functools
import math
import re

# How kernels are classed: matrix products and convolutions of cuBLAS and cuDNN, products that Triton
# compiles, fusions with a convolution or a product (on TPU), other fusions, copies, all else.
KINDS = ("cublas", "cudnn", "triton", "product", "fusion", "copy", "other")
_SIZES = {"pred": 1, "bf16": 2, "f16": 2}  # of element types that do not end with their bits
_ARRAY = re.compile(r"\b(pred|bf16|[sufc]\d+|f8\w+)\[([\d,]*)\]")
_WORKSPACE = re.compile(r"s8\[\d+\]")  # of libraries: reserved, but not counted as moved
FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all"}


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a computation: its name, result type, opcode, operands and line of text."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    line: str


@dataclasses.dataclass(frozen=True)
class Counts:
    """Kernels by kind, and the bytes of their operands and results."""

    kernels: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    bytes: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.kernels + other.kernels, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Counts":
        kernels = {kind: times * number for kind, number in self.kernels.items()}
        return Counts(collections.Counter(kernels), times * self.bytes)


class Module:
    """A compiled program, as `compiled.as_text()` prints it."""

    def __init__(self, text: str):
        """Parses the text."""
        self._computations, self._entry = {}, ""
        operations: dict[str, Operation] | None = None
        for line in text.split("\n"):
            if head := re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line):
                operations = self._computations.setdefault(head[2], {})
                self._entry = head[2] if head[1] else self._entry
            elif line.startswith("}"):
                operations = None
            elif operations is not None and (found := _operation(line)):
                operations[found.name] = found

    def per_step(self, steps: int = 1) -> Counts:
        """Counts what one step of a program does that scans some steps.

        Args:
            steps: The number of steps; 1: the whole program is counted, without a loop of steps.

        Returns:
            The counts of the loop's body, as often as a loop around it runs, such as one over lanes;
            those of the whole program if there is no loop of that length.
        """
        loop = self._loop(self._entry, steps) if steps > 1 else None
        return loop or self._computation(self._entry)

    def _loop(self, name: str, trips: int) -> Counts | None:
        """Counts the body of a loop of that length; within another loop, as often as that runs."""
        for operation in self._computations[name].values():
            if operation.opcode == "while":
                body = _called(operation, "body")
                if _trips(operation) == trips:
                    return self._computation(body)
                if inner := self._loop(body, trips):
                    return inner * (_trips(operation) or 1)
        return None

    @functools.cache  # noqa: B019  (a module lives as long as its counts are asked for)
    def _computation(self, name: str) -> Counts:
        operations = self._computations[name]
        return sum((self._count(o, operations) for o in operations.values()), Counts())

    def _count(self, operation: Operation, around: dict[str, Operation]) -> Counts:
        """Counts an operation; those of a loop as often as it runs, of branches the largest."""
        opcode = operation.opcode
        if opcode in FREE or opcode.endswith(("-done", "-update")):
            return Counts()
        if opcode == "while":
            return self._computation(_called(operation, "body")) * (_trips(operation) or 1)
        if opcode == "conditional":
            branches = map(self._computation, self._branches(operation))
            return max(branches, key=lambda counts: counts.bytes)
        if opcode in ("call", "async-start"):
            return self._computation(_called(operation, "to_apply|calls"))
        moved = _bytes(operation.type)
        if not opcode.endswith("-start"):  # whose type includes the operands
            moved += sum(_bytes(around[name].type) for name in operation.operands if name in around)
        return Counts(collections.Counter({self._kind(operation): 1}), moved)

    def _branches(self, operation: Operation) -> list[str]:
        found = re.search(r"branch_computations=\{([^}]*)\}", operation.line)
        names = found[1] if found else " ".join(
            re.findall(r"(?:true|false)_computation=(%?[\w.\-]+)", operation.line)
        )  # fmt: skip
        return re.findall(r"[\w.\-]+", names)

    def _kind(self, operation: Operation) -> str:
        opcode = operation.opcode.removesuffix("-start")
        if opcode == "custom-call":
            target = re.search(r'custom_call_target="([^"]*)"', operation.line)[1]
            found = (kind for kind in ("cublas", "cudnn", "triton") if kind in target)
            return next(found, "other")
        if opcode != "fusion":
            kinds = {"copy": "copy", "convolution": "product", "dot": "product"}
            return kinds.get(opcode, "other")
        if found := re.search(r'"__(cublas|cudnn|triton)(?!")', operation.line):
            return found[1]  # "__triton" alone is a fusion without a product
        inner = self._computations.get(_called(operation, "calls"), {}).values()
        for each in inner:
            if each.opcode in ("custom-call", "fusion") and self._kind(each) in KINDS[:4]:
                return self._kind(each)
        return "product" if {"convolution", "dot"} & {each.opcode for each in inner} else "fusion"


def _operation(line: str) -> Operation | None:
    """Parses a line such as '  ROOT %a.1 = f32[8]{0} add(%b, %c), metadata={...}'."""
    head = re.match(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$", line)
    if not head:
        return None
    rest = head[2]
    end = _closing(rest) if rest.startswith("(") else _end_of_type(rest)
    call = re.match(r"\s*([\w\-]+)(\(.*)", rest[end:])
    if not call:
        return None
    operands = tuple(re.findall(r"%([\w.\-]+)", call[2][: _closing(call[2])]))
    return Operation(head[1], rest[:end], call[1], operands, line)


def _closing(text: str) -> int:
    """The end of the bracket that a text begins with."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return i + 1
    return len(text)


def _end_of_type(text: str) -> int:
    return text.index(" ") if " " in text else len(text)


def _called(operation: Operation, attribute: str) -> str:
    found = re.search(rf"\b(?:{attribute})=%?([\w.\-]+)", operation.line)
    return found[1] if found else ""


def _trips(operation: Operation) -> int:
    """The number of iterations of a loop; 0 if the compiler does not know it."""
    found = re.search(r'known_trip_count":\{"n":"(\d+)"', operation.line)
    return int(found[1]) if found else 0


def _bytes(kinds: str) -> int:
    """The bytes of all arrays in a type."""
    total = 0
    for kind, sides in _ARRAY.findall(_WORKSPACE.sub("", kinds)):
        each = _SIZES.get(kind) or (1 if kind.startswith("f8") else int(kind[1:]) / 8)
        total += math.ceil(each * math.prod(int(n) for n in sides.split(",") if n))
    return total
