"""MODEL_CARD.md: what a model is, where it comes from and what it must not be used for, generated from its manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MedSRLib.models.manifest import Manifest
from MedSRLib.volumes.storage import write_atomically

CARD = "MODEL_CARD.md"
_FIGURES = {
    "psnr": ("PSNR dB", "{:.2f}"),
    "gain": ("gain dB over B-spline + IBP", "{:+.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "consistency": ("LR-consistency RMS % of range", "{:.3%}"),
    "edge_energy": ("edge energy / reference", "{:.3f}"),
    "mean_shift": ("mean shift % of range", "{:+.3%}"),
}
_SETTINGS = (
    "slices",
    "base_iterations",
    "architecture",
    "generator",
    "pairs",
    "losses",
    "optimiser",
    "gan",
    "distil",
    "degrid",
)


def write_card(manifest: Manifest, folder: Path) -> Path:
    """Writes the card beside the manifest and returns its path.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = Path(folder) / CARD
    write_atomically(path, card_text(manifest).encode())
    return path


def card_text(manifest: Manifest) -> str:
    """The card in Markdown."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        manifest.description,
        "**Not for primary diagnosis.** A super-resolved image shows what is likely, not what was measured.",
        *_what_it_is(manifest),
        *_not_for(manifest),
        *_scores(manifest.scores),
        *_training(manifest.training),
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(manifest: Manifest) -> list[str]:
    sets = " and ".join(
        f"{kind} (`{entry['file']}`, SHA-256 {entry['sha256'][:16]}...)" for kind, entry in manifest.weights.items()
    )
    lines = [
        f"- Task: {manifest.kind.summary}; factors {manifest.factors_text}.",
        f"- Network: {manifest.architecture} in {manifest.spatial_dims}D, predicts the {manifest.predicts}.",
        f"- Weights: {sets or 'none'}. `--fidelity 1` takes the fidelity weights, lower values mix in the perceptual.",
        f"- Tiles: {_tiles(manifest)}.",
        f"- Licence of the weights: {manifest.licence}.",
    ]
    return ["## What it is", "\n".join(lines)]


def _tiles(manifest: Manifest) -> str:
    from MedSRLib.networks.build import build_generator

    if not manifest.tile_tolerance:
        return f"halo {manifest.halo} voxels, the full receptive radius; tiled equals untiled up to float rounding"
    radius = build_generator(manifest.architecture, manifest.arguments).receptive_radius()
    return (
        f"halo {manifest.halo} voxels, measured; tiled equals untiled to {manifest.tile_tolerance:g} of the range "
        f"(full receptive radius {radius})"
    )


def _not_for(manifest: Manifest) -> list[str]:
    modalities, spacing = manifest.domain["modalities"], manifest.domain.get("spacing_mm")
    trained = ", ".join(modalities) or "images that are not medical"
    lines = [
        f"- Trained on {trained}: do not use it on other modalities.",
        "- Do not diagnose, measure or plan from its output alone: compare with the measured image, which it does "
        "not replace. It can smooth away or invent structures smaller than a measured voxel.",
        "- Body regions, contrasts, scanners and pathologies that are not among its training data are outside its "
        "domain; the fidelity report of `medsr enhance` does not detect all of them.",
    ]
    if (dense := manifest.domain.get("dense_bone")) is not None:
        lines.insert(
            1,
            "- Dense fine bone, teeth and micro-CT are outside: dense bone (above 700 HU) was at most "
            f"{100 * dense:.1g} % of the tissue in the CT that it was trained on.",
        )
    if spacing:
        lines.insert(
            1, f"- Its input had pixels of {spacing[0]:g} to {spacing[1]:g} mm: `medsr enhance` warns outside."
        )
    if "perceptual" in manifest.weights:
        lines.append("- The perceptual weights look sharper and are further from the truth: never quantify with them.")
    return ["## What it must not be used for", "\n".join(lines)]


def kind_rows(kinds: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What a model gains by kind of image, ``scores["kinds"]`` of its manifest, as a table whose first row is its head.

    Gains are in dB of PSNR over B-spline with back-projection: the fidelity weights that are told how the image was
    acquired, the least of any volume, those that are told nothing, and the perceptual ones.
    """
    rows = [["kind", "volumes", "B-spline + IBP dB", "gain", "least", "not told", "perceptual"]]
    for row in kinds:
        gains = (row[key] for key in ("gain", "least_gain", "untold_gain", "perceptual_gain"))
        texts = ["" if gain is None else f"{gain:+.2f}" for gain in gains]
        rows.append([row["kind"], str(row["volumes"]), f"{row['baseline']:.2f}", *texts])
    return rows


def _kinds(scores: dict[str, Any]) -> list[str]:
    if not scores.get("kinds"):
        return []
    header, *rows = kind_rows(scores["kinds"])
    return [
        "## What it gains, by kind of image",
        "dB of PSNR over B-spline with 20 back-projections, the bar, on subjects that were not trained on, clean and "
        "at a point spread of one voxel: the fidelity weights, which are told so; the least of any volume; where "
        "nobody says it; and the perceptual weights. `medsr enhance` says in its report where little is gained.",
        _table(header, rows),
    ]


def _scores(scores: dict[str, Any]) -> list[str]:
    kinds = _kinds(scores)
    if "psnr" not in scores:
        return kinds or ["## Scores", "It was not validated: no held-out volumes were named."]
    acquired = "Held-out volumes, acquired by the nominal A (point spread of one voxel) and projected onto it again."
    parts = [*kinds, "## Scores", acquired]
    for title, figures in (("fidelity weights", scores), ("perceptual weights", scores.get("perceptual", {}))):
        if "volumes" in figures:
            keys = [key for key in _FIGURES if key in figures]
            rows = [[name, *_row(one, keys)] for name, one in figures["volumes"].items()]
            rows.append(["**mean** (shift: largest)", *_row(figures, keys)])
            parts += [f"### {title}", _table(["volume", *(_FIGURES[key][0] for key in keys)], rows)]
    if curve := scores.get("fidelity_curve"):
        keys = [key for key in _FIGURES if key in curve[0]]
        rows = [[f"{point['fidelity']:g}", *_row(point, keys)] for point in curve]
        parts += ["### PSNR against sharpness over `--fidelity`"]
        parts += [_table(["fidelity", *(_FIGURES[key][0] for key in keys)], rows)]
    if reason := scores.get("perceptual_refused"):
        parts.append(f"There are no perceptual weights: every checkpoint of the GAN stage was refused ({reason}).")
    return parts


def _training(training: dict[str, Any]) -> list[str]:
    parts = ["## Training"]
    stacks = "Of these, slices taken as unrelated images"
    for key, title in (("volumes", "Trained on"), ("stacks", stacks), ("held_out", "Held out")):
        if training.get(key):
            parts.append(f"{title}: {', '.join(f'`{name}`' for name in training[key])}.")
    configuration = training.get("configuration", {})
    rows = []
    for key in _SETTINGS:
        value = configuration.get(key)
        if isinstance(value, dict):
            rows += [[f"{key}.{name}", f"`{json.dumps(inner)}`"] for name, inner in value.items()]
        elif value is not None:
            rows.append([key, f"`{json.dumps(value)}`"])
    if rows:
        parts.append(_table(["setting", "value"], rows))
    return parts if len(parts) > 1 else []


def _row(figures: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [_FIGURES[key][1].format(figures[key]) for key in keys]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
