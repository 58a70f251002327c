"""Finds public test sets in a folder, by the names and in the layouts in which they are published.

Set5/HR/baby.png, Set5/LR_bicubic/X2/babyx2.png           (EDSR)
Set5/image_SRF_2/img_001_SRF_2_HR.png, ..._LR.png         (SelfExSR)
Set5/original/baby.png, Set5/LRbicx4/baby.png; GTmod12
HR/Set5/x2/baby.png, LR/LRBI/Set5/x2/baby.png
DIV2KRK/gt/img_1_gt.png, lr_x2/im_1.png, gt_k_x2/kernel_1.mat
Set5/baby.png, Set5/babyx2.png; set24/kodim01.png
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepinternal.codecs.video_io import natural
from deepinternal.runs.inputs import IMAGE_SUFFIXES
from deepinternal.types import InputError

RANDOM = "DIV2KRK"  # the set whose small images were made with random kernels
# Names without case and punctuation -> the name of the set.
_KNOWN = {
    **{"set5": "Set5", "set14": "Set14", "urban100": "Urban100", "manga109": "Manga109"},
    **dict.fromkeys(("bsd100", "bsds100", "b100"), "BSD100"),
    **{"div2krk": RANDOM, "set12": "Set12", "cbsd68": "CBSD68", "cset9": "CSet9"},
    **dict.fromkeys(("kodak24", "kodak", "set24"), "Kodak24"),
    **dict.fromkeys(("sigd16", "retarget"), "SIGD16"),
}
SIZES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100, "Manga109": 109, RANDOM: 100}
SIZES |= {"Set12": 12, "CBSD68": 68, "CSet9": 9, "Kodak24": 24, "SIGD16": 16}
_TRUTHS = ("_HR", "_GT", "_gt")
_DEPTH = 5  # of folders below the one given
# Folders that say what files are: a pattern with the factor, if any, in its group.
_ROLES = {
    "kernel": r"(?:gt_)?k(?:ernels?)?(?:_?x(\d))?",
    "high": r"(?:hr|gts?|original|high|ground_?truth)(?:_?x?(\d))?|gtmod(\d+)",
    "low": r"(?:lr|low)(?:_?bi|_?bicubic|bicx?)?(?:_?x?(\d))?",
    "": r"x(\d)|image_srf_(\d)|lrbi",
}


@dataclasses.dataclass
class Picture:
    """An image of a set.

    Attributes:
        name: Its name in the set.
        high: The files of its ground truth by factor; 0: for all factors.
        low: The published small images by factor.
        kernels: The published kernels of these by factor.
    """

    name: str
    high: dict[int, Path] = dataclasses.field(default_factory=dict)
    low: dict[int, Path] = dataclasses.field(default_factory=dict)
    kernels: dict[int, Path] = dataclasses.field(default_factory=dict)

    def truth(self, factor: int) -> Path:
        """Returns the ground truth for a factor; one that was cropped for another if need be."""
        return self.high.get(factor) or self.high.get(0) or self.high[min(self.high)]


def find(folder: Path) -> dict[str, list[Picture]]:
    """Finds the sets in a folder.

    Args:
        folder: A folder of sets, or of one set.

    Returns:
        The images by set, sorted. A set without a public name has the name of its folder.

    Raises:
        InputError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"--data={folder}: no such folder")
    files = list(_files(folder))
    there = {path.with_suffix("") for path in files}
    sets: dict[str, dict[str, Picture]] = {}
    for path in files:
        parts = path.relative_to(folder).parts[:-1]
        name, role, factor = _placed((folder.resolve().name, *parts))
        found = _named(path, role, factor, there, random=name == RANDOM)
        if found:
            stem, role, factor = found
            picture = sets.setdefault(name, {}).setdefault(stem, Picture(stem))
            where = {"high": picture.high, "low": picture.low, "kernel": picture.kernels}[role]
            if factor not in where or path.stem.endswith(_TRUTHS):
                where[factor] = path
    pictures = {
        name: sorted((p for p in members.values() if p.high), key=lambda p: natural(Path(p.name)))
        for name, members in sorted(sets.items())
    }
    pictures = {name: members for name, members in pictures.items() if members}
    if not pictures:
        raise InputError(
            f"--data={folder}: no images; give a folder of sets, such as Set5/HR/*.png"
        )
    return pictures


