"""Writing files that are whole or not there, also when the machine stops in between."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charlm.errors import RunError, StorageError

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1


def write_file(path: Path, content: bytes) -> None:
    """Create a file that must not exist, with its bytes on the disk before this returns.

    Raises:
        StorageError: for a full disk, a read-only folder, or an existing file.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Create a folder with its files and a manifest of their SHA-256, whole or not at all.

    Raises:
        StorageError: where it cannot be written, or not be known to be on the disk; it is whole or absent then.
    """
    draft = _draft_name(target)
    try:
        draft.mkdir(parents=True)
        for name, content in files.items():
            write_file(draft / name, content)
        entries = {name: {"bytes": len(content), "sha256": _sha256(content)} for name, content in files.items()}
        write_file(draft / MANIFEST, to_json({"format": MANIFEST_FORMAT, "files": entries}))
        sync_folder(draft)
        draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder; at each moment it is whole or gone.

    Raises:
        StorageError: where it cannot be removed.
    """
    draft = _draft_name(folder)
    try:
        folder.rename(draft)
        shutil.rmtree(draft)
    except OSError as error:
        raise storage_error(folder, error, "remove") from error


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the files of a folder that `write_folder` made, each held against the manifest.

    Raises:
        RunError: for a missing, damaged or too new folder, naming the file.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != MANIFEST_FORMAT:
            raise RunError(
                f"{folder} has format {manifest['format']} and this charlm reads {MANIFEST_FORMAT}: "
                "a newer one wrote it, or it is damaged"
            )
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        files = {name: (folder / name).read_bytes() for name in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder} is not a whole checkpoint: {error}") from error
    for name, content in files.items():
        if (len(content), _sha256(content)) != entries[name]:
            raise RunError(f"{folder / name} is damaged: its bytes are not those that were saved")
    return files


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object as a line.

    Raises:
        StorageError: where it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise storage_error(path, error) from error


def to_json(value: Any) -> bytes:
    """Return a JSON text for people and programs, as bytes."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def sync_folder(folder: Path) -> None:
    """Put a folder's own entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError, action: str = "write") -> StorageError:
    """Turn an operating system's error into a sentence."""
    return StorageError(f"cannot {action} {path}: {(error.strerror or str(error)).lower()}")


def _draft_name(target: Path) -> Path:
    return target.with_name(f".tmp-{target.name}-{os.getpid()}-{secrets.token_hex(4)}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
