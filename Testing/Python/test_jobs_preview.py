"""Parts of a volume from the worker: as they come, from what it keeps ready, and out of the way of an enhancement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_support import Bench, Record, bench, job_of, script

from MedSRLib.enhancement.preview import Preview
from MedSRLib.enhancement.request import Options
from MedSRLib.errors import UsageError
from MedSRLib.jobs.preview import PreviewJob
from MedSRLib.jobs.runner import State
from MedSRLib.models.catalogue import Model
from MedSRLib.volumes.volume import Volume

BOXES = ((10, 30, 12, 28, 2, 3), (0, 10, 0, 12, 2, 3))
OPTIONS = Options(device="cpu", point_spread=0.8)
SIZE = (6, 40, 36)


class Parts(dict):
    """What a preview was told, by box."""

    def job(self, volume: Volume, model: Model, kept: str = "a", boxes: Any = BOXES) -> PreviewJob:
        return PreviewJob(kept, volume, model.folder, OPTIONS, boxes, self.__setitem__)


@pytest.fixture
def volume(smooth_volume: Callable[..., Volume]) -> Volume:
    return smooth_volume(SIZE)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench("subprocess", tmp_path_factory.mktemp("jobs")) as made:
        yield made


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_parts_are_what_a_preview_in_process_gives(warm: Bench, volume: Volume, tiny_model: Model) -> None:
    parts = Parts()
    record = warm.run(parts.job(volume, tiny_model))
    assert record.error is None
    expected = dict(Preview(volume, tiny_model, OPTIONS).parts(BOXES))
    assert list(parts) == list(BOXES)
    for box, voxels in expected.items():
        assert np.array_equal(parts[box], voxels)
    assert files(warm.folder) == []


def test_the_volume_is_written_and_prepared_once(
    warm: Bench, volume: Volume, tiny_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import MedSRLib.jobs.preview as module

    written, save = [], np.save
    monkeypatch.setattr(module.np, "save", lambda path, *a, **o: (written.append(path), save(path, *a, **o)))
    pid, parts = None, Parts()
    for kept, count in (("once", 1), ("once", 1), ("another", 2), ("once", 3)):
        assert warm.run(parts.job(volume, tiny_model, kept)).error is None
        assert len(written) == count
        pid = pid or warm.runner.worker_pid
        assert warm.runner.worker_pid == pid
    # An enhancement needs the memory.
    assert warm.run(job_of(volume, tiny_model.folder, device="cpu")).error is None
    assert warm.run(parts.job(volume, tiny_model, "once")).error is None
    assert len(written) == 5  # its own input, too


def test_a_preview_after_a_failed_one_is_prepared_anew(warm: Bench, volume: Volume, tiny_model: Model) -> None:
    assert warm.run(Parts().job(volume, tiny_model, "good")).error is None
    flat = volume.with_voxels(np.full(SIZE, 7, np.int16))
    sentence, _ = warm.run(Parts().job(flat, tiny_model, "flat")).error
    assert "nothing to enhance" in sentence
    assert warm.run(Parts().job(volume, tiny_model, "good")).error is None


SLOW = """
ready()
job = hear()
folder = job['folder']
import numpy
while True:
    message = hear()
    if message['do'] == 'cancel':
        say(json.dumps({'event': 'cancelled', 'job': message['job']}))
    else:
        say(json.dumps({'event': 'error', 'job': message['job'], 'kind': 'X', 'exit_code': 3,
                        'sentence': message['do'], 'details': ''}))
"""


def test_what_is_submitted_while_a_preview_is_cancelled_waits_for_its_end(
    tmp_path: Path, volume: Volume, tiny_model: Model
) -> None:
    with bench("subprocess", tmp_path / "jobs", script(SLOW)) as made:
        preview = made.submit(Parts().job(volume, tiny_model))
        made.wait(lambda: made.runner.state is State.RUNNING)
        with pytest.raises(UsageError, match="is running"):
            made.submit(job_of(volume, tiny_model.folder))
        made.runner.cancel()
        job = made.submit(job_of(volume, tiny_model.folder))
        with pytest.raises(UsageError, match="is running"):
            made.submit(job_of(volume, tiny_model.folder))
        made.wait(lambda: job.endings)
        assert preview.cancelled
        assert job.error is not None
        assert job.error[0] == "enhance"
        assert files(tmp_path) == []


def test_cancelling_drops_what_waits_too(tmp_path: Path, volume: Volume, tiny_model: Model) -> None:
    with bench("subprocess", tmp_path / "jobs", script(SLOW)) as made:
        preview = made.submit(Parts().job(volume, tiny_model))
        made.wait(lambda: made.runner.state is State.RUNNING)
        made.runner.cancel()
        job = made.submit(job_of(volume, tiny_model.folder))
        made.runner.cancel()
        made.wait(lambda: job.endings and preview.endings)
        assert preview.cancelled
        assert job.cancelled
        assert files(tmp_path) == []


def test_a_worker_that_dies_while_it_is_cancelled_is_replaced_for_what_waits(
    tmp_path: Path, volume: Volume, tiny_model: Model
) -> None:
    dies = script("ready(); hear(); hear(); os._exit(9)")
    with bench("subprocess", tmp_path / "jobs", dies) as made:
        preview = made.submit(Parts().job(volume, tiny_model))
        made.wait(lambda: made.runner.state is State.RUNNING)
        made.runner.cancel()
        made.runner._command = None  # MedSR's own from now on
        parts = Parts()
        record: Record = made.submit(parts.job(volume, tiny_model))
        made.wait(lambda: record.endings)
        assert preview.cancelled
        assert record.error is None
        assert list(parts) == list(BOXES)


def test_closing_in_mid_preview_leaves_no_file(tmp_path: Path, volume: Volume, tiny_model: Model) -> None:
    with bench("subprocess", tmp_path / "jobs", script(SLOW)) as made:
        made.submit(Parts().job(volume, tiny_model))
        made.wait(lambda: made.runner.state is State.RUNNING)
        made.runner.cancel()
        made.submit(job_of(volume, tiny_model.folder))
        made.runner.close()
        assert files(tmp_path) == []
