"""Cache files of encoded corpora: written whole or not at all, and read only if they are undamaged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from charlm.errors import StorageError
from charlm.text.known import data_folder

DIGEST_BYTES = 32


def cache_path(key: Sequence[object], suffix: str) -> Path:
    """Return where the cache file of a key is."""
    name = hashlib.sha256(json.dumps(key).encode("utf-8")).hexdigest()[:32]
    return data_folder() / "encoded" / (name + suffix)


def is_intact(path: Path) -> bool:
    """Say whether a cache file exists and ends with the SHA-256 of the rest; a damaged one is written again."""
    try:
        content = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):  # ValueError: an empty file
        return False
    return hashlib.sha256(content[:-DIGEST_BYTES].data).digest() == content[-DIGEST_BYTES:].tobytes()


def write_cache(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a cache file whole or not at all, and end it with the SHA-256 of its content."""
    digest = hashlib.sha256()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                file.write(digest.digest())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot write the encoded corpus to {path.parent}: {error.strerror}; CHARLM_DATA_DIR names another folder"
        ) from error
