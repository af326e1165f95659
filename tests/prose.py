"""The pages of the project, and what is in them: blocks of code, headings, links."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
README = REPOSITORY / "README.md"
GUIDE = REPOSITORY / "charlm" / "guide"
# The pages that teach: each command and each line of Python in them is tried.
TAUGHT = [README, *sorted(GUIDE.glob("*.md"))]
PAGES = [
    *TAUGHT,
    REPOSITORY / "CHANGELOG.md",
    *sorted(REPOSITORY.glob("charlm/*/README.md")),
    *(REPOSITORY / folder / "README.md" for folder in ("configs", "data", "tests", "tests/golden")),
]
LANGUAGES = ("sh", "python", "bash", "yaml", "json", "text")


@dataclass(frozen=True)
class Fence:
    """A block of code.

    Args:
        page: that it is in.
        line: of the page, at which it opens.
        info: what follows the ticks, as `sh parsed`.
        text: its lines.
    """

    page: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word behind the ticks; empty where there is none."""
        return self.info.partition(" ")[0]

    @property
    def marker(self) -> str:
        """What follows the language."""
        return self.info.partition(" ")[2].strip()

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    def commands(self) -> list[str]:
        """Return the commands of a block of shell, each on one line, without remarks."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "text":
            # The output of a command often begins with it.
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def fences(page: Path) -> list[Fence]:
    """Return the blocks of code of a page, in order."""
    found: list[Fence] = []
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        ticks = re.match(r" *(`{3,}|~{3,})(.*)", line)
        if opened is None:
            opened = (number, ticks[1], ticks[2].strip()) if ticks else None
            lines = []
        elif ticks and ticks[1] == opened[1] and not ticks[2].strip():
            found.append(Fence(page, opened[0], opened[2], "".join(f"{each}\n" for each in lines)))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{page}:{opened and opened[0]}: a block of code without an end"
    return found


def all_fences(*languages: str) -> list[Fence]:
    """Return the blocks of some languages on all pages that teach."""
    return [fence for page in TAUGHT for fence in fences(page) if fence.language in languages]


def prose(page: Path) -> str:
    """Return a page without its blocks of code, line by line."""
    return re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> list[str]:
    """Return the code within the sentences of a page."""
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]


def taught_text() -> str:
    """Return all pages that teach as one text."""
    return "\n".join(page.read_text(encoding="utf-8") for page in TAUGHT)


def anchors(page: Path) -> set[str]:
    """Return what links to a page may end in, as code hosts make it of headings; equal ones are numbered."""
    text, seen = prose(page), Counter[str]()
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^ {0,3}#{1,6} +(.*?)(?: +#+)?$", text, re.MULTILINE):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    text = re.sub(r"`[^`]+`", "", prose(page))
    return [
        *re.findall(r"\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)", text),
        *re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE),
        *re.findall(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"", text),
    ]


def link_problem(page: Path, target: str) -> str | None:
    """Return what is wrong with a link; None where it leads somewhere, or out of the project."""
    if re.match(r"[a-z]+:", target):
        return None if target.startswith("https://") else f"{target} is no https link"
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    if file.startswith("/") or not path.is_relative_to(REPOSITORY) or not path.exists():
        return f"{target} leads nowhere"
    if anchor and (path.suffix != ".md" or anchor not in anchors(path)):
        return f"{target}: {path.name} has no heading #{anchor}"
    return None
