"""The tasks there are. A new one is a file like those imported here, and one line in this list."""

from __future__ import annotations

from MedSRLib.models.in_plane_task import InPlaneTask
from MedSRLib.models.task import Task
from MedSRLib.models.through_plane_task import ThroughPlaneTask
from MedSRLib.models.volumetric_task import VolumetricTask

TASKS: dict[str, Task] = {task.name: task for task in (InPlaneTask(), VolumetricTask(), ThroughPlaneTask())}
"""By name."""