def choose(
    found: dict[str, list[Picture]], wanted: Iterable[str], public: Iterable[str]
) -> dict[str, list[Picture]]:
    """Chooses sets.

    Args:
        found: What `find` returned.
        wanted: Names, in any spelling that is known; none: those of `public`.
        public: Names of public sets.

    Raises:
        InputError: A set is not there, none of the public ones is, or one has too many images.
    """
    there = ", ".join(found)
    chosen = {}
    for text in wanted:
        name = known(text) or text
        if name not in found:
            raise InputError(f"--sets={text}: is not in the folder of --data; there are: {there}")
        chosen[name] = found[name]
    chosen = chosen or {name: found[name] for name in public if name in found}
    if not chosen:
        names = ", ".join(public)
        raise InputError(f"--data: none of {names}; name some of these with --sets: {there}")
    for name, pictures in chosen.items():
        if len(pictures) > SIZES.get(name, len(pictures)):
            raise InputError(
                f"--data: {len(pictures)} images of {name}, which has {SIZES[name]}, such as "
                f"{pictures[0].truth(1)} and {pictures[-1].truth(1)}; keep one copy of the set"
            )
    return chosen


def known(text: str) -> str:
    """Returns the public name of a set, as a folder may spell it ('set5_x2': 'Set5'), or ''."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return _KNOWN.get(plain) or _KNOWN.get(re.sub(r"(x|srf)\d$", "", plain), "")


def _files(folder: Path) -> Iterator[Path]:
    """Yields images and kernels below a folder, in the order of their names."""
    for place, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(n for n in folders if n[0] != "." and depth < _DEPTH)
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() in (*IMAGE_SUFFIXES, ".mat", ".npy"):
                yield Path(place, name)


def _placed(parts: tuple[str, ...]) -> tuple[str, str, int]:
    """Returns the set, the role ('' if unknown) and the factor (0) that the folders of a file tell."""
    rest, role, factor = [], "", 0
    for part in parts:
        for kind, pattern in _ROLES.items() if not known(part) else ():
            if match := re.fullmatch(pattern, part.lower()):
                number = next((int(n) for n in match.groups() if n), 0)
                role, factor = kind or role, number if 2 <= number <= 8 else factor
                break
        else:
            rest.append(part)
    public = [name for part in rest if (name := known(part))]
    return (public or rest or ["images"])[-1], role, factor


def _named(
    path: Path, role: str, factor: int, there: set[Path], *, random: bool
) -> tuple[str, str, int] | None:
    """Returns the name of the image, the role and the factor of a file; None: it is none of these."""
    stem = path.stem
    if random and (match := re.fullmatch(r"(?:im|img|kernel)_(\d+)(_gt)?", stem)):
        kinds = {"im": "low", "img": "high", "kernel": "kernel"}
        return match[1], kinds[stem.partition("_")[0]], factor
    if path.suffix.lower() in (".mat", ".npy") or role == "kernel":
        return None
    if match := re.fullmatch(r"(.+)_SRF_(\d)_(\w+)", stem):  # SelfExSR, which adds others' results
        kind = {"HR": "high", "LR": "low"}.get(match[3])
        return (match[1], kind, int(match[2])) if kind else None
    if match := re.fullmatch(r"(.+?)_(HR|GT|gt|LR|kernel|mask)", stem):
        if stem.endswith(_TRUTHS):
            return match[1], "high", factor
        return (match[1], "low", factor) if match[2] == "LR" and factor else None
    if match := re.fullmatch(r"(.+)x([2-8])", stem):
        beside = path.with_name(match[1]) in there
        if beside or (role == "low" and factor in (0, int(match[2]))):
            return match[1], "low", int(match[2])
    if role == "low":
        return (stem, "low", factor) if factor else None
    return stem, "high", factor
