"""The models that are shipped say what they were trained on, and their versions change with their weights.

New weights: give the manifest a new version (``version`` of the training configuration), and add it to
``data/model_versions.json``. What stands there of earlier versions stays.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
