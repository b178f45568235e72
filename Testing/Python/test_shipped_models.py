"""The models that are shipped say what they were trained on, and their versions change with their weights.

New weights: give the manifest a new version (``version`` of the training configuration), and add it to
``data/model_versions.json``. What stands there of earlier versions stays.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from MedSRLib.acquisition.conditions import told
from MedSRLib.acquisition.operator import AcquisitionModel
from MedSRLib.models.card import CARD, card_text
from MedSRLib.models.catalogue import Model, resources_folder
from MedSRLib.models.manifest import FILE_NAME, Manifest

Versions = dict[str, dict[str, dict[str, str]]]
RECORDED: Versions = json.loads((Path(__file__).parent / "data" / "model_versions.json").read_text())
FOLDERS = sorted(path.parent for path in (resources_folder() / "Models").glob(f"*/{FILE_NAME}"))


def is_recorded(manifest: Manifest, recorded: Versions) -> bool:
    """Whether these are the weights that this version of the model has."""
    hashes = {kind: entry["sha256"] for kind, entry in manifest.weights.items()}
    return recorded.get(manifest.name, {}).get(manifest.version) == hashes


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_version_has_the_weights_that_it_always_had(folder: Path) -> None:
    model = Model.read(folder)
    model.manifest.verify(folder)
    assert is_recorded(model.manifest, RECORDED), "other weights: give the manifest another version and record it"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_other_weights_under_the_same_version_are_noticed(folder: Path) -> None:
    manifest = Model.read(folder).manifest
    changed = {kind: dict(entry) for kind, entry in manifest.weights.items()}
    changed["perceptual"]["sha256"] = "0" * 64
    content = {**manifest.to_json(), "weights": changed}
    assert not is_recorded(Manifest.from_json(content), RECORDED)
    assert not is_recorded(Manifest.from_json({**content, "version": "1.0.1"}), RECORDED)
    renewed = {manifest.name: {"1.0.1": {kind: entry["sha256"] for kind, entry in changed.items()}}}
    assert is_recorded(Manifest.from_json({**content, "version": "1.0.1"}), renewed)


@pytest.mark.parametrize("name", RECORDED)
def test_no_two_versions_of_a_model_have_the_same_weights(name: str) -> None:
    versions = [json.dumps(hashes, sort_keys=True) for hashes in RECORDED[name].values()]
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_manifest_and_card_name_the_training_volumes_and_no_place_of_a_machine(folder: Path) -> None:
    manifest = Model.read(folder).manifest
    card = (folder / CARD).read_text(encoding="utf-8")
    assert card.startswith(card_text(manifest).rstrip("\n"))
    for key in ("volumes", "held_out"):
        assert manifest.training[key]
        for volume in manifest.training[key]:
            assert f"`{volume}`" in card
    assert not set(manifest.training["volumes"]) & set(manifest.training["held_out"])
    for text in (card, (folder / FILE_NAME).read_text(encoding="utf-8")):
        assert "../" not in text


@pytest.mark.parametrize("fidelity", [1.0, 0.0])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_is_drawn_into_flat_and_slowly_varying_areas(folder: Path, fidelity: float) -> None:
    """A generator that upsamples, or works on unshuffled pixels, may draw a grid of their period: at most 0.1 % of the
    range, and half of it where the scan is said to be clean."""
    model = Model.read(folder)
    manifest, generator = model.manifest, model.load_generator(fidelity=fidelity)
    period = max(*generator.factors, *generator.unshuffle)
    scale = generator.factors[0]
    line = torch.linspace(0.2, 0.7, 96)
    for image in (torch.full((96, 96), 0.3), line.expand(96, 96), line[:, None].expand(96, 96)):
        for noise, allowed in ((0.0, 5e-4), (0.02, 1e-3)):
            maps = torch.tensor(told(manifest.conditions, AcquisitionModel((2, 2, 2)), noise))[:, None, None]
            x = torch.cat([image.expand(manifest.slices, 96, 96), maps.expand(-1, 96, 96)])[None]
            with torch.inference_mode():
                drawn = generator(x)[0, 0]
            inner = drawn[24 * scale : -24 * scale, 24 * scale : -24 * scale]
            cells = inner.unflatten(0, (-1, period)).unflatten(2, (-1, period)).mean((0, 2))
            slope = cells - cells.mean(0, keepdim=True) - cells.mean(1, keepdim=True) + cells.mean()
            grid = max(float(slope.std()), *(_ripple(cells.mean(axis)) for axis in (0, 1)))
            assert grid < allowed


def _ripple(phases: torch.Tensor) -> float:
    """What is left of the means over each phase when a slope is taken off."""
    steps = torch.arange(len(phases), dtype=torch.float32) - (len(phases) - 1) / 2
    slope = (phases * steps).sum() / (steps**2).sum()
    return float((phases - phases.mean() - slope * steps).std()) if len(phases) > 2 else float(phases.std())
