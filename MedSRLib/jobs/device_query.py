"""The devices of this computer by name, asked of a child process: torch takes seconds to import, and holds a GPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from MedSRLib.jobs.transport import Listener, Transport, command_of, worker_environment

Devices = list[tuple[str, str]]
"""Names as ``enhance`` takes them, each with its label for people; the CPU first."""


class DeviceQuery:
    """Asks once, in the background.

    Args:
        make_transport: as for ``JobRunner``.
    """

    def __init__(self, make_transport: Callable[[], Transport]) -> None:
        self._make_transport = make_transport
        self._transport: Transport | None = None
        self._answer = b""

    def start(self, on_found: Callable[[Devices], None]) -> None:
        """Calls back with what was found, and not at all when the question cannot be answered.

        Args:
            on_found: never called from within this method.

        Raises:
            MissingPackageError: there is no Python interpreter to ask with.
        """
        self.close()
        self._answer = b""
        transport = self._transport = self._make_transport()

        def exited(code: int | None, problem: str) -> None:
            self._transport = None
            devices = parse(self._answer) if code == 0 else []
            if devices:
                on_found(devices)

        transport.start(
            command_of("device_query"),
            worker_environment(),
            Listener(output=self._keep, log=lambda data: None, exited=exited),
        )

    def poll(self) -> None:
        """Delivers what has arrived, where no event loop does."""
        if self._transport is not None:
            self._transport.poll()

    def close(self) -> None:
        """Ends the child; nothing is called back any more."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.stop(quietly=False, worker_pid=None)

    def _keep(self, data: bytes) -> None:
        self._answer += data


def parse(answer: bytes) -> Devices:
    """The last line of what the child wrote; empty when that is no list of devices."""
    lines = answer.decode("utf-8", errors="replace").splitlines()
    try:
        return [(str(name), str(label)) for name, label in json.loads(lines[-1])]
    except (IndexError, TypeError, ValueError):
        return []


def find_devices() -> Devices:
    """What torch sees here. Imports torch."""
    import torch

    from MedSRLib.enhancement.devices import device_label

    found = [torch.device("cpu")]
    found += [torch.device("cuda", n) for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return [(str(device), device_label(device)) for device in found]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(find_devices()))
