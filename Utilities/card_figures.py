"""Puts the figures of "medsr evaluate" into a model's manifest, by kind of image, and into its card, by volume.

python card_figures.py MODEL_FOLDER EVALUATION.json [--robustness UNTOLD.json ...]

EVALUATION.json: "medsr evaluate REFERENCE... --task T --methods all --json EVALUATION.json", the model among the models
and subjects that it was not trained on. UNTOLD.json: the same with --untold, and another --point-spread, --profile or
--noise each; the one with none of them says what the model gains where it is not told anything.
measure_models.py runs all of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean
from typing import Any

from MedSRLib.models.card import write_card
from MedSRLib.models.manifest import Manifest

HEADING = "## Figures on subjects that were not trained on"
BASELINE, PLAIN = "bspline-ibp", "bspline"
KINDS = (
    ("CT of the chest", "CT", ("ct_chest*",)),
    ("CT of the abdomen", "CT", ("ct_abdomen*",)),
    ("CT of a head phantom", "CT", ("ct_headphantom*",)),
    ("MR of the head", "MR", ("mr_*cstar*", "mr_*openms*", "mr_*seg3d*", "mr_*m2307*")),
    ("MR of the cervical cord", "MR", ("mr_*cspine*",)),
    ("MR of the prostate", "MR", ("mr_*prostate*",)),
    ("MR of heart and abdomen", "MR", ("mr_*heart*", "mr_*abdomen*")),
    ("ultrasound", "US", ("us*",)),
    ("radiographs", "XR", ("xr*",)),
)
"""By the names of the reference volumes; others count as their modality."""
Volume = dict[str, Any]
Scores = dict[str, dict[str, Any]]


def add_figures(folder: Path, evaluation: Path, robustness: Sequence[Path]) -> None:
    """Writes the figures into the manifest, and the card anew from it, with the section of single volumes.

    Args:
        folder: of the model.
        evaluation: of that model.
        robustness: evaluations with acquisitions that the model is not told.
    """
    manifest = Manifest.read(folder)
    told = json.loads(evaluation.read_text(encoding="utf-8"))
    untold = [json.loads(path.read_text(encoding="utf-8")) for path in robustness]
    plain = next((one for one in untold if _truth(one) == _NOMINAL), None)
    scores = {**manifest.scores, "kinds": kinds(told, plain, manifest.name)}
    manifest = replace(manifest, scores=scores)
    manifest.write(folder)
    section = [HEADING, *_figures(told, manifest.name)]
    if untold:
        section += _robustness(untold, manifest.name)
    card = folder / "MODEL_CARD.md"
    before = card.read_text(encoding="utf-8") if card.exists() else ""
    write_card(manifest, folder)
    text = card.read_text(encoding="utf-8").rstrip()
    own = _own_sections(before, [*_sections(text), HEADING, _GENERATED_BEFORE])
    card.write_text("\n\n".join([text, *section, *own]) + "\n", encoding="utf-8")


def kinds(told: dict[str, Any], untold: dict[str, Any] | None, model: str) -> list[dict[str, Any]]:
    """Mean gains over B-spline with back-projection by kind of image, as a manifest's scores hold them.

    Args:
        told: evaluation of the model that is told the acquisition.
        untold: the same where it is told nothing, or None.
        model: its name.
    """
    of_untold = {} if untold is None else {_name(volume): volume for volume in untold["volumes"]}
    grouped: dict[tuple[str, str], list[Volume]] = {}
    for volume in told["volumes"]:
        grouped.setdefault(_kind(_name(volume), volume["modality"]), []).append(volume)
    order = [kind for kind, _, _ in KINDS]
    rows = []
    for (kind, modality), volumes in sorted(grouped.items(), key=lambda item: (*order, item[0][0]).index(item[0][0])):
        gains = [_gain(volume, model) for volume in volumes]
        unknown = [_gain(of_untold[_name(volume)], model) for volume in volumes if _name(volume) in of_untold]
        perceptual = [_gain(volume, f"{model}@0") for volume in volumes if f"{model}@0" in _by_name(volume)]
        rows.append(
            {
                "kind": kind,
                "modality": modality,
                "volumes": len(volumes),
                "baseline": _rounded(_by_name(volume)[BASELINE]["psnr"] for volume in volumes),
                "gain": _rounded(gains),
                "least_gain": round(min(gains), 2),
                "untold_gain": _rounded(unknown),
                "perceptual_gain": _rounded(perceptual),
            }
        )
    return rows


def _kind(name: str, modality: str) -> tuple[str, str]:
    for kind, known, patterns in KINDS:
        if any(fnmatch(name, pattern) for pattern in patterns):
            return kind, known
    return modality, modality


def _name(volume: Volume) -> str:
    return Path(volume["reference"]).name


def _gain(volume: Volume, model: str) -> float:
    scores = _by_name(volume)
    return float(scores[model]["psnr"] - scores[BASELINE]["psnr"])


def _rounded(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(fmean(found), 2) if found else None


_GENERATED_BEFORE = "## Scores"
"""A section that a card had before there were figures."""


def _sections(card: str) -> dict[str, str]:
    """The sections of a card by their headings, in order."""
    parts = [f"## {part}".rstrip() for part in f"\n{card}".split("\n## ")[1:]]
    return {part.partition("\n")[0]: part for part in parts}


def _own_sections(card: str, generated: Iterable[str]) -> list[str]:
    """What somebody wrote into a card: its sections with other headings than those that are made."""
    made = set(generated)
    return [text for heading, text in _sections(card).items() if heading not in made]


def _by_name(volume: Volume) -> Scores:
    return {score["name"]: score for score in volume["scores"]}


def _figures(content: dict[str, Any], model: str) -> list[str]:
    perceptual = f"{model}@0"
    volumes = [(Path(volume["reference"]).name, _by_name(volume)) for volume in content["volumes"]]
    models = [name for name in (model, perceptual) if name in volumes[0][1]]
    titles = {model: "fidelity weights", perceptual: "perceptual weights"}
    header = ["volume", "B-spline", "B-spline + IBP"]
    for name in models:
        header += [titles[name], "gain"]
    mean = {score["name"]: score for score in content["mean"]}
    rows = [_quality(name, scores, models) for name, scores in [*volumes, ("**mean**", mean)]]
    sharp = [
        "volume",
        "edge energy: best classical",
        *(f"{kind} {titles[name]}" for kind in ("", "LR-consistency", "shift") for name in models),
    ]
    return [
        f"`medsr evaluate --task {content['task']} --methods all`, protocol in the README: PSNR in dB and SSIM of "
        "whole slices; the point spread is exactly one voxel and every method is told so; no noise is added. Gains "
        "are over B-spline with 20 back-projections (IBP).",
        _table(header, rows),
        "Edge energy over the reference's (1 is as sharp as the truth; (!) marks perceptual weights that are not the "
        "nearest to it), LR-consistency (RMS of A x - y) and shift of the whole volume's mean, both in % of the range.",
        _table(sharp, [_sharpness(name, scores, models) for name, scores in volumes]),
    ]


def _quality(title: str, scores: Scores, models: list[str]) -> list[str]:
    row = [title, *(f"{scores[name]['psnr']:.2f} / {scores[name]['ssim']:.4f}" for name in (PLAIN, BASELINE))]
    for name in models:
        gain = scores[name]["psnr"] - scores[BASELINE]["psnr"]
        row += [f"{scores[name]['psnr']:.2f} / {scores[name]['ssim']:.4f}", f"{gain:+.2f}"]
    return row


def _sharpness(title: str, scores: Scores, models: list[str]) -> list[str]:
    def distance(name: str) -> float:
        return abs(scores[name]["edge_energy"] - 1)

    best = min((name for name in scores if name.split("@")[0] != models[0]), key=distance)
    edges = [f"{scores[name]['edge_energy']:.3f}" for name in models]
    if len(models) == 2 and distance(models[1]) > min(distance(best), distance(models[0])):
        edges[1] += " (!)"
    consistency = [f"{100 * scores[name]['consistency_share']:.3f} %" for name in models]
    shift = [f"{100 * scores[name]['volume_shift_share']:+.4f} %" for name in models]
    return [title, f"{scores[best]['edge_energy']:.3f} ({best})", *edges, *consistency, *shift]


_NOMINAL = "gaussian of 1 voxels"


def _truth(content: dict[str, Any]) -> str:
    kspace = content["profile"] == "kspace"
    truth = "k-space truncation" if kspace else f"{content['profile']} of {content['point_spread']:g} voxels"
    return truth + (f", noise {100 * content['noise']:g} %" if content["noise"] else "")


def _robustness(contents: list[dict[str, Any]], model: str) -> list[str]:
    rows = []
    for content in contents:
        for volume in content["volumes"]:
            scores = _by_name(volume)
            figures = [f"{scores[name]['psnr']:.2f}" for name in (PLAIN, BASELINE, model)]
            if scores[model]["psnr"] < scores[PLAIN]["psnr"]:
                figures[-1] += " (below B-spline)"
            rows.append([_truth(content), _name(volume), *figures])
    return [
        "### When nobody says how the input was acquired",
        "PSNR in dB. The model makes of the acquisition what `medsr enhance` makes of an unknown scanner's "
        "(`--untold`); back-projection assumes a Gaussian of one voxel and no noise.",
        _table(["true acquisition", "volume", "B-spline", "B-spline + IBP", "fidelity weights"], rows),
    ]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="MODEL_FOLDER")
    parser.add_argument("evaluation", type=Path, metavar="EVALUATION.json")
    parser.add_argument("--robustness", type=Path, nargs="+", default=[], metavar="UNTOLD.json")
    options = parser.parse_args(arguments)
    add_figures(options.folder, options.evaluation, options.robustness)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
