"""Which installed models do what the user wants, and which of them is taken without asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from MedSRLib.errors import ModelError
from MedSRLib.models.catalogue import AUTO, FULL, LITE, catalogued_folders, find_model, read_catalogued, resolve_model
from MedSRLib.models.manifest import Manifest


@dataclass(frozen=True)
class Installed:
    """The models that are there.

    Args:
        manifests: of those that can be used, by name.
        problems: a sentence for every folder that cannot be.
    """

    manifests: tuple[Manifest, ...]
    problems: tuple[str, ...]

    @classmethod
    def find(cls) -> Installed:
        """Reads the manifests in the catalogue; weights are not touched."""
        manifests, problems = [], []
        for folder in catalogued_folders():
            try:
                manifests.append(read_catalogued(folder).manifest)
            except ModelError as error:
                problems.append(str(error))
        return cls(tuple(manifests), tuple(problems))

    def for_task(self, task: str, factors: Sequence[float] | None) -> list[Manifest]:
        """Those for a task and, unless None, exactly these factors."""
        return [m for m in self.manifests if m.task == task and factors in (None, m.factors)]

    def automatic(self, fitting: Sequence[Manifest]) -> str | None:
        """What to ask ``enhance`` for when the user leaves the choice to MedSR: "auto", a name, or None for nothing.

        Args:
            fitting: from ``for_task``.
        """
        names = [m.name for m in fitting if m.domain["modalities"]]
        if LITE in names or FULL in names:
            return AUTO
        return names[0] if names else None


def manifest_for(model: str, device_label: str) -> Manifest:
    """The manifest of what will run.

    Args:
        model: a name in the catalogue, or "auto".
        device_label: as in a report; "CPU" for the processor.

    Raises:
        ModelError: there is no such model.
    """
    if model != AUTO:
        return find_model(model).manifest
    return resolve_model(AUTO, "cpu" if device_label == "CPU" else "cuda").manifest
