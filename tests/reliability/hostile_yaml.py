"""Hostile configuration files: what breaks YAML readers elsewhere, and seeded damage to a good file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

# What a payload would make in the working folder, if any of it ran.
CANARY = "canary"
ESCAPES = "\x1b[31mred\x1b[0m \x1b]0;title\x07"


@dataclass(frozen=True)
class HostileFile:
    """One hostile configuration.

    Args:
        name: what is hostile about it.
        content: its bytes.
        says: what the first sentence about it contains.
        can_pass: whether it may be a good configuration after all.
    """

    name: str
    content: bytes
    says: str = ""
    can_pass: bool = False


def hostile_files() -> Iterator[HostileFile]:
    """Yield one file for each kind of harm; all but those that say so must be refused."""
    for kind in (_bombs, _payloads, _sizes, _bytes, _structures):
        for name, content, says in kind():
            yield HostileFile(name, content.encode("utf-8") if isinstance(content, str) else content, says)
    for name, content, says in _scalars():
        yield HostileFile(f"scalar {name}", content.encode("utf-8"), says)
    for name, content in (
        ("minus zero", "optimizer: {schedule: {warmup_steps: -0}}"),
        ("octal", "model: {hidden_size: 0o10}"),
        ("hexadecimal", "model: {hidden_size: 0x10}"),
        ("leading zeros", "model: {hidden_size: 00016}"),
        ("spaces at the end", "model: {cell: gru}" + " " * 900_000),
        ("comments", "model: {cell: gru}\n" + "# nothing\n" * 90_000),
        ("empty", ""),
        ("byte order mark", "\ufeffmodel: {cell: gru}"),
        ("a far away corpus", "corpus: {path: ../../../../../../../../nowhere.txt}"),
        ("a zero byte in a path", 'corpus: {path: "~a\\0b"}'),
        ("escapes in a good value", r'sample: {prefixes: ["\e[31m", "\x9b31m"]}'),
    ):
        yield HostileFile(name, content.encode("utf-8"), can_pass=True)


def mutations(original: bytes, seed: int, number: int) -> Iterator[HostileFile]:
    """Yield damaged copies of a good configuration: flipped bits, lost, doubled and moved pieces."""
    random = Random(seed)
    for each in range(number):
        content = bytearray(original)
        for _ in range(random.choice((1, 1, 2, 5, 20))):
            place, length = random.randrange(len(content) + 1), random.choice((1, 1, 2, 10, 100))
            piece = bytes(content[place : place + length])
            elsewhere = random.randrange(len(content) + 1)
            match random.randrange(5):
                case 0 if content:
                    content[place % len(content)] ^= 1 << random.randrange(8)
                case 1:
                    del content[place : place + length]
                case 2:
                    content[elsewhere:elsewhere] = piece * random.choice((1, 2, 50))
                case 3:
                    content[place:place] = random.choice(
                        (b"[", b"{", b"&a ", b"*a ", b"!!", b"\t", b"---\n", b'"', b": ")
                    )
                case _:
                    content[place:place] = random.randbytes(length)
        yield HostileFile(f"mutation {each} of seed {seed}", bytes(content), can_pass=True)


def _bombs() -> Iterator[tuple[str, str, str]]:
    laughs = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    yield "billion laughs", "\n".join(laughs), "1:5: anchors and aliases are not allowed"
    yield "a mapping inside itself", "model: &a {cell: *a}", "1:8: anchors and aliases"
    yield "quadratic blowup", f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 5_000)}]", "1:4: anchors and aliases"
    yield "merge", "a: &a {cell: gru}\nmodel:\n  <<: *a", "1:4: anchors and aliases"
    yield "merge without an anchor", "model:\n  <<: {cell: gru}", "unknown key model.<<"
    for name, pair in (("brackets", "[]"), ("braces", "{}")):
        yield f"2,000 nested {name}", pair[0] * 2_000 + pair[1] * 2_000, "1:"
        yield f"100,000 open {name}", pair[0] * 100_000, "1:"
    yield "nested keys", "".join(f"{' ' * depth}a:\n" for depth in range(1_000)), "18:18: nested deeper than 16 levels"
    yield "nested dashes", "a:\n  " + "- " * 100_000, "nested deeper than 16 levels"
    yield "nested question marks", "? " * 100_000, "1:3: a key must be a plain word"


def _payloads() -> Iterator[tuple[str, str, str]]:
    command = f"touch {CANARY}"
    for tag in (
        f"!!python/object/apply:os.system ['{command}']",
        f"!!python/object/apply:subprocess.check_call [[touch, {CANARY}]]",
        f"!!python/object/apply:builtins.open [{CANARY}, w]",
        f"!!python/object/new:os.system ['{command}']",
        "!!python/name:os.system",
        "!!python/module:antigravity",
        "!!python/object:os.system {}",
        "!!python/tuple [1, 2]",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!timestamp 2001-01-01",
        "!!int 5",
        "!mine 5",
        "! 5",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['true']",
    ):
        yield f"tag {tag[:50]}", f"model:\n  cell: {tag}\n", "2:9: the tag "
        yield f"tag {tag[:50]} for the whole", tag + "\n", "1:1: the tag "
    yield "a tagged key", f"!!python/object/apply:os.system ['{command}'] : 1", "1:1: "
    yield (
        "a renamed tag",
        f"%TAG ! tag:yaml.org,2002:python/\n---\n!object/apply:os.system ['{command}']",
        "3:1: the tag",
    )
    yield "an unknown tag handle", "model: !e!cell gru", "1:8: not valid YAML"
    yield "a tag a megabyte long", f"model: !{'a' * 900_000} 1", "1:8: the tag !aaaa"
    yield "a tag with escapes", "model: !%1b%5b31m 1", "1:8: the tag !\\x1b"


def _sizes() -> Iterator[tuple[str, str, str]]:
    yield "a scalar of 5 megabytes", "model: " + "x" * 5_000_000, "longer than 4,000,000 bytes"
    yield "a scalar of a megabyte", "model: " + "x" * 1_000_000, "longer than 1,000,000 characters"
    yield "a scalar of just under a megabyte", "model: " + "x" * 990_000, "must be a mapping of keys, got 'xxx"
    yield "a number of a megabyte", "model: {hidden_size: " + "9" * 990_000 + "}", "must be a whole number, got '999"
    yield "a fraction of a megabyte", "model: {hidden_size: " + "9" * 990_000 + ".5}", "must be a whole number, got inf"
    yield "100,000 keys", "".join(f"key{n}: 1\n" for n in range(100_000)), "longer than 1,000,000 characters"
    yield "100,000 short keys", "".join(f"{n}: 1\n" for n in range(100_000)), "too many for a configuration"
    yield "500 keys", "".join(f"hiden_size{n}: 1\n" for n in range(500)), "unknown key hiden_size0"
    yield "500 wrong numbers", f"sample: {{prefixes: [{'1,' * 500}]}}", "sample.prefixes.0 must be text"
    yield "15,000 keys", "".join(f"hiden_size{n}: 1\n" for n in range(15_000)), "unknown key hiden_size0"
    yield "15,000 wrong numbers", f"sample: {{prefixes: [{'1,' * 15_000}]}}", "sample.prefixes.0 must be text"
    yield "15,000 parts", f"corpus: {{split: [{'1,' * 15_000}]}}", "corpus.split needs two or three"
    yield "15,000 wrong parts", f"corpus: {{split: [{'a,' * 15_000}]}}", "corpus.split must be one of"
    yield "a percentage of 10,000 digits", f"corpus: {{split: {'9' * 10_000}/1}}", "corpus.split must be one of"
    yield "parts beyond floats", "corpus: {split: [1.7e308, 1.7e308]}", "corpus.split must be one of"
    yield "a key a megabyte long", f"? {'k' * 990_000}\n: 1", "unknown key kkkk"
    yield "a simple key a megabyte long", f"{'k' * 990_000}: 1", "1:990001: not valid YAML"
    yield "a key of 10,000 dots", f"? {'.' * 10_000}\n: 1", "unknown key ..."
    yield "half a million documents", "---\n" * 200_000, "2:1: a second document"
    yield "half a million anchors", "- &a 1\n" * 100_000, "1:3: anchors and aliases"


def _bytes() -> Iterator[tuple[str, bytes | str, str]]:
    good = "model: {cell: gru}\n"
    yield "UTF-16", good.encode("utf-16"), "not UTF-8 text (byte 0)"
    yield "UTF-16 without a mark", good.encode("utf-16-le"), "the character U+0000 is not allowed"
    yield "UTF-32", good.encode("utf-32"), "not UTF-8 text (byte 0)"
    yield "Latin-1", "model: {cell: é}\n".encode("latin-1"), "not UTF-8 text (byte 14)"
    yield "an overlong slash", b"model: \xc0\xaf", "not UTF-8 text (byte 7)"
    yield "a surrogate in UTF-8", b"model: \xed\xa0\x80", "not UTF-8 text (byte 7)"
    yield "a surrogate in a key", r'"\ud800": 1', "1:1: U+D800 is half of a character"
    yield "a surrogate in a value", r'sample: {prefixes: ["a\udfffb"]}', "1:21: U+DFFF is half of a character"
    yield "a surrogate in a path", r'corpus: {path: "~\udcff"}', "1:16: U+DCFF is half of a character"
    yield "half a character at the end", b"model: " + b"\xe2\x82", "not UTF-8 text (byte 7)"
    for code in (0x00, 0x01, 0x07, 0x08, 0x0B, 0x1B, 0x7F, 0x9B, 0xFFFE):
        yield (
            f"the character {code:#x}",
            f"model: {{cell: {chr(code)}}}",
            f"1:15: not valid YAML: the character U+{code:04X}",
        )
    yield "a program", b"\x7fELF\x02\x01\x01" + bytes(1_000), "the character U+007F is not allowed"
    yield "a picture", b"\x89PNG\r\n\x1a\n" + bytes(1_000), "not UTF-8 text (byte 0)"
    yield "noise", Random(0).randbytes(100_000), "not UTF-8 text"
    escaped = ESCAPES.replace("\x1b", "\\e").replace("\x07", "\\a")
    yield "escapes in a key", f'"{escaped}": 1', "unknown key \\x1b[31mred\\x1b[0m \\x1b]0;title\\x07"
    yield "escapes in a doubled key", f'"{escaped}": 1\n"{escaped}": 2', "2:1: the key \\x1b[31mred"
    yield "escapes in a value", f'model: {{cell: "{escaped}"}}', "got '\\x1b[31mred"
    yield "line ends in a doubled key", r'"a\nb": 1' + "\n" + r'"a\nb": 2', "2:1: the key a\\nb is given twice"
    yield "line ends in a key", r'"a\nb\rc\Ld\Ne": 1', "unknown key a\\nb\\rc\\u2028d\\x85e"
    yield "a reversed key", r'"\u202ekey": 1', "unknown key \\u202ekey"


def _structures() -> Iterator[tuple[str, str, str]]:
    yield "a doubled key", "model: {cell: gru}\nmodel: {cell: rnn}", "2:1: the key model is given twice"
    yield "a list as key", "? [a, b]\n: 1", "1:3: a key must be a plain word"
    yield "a mapping as key", "? {a: b}\n: 1", "1:3: a key must be a plain word"
    yield "an alias as key", "*a : 1", "1:1: a key must be a plain word"
    yield "an empty key", "'': 1", "unknown key ''"
    yield "no key", ": 1", "1:1: not valid YAML"
    yield "an empty key inside", "model: {'': 1}", "unknown key model."
    yield "a null key", "~: 1", "unknown key ~"
    yield "two documents", "model: {cell: gru}\n---\nmodel: {cell: rnn}", "2:1: a second document"
    yield "YAML 3", "%YAML 3.0\n---\nmodel: {cell: gru}", "1:1: not valid YAML"
    yield "a list", "- model", "1: a configuration is a mapping of sections"
    yield "a word", "model", "1: a configuration is a mapping of sections"
    yield "a mapping as a word", "model: {cell: {gru: 1}}", "model.cell must be one of"
    yield "a word as a mapping", "model: gru", "model must be a mapping of keys"
    yield "a list as a section", "model: [cell, gru]", "model must be a mapping of keys"
    yield "an unclosed text", 'model: "gru', "1:"
    yield "a tab", "model:\n\tcell: gru", "2:1: not valid YAML"
    yield "a path that is a number", "corpus: {path: 5}", "corpus.path must be"
    yield "a path in a path", "corpus: {path: [[a]]}", "corpus.path.0 must be text"
    yield "a private key", "__class__: {__init__: {__globals__: 1}}", "unknown key __class__"
    yield "a private key inside", "model: {model_config: {extra: allow}}", "unknown key model.model_config"
    yield "a method", "model_construct: 1", "unknown key model_construct"


def _scalars() -> Iterator[tuple[str, str, str]]:
    whole = "model.hidden_size must be a whole number"
    for value in (
        "1e3",
        "1e999",
        "-1e999",
        ".nan",
        ".inf",
        "5.0",
        "true",
        "'8'",
        "eight",
        "2001-01-01",
        "12:30",
        "1_000",
    ):
        yield value, f"model: {{hidden_size: {value}}}", whole
    for value in ("0b1", "0x", "0o8", "1e", "+", "--1", "٣", "1,000", "~", "[8]", "{a: 8}", '"8\\0"', "9" * 100):
        yield value[:20], f"model: {{hidden_size: {value}}}", "model.hidden_size must be a" if "," not in value else ""
    yield "10^400", f"model: {{hidden_size: 1{'0' * 400}}}", whole
    yield "10^98", f"model: {{hidden_size: 1{'0' * 98}}}", "model.hidden_size must be at most 65536"
    yield "-10^97", f"model: {{hidden_size: -1{'0' * 97}}}", "model.hidden_size must be at least 1"
    yield "2^64", "model: {hidden_size: 18446744073709551616}", "model.hidden_size must be at most 65536"
    for value in (".nan", ".inf", "-.inf", "1e999"):
        yield f"rate {value}", f"optimizer: {{learning_rate: {value}}}", "must be a finite number"
    yield "rate 1e308", "optimizer: {learning_rate: 1e308}", "must be at most 1e+30"
    yield "rate -0.0", "optimizer: {learning_rate: -0.0}", "must be greater than 0.0"
    yield "bias 1e308", "model: {forget_bias: 1e308}", "model.forget_bias must be at most 1000.0"
    yield "a word for true", "corpus: {clean: {lowercase: yes}}", "must be true or false"
    yield "a number for true", "corpus: {clean: {lowercase: 1}}", "must be true or false"
    yield "a long word", f"model: {{cell: {'x' * 100_000}}}", "model.cell must be one of"
    for device in ("cuda:٣", "cuda:128", "cuda:01", "cuda:-1", '"cpu\\n"', "meta"):
        yield f"device {device}", f"train: {{device: {device}}}", "train.device must be auto, cpu"
