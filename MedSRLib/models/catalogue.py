"""The models there are: those shipped, those of the user, and any model folder; verified before they are loaded."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from MedSRLib.errors import ModelError
from MedSRLib.models.manifest import FILE_NAME, Manifest
from MedSRLib.volumes.storage import hash_mismatch, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from MedSRLib.networks.build import Generator

AUTO = "auto"
LITE = "inplane-x2-lite"
"""What "auto" means on a CPU."""
FULL = "inplane-x2"
"""What "auto" means on a GPU, when it is installed."""
WeightsName = Literal["fidelity", "perceptual"]


@dataclass(frozen=True)
class Model:
    """A model folder and what its manifest says.

    Args:
        folder: with the manifest and the weights.
        manifest: as read.
        fidelity: alpha of the weights that are loaded where nothing else is said; None for the fidelity weights.
    """

    folder: Path
    manifest: Manifest
    fidelity: float | None = None

    @property
    def title(self) -> str:
        """The name, with "@" and the fidelity where one is set; ``find_model`` understands it."""
        return self.manifest.name if self.fidelity is None else f"{self.manifest.name}@{self.fidelity:g}"

    @classmethod
    def read(cls, folder: Path) -> Model:
        """The model in a folder; its weights are not touched yet.

        Raises:
            ModelError: the folder has no valid manifest.
        """
        return cls(Path(folder), Manifest.read(folder))

    @property
    def hashes_in_use(self) -> dict[str, str]:
        """SHA-256 of each set of weights that its own fidelity takes from."""
        return self.manifest.hashes_in_use(self.fidelity)

    def load_generator(self, *, fidelity: float | None = None) -> Generator:
        """The network with its weights, float32, on the CPU, in evaluation mode.

        Args:
            fidelity: alpha of the weight interpolation ``alpha W_fidelity + (1 - alpha) W_perceptual`` (ESRGAN,
                section 3.4): 1 is faithful, 0 is pleasing. None: the model's own ``fidelity``.

        Raises:
            UsageError: ``fidelity`` is not within 0..1.
            ModelError: a file is missing, changed, does not fit the architecture, or there are no perceptual weights.
        """
        fidelity = self.fidelity if fidelity is None else fidelity
        self.manifest.require_fidelity(fidelity)
        state = self._weights("fidelity")
        if fidelity is not None and fidelity < 1:
            other = self._weights("perceptual")
            if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in other.items()}:
                raise ModelError(f"the two sets of weights in {self.folder} do not match: install the model again")
            state = {name: fidelity * value + (1 - fidelity) * other[name] for name, value in state.items()}
        return _generator(self.manifest, state).eval()

    def _weights(self, which: WeightsName) -> dict[str, Tensor]:
        """Weights as float32. The bytes that are hashed are the bytes that are loaded."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        entry = self.manifest.weights.get(which)
        if entry is None:
            raise ModelError(f"the model {self.manifest.name} has no {which} weights: train it or install it again")
        path = self.folder / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path} cannot be read ({error.strerror}): install the model again") from error
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ModelError(hash_mismatch(path))
        try:
            return {name: value.float() for name, value in load(content).items()}
        except SafetensorError as error:
            raise ModelError(f"{path} is not a safetensors file ({error}): install the model again") from error


def resources_folder() -> Path:
    """``Resources``: inside the package in a wheel, beside it in a source tree and in 3D Slicer."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "Resources"
    return inside if inside.is_dir() else package.parent / "Resources"


def user_folders() -> list[Path]:
    """Where the user's own models are: the folders in ``MEDSR_MODELS``, or else ``~/.medsr/models``."""
    stated = os.environ.get("MEDSR_MODELS", "")
    return [Path(p).expanduser() for p in stated.split(os.pathsep) if p] or [Path.home() / ".medsr" / "models"]


def catalogued_folders() -> list[Path]:
    """Every folder with a manifest, sorted by name; of two with one name the user's own is taken."""
    found: dict[str, Path] = {}
    for root in (*user_folders(), resources_folder() / "Models"):
        for manifest in root.glob(f"*/{FILE_NAME}"):
            found.setdefault(manifest.parent.name, manifest.parent)
    return [found[name] for name in sorted(found)]


def available_models() -> list[Model]:
    """Every model that can be called by its name.

    Raises:
        ModelError: a manifest is damaged, or names another model than its folder does.
    """
    return [read_catalogued(folder) for folder in catalogued_folders()]


