"""The shipped network that estimates acquisitions: its folder, its hash, its weights."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from MedSRLib.errors import ModelError
from MedSRLib.models.catalogue import resources_folder
from MedSRLib.volumes.storage import hash_mismatch, sha256_of

if TYPE_CHECKING:
    from MedSRLib.networks.acquisition_estimator import AcquisitionEstimator

FOLDER = "Estimators/acquisition"


@lru_cache(maxsize=1)
def load_estimator(folder: Path | None = None) -> AcquisitionEstimator:
    """The estimator with its weights, in evaluation mode; read once a process.

    Args:
        folder: that holds ``manifest.json`` and the weights; None for the shipped one.

    Raises:
        ModelError: a file is missing, or is not the one that the manifest names.
    """
    from safetensors.torch import load_file

    from MedSRLib.networks.acquisition_estimator import AcquisitionEstimator

    place = resources_folder() / FOLDER if folder is None else folder
    try:
        entry = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        weights = place / entry["weights"]["file"]
        if sha256_of(weights) != entry["weights"]["sha256"]:
            raise ModelError(hash_mismatch(weights))
        network = AcquisitionEstimator(**entry["arguments"])
        network.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the estimator in {place} cannot be read ({error}): install MedSR again") from error
    return network.eval()
