"""The tables of `benchmarks.denoising`, and published figures to compare with."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.tables import Record, groups, mean, number, over_seeds, table

NOISY = "noisy image"
RIVAL = "BM3D"
KEY = ("set", "image", "crop", "kind", "noise", "sigma", "seed", "row", "level")
# The images on which our settings and those of other packages were chosen. The figures of the other
# images are the ones to report.
CHOSEN = {
    "set24": ("kodim03", "kodim08", "kodim20"),
    "cset9": ("image_House256rgb", "image_F16_512rgb"),
    "set12": ("01", "09"),
    "cbsd68": ("103070", "123074", "148089", "175032"),
}


class Published(NamedTuple):
    """A published mean PSNR over a whole set, of noise neither clipped nor rounded.

    Attributes:
        images: The set.
        sigma: The noise's standard deviation in 8-bit levels; 0: real noise.
        method: The method.
        psnr: The mean PSNR in dB.
        source: The publication that gives the figure.
    """

    images: str
    sigma: float
    method: str
    psnr: float
    source: str


_NL_RIDGE = "Herbreteau and Kervrann 2024"
_SELF2SELF = "Quan et al. 2020"
_FFDNET = "Zhang et al. 2018 (FFDNet)"
_ZS_HPD = "ZS-HPD"
PUBLISHED = (
    Published("Set12, grey", 15, "NL-Ridge", 32.46, _NL_RIDGE),
    Published("Set12, grey", 15, "BM3D", 32.37, _NL_RIDGE),
    Published("Set12, grey", 25, "NL-Ridge", 30.00, _NL_RIDGE),
    Published("Set12, grey", 25, "BM3D", 29.97, _NL_RIDGE),
    Published("Set12, grey", 50, "NL-Ridge", 26.73, _NL_RIDGE),
    Published("Set12, grey", 50, "BM3D", 26.72, _NL_RIDGE),
    Published("CBSD68", 25, "BM3D", 30.71, _FFDNET),
    Published("CBSD68", 50, "BM3D", 27.36, _FFDNET),
    Published("nine colour images", 25, "BM3D", 31.67, _SELF2SELF),
    Published("nine colour images", 25, "Self2Self", 31.74, _SELF2SELF),
    Published("nine colour images", 25, "DIP", 30.77, _SELF2SELF),
    Published("Kodak24, level unknown", 25, "ZS-HPD", 29.88, _ZS_HPD),
    Published("Kodak24, level unknown", 25, "Pixel2Pixel", 29.31, _ZS_HPD),
    Published("Kodak24, level unknown", 25, "zero-shot Noise2Noise", 29.07, _ZS_HPD),
    Published("Kodak24, level unknown", 25, "Self2Self", 28.39, _ZS_HPD),
    Published("Kodak24, level unknown", 50, "ZS-HPD", 26.36, _ZS_HPD),
    Published("Kodak24, level unknown", 50, "Pixel2Pixel", 26.26, _ZS_HPD),
    Published("Kodak24, level unknown", 50, "zero-shot Noise2Noise", 24.81, _ZS_HPD),
    Published("Kodak24, level unknown", 50, "Self2Self", 26.22, _ZS_HPD),
    Published("PolyU, level unknown", 0, "ZS-HPD", 36.24, _ZS_HPD),
    Published("PolyU, level unknown", 0, "Pixel2Pixel", 36.11, _ZS_HPD),
    Published("SIDD, level unknown", 0, "ZS-HPD", 35.57, _ZS_HPD),
    Published("SIDD, level unknown", 0, "Pixel2Pixel", 34.34, _ZS_HPD),
)


def is_chosen(record: Record) -> bool:
    """Whether settings were chosen on the image of a record."""
    return record["image"] in CHOSEN.get(record["set"], ())


def _noise_of(record: Record) -> tuple:
    return tuple(record[name] for name in KEY[:-2])


def gains(records: Sequence[Record], rivals: Sequence[Record]) -> list[float]:
    """Returns the gains in PSNR over rivals, for each record whose noisy image a rival treated."""
    known = {_noise_of(r): r["psnr"] for r in rivals}
    return [r["psnr"] - known[_noise_of(r)] for r in records if _noise_of(r) in known]


def spread(records: Sequence[Record]) -> float | None:
    """Returns the standard deviation, over the seeds, of the mean PSNR of the images with all seeds."""
    return over_seeds(records, "psnr", lambda r: (r["set"], r["image"], r["crop"]))


def _rows(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    return groups(records, lambda r: (r["row"], r["level"]))


def _label(row: str, level: str) -> str:
    return f"{row}, level measured" if level == "measured" else row


def _cells(found: Sequence[Record], rivals: Sequence[Record]) -> list[str]:
    """The cells of a row: figures of the records of one method, beside those of the rival."""
    over = gains(found, rivals) if found[0]["row"] != NOISY else []
    gain = least = won = None
    if over and found is not rivals:
        gain, least = statistics.fmean(over), min(over)
        won = sum(value > 0 for value in over)
    errors = [abs(r["measured"] / r["true"] - 1) for r in found if "measured" in r and r["true"]]
    error = statistics.median(errors) if found[0]["level"] == "measured" and errors else None
    warm = [r for r in found if not r.get("new")]
    time = lambda name: statistics.median(r[name] for r in warm or found)
    return [
        str(len({(r["set"], r["image"]) for r in found})),
        number(mean(found, "psnr"), ".2f"),
        number(spread(found), ".2f"),
        number(mean(found, "ssim"), ".4f"),
        number(gain, "+.2f"),
        number(least, "+.2f"),
        "-" if won is None else f"{won} of {len(over)}",
        number(error and 100 * error, ".1f"),
        number(time("cpu"), ".1f"),
        number(time("wall"), ".1f"),
    ]


_TITLES = ["row", "images", "PSNR", "seeds", "SSIM", f"- {RIVAL}", "least", "won", "level error %"]
_TITLES += ["CPU s", "s"]


def compared(records: Sequence[Record]) -> str:
    """Formats the figures of records with one kind and strength of noise."""
    rows = _rows(records)
    rivals = rows.get((RIVAL, "given"), [])
    return table(_TITLES, [[_label(*key), *_cells(found, rivals)] for key, found in rows.items()])


def _title(kind: str, noise: str, sigma: float, crop: int) -> str:
    if kind == "real":
        text = "real noise"
    else:
        stored = {"float": "neither clipped nor rounded", "8bit": "8-bit files"}[noise]
        text = f"{kind} noise, {sigma:g}, {stored}"
    return f"{text}, {_size(crop)}"


def _size(crop: int) -> str:
    return f"{crop}x{crop}" if crop else "whole images"


def overview(records: Sequence[Record], part: Callable[[Record], str]) -> str:
    """Formats the mean PSNR and the gain over the rival, with a column for each strength of noise.

    Args:
        records: Records of one kind of noise and one crop.
        part: The name of the part of the images that a record belongs to; each has rows of its own.
    """
    column = lambda r: (r["noise"], r["sigma"])
    columns = sorted({column(r) for r in records}, key=lambda c: (c[0] != "float", c[1]))
    lines = []
    for name, members in groups(records, part).items():
        rows = _rows(members)
        rivals = rows.get((RIVAL, "given"), [])
        for key, found in rows.items():
            by_column = groups(found, column)
            cells = []
            for wanted in columns:
                some = by_column.get(wanted, [])
                over = gains(some, rivals) if key[0] != NOISY and found is not rivals else []
                gain = f" ({statistics.fmean(over):+.2f})" if over else ""
                cells.append(number(mean(some, "psnr"), ".2f") + gain)
            images = {(r["set"], r["image"]) for r in found}
            lines.append([name, _label(*key), str(len(images)), *cells])
    titles = {"float": "{:g}", "8bit": "{:g}, 8-bit"}
    return table(
        ["part", "row", "images", *(titles[n].format(s) if s else "real" for n, s in columns)],
        lines,
    )


def calibrated(records: Sequence[Record]) -> str:
    """Formats how often errors lie within the uncertainty, and how well the PSNR is predicted."""
    known = [r for r in records if "within_1" in r or "expected_psnr" in r]
    key = lambda r: (_label(r["row"], r["level"]), r["kind"], r["noise"], r["sigma"])
    lines = []
    for (row, kind, noise, sigma), found in groups(known, key).items():
        errors = [r["expected_psnr"] - r["psnr"] for r in found if "expected_psnr" in r]
        shares = [100 * (mean(found, name) or 0) for name in ("within_1", "within_2")]
        lines.append(
            [
                row,
                f"{kind} {sigma:g}, {noise}" if sigma else kind,
                str(len(found)),
                *(f"{share:.0f}" for share in shares),
                number(statistics.fmean(errors) if errors else None, "+.2f"),
                number(statistics.fmean(map(abs, errors)) if errors else None, ".2f"),
            ]
        )
    titles = ["row", "noise", "results", "within 1 %", "within 2 %", "predicted - PSNR", "its size"]
    return table(titles, lines) if lines else ""


def published() -> str:
    """Formats the published figures."""
    lines = [
        [p.method, p.images, f"{p.sigma:g}" if p.sigma else "real", f"{p.psnr:.2f}", p.source]
        for p in sorted(PUBLISHED, key=lambda p: (p.images, p.sigma, -p.psnr))
    ]
    return table(["published", "images", "sigma", "PSNR", "source"], lines)


def _half(record: Record) -> str:
    return "settings chosen on them" if is_chosen(record) else "reported"


def report(records: Sequence[Record]) -> str:
    """Formats all tables: each kind and strength of noise, summaries, uncertainty, publications."""
    parts = []
    order = lambda r: (r["kind"], r["noise"], r["sigma"], r["crop"])
    for key in sorted({order(r) for r in records}):
        for half, some in groups([r for r in records if order(r) == key], _half).items():
            parts.append(f"{_title(*key)}, images: {half}\n\n{compared(some)}")
    for (kind, crop), here in groups(records, lambda r: (r["kind"], r["crop"])).items():
        parts.append(
            f"{kind} noise, {_size(crop)}: mean PSNR (and gain over {RIVAL})\n\n"
            f"{overview(here, _half)}\n\n{overview(here, lambda r: r['set'])}"
        )
    if text := calibrated(records):
        parts.append(f"Uncertainty\n\n{text}")
    parts.append(f"Published, whole sets\n\n{published()}")
    return "\n\n".join(parts)