def untrained_configurations() -> dict[Path, str]:
    """Shipped training configurations whose model is not in the catalogue, with their descriptions.

    That of the acquisition estimator, which is no model, is not among them.
    """
    installed = {folder.name for folder in catalogued_folders()}
    found = {}
    for path in sorted((resources_folder() / "Training").glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if table.get("task") != "acquisition" and table["name"] not in installed:
            found[path] = table["description"]
    return found


def read_catalogued(folder: Path) -> Model:
    """The model in a folder of the catalogue, whose name must be the model's.

    Raises:
        ModelError: the manifest is damaged or has another name.
    """
    model = Model.read(folder)
    if model.manifest.name != folder.name:
        raise ModelError(f"{folder} holds the model {model.manifest.name}: rename the folder to that name")
    return model


def find_model(name_or_folder: str | Path) -> Model:
    """A model by its name in the catalogue or by its folder.

    Args:
        name_or_folder: a word is looked up in the catalogue first; anything with a path separator is a folder.
            "NAME@0.5" is the model at fidelity 0.5.

    Raises:
        ModelError: there is no such model (the sentence lists those there are), or its manifest is damaged.
    """
    name, at, fidelity = str(name_or_folder).rpartition("@")
    if at and re.fullmatch(r"0|1|[01]?\.\d+", fidelity):
        return replace(find_model(name), fidelity=float(fidelity))
    folders = catalogued_folders()
    for folder in folders:
        if folder.name == str(name_or_folder):
            return read_catalogued(folder)
    if (Path(name_or_folder) / FILE_NAME).is_file():
        return Model.read(Path(name_or_folder))
    names = ", ".join(folder.name for folder in folders) or "none installed"
    raise ModelError(f"there is no model {str(name_or_folder)!r}: choose one of {names}, or give a model's folder")


def resolve_model(name_or_folder: str | Path, device: str, *, lite: str = LITE, full: str = FULL) -> Model:
    """``find_model``, where "auto" is the model that suits the device; the manifest has its name.

    Args:
        name_or_folder: as for ``find_model``, or "auto".
        device: "cpu" or any other torch device type, such as "cuda" or "cuda:1".
        lite, full: what "auto" means on a CPU, and on a GPU where the full one is installed.

    Raises:
        ModelError: as ``find_model``.
    """
    if str(name_or_folder) != AUTO:
        return find_model(name_or_folder)
    installed = {folder.name for folder in catalogued_folders()}
    return find_model(full if device != "cpu" and full in installed else lite)


def save_model(
    folder: Path,
    manifest: Manifest,
    generator_state: Mapping[str, Tensor],
    weights: WeightsName = "fidelity",
    half: bool = False,
) -> Model:
    """Writes weights as safetensors and the manifest with their SHA-256, each file in one step.

    Args:
        folder: made when it is not there; other weights that ``manifest.weights`` names stay.
        manifest: what the model is; its entry for ``weights`` is replaced.
        generator_state: state dict that fits the manifest's architecture exactly.
        weights: which set these are.
        half: store float16, half the size; they are loaded as float32.

    Returns:
        The model as written, with the completed manifest.

    Raises:
        ModelError: the state does not fit the architecture, or a weight is not finite in the stored type.
        OutputError: the folder cannot be written to.
    """
    import torch
    from safetensors.torch import save

    _generator(manifest, generator_state)
    kind = torch.float16 if half else torch.float32
    state = {name: value.detach().to("cpu", kind).contiguous() for name, value in generator_state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ModelError(f"a weight of {manifest.name} is not finite as {kind}: train again or store full precision")
    content = save(state)
    entry = {"file": f"{weights}.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    complete = replace(manifest, weights={**manifest.weights, weights: entry})
    write_atomically(Path(folder) / entry["file"], content)
    complete.write(folder)
    return Model(Path(folder), complete)


def _generator(manifest: Manifest, state: Mapping[str, Tensor]) -> Generator:
    """The manifest's architecture holding ``state``; the caller's random numbers are left as they were.

    Built on the CPU: the first use of the meta device costs seconds, initialising even the largest network less.

    Raises:
        ModelError: the state does not fit.
    """
    import torch

    from MedSRLib.networks.build import build_generator

    with torch.random.fork_rng(devices=[]):
        generator = build_generator(manifest.architecture, manifest.arguments)
    try:
        generator.load_state_dict(dict(state), strict=True, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ModelError(f"the weights of {manifest.name} do not fit its architecture: {first}") from error
    return generator
