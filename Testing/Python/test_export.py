"""Exported models compute what the model computes, and say what they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_tiny_model

from MedSRLib.commands.main import main
from MedSRLib.errors import MissingPackageError, UsageError
from MedSRLib.models.catalogue import Model
from MedSRLib.models.exporter import export_bundle, export_onnx


def test_a_bundle_gives_monai_the_same_network(tiny_model: Model, tmp_path: Path) -> None:
    from monai.bundle import ConfigParser

    folder = export_bundle(tiny_model, tmp_path / "bundle")
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    parser["bundle_root"] = str(folder)
    network = parser.get_parsed_content("network").cpu()
    x = torch.rand(1, 3, 12, 10)
    with torch.inference_mode():
        assert torch.equal(network(x), tiny_model.load_generator()(x))
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    required = ("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "network_data_format")
    assert all(key in metadata for key in (*required, "task", "description", "authors", "copyright"))
    assert "Not for primary diagnosis" in (folder / "docs" / "README.md").read_text()


@pytest.mark.parametrize("dims", [2, 3])
def test_onnx_computes_the_same_for_other_image_sizes(tmp_path: Path, dims: int) -> None:
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    changes = {"task": "volumetric", "spatial_dims": 3, "factors": (2, 2, 2)} if dims == 3 else {}
    model = make_tiny_model(tmp_path / "tiny", **changes)
    path = export_onnx(model, tmp_path / "tiny.onnx")
    onnx.checker.check_model(str(path))
    x = torch.rand(2, 1, *(7, 9, 6)[:dims])
    answer = ReferenceEvaluator(str(path)).run(None, {"image": x.numpy()})[0]
    with torch.inference_mode():
        assert np.abs(answer - model.load_generator()(x).numpy()).max() < 1e-4


def test_onnx_without_its_package_says_what_to_install(
    tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match="pip install onnx"):
        export_onnx(tiny_model, tmp_path / "tiny.onnx")


def test_nothing_is_overwritten(tiny_model: Model, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").touch()
    for export, name in ((export_bundle, ""), (export_onnx, "there.onnx")):
        with pytest.raises(UsageError, match="exists"):
            export(tiny_model, tmp_path / name)


def test_the_command_exports_a_bundle(
    tiny_model: Model, models_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "export", "tiny-x2", str(tmp_path / "bundle")]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "bundle"
    assert (tmp_path / "bundle" / "models" / "model.pt").is_file()
