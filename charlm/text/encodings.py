"""Find out the likely encodings of a file that does not decode.

A reading is judged by how likely its characters are in the languages that its encoding is used for. Letters are rated
by their order of frequency (Zipf's law), other characters of the script by how many there are, and all others as
hardly possible.
"""

from __future__ import annotations

import codecs
import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from charlm.errors import printable

# Log probabilities in nats of an ASCII character, of punctuation that a family of encodings shares, and of any
# character that no text has.
PLAIN, SHARED, STRANGE = -3.0, -5.0, -14.0
# With a lower average over its characters, a reading is not a text of the language.
WORST = -9.0
# Two readings that differ by less than this for each byte are both shown.
NEAR = 0.15
PUNCTUATION = "“”‘’–—…«»„°§€·"
CJK_PUNCTUATION = "，。、「」『』！？：；“”（）《》—…　・ー"
UNICODE = ("utf-8", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# How many characters before the undecodable byte are shown, and how many in all.
BEFORE, SHOWN = 12, 40


@dataclass(frozen=True)
class Language:
    """The characters beyond ASCII that a language, or several with one encoding, is written in.

    Args:
        encodings: the encodings of such texts, the likeliest first.
        letters: the usual characters, the most frequent first.
        script: an encoding, and the range of its first bytes for the many other characters of the script.
        size: how many other characters there are.
    """

    encodings: tuple[str, ...]
    letters: str
    script: tuple[str, int, int] | None = None
    size: int = 1

    def nats(self, character: str) -> float:
        """Return the log probability of a character beyond ASCII."""
        place = self.letters.find(character)
        if place >= 0:
            return math.log(0.15 / (place + 1.5))
        if character in PUNCTUATION:
            return SHARED
        if (lower := self.letters.find(character.lower())) >= 0:
            return math.log(0.01 / (lower + 1.5))
        return math.log(0.3 / self.size) if self._is_of_script(character) else STRANGE

    def _is_of_script(self, character: str) -> bool:
        if self.script is None:
            return False
        encoding, first, last = self.script
        try:
            return first <= character.encode(encoding)[0] <= last
        except UnicodeEncodeError:
            return False


LANGUAGES = (
    Language(
        ("gb18030",),
        "的，。一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所"
        "然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日"
        + CJK_PUNCTUATION,
        ("gb2312", 0xB0, 0xD7),
        3755,
    ),
    Language(
        ("big5", "cp950", "big5hkscs"),
        "的，。一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所"
        "然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日"
        + CJK_PUNCTUATION,
        ("big5", 0xA4, 0xC6),
        5401,
    ),
    Language(
        ("shift_jis", "euc_jp", "cp932"),
        "のいにはた、を。てとしがなるっでれらかもりすこまだ「」きあよけくさそめどうえせみおつわちろやんひごじげほへばぶび"
        "ンスルトーラリアイクシドレジタフロカッムコテニナマミメパプサキグバデオウ" + CJK_PUNCTUATION,
        ("euc_jp", 0xB0, 0xCF),
        2965,
    ),
    Language(
        ("euc_kr", "cp949"),
        "이다는을가에의로고하한지도사를은자리기어서나대일시정보아인스그여수전들부있해장것제주상구원라거면년게과으니적",
        ("euc_kr", 0xB0, 0xC8),
        2350,
    ),
    Language(("cp1251", "koi8_r", "cp866", "iso8859_5"), "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфёъ"),
    Language(("cp1251", "koi8_u"), "оаинівертсклудмпяьзгбйчхюжцшєїщфґ"),
    Language(("cp1252", "mac_roman", "cp850"), "éàèäüöñóíáçêßôîâåøæûùúëïœãõìò¡¿ÿ"),
    Language(("cp1250", "iso8859_2", "cp852"), "áéíýžščřěůłąęóśćńżźúňťďőűöüäăţşâî"),
    Language(("cp1254",), "ışğüöçâî"),
    Language(("cp1253", "iso8859_7"), "αοιετσνηυρπκμλςωδγχίάόέήύώθφβξζψϊ"),
    Language(("cp1255",), "יולאהרתמשנבדםפקעכחגסטזצןץךף"),
    Language(("cp1256",), "الينمتروبدعسفهكحقجةطصشخذضثءغزئأإىظؤآ،؟"),
    Language(("cp874",), "านรอกเงมยลวด่ทส้ัีิุตปบคหแจพชไขใโผซธถภฟณู็์ำะ"),
)


@dataclass(frozen=True)
class Finding:
    """A likely encoding, and the line as it reads in that encoding."""

    encoding: str
    line: str


def likely_encodings(start: bytes, line: bytes, position: int, *, besides: str) -> list[Finding]:
    """Return the one or two likeliest encodings of a file, the likeliest first, or none if nothing reads as a text.

    Args:
        start: the first bytes of the file.
        line: its bytes from the start of the line that does not decode.
        position: the position of the undecodable byte in `line`.
        besides: the encoding that the file was read in, which is left out.
    """
    found: list[tuple[float, Finding]] = []
    asked = codecs.lookup(besides).name
    for encoding in dict.fromkeys((*UNICODE, *(name for language in LANGUAGES for name in language.encodings))):
        is_wide = encoding in UNICODE and encoding != "utf-8"
        content = start if is_wide else line
        text = _decoded(content, encoding)
        if text is None or codecs.lookup(encoding).name == asked:
            continue
        languages = [each for each in LANGUAGES if encoding in (*each.encodings, *UNICODE)]
        if (nats := max(_nats_per_byte(text, language, content) for language in languages)) > -math.inf:
            before = "" if is_wide else _decoded(line[:position], encoding) or ""
            found.append((nats, Finding(encoding, _shown(text, len(before)))))
    # The order of the list breaks ties.
    found.sort(key=lambda each: -each[0])
    others = [each for nats, each in found[1:] if each.line != found[0][1].line and nats > found[0][0] - NEAR]
    return [finding for _, finding in found[:1]] + others[:1]


def is_cut_utf8(content: bytes) -> bool:
    """Say whether bytes are the beginning of a single UTF-8 character."""
    try:
        return len(content) < 4 and codecs.getincrementaldecoder("utf-8")().decode(content) == ""
    except UnicodeDecodeError:
        return False


def is_damaged_utf8(line: bytes) -> bool:
    """Say whether all but a few of the bytes are UTF-8."""
    text = line.decode("utf-8", "replace")
    num_bad = text.count("\N{REPLACEMENT CHARACTER}")
    num_good = sum(not character.isascii() for character in text) - num_bad
    return 0 < 10 * num_bad <= num_good


def _decoded(content: bytes, encoding: str) -> str | None:
    """Return the text of bytes whose last character may be cut off, or None if they do not decode."""
    if encoding == "utf-16" and content[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return None
    if encoding == "utf-32" and content[:4] not in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return None
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or not text or text[0] == "\N{BYTE ORDER MARK}" else text


def _nats_per_byte(text: str, language: Language, content: bytes) -> float:
    """Return the log probability of a reading divided by its bytes, or minus infinity if it is not a text.

    An encoding with two bytes for each character yields fewer characters, so that a mean over them would be unfair.
    """
    plain = beyond = 0.0
    num_beyond = 0
    for character, count in Counter(text).items():
        if character.isascii():
            is_plain = character.isprintable() or character in "\t\n\r\f"
            plain += count * (PLAIN if is_plain else STRANGE)
        else:
            beyond += count * language.nats(character)
            num_beyond += count
    beyond += STRANGE * sum(_is_mixed(*pair) * count for pair, count in Counter(pairwise(text)).items())
    if (num_beyond and beyond / num_beyond < WORST) or plain < WORST * len(text):
        return -math.inf
    return (plain + beyond) / len(content)


def _is_mixed(one: str, other: str) -> bool:
    """Say whether two characters switch between alphabets or into capitals within a word, as misread texts do."""
    if one.isascii() == other.isascii():
        return False
    if one.islower() and other.isupper():
        return True
    plain, foreign = (one, other) if one.isascii() else (other, one)
    return plain.isalpha() and "\u0370" <= foreign < "\u0f00"


def _shown(text: str, position: int) -> str:
    """Return the line at a position, or the first one after it that is not blank, shortened."""
    start = text.rfind("\n", 0, position) + 1
    line = next((each for each in text[start:].split("\n") if each.strip()), "")
    first = max(0, min(position - start - BEFORE, len(line) - 1))
    return printable(line[first : first + SHOWN].strip(), 2 * SHOWN)
