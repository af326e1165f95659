"""The settings of the text: which one it is, and how it is read, cleaned, split, counted and cut into windows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError

from charlm.errors import printable
from charlm.settings.values import (
    MAX_WINDOW,
    AtLeastTwo,
    Conflict,
    PositiveInt,
    Section,
    SplitSetting,
    TextList,
    also,
    with_sole_default,
)

UnknownPolicy = Literal["error", "skip", "replace"]
Items = Literal["lines", "files", "separated"]

DEFAULT_CORPUS = "stories"


class Clean(Section):
    """Choose how the text is cleaned; `clean: letters` sets letters alone, and `clean: none` keeps everything."""

    model_config = also({"enum": ["letters", "none"]})

    newline: Literal["keep", "lf"] = Field(
        default="lf",
        description="Reads CRLF and CR line ends as LF (lf) or leaves them as they are (keep); choose keep if the "
        "model should learn them",
    )
    unicode: Literal["none", "nfc"] = Field(
        default="none",
        description="Composes letters and their accents into single characters (nfc) or leaves them as they are "
        "(none); choose nfc if the text mixes both spellings",
    )
    lowercase: bool = Field(
        default=False,
        description="Lower-cases every character; turn it on for a smaller vocabulary, at the price of capitals in "
        "what the model writes",
    )
    letters: bool = Field(
        default=False,
        description="Keeps only the letters a to z, in lower case, and single spaces: each line is stripped and the "
        "lines are joined with nothing between them; turn it on to compare results with Dive into Deep "
        "Learning",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: JsonValue | Clean) -> JsonValue | Clean:
        if value == "letters":
            return {"letters": True}
        if value == "none":
            return {"newline": "keep"}
        if isinstance(value, Clean | dict):
            return value
        raise PydanticCustomError(
            "clean", "must be letters, none, or keys among newline, unicode, lowercase and letters"
        )


class CorpusSettings(Section):
    """Choose the text, and how it is read, cleaned and split."""

    name: str | None = Field(
        default=DEFAULT_CORPUS,
        description="Selects a bundled or public corpus by its name (`charlm corpus list` shows them all); null means "
        "stories unless corpus.path is set",
    )
    path: TextList | None = Field(
        default=None,
        description="Lists the text files to train on, in this order; a folder means its texts, which corpus.glob "
        "chooses, - means standard input, and a file that ends in .gz, .bz2, .xz or .zst is unpacked while it is read",
    )
    glob: TextList | None = Field(
        default=("*.txt", "*.md", "*.text"),
        description="Chooses the files of a folder by patterns, compressed or not, in the order of their paths; *.py "
        "reads those in folders below it too, and src/*.py and src/**/*.py begin at the folder; null reads only the "
        ".txt files directly in the folder, as older runs did",
    )
    between_files: Literal["newline", "nothing"] = Field(
        default="newline",
        description="Ends the last line of a file that lacks its line end before the next file begins (newline) or "
        "joins files as they are (nothing); choose nothing if a text was cut within its lines",
    )
    items: Items | None = Field(
        default=None,
        description="Takes the text for a list of items, each learned by itself with its beginning and its end: lines, "
        "files, or separated (see separator); null means one running text, so set it for names, titles or "
        "other texts that are not to be read as one",
    )
    separator: str | None = Field(
        default=None,
        description="Gives the text that stands between two items, such as <|end|>; the line ends around it belong to "
        "no item",
    )
    encoding: str = Field(
        default="utf-8",
        description="Names the encoding of the text files, in which every byte must decode; change it if they are not "
        "UTF-8 (a byte order mark is removed)",
    )
    clean: Clean = Field(
        default=Clean(),
        description="How the text is cleaned; the cleaning is stored with the model and applied to prefixes and "
        "evaluated texts too",
    )
    max_chars: PositiveInt | None = Field(
        default=None,
        description="Uses only this many characters from the start of the cleaned text; set it to try something out "
        "on a large text",
    )
    split: SplitSetting = Field(
        default="default",
        description="Divides the text, or its items, into training, validation and test splits: default is 90/5/5, "
        "nanogpt 90/10, torch-rnn 80/10/10, none trains on everything, and standard is the corpus's own "
        "protocol; choose standard to compare with published results",
    )
    unknown: UnknownPolicy = Field(
        default="error",
        description="Decides what happens to characters that the model does not know in prefixes and evaluated texts; "
        "error refuses them, but reads them as the unknown symbol where vocabulary.min_count or max_size "
        "made one; choose skip to leave odd characters out",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _default_corpus(cls, value: JsonValue, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, dict):
            value = {**as_older(value), **value}
        return with_sole_default(value, handler, "name", ("path",))


class VocabularySettings(Section):
    """Choose which characters become symbols."""

    min_count: PositiveInt = Field(
        default=1,
        description="Turns characters that occur less often than this into one unknown symbol; raise it if the text "
        "has many rare characters",
    )
    max_size: AtLeastTwo | None = Field(
        default=None,
        description="Limits the vocabulary to this many symbols, the unknown symbol included, and keeps the most "
        "frequent ones; set it if a text with thousands of characters needs too much memory",
    )


class SamplingSettings(Section):
    """Choose how the text is cut into windows."""

    method: Literal["consecutive", "random"] = Field(
        default="consecutive",
        description="Chooses how windows follow each other: consecutive ones carry the recurrent state on, random "
        "ones are shuffled and each starts from the initial state; choose random if the text is a list of "
        "unrelated lines",
    )
    batch_size: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=32,
        description="Sets how many windows each step reads side by side; raise it for speed, lower it if memory or "
        "text is short",
    )
    seq_len: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=64,
        description="Sets how many characters a window has, which is the length of truncated BPTT; raise it to learn "
        "from longer contexts, lower it to save time and memory",
    )


def as_older(corpus: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the values of settings that an older charlm did not write into a run, but that it trained with.

    It wrote all keys of `clean`. It joined files with nothing between them, and read only the .txt files directly in a
    folder; resuming such a run must do the same.
    """
    clean = corpus.get("clean")
    if not isinstance(clean, dict) or not clean.keys() >= Clean.model_fields.keys():
        return {}
    older: dict[str, JsonValue] = {"between_files": "nothing"}
    return older | ({"glob": None} if corpus.get("path") is not None else {})


