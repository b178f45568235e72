"""``medsr models``: list, show, verify, import and export models."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MedSRLib.errors import ModelError
from MedSRLib.models.card import kind_rows
from MedSRLib.models.catalogue import (
    Model,
    catalogued_folders,
    find_model,
    read_catalogued,
    untrained_configurations,
    user_folders,
)

EXAMPLES = """examples:
  medsr models list
  medsr models show inplane-x2-lite --json
  medsr models verify
  medsr models import RealESRGAN_x4plus.pth --name realesrgan-x4plus --licence BSD-3-Clause
  medsr models export inplane-x2-lite bundle --format bundle
  medsr models export inplane-x2-lite x2.onnx

A model is called by its name or by its folder. Models of your own are looked for in the folders that the
environment variable MEDSR_MODELS lists, or else in .medsr/models in your home folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``medsr models`` to its parser."""
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name every installed model", description="name every installed model")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="print what a model says about itself")
    show.add_argument("name", metavar="NAME", help="name or folder of a model")
    show.add_argument("--json", action="store_true", help="print the whole manifest as JSON")
    verify = actions.add_parser("verify", help="compare weights with the SHA-256 in their manifests")
    verify.add_argument("names", metavar="NAME", nargs="*", help="names or folders of models; all when none is given")
    bring = actions.add_parser(
        "import",
        help="make a model from an ESRGAN or Real-ESRGAN checkpoint",
        description="Make a model from an ESRGAN, Real-ESRGAN or BasicSR checkpoint, as one grey channel.\n"
        "Files are read without executing anything in them.",
        epilog="example: medsr models import realesrgan-x4plus.param --name realesrgan-x4plus",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bring.add_argument("source", metavar="SOURCE", type=Path, help=".pth, .pt, .ckpt, .safetensors, or ncnn's .param")
    bring.add_argument("--name", required=True, help="the model's name")
    bring.add_argument("--output", metavar="DIR", type=Path, help="where its folder is made (default: your models)")
    bring.add_argument("--licence", metavar="TEXT", default="unknown", help="licence of the weights")
    bring.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    export = actions.add_parser(
        "export",
        help="write a model for other tools, as a MONAI bundle or ONNX",
        description="Write a model's generator for other tools. It takes and gives normalised grey levels: without\n"
        "MedSR's interpolation and projection around it, it is not the whole method.",
        epilog="example: medsr models export inplane-x2-lite x2.onnx",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("name", metavar="NAME", help="name or folder of a model")
    export.add_argument("output", metavar="OUTPUT", type=Path, help="folder of the bundle, or the .onnx file")
    export.add_argument("--format", choices=("bundle", "onnx"), help="default: onnx when OUTPUT ends in .onnx")
    export.add_argument("--fidelity", type=float, metavar="0..1", help="1 for the faithful weights, 0 for the pleasing")


def run(arguments: argparse.Namespace) -> int:
    """Runs one action; results go to stdout, messages to stderr.

    Returns:
        0, or 3 when ``list`` or ``verify`` met a damaged model.
    """
    actions = {"list": _list, "show": _show, "verify": _verify, "import": _import, "export": _export}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    models, damaged = [], False
    for folder in catalogued_folders():
        try:
            models.append(read_catalogued(folder))
        except ModelError as error:
            damaged = True
            print(f"medsr: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([_summary(model) for model in models], indent=2, ensure_ascii=False))
    elif models:
        rows = [("NAME", "VERSION", "TASK", "FACTORS", "FOR", "LICENCE")]
        for model in models:
            m = model.manifest
            modalities = ", ".join(m.domain["modalities"]) or "natural images"
            rows.append((m.name, m.version, m.task, m.factors_text, modalities, m.licence))
        _print_table(rows)
    elif not damaged:
        print("medsr: no models are installed", file=sys.stderr)
    if not arguments.json and (ready := untrained_configurations()):
        print('\nNot trained, but ready for "medsr train FILE --data VOLUMES/" (--dry-run says what that takes):')
        for path, description in ready.items():
            print(f"{path}\n    {description}")
    return ModelError.exit_code if damaged else 0


def _show(arguments: argparse.Namespace) -> int:
    model = find_model(arguments.name)
    if arguments.json:
        print(json.dumps({**model.manifest.to_json(), "folder": str(model.folder)}, indent=2, ensure_ascii=False))
        return 0
    m = model.manifest
    spacing = m.domain["spacing_mm"]
    lines = {
        "name": f"{m.name} {m.version}",
        "folder": str(model.folder),
        "task": f"{m.task}, factors {m.factors_text}, predicts the {m.predicts}",
        "for": ", ".join(m.domain["modalities"]) or "natural images",
        "spacing": f"{spacing[0]:g} to {spacing[1]:g} mm" if spacing else "any",
        "network": f"{m.architecture} {json.dumps(m.arguments)}",
        "halo": f"{m.halo} voxels",
        "weights": ", ".join(f"{kind} {entry['sha256'][:12]}" for kind, entry in m.weights.items()) or "none",
        "scores": _scores(m.scores),
        "licence": m.licence,
        "about": m.description,
    }
    for key, value in lines.items():
        print(f"{key:<9}{value}")
    if kinds := m.scores.get("kinds"):
        print("\ngain in dB of PSNR over B-spline with back-projection, by kind of image")
        _print_table(kind_rows(kinds))
    return 0


def _scores(scores: dict[str, Any]) -> str:
    """What a training run measured; what was measured by kind of image has a table."""
    measured = {name: value for name, value in scores.items() if name != "kinds"}
    return json.dumps(measured) if measured else "below" if scores else "none"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _verify(arguments: argparse.Namespace) -> int:
    damaged = False
    for name in arguments.names or catalogued_folders():
        try:
            model = find_model(name)
            model.manifest.verify(model.folder)
        except ModelError as error:
            damaged = True
            print(f"medsr: {error}", file=sys.stderr)
        else:
            print(f"{model.manifest.name}: verified")
    return ModelError.exit_code if damaged else 0


def _import(arguments: argparse.Namespace) -> int:
    from MedSRLib.models.importer import import_model

    model = import_model(
        arguments.source,
        arguments.output or user_folders()[0],
        name=arguments.name,
        licence=arguments.licence,
        overwrite=arguments.overwrite,
    )
    print(model.folder)
    print(f"medsr: {model.manifest.description}", file=sys.stderr)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from MedSRLib.models.exporter import export_bundle, export_onnx

    chosen = arguments.format or ("onnx" if arguments.output.suffix == ".onnx" else "bundle")
    export = export_onnx if chosen == "onnx" else export_bundle
    print(export(find_model(arguments.name), arguments.output, fidelity=arguments.fidelity))
    return 0


def _summary(model: Model) -> dict[str, Any]:
    keys = ("name", "version", "task", "factors", "factor_range", "domain", "licence", "description")
    return {**{key: getattr(model.manifest, key) for key in keys}, "folder": str(model.folder)}
