"""The network that estimates acquisitions, the shipped one or the user's: its folder, its hash, its weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedSRLib.errors import ModelError, OutputError
from MedSRLib.models.catalogue import resources_folder
from MedSRLib.volumes.storage import hash_mismatch, sha256_of, write_atomically

if TYPE_CHECKING:
    from MedSRLib.networks.acquisition_estimator import AcquisitionEstimator

FOLDER = "Estimators/acquisition"
OWN = "MEDSR_ESTIMATOR"
"""Environment variable that names the folder of the user's own estimator."""
_MANIFEST, _WEIGHTS = "manifest.json", "weights.safetensors"


def estimator_folder() -> Path:
    """Of the estimator that is used: the user's own where ``MEDSR_ESTIMATOR`` names one, else the shipped one."""
    own = os.environ.get(OWN)
    return Path(own).expanduser() if own else resources_folder() / FOLDER


def own_estimator() -> tuple[str, ...]:
    """A sentence for reports where the estimator is the user's own, without its place; none for the shipped one.

    It has been loaded before, so that its manifest can be read.
    """
    if not os.environ.get(OWN):
        return ()
    entry = json.loads((estimator_folder() / _MANIFEST).read_text(encoding="utf-8"))
    name = f"{entry.get('name', 'an estimator')} {entry.get('version', '')}".rstrip()
    return (f"point spread and noise were estimated by {name}, which {OWN} names",)


def load_estimator(folder: Path | None = None) -> AcquisitionEstimator:
    """The estimator with its weights, in evaluation mode; each is read once a process.

    Args:
        folder: that holds ``manifest.json`` and the weights; None for ``estimator_folder``.

    Raises:
        ModelError: a file is missing, or is not the one that the manifest names.
    """
    return _load(estimator_folder() if folder is None else folder)


@lru_cache(maxsize=2)
def _load(place: Path) -> AcquisitionEstimator:
    from safetensors.torch import load_file

    from MedSRLib.networks.acquisition_estimator import AcquisitionEstimator

    try:
        entry = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        weights = place / entry["weights"]["file"]
        if sha256_of(weights) != entry["weights"]["sha256"]:
            raise ModelError(hash_mismatch(weights))
        network = AcquisitionEstimator(**entry["arguments"])
        network.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        remedy = f"set {OWN} to the folder of one, or to nothing" if os.environ.get(OWN) else "install MedSR again"
        raise ModelError(f"the estimator in {place} cannot be read ({error}): {remedy}") from error
    return network.eval()


def save_estimator(folder: Path, network: AcquisitionEstimator, manifest: Mapping[str, Any]) -> Path:
    """Writes the weights and their manifest, which ``load_estimator`` reads, and returns the folder.

    Args:
        folder: made when missing; an estimator in it is replaced.
        network: on the CPU.
        manifest: what else it says: name, version, licence, training.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from safetensors.torch import save

    content = {
        **manifest,
        "arguments": network.arguments,
        "weights": {"file": _WEIGHTS, "sha256": ""},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): choose another --output") from error
    write_atomically(folder / _WEIGHTS, save({name: one.contiguous() for name, one in network.state_dict().items()}))
    content["weights"]["sha256"] = sha256_of(folder / _WEIGHTS)
    write_atomically(folder / _MANIFEST, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
    return folder
