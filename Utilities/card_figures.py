"""Puts the figures of "medsr evaluate" into a model's card, in place of those it has.

python card_figures.py MODEL_FOLDER EVALUATION.json [--robustness UNTOLD.json ...]

EVALUATION.json: "medsr evaluate REFERENCE... --task T --methods all --json EVALUATION.json", the model among the models
and subjects that it was not trained on. UNTOLD.json: the same with --untold and another
--point-spread or --profile each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HEADING = "## Figures on subjects that were not trained on"
BASELINE, PLAIN = "bspline-ibp", "bspline"
Volume = dict[str, Any]
Scores = dict[str, dict[str, Any]]


def add_figures(card: Path, evaluation: Path, robustness: list[Path]) -> None:
    """Writes the section.

    Args:
        card: MODEL_CARD.md; the sections that follow the figures are kept.
        evaluation: of the model that the card's folder holds.
        robustness: evaluations with acquisitions that the model is not told.
    """
    text = card.read_text(encoding="utf-8")
    before, _, after = text.partition(HEADING)
    following = after.find("\n## ")
    kept = after[following + 1 :] if following >= 0 else ""
    model = json.loads((card.parent / "manifest.json").read_text(encoding="utf-8"))["name"]
    section = [HEADING, *_figures(json.loads(evaluation.read_text(encoding="utf-8")), model)]
    if robustness:
        section += _robustness([json.loads(path.read_text(encoding="utf-8")) for path in robustness], model)
    card.write_text(f"{before.rstrip()}\n\n" + "\n\n".join(section) + f"\n\n{kept}".rstrip() + "\n", encoding="utf-8")


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


def _robustness(contents: list[dict[str, Any]], model: str) -> list[str]:
    rows = []
    for content in contents:
        kspace = content["profile"] == "kspace"
        truth = "k-space truncation" if kspace else f"{content['profile']} of {content['point_spread']:g} voxels"
        for volume in content["volumes"]:
            scores = _by_name(volume)
            figures = [f"{scores[name]['psnr']:.2f}" for name in (PLAIN, BASELINE, model)]
            if scores[model]["psnr"] < scores[PLAIN]["psnr"]:
                figures[-1] += " (below B-spline)"
            rows.append([truth, Path(volume["reference"]).name, *figures])
    return [
        "### When nobody says how the input was acquired",
        "PSNR in dB. The model makes of the acquisition what `medsr enhance` makes of an unknown scanner's "
        "(`--untold`); back-projection assumes a Gaussian of one voxel.",
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
    add_figures(options.folder / "MODEL_CARD.md", options.evaluation, options.robustness)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
