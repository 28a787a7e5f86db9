"""From YAML text to plain values: mappings with plain keys, lists, text, decimal numbers, true, false, null.

PyYAML's scanner and parser (the C ones where they are there) read the text; what its nodes mean is decided here: PyYAML
takes ``010`` for 8, ``1:30`` for 90 and dates for objects, and keeps the last of two equal keys. (OmegaConf's loader
refuses files of more than 10,000 nodes, which are 150 topics written out.)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import yaml

from hermes_ray.config.sentences import dotted

__all__ = ["NotDecimal", "NotPlain", "NotYaml", "notation", "parse_yaml", "write_yaml"]

MAX_DEPTH = 64
MAX_ALIASED_NODES = 1_000_000
MOST_DIGITS = 100

_TAG = "tag:yaml.org,2002:"
_STR, _MERGE, _OTHER_NOTATION = f"{_TAG}str", f"{_TAG}merge", "!not-decimal"

INT = r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)"
FLOAT = r"[-+]?(?:(?:[0-9]+(?:_[0-9]+)*)?\.[0-9]+|[0-9]+(?:_[0-9]+)*\.?)(?:[eE][-+]?[0-9]+)?"
_IMPLICIT = (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", INT, "-+0123456789"),
    (None, r"[-+]?(?:0[0-9_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)", "-+0"),
    (None, r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", "-+0123456789"),
    ("float", rf"(?=.*[.eE]){FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+0123456789."),
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
)


class NotYaml(Exception):
    """The text is no YAML: ``problem`` says why and repeats none of it; ``line`` counts from 1, None if unknown."""

    def __init__(self, problem: str, mark: yaml.Mark | None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = None if mark is None else mark.line + 1


class NotPlain(Exception):
    """``what`` is YAML and nothing a configuration can hold: the value at ``path``, or a key of the mapping there.

    ``path``: keys and indices, outermost first.
    """

    def __init__(self, what: str, *, is_key: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.path: tuple[Any, ...] = ()
        self.is_key = is_key


class NotDecimal(NotPlain):
    """A number in another notation than decimal, as ``text``."""

    def __init__(self, text: str) -> None:
        super().__init__("a number that is not decimal (as 010 is octal in YAML)")
        self.text = text


_NO_CHARACTER = "it has a character that YAML does not allow"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Knows the scalars of a configuration, and how deep it may be: the C parser overflows its stack at 20,000."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to replace them
    depth = 0

    def descend_resolver(self, parent: yaml.Node | None, index: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotYaml(f"it is nested more than {MAX_DEPTH} levels deep", parent.start_mark if parent else None)

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes the text that would be read as something else, by us or by PyYAML."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _IMPLICIT:
    _tag = _OTHER_NOTATION if _name is None else _TAG + _name
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def write_yaml(value: Any) -> str:
    """Plain values as YAML that ``parse_yaml`` reads as they were, and PyYAML too."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def parse_yaml(text: str) -> Any:
    """What ``text`` holds; None if nothing. Raises ``NotYaml``, ``NotPlain`` or ``NotDecimal``.

    Aliases and merge keys (``<<``) are followed, values that come twice are shared. ``!!str 010`` is text.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except UnicodeEncodeError:  # a byte of a command line that is no UTF-8
        raise NotYaml(_NO_CHARACTER, None) from None
    except yaml.YAMLError as error:
        problem = str(getattr(error, "problem", None) or _NO_CHARACTER)
        if problem.startswith("but "):
            problem = f"{getattr(error, 'context', None) or ''} {problem}".strip()
        raise NotYaml(_without_quotations(problem), getattr(error, "problem_mark", None)) from None
    return None if root is None else _Builder().value(root)


def notation(text: str) -> tuple[str, str]:
    """What a number that is not decimal is in YAML, and what to write instead: ``010`` is ``octal``, ``8 or 10``."""
    try:
        if len(text) <= MOST_DIGITS:
            return _in_decimal(text)
    except ValueError:  # a tag, as in ``!!int x``, says that it is a number
        pass
    return "no number", "a decimal number"


def _in_decimal(text: str) -> tuple[str, str]:
    digits = text.lower().replace("_", "").lstrip("+-")
    sign = "-" if text.startswith("-") else ""
    if ":" in digits:
        total = 0.0
        for part in digits.split(":"):
            total = total * 60 + float(part)
        return "a number in sixtieths", f"{sign}{total:.15g}"
    name, base = {"0x": ("hexadecimal", 16), "0o": ("octal", 8), "0b": ("binary", 2)}.get(digits[:2], ("octal", 0))
    if base:
        return name, f"{sign}{int(digits[2:] or '0', base)}"
    decimal = f"{sign}{int(digits)}"
    if not re.fullmatch("[0-7]+", digits):
        return "no number, for its leading zero", decimal
    octal = f"{sign}{int(digits, 8)}"
    return name, decimal if octal == decimal else f"{octal} or {decimal}"


def _without_quotations(problem: str) -> str:
    """PyYAML quotes aliases and tags, which a password that begins with ``*`` or ``!`` looks like.

    Single characters stay: those are what it missed.
    """

    def kept(match: re.Match[str]) -> str:
        return match[0] if len(match[0]) <= len("'x'") else "a part"

    return re.sub(r"\s+", " ", re.sub(r"'[^']*'|\"[^\"]*\"", kept, problem))


class _Builder:
    """Builds values of nodes; remembers those of containers, because an alias is the same node again."""

    def __init__(self) -> None:
        self._built: dict[yaml.Node, tuple[Any, int]] = {}
        self._count = 0  # of nodes, those behind aliases counted each time

    def value(self, node: yaml.Node) -> Any:
        self._count += 1
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag == _STR else _scalar(node)
        if node in self._built:
            return self._again(node)
        self._built[node] = (_UNFINISHED, 0)
        before = self._count
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            _refuse_tag(node)
        made = self._mapping(node) if isinstance(node, yaml.MappingNode) else self._list(node)
        self._built[node] = (made, self._count - before)
        return made

    def _again(self, node: yaml.Node) -> Any:
        made, size = self._built[node]
        if made is _UNFINISHED:
            raise NotYaml("YAML recursive aliases are not supported", node.start_mark)
        self._count += size
        if self._count > MAX_ALIASED_NODES:
            raise NotYaml(f"its aliases stand for more than {MAX_ALIASED_NODES} values", node.start_mark)
        return made

    def _list(self, node: yaml.Node) -> list[Any]:
        return [self._at(index, item) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for other in reversed(list(self._merged(value_node))):
                    merged |= other
                continue
            key = self._key(key_node)
            if key in own:
                raise NotYaml(f"found duplicate key {dotted('', key)}", key_node.start_mark)
            own[key] = self._at(key, value_node)
        return {**merged, **own} if merged else own

    def _merged(self, node: yaml.Node) -> Iterator[dict[Any, Any]]:
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(part)
            if not isinstance(value, dict):
                raise NotYaml("<< takes a mapping, or a list of mappings", part.start_mark)
            yield value

    def _key(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise NotYaml("found unhashable key", node.start_mark)
        try:
            key = self.value(node)
        except NotPlain as error:
            error.is_key = True
            raise
        if key is None or isinstance(key, bytes):
            raise NotPlain("null" if key is None else "binary", is_key=True)
        return key

    def _at(self, key: Any, node: yaml.Node) -> Any:
        try:
            return self.value(node)
        except NotPlain as error:
            error.path = (key, *error.path)
            raise


_UNFINISHED = object()


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    read = _SCALARS.get(node.tag)
    if node.tag == _OTHER_NOTATION or (node.tag == f"{_TAG}int" and not re.fullmatch(INT, text)):
        raise NotDecimal(text)
    if read is None:
        _refuse_tag(node)
    try:
        return read(text)
    except (ValueError, KeyError):
        raise NotPlain("a number of too many digits, or no value of its tag (!!...)") from None


def _refuse_tag(node: yaml.Node) -> NoReturn:
    raise NotYaml("tags (!...) are not read; put text that begins with ! in quotes", node.start_mark)


def _truth(text: str) -> bool:
    return {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}[text.lower()]


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}bool": _truth,
    f"{_TAG}int": int,
    f"{_TAG}float": _float,
    f"{_TAG}null": lambda _text: None,
    _MERGE: str,
    f"{_TAG}binary": lambda text: base64.b64decode(text, validate=False),
}
