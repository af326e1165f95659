"""The file that `charlm compress` writes: a short header, and a text in the bits that a model needs for it.

    magic (3 bytes), format (1)
    name of the run, step, hash of the model (4 bytes), what computed the probabilities (3), their probe (2)
    length and checksum (8 bytes) of the file that was compressed
    layout: 0 is followed by the bytes, packed without the model; others by the number of characters, how fast the model
        learned if it did, edits and code
    CRC-32 of everything before it (4 bytes)

Numbers have seven bits in each byte, and names their length before them. The hashes are short, because the checksum of
what is decoded has the last word: they only say sooner and more clearly what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from charlm.coding.packing import DamagedError, Reader, packed_number
from charlm.networks.predictor import Floats
from charlm.settings.corpus import CorpusSettings
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

MAGIC = b"\x93cz"
FORMAT = 1
HASH_BYTES, BUILD_BYTES, PROBE_BYTES, CHECKSUM_BYTES, CRC_BYTES = 4, 2, 2, 8, 4
# The numbers of what can compute probabilities; the others are instruction sets of the kernels.
TORCH = "torch"
PLACES = (TORCH, "x86-64-v3", "x86-64-v4")
MAX_NAME_BYTES = 1_000
# Added to the layout of a text from which the model learned.
LEARNED = 16
MAX_CHARS_PER_BYTE = 4
MAX_LENGTH = 1 << 40


class ForeignError(Exception):
    """Report, as a clause, that a file is not one of these, or has a newer format."""


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A text in the bits that a model needs for it.

    Args:
        layout: see `Rewritten`.
        num_chars: number of characters that were coded.
        edits: the packed edits.
        code: the code.
        rates: how fast the model learned from the text; empty if it did not learn.
    """

    layout: int
    num_chars: int
    edits: bytes
    code: bytes
    rates: str = ""


@dataclass(frozen=True, kw_only=True)
class CodedFile:
    """All that the file says.

    Args:
        run: the name of the run whose model coded it.
        step: the step of its checkpoint.
        model: the hash of the model; see `model_hash`.
        place: what computed the probabilities: torch, or the instruction set of the kernels.
        build: the beginning of what identifies the build of the kernels, or the versions beside torch.
        probe: what tells whether other bits are computed here; see `charlm.coding.coder.probe`.
        length: number of bytes that were compressed.
        checksum: the beginning of their SHA-256.
        body: the coded text, or the packed bytes where the model would have needed more.
    """

    run: str
    step: int
    model: bytes
    place: str
    build: bytes
    probe: bytes
    length: int
    checksum: bytes
    body: Coded | bytes


def pack_file(file: CodedFile) -> bytes:
    """Return a file's bytes."""
    name = file.run.encode("utf-8", "replace")
    parts = [
        *(MAGIC, bytes([FORMAT]), packed_number(len(name)), name, packed_number(file.step), file.model),
        *(bytes([PLACES.index(file.place)]), file.build, file.probe, packed_number(file.length), file.checksum),
    ]
    body = file.body
    if isinstance(body, bytes):
        parts += [b"\0", body]
    else:
        # Mostly one byte: a text has about as many characters as bytes.
        more = body.num_chars - file.length
        parts.append(packed_number(1 + body.layout + (LEARNED if body.rates else 0)))
        parts.append(packed_number(2 * more if more >= 0 else -2 * more - 1))
        if body.rates:
            parts += [packed_number(len(body.rates)), body.rates.encode("ascii")]
        parts += [packed_number(len(body.edits)), body.edits, body.code]
    content = b"".join(parts)
    return content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")


def unpack_file(content: bytes) -> CodedFile:
    """Return what a file's bytes say.

    Raises:
        ForeignError: for bytes that are no such file, or are in a newer format.
        DamagedError: for a file that was cut off or changed.
    """
    if not content.startswith(MAGIC):
        raise ForeignError("was not written by `charlm compress`")
    if content[len(MAGIC) : len(MAGIC) + 1] > bytes([FORMAT]):
        newer = f"has format {content[len(MAGIC)]}, and this charlm reads up to {FORMAT}"
        raise ForeignError(f"{newer}: install a newer charlm")
    head, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if zlib.crc32(head).to_bytes(CRC_BYTES, "little") != crc:
        raise DamagedError("its bytes are not those that were written")
    reader = Reader(head[len(MAGIC) + 1 :])
    run, step, model = _text(reader), reader.number(), reader.take(HASH_BYTES)
    place, build, probe = reader.take(1)[0], reader.take(BUILD_BYTES), reader.take(PROBE_BYTES)
    length, checksum, layout = reader.number(), reader.take(CHECKSUM_BYTES), reader.number()
    if place >= len(PLACES) or length > MAX_LENGTH:
        raise DamagedError("its header is that of no file")
    return CodedFile(
        run=run,
        step=step,
        model=model,
        place=PLACES[place],
        build=build,
        probe=probe,
        length=length,
        checksum=checksum,
        body=_coded(reader, length, layout - 1) if layout else reader.rest(),
    )


def checksum(content: bytes) -> bytes:
    """Return the beginning of the SHA-256 of bytes."""
    return hashlib.sha256(content).digest()[:CHECKSUM_BYTES]


def model_hash(
    model: ModelSettings, corpus: CorpusSettings, vocabulary: Vocabulary, weights: Mapping[str, Floats]
) -> bytes:
    """Return the first four bytes of `model_digest`."""
    return model_digest(model, corpus, vocabulary, weights)[:HASH_BYTES]


def model_digest(
    model: ModelSettings, corpus: CorpusSettings, vocabulary: Vocabulary, weights: Mapping[str, Floats]
) -> bytes:
    """Return a SHA-256 that differs between models that read or predict differently.

    Args:
        model: the network's settings.
        corpus: how its corpus was read.
        vocabulary: its symbols.
        weights: its parameters.
    """
    network = model.model_dump(mode="json", exclude={"implementation"}, exclude_defaults=True)
    reading = corpus.model_dump(mode="json", include={"encoding", "clean", "items", "separator"}, exclude_defaults=True)
    facts = [network, reading, vocabulary.characters, vocabulary.has_unknown]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii"))
    for name in sorted(weights):
        digest.update(json.dumps([name, weights[name].shape]).encode("ascii"))
        digest.update(weights[name].astype("<f4").tobytes())
    return digest.digest()


def _text(reader: Reader) -> str:
    try:
        return reader.take(min(reader.number(), MAX_NAME_BYTES)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError("its header is that of no file") from error


def _coded(reader: Reader, length: int, layout: int) -> Coded:
    folded = reader.number()
    num_chars = length + (-(folded + 1) // 2 if folded % 2 else folded // 2)
    if not 0 <= num_chars <= MAX_CHARS_PER_BYTE * (length + 1):
        raise DamagedError("it claims more characters than its text can have")
    rates = _text(reader) if layout >= LEARNED else ""
    edits = reader.take(reader.number())
    return Coded(layout=layout % LEARNED, num_chars=num_chars, edits=edits, code=reader.rest(), rates=rates)
