"""A manifest is read strictly, written whole, and knows whether its weights are the ones it names."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from MedSRLib.errors import ModelError, OutputError
from MedSRLib.models.manifest import FORMAT, Manifest
from MedSRLib.volumes.storage import sha256_of, write_atomically

ARGUMENTS = {"factors": [2, 2], "features": 4, "blocks": 1, "growth": 2, "predicts_residual": True}


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        name="tiny",
        version="1.0",
        task="inplane",
        factors=(2, 2, 1),
        spatial_dims=2,
        slices=1,
        predicts="residual",
        architecture="RRDBGenerator",
        arguments=ARGUMENTS,
        halo=18,
        domain={"modalities": ["MR"], "spacing_mm": [0.5, 2.0]},
        licence="Apache-2.0",
        description="a test",
    )


def content(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(manifest.to_json())), **changes}


def one_sentence(error: pytest.ExceptionInfo[ModelError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_what_was_written_is_read_back(manifest: Manifest, tmp_path: Path) -> None:
    full = replace(
        manifest,
        base_iterations=3,
        in_plane_fwhm=0.9,
        weights={"fidelity": {"file": "fidelity.safetensors", "sha256": "0" * 64}},
        training={"iterations": 10},
        scores={"psnr": 30.5},
    )
    full.write(tmp_path)
    assert Manifest.read(tmp_path) == full
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_a_through_plane_model_states_its_range_of_factors(manifest: Manifest, tmp_path: Path) -> None:
    through = replace(manifest, task="through-plane", factors=(1, 1, 4), factor_range=(1.5, 8.0))
    through.write(tmp_path)
    assert Manifest.read(tmp_path).factor_range == (1.5, 8.0)
    assert Manifest.read(tmp_path).factors_text == "1 x 1 x 1.5 to 8"
    assert manifest.factors_text == "2 x 2 x 1"


def test_a_manifest_cannot_be_changed(manifest: Manifest) -> None:
    with pytest.raises(FrozenInstanceError):
        manifest.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("key", ["name", "task", "factors", "factor_range", "weights", "domain", "scores"])
def test_a_missing_key_is_named(manifest: Manifest, key: str) -> None:
    broken = content(manifest)
    del broken[key]
    with pytest.raises(ModelError) as error:
        Manifest.from_json(broken)
    one_sentence(error, repr(key), "manifest.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../evil"),
        ("name", ""),
        ("version", 1),
        ("task", "colourise"),
        ("factors", [2, 2]),
        ("factors", [0.5, 2, 1]),
        ("factors", "221"),
        ("factors", [2, 2, float("nan")]),
        ("spatial_dims", 4),
        ("slices", 2),
        ("slices", True),
        ("predicts", "noise"),
        ("base_iterations", -1),
        ("in_plane_fwhm", 0),
        ("arguments", []),
        ("intensity", "per-tile"),
        ("domain", {"modalities": ["MR"]}),
        ("domain", {"modalities": ["MRI"], "spacing_mm": [1, 2]}),
        ("domain", {"modalities": ["MR"], "spacing_mm": [2, 1]}),
        ("halo", 1.5),
        ("tile_tolerance", -1e-3),
        ("weights", {"fidelity": {"file": "../../secret", "sha256": "0" * 64}}),
        ("weights", {"fidelity": {"file": "a.safetensors", "sha256": "abc"}}),
        ("weights", {"best": {"file": "a.safetensors", "sha256": "0" * 64}}),
        ("factor_range", [1.5, 8]),
    ],
)
def test_a_wrong_value_is_named(manifest: Manifest, key: str, value: Any) -> None:
    with pytest.raises(ModelError) as error:
        Manifest.from_json(content(manifest, **{key: value}))
    one_sentence(error, key)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "inplane", "factors": [2, 2, 2]},
        {"task": "inplane", "spatial_dims": 3},
        {"task": "through-plane", "factors": [1, 1, 4], "factor_range": None},
        {"task": "through-plane", "factors": [2, 1, 4], "factor_range": [1.5, 8]},
        {"task": "volumetric", "factors": [2, 2, 2], "spatial_dims": 2},
    ],
)
def test_the_task_must_fit_factors_and_dimensions(manifest: Manifest, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as error:
        Manifest.from_json(content(manifest, **changes))
    one_sentence(error, changes["task"].replace("inplane", "in-plane"))


def test_a_later_layout_asks_for_an_update(manifest: Manifest) -> None:
    with pytest.raises(ModelError, match="update MedSR"):
        Manifest.from_json(content(manifest, format=FORMAT + 1))


@pytest.mark.parametrize("layout", [None, "1", 0, True])
def test_the_layout_number_is_needed(manifest: Manifest, layout: Any) -> None:
    with pytest.raises(ModelError, match="format"):
        Manifest.from_json(content(manifest, format=layout))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}'])
def test_a_damaged_file_is_one_sentence_with_its_path(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelError) as error:
        Manifest.read(tmp_path)
    one_sentence(error, str(tmp_path / "manifest.json"))


def test_a_folder_without_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give the folder of a model"):
        Manifest.read(tmp_path)


def test_keys_of_other_tools_are_ignored(manifest: Manifest) -> None:
    assert Manifest.from_json(content(manifest, changelog={"1.0": "first"})) == manifest


def with_weights(manifest: Manifest, folder: Path) -> Manifest:
    (folder / "a.safetensors").write_bytes(b"weights")
    return replace(
        manifest,
        weights={"fidelity": {"file": "a.safetensors", "sha256": sha256_of(folder / "a.safetensors")}},
    )


def test_untouched_weights_verify_and_one_changed_bit_does_not(manifest: Manifest, tmp_path: Path) -> None:
    complete = with_weights(manifest, tmp_path)
    complete.verify(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"weightr")
    with pytest.raises(ModelError) as error:
        complete.verify(tmp_path)
    one_sentence(error, str(tmp_path / "a.safetensors"), "SHA-256")


def test_missing_weights_are_named(manifest: Manifest, tmp_path: Path) -> None:
    complete = with_weights(manifest, tmp_path)
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(ModelError, match=r"a\.safetensors is missing"):
        complete.verify(tmp_path)


def test_a_model_without_weights_does_not_verify(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        manifest.verify(tmp_path)


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("MedSRLib.volumes.storage.os.fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="choose another folder"):
        write_atomically(tmp_path / "file" / "a", b"new")


def test_monais_bundle_tools_read_the_manifest_and_run_its_network(manifest: Manifest, tmp_path: Path) -> None:
    from monai.bundle import verify_net_in_out

    replace(manifest, slices=3, arguments={**ARGUMENTS, "in_channels": 3}).write(tmp_path)
    (tmp_path / "network.json").write_text(
        json.dumps(
            {
                "network": {
                    "_target_": "MedSRLib.networks.build.build_generator",
                    "architecture": "@_meta_#architecture",
                    "arguments": "@_meta_#arguments",
                }
            }
        )
    )
    verify_net_in_out(
        net_id="network",
        meta_file=str(tmp_path / "manifest.json"),
        config_file=str(tmp_path / "network.json"),
        device="cpu",
        any=8,
    )


def test_the_keys_monai_requires_are_there(manifest: Manifest) -> None:
    written = content(manifest)
    assert {
        "version",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    } <= set(written)
    needed = {"type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range"}
    for tensor in (
        written["network_data_format"]["inputs"]["image"],
        written["network_data_format"]["outputs"]["pred"],
    ):
        assert needed | {"is_patch_data", "channel_def"} <= set(tensor)