def corpus_conflicts(corpus: CorpusSettings) -> Iterator[Conflict]:
    """Yield the conflicts between settings of the corpus."""
    if corpus.name is not None and corpus.path is not None:
        yield "corpus.path", "and corpus.name exclude each other: keep one of them"
    if corpus.path == ():
        yield "corpus.path", "is an empty list: name a text file, or leave it out"
    if "" in (corpus.path or ()):
        yield "corpus.path", "has an empty name: is a shell variable unset?"
    for pattern in corpus.glob or ():
        if problem := _glob_problem(pattern):
            yield "corpus.glob", problem
    if corpus.glob == ():
        yield "corpus.glob", "is an empty list: give a pattern such as *.txt, or leave it out"
    if corpus.split == "standard" and corpus.path is not None:
        yield "corpus.split", "standard needs corpus.name: only known corpora have a standard split"
    if isinstance(corpus.split, tuple):
        yield from _split_conflicts(corpus.split)
    if corpus.items == "separated" and not corpus.separator:
        yield "corpus.separator", "must be given for corpus.items separated: it is the text between two items"
    if corpus.items != "separated" and corpus.separator is not None:
        yield "corpus.separator", f"needs corpus.items separated, not {corpus.items or 'null'}"


def _glob_problem(pattern: str) -> str | None:
    shown = printable(pattern)
    if not pattern.strip("/"):
        return "has an empty pattern: is a shell variable unset?"
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        return f"{shown} leads out of the folder: patterns begin at the folder that is searched, such as src/*.txt"
    if "{" in pattern and "," in pattern:
        return f"{shown} has braces, which patterns do not know: give several, such as ['*.py', '*.js']"
    return None


def _split_conflicts(parts: tuple[float | int, ...]) -> Iterator[Conflict]:
    sizes = all(isinstance(part, int) for part in parts)
    fractions = all(isinstance(part, float) for part in parts)
    if len(parts) not in (2, 3) or min(parts) < 0 or not (sizes or fractions) or parts[0] == 0:
        yield "corpus.split", f"needs two or three fractions, or two or three sizes, not {printable(str(list(parts)))}"
    elif fractions and (total := sum(Fraction(str(part)) for part in parts)) != 1:
        yield "corpus.split", f"fractions must sum to 1, but these sum to {float(total)}"
