"""Measures the shipped models and puts the figures into their manifests and cards, after a change of weights.

python measure_models.py SLICES_FOLDER CUBES_FOLDER --out FOLDER [--model NAME ...]

SLICES_FOLDER holds the reference volumes for in-plane models, CUBES_FOLDER those of thin slices for through-plane ones:
subjects that were not trained on, named as in card_figures.py. The evaluations are kept in --out as JSON; one that is
there already, of the same weights, is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from card_figures import add_figures

from MedSRLib.commands.main import main as medsr
from MedSRLib.models.catalogue import Model, resources_folder

THICKER = 4
"""Times that slices are thicker than those of the references, for models that make slices between slices."""
UNTOLD = {
    "nominal": [],
    "narrow": ["--point-spread", "0.6"],
    "kspace": ["--profile", "kspace"],
    "noise1": ["--noise", "0.01"],
    "noise3": ["--noise", "0.03"],
}
"""Acquisitions that a model is not told; of those beyond the first a through-plane model takes none."""


def measure(model: Model, references: list[Path], out: Path) -> None:
    """Evaluates a model, told and not told, and writes its figures.

    Args:
        model: with weights.
        references: volumes.
        out: where the evaluations are kept.
    """
    manifest = model.manifest
    in_plane = manifest.kind.blurs_pixels
    task = f"{manifest.task}-x{manifest.factors[0]:g}" if in_plane else f"{manifest.task}:{THICKER}"
    names = [str(model.folder), *([f"{model.folder}@0"] if "perceptual" in manifest.weights else [])]
    made = [_evaluate(out / f"{manifest.name}.json", references, task, names, [])]
    for name, options in UNTOLD.items() if in_plane else [("nominal", [])]:
        # Only MR is truncated in k-space.
        taken = [path for path in references if name != "kspace" or path.name.startswith("mr")]
        if taken:
            made.append(_evaluate(out / f"{manifest.name}_{name}.json", taken, task, names[:1], ["--untold", *options]))
    add_figures(model.folder, made[0], made[1:])


def _evaluate(path: Path, references: list[Path], task: str, models: list[str], options: list[str]) -> Path:
    if path.exists() and _hashes(path) == [_weights(name) for name in models]:
        return path
    command = ["evaluate", *map(str, references), "--task", task, "--model", *models, *options]
    if medsr([*command, "--json", str(path), "--overwrite"]):
        raise SystemExit(f"measure_models: medsr {' '.join(command)} failed")
    return path


def _weights(name: str) -> str:
    """SHA-256 of the weights that a model of this name takes."""
    folder, _, fidelity = name.partition("@")
    return str(Model.read(Path(folder)).manifest.weights["perceptual" if fidelity else "fidelity"]["sha256"])


def _hashes(path: Path) -> list[str]:
    """SHA-256 of the weights that an evaluation is of."""
    scores = json.loads(path.read_text(encoding="utf-8"))["mean"]
    return [next(iter(score["model_sha256"].values())) for score in scores if score["model_sha256"]]


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slices", type=Path, metavar="SLICES_FOLDER")
    parser.add_argument("cubes", type=Path, metavar="CUBES_FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="default: all that are shipped")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    folders = [path.parent for path in sorted((resources_folder() / "Models").glob("*/manifest.json"))]
    for folder in folders:
        if not options.model or folder.name in options.model:
            model = Model.read(folder)
            source = options.slices if model.manifest.kind.blurs_pixels else options.cubes
            measure(model, sorted(source.glob("*.n*")), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
