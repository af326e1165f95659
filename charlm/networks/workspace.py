"""Memory that one training step after another uses, so that the system need not provide fresh pages each time."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor


class Workspace:
    """Buffers of floats that are lent and given back; one that is not given back is simply freed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Tensor] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        """Return an empty workspace: a copy of a network has its own."""
        return Workspace()

    def lend(self, num_floats: int) -> Tensor:
        """Return a buffer of at least this many floats, with anything in it."""
        with self._lock:
            self._free.sort(key=torch.numel)
            place = next((n for n, buffer in enumerate(self._free) if buffer.numel() >= num_floats), None)
            if place is not None:
                return self._free.pop(place)
            # A larger one will take the place of one that is too small: there are never more than were used at once.
            del self._free[:1]
        return torch.empty(num_floats)

    def give_back(self, buffer: Tensor) -> None:
        """Take back a buffer, in which nothing may be read or written any more."""
        with self._lock:
            self._free.append(buffer)
