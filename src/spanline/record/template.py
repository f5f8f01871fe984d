"""Prompt templates: their text taken apart, rendered, and read from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spanline.errors import ConfigurationError

# A plain name in braces is a variable; with a conversion or a format it is one only when a value of that name is given,
# since `{a:1}` may as well be JavaScript. Attribute and index access are text: a template reaches nothing but its values.
_TOKEN = re.compile(r"\{\{|\}|\{(?P<name>[^\W\d]\w*)(?:!(?P<conversion>[rsa]))?(?::(?P<format>[^{}\"'\n]*))?\}|\{")
_FRONT = re.compile(r"---[ \t]*\n(?P<head>(?:[^\n]*\n){0,50}?)---[ \t]*(?:\n|\Z)")
_LINE = re.compile(r"(?P<key>[A-Za-z_][\w-]*)[ \t]*:[ \t]*(?P<value>[^\n]*?)[ \t]*\Z")
_SUFFIXES = frozenset(
    [
        ".txt",
        ".md",
        ".prompt",
        ".jinja",
        ".jinja2",
        ".j2",
        ".tmpl",
        ".template",
        ".mustache",
        ".yaml",
        ".yml",
        ".json",
        ".toml",
        ".xml",
        ".html",
        ".gguf",
        ".ggml",
        ".safetensors",
        ".bin",
        ".pt",
        ".pth",
        ".onnx",
        ".pkl",
        ".joblib",
        ".tflite",
        ".keras",
        ".h5",
        ".npz",
        ".model",
        ".engine",
        ".mlmodel",
        ".tar",
        ".zip",
    ]
)


class _Field(NamedTuple):
    name: str
    conversion: str | None
    format: str | None
    source: str

    @property
    def plain(self) -> bool:
        return self.conversion is None and self.format is None


class Template:
    """A text with `{variables}`, taken apart once. `{{` and `}}` are braces, unless `}}` closes two JSON braces."""

    __slots__ = ("_parts", "variables")

    def __init__(self, text: str) -> None:
        self._parts = _parse(text)
        self.variables = tuple(dict.fromkeys(part.name for part in self._parts if isinstance(part, _Field) and part.plain))

    def render(self, values: Mapping[str, object]) -> str:
        """The text with values put in.

        Raises:
            KeyError: A variable has no value; its argument is the name.
        """
        return "".join(part if isinstance(part, str) else _value(part, values) for part in self._parts)


def _value(part: _Field, values: Mapping[str, object]) -> str:
    if part.plain:
        return str(values[part.name])
    if part.name not in values:
        return part.source
    value = values[part.name]
    if part.conversion is not None:
        value = {"r": repr, "s": str, "a": ascii}[part.conversion](value)
    return format(value, part.format or "")


def _parse(text: str) -> list[str | _Field]:
    parts: list[str | _Field] = []
    open_braces: list[bool] = []  # True for `{{`, False for a single one
    at = 0
    position = 0
    while token := _TOKEN.search(text, position):
        parts.append(text[at : token.start()])
        at = position = token.end()
        found = token.group()
        if token["name"] is not None:
            parts.append(_Field(token["name"], token["conversion"], token["format"], found))
        elif found == "{":
            open_braces.append(False)
            parts.append("{")
        elif found == "{{":
            open_braces.append(True)
            parts.append("{")
        else:
            doubled = text.startswith("}", at)
            if doubled and (not open_braces or open_braces[-1]):
                at = position = at + 1
                if open_braces:
                    open_braces.pop()
            elif open_braces and not open_braces[-1]:
                open_braces.pop()
            parts.append("}")
    parts.append(text[at:])
    return _joined(parts)


def _joined(parts: list[str | _Field]) -> list[str | _Field]:
    """Neighbouring texts as one."""
    joined: list[str | _Field] = []
    run: list[str] = []
    for part in parts:
        if isinstance(part, str):
            run.append(part)
            continue
        if text := "".join(run):
            joined.append(text)
        run = []
        joined.append(part)
    if text := "".join(run):
        joined.append(text)
    return joined


def split_version(path: Path) -> tuple[str, str | None]:
    """Name and version of a file's name: `fees@v7.txt` is `fees` and `v7`; unknown suffixes belong to the name."""
    stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
    name, at, version = stem.rpartition("@")
    return (name, version or None) if at and name else (stem.replace("@", ""), None)


def read_template(path: Path) -> tuple[dict[str, str], str]:
    """Front matter and text of a template file, line ends LF.

    Front matter is taken as such only when all its lines are `key: value` and one of them is `name` or `version`;
    a text that merely begins with a rule stays whole.

    Raises:
        ConfigurationError: The file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"prompt template {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"prompt template {path} is not UTF-8 (byte {error.start})") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    front = _FRONT.match(text)
    if front is None:
        return {}, text
    lines = [_LINE.match(line) for line in front["head"].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    head = {line["key"].lower(): line["value"].strip("\"'") for line in lines if line is not None}
    if None in lines or not head.keys() & {"name", "version"}:
        return {}, text
    return head, text[front.end() :]
