"""Identify the owner of a run folder, and find out whether that process is gone."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from charlm.runs.json_records import Count, Record, Text, Told

MAX_PID = 1 << 31


@dataclass(frozen=True, eq=False, kw_only=True)
class Owner(Record):
    """What a lease says about its owner; everything is None if the lease cannot be read.

    Args:
        host: name of the machine.
        machine: identifies the machine since its last start.
        processes: identifies the container on the machine.
        pid: number of the process.
        since: local time with its offset.
        mark: identifies this ownership among all others.
    """

    host: Told[Text] = None
    machine: Told[Text] = None
    processes: Told[Text] = None
    pid: Told[Count] = None
    since: Told[Text] = None
    mark: Told[Text] = None

    @property
    def sentence(self) -> str:
        """The owner's description for a message."""
        if self.pid is None:
            return "another process"
        return f"process {self.pid} on {self.host}, since {self.since}"


def machine() -> str:
    """Return what identifies this machine since its last start; processes on other machines cannot be checked."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def process_table() -> str:
    """Return what identifies this container on the machine, as each container counts its processes from 1."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def is_dead(owner: Owner) -> bool:
    """Say whether an owner is known to be gone; only processes that are visible to this one can be checked."""
    if (owner.machine, owner.processes) != (machine(), process_table()):
        return False
    if owner.pid is None or not 0 < owner.pid < MAX_PID:
        return True
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # The process exists and belongs to another user.
        return False
    return False
