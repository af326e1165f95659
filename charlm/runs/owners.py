"""Who owns a run folder, and whether that process is known to be gone."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from charlm.runs.json_records import Count, Record, Text, Told

MAX_PID = 1 << 31


@dataclass(frozen=True, eq=False, kw_only=True)
class Owner(Record):
    """What a lease tells of its owner; a lease that cannot be read tells nothing.

    Args:
        host: the machine's name.
        machine: what tells it, since it was started, from all others.
        processes: what tells this container from others on the machine.
        pid: of the process.
        since: local time, with its offset.
        mark: what tells this ownership from every other.
    """

    host: Told[Text] = None
    machine: Told[Text] = None
    processes: Told[Text] = None
    pid: Told[Count] = None
    since: Told[Text] = None
    mark: Told[Text] = None

    @property
    def sentence(self) -> str:
        """Who it is, in a message."""
        if self.pid is None:
            return "another process"
        return f"process {self.pid} on {self.host}, since {self.since}"


def machine() -> str:
    """Return what tells this machine, since it was started, from all others: processes elsewhere cannot be asked."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def process_table() -> str:
    """Return what tells this container from others on the machine, each of which counts its processes from 1."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def is_dead(owner: Owner) -> bool:
    """Say whether an owner is known to be gone: only the processes that this one can see can be asked."""
    if (owner.machine, owner.processes) != (machine(), process_table()):
        return False
    if owner.pid is None or not 0 < owner.pid < MAX_PID:
        return True
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # It is another user's.
        return False
    return False
