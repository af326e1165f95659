"""Check for room in memory before calling a library that would end the whole process without it."""

from __future__ import annotations

from mmap import mmap

from charlm.errors import memory_limit, out_of_memory


def require_room(num_bytes: int) -> None:
    """Make sure that a process with limited address space can get this many more bytes; nothing is allocated.

    Libraries in other languages end the whole process if an allocation fails.

    Raises:
        OutOfMemoryError: with the bytes needed.
    """
    if memory_limit() is None:
        return
    try:
        mmap(-1, max(1, num_bytes)).close()
    except (OSError, OverflowError) as error:
        told = out_of_memory(MemoryError(f"cannot allocate {num_bytes} bytes"))
        assert told is not None
        raise told from error
