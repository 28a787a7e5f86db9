"""Where a secret ends that begins in any text: with its own quotes or brackets, or with what holds it."""

from __future__ import annotations

import re
from string import ascii_letters, digits

__all__ = ["item_end", "of_list_end", "parameter_end", "value_end"]

_END_OF_ITEM = {quote: re.compile(rf"[^\\{quote}\n]{{0,4096}}(?={quote}[,\])}}])") for quote in "\"'"}
_END_OF_PARAMETER = re.compile(r"[\s\"'`)\]}>#&]|\Z")
_PAIRS = ("''", '""', "``", "()", "[]", "{}", "<>")
_LONGEST_URL = 1_024  # characters in which its beginning is looked for
_OF_SCHEME = f"{ascii_letters}{digits}+.-"
_BEFORE_PATH = re.compile(r"(?:[\"']?\w{1,80}[\"']?[=:])?[^\w/%?&]*")
_END_IN_LIST = re.compile(r"[,)\]]|\Z")

_OPENED = re.compile(r"""\s*b?\\?(["'])""")
_WITHIN = {quote: re.compile(rf"(?:\\.|[^\\{quote}])*", re.DOTALL) for quote in "\"'"}
_CLOSED = re.compile(r"""["'](?!\w)""")
_NEXT_KEY = re.compile(
    r"(?<![\s&;,])[\s&;,]+-{0,2}[\"']?[A-Za-z_][\w.-]{0,79}[\"']?\s{0,9}(?:=>|:|=(?![=\s]|$))(?!//)|;[\w .-]{1,40}="
)

_OPENED_BRACKET = re.compile(r"\s*(?:[^\W\d][\w.]{0,79})?(?P<bracket>[\[({<])")
_BRACKETS = {pair[0]: re.compile(rf"\\*[\"']|[{re.escape(pair)}]") for pair in ("[]", "()", "{}", "<>")}
# What is in ``password=(my dog) has fleas`` is in doubt, what is in ``password={'old': 'x'} was refused`` is not.
_DATA = re.compile(r"[\[({<]\s*(?:\w{1,80}\s?[=:]\s?)?b?\\*[\"'\[({]")
# The marks that a traceback has below a line of source are of no use without it.
_GOES_ON = re.compile(r"\s*[~^]|[^\s,;:.)\]}>\"'\\&]")


def item_end(text: str, start: int, quote: str) -> int | None:
    """Where the item of a list ends that ``quote`` began, ``['--password=PW', '-v']``, if it does."""
    item = _END_OF_ITEM[quote].match(text, start)
    return item.end() if item else None


def parameter_end(text: str, key: int, start: int) -> int:
    """Where a parameter's value ends, whose key is at ``key`` in a URL or form that may stand in a sentence.

    A quote or bracket ends it only if the same one opened before the URL: it may be a part of the secret.
    """
    window = text[max(0, key - _LONGEST_URL) : key]
    url = window.rsplit(maxsplit=1)[-1]
    before = window[: len(window) - len(url) + _begin(url)] if len(url) < _LONGEST_URL else ""
    ends = {pair[1] for pair in _PAIRS if _is_open(before, pair[0], pair[1])} | {"&", ""}
    if "?" in url:
        ends.add("#")
    return next(
        match.start() for match in _END_OF_PARAMETER.finditer(text, start) if match[0] in ends or match[0].isspace()
    )


def _begin(url: str) -> int:
    """Where the first word ``url`` of a text is one: of ``url='/a?`` that is at the slash."""
    scheme = url.find("://")
    if scheme >= 0:
        return len(url[:scheme].rstrip(_OF_SCHEME))
    before = _BEFORE_PATH.match(url)
    return before.end() if before else 0


def _is_open(before: str, opens: str, closes: str) -> bool:
    at = before.rfind(opens)
    if opens != closes:
        return at > before.rfind(closes)
    return at >= 0 and (at == len(before) - 1 or (before[at + 1].isalnum() and before[at - 1 : at] in " \n([{<=:,"))


def of_list_end(text: str, start: int, unclosed: dict[str, int]) -> int:
    """Where a value of a list ends: with its quotes or brackets, else before the comma."""
    if _OPENED.match(text, start) or _OPENED_BRACKET.match(text, start):
        return value_end(text, start, unclosed, of_words=False)
    return next(_END_IN_LIST.finditer(text, start)).start()


def value_end(text: str, start: int, unclosed: dict[str, int], *, of_words: bool) -> int:
    """Where the value that begins at ``start`` ends: with its quotes or brackets, else before the next key.

    One that may be ``of_words``, as a passphrase is, goes on after brackets that are not clearly around data.
    ``unclosed`` has up to where there is no end for a quote that opens: that is looked for once.
    """
    if (closed := _quoted_end(text, start, unclosed)) is not None:
        return closed
    closed = _brackets_end(text, start)
    if closed is not None and not _GOES_ON.match(text, closed) and not (of_words and not _is_data(text, start)):
        return closed
    after = _NEXT_KEY.search(text, closed or start)
    end = after.start() if after else len(text)
    return start + len(text[start:end].rstrip())


def _quoted_end(text: str, start: int, unclosed: dict[str, int]) -> int | None:
    opened = _OPENED.match(text, start)
    if opened and start >= unclosed.get(opened[1], 0):
        end = next(_WITHIN[opened[1]].finditer(text, opened.end())).end()
        if closed := _CLOSED.match(text, end):
            return closed.end()
        unclosed[opened[1]] = end
    return None


def _is_data(text: str, start: int) -> bool:
    opened = _OPENED_BRACKET.match(text, start)
    return opened is not None and _DATA.match(text, opened.start("bracket")) is not None


def _brackets_end(text: str, start: int) -> int | None:
    """Behind the bracket that closes that with which the value begins, ``[...`` or ``Token(...``, else the text's end.

    A bracket in quotes is none. Quotes within quotes have backslashes, so many more for each level.
    """
    opened = _OPENED_BRACKET.match(text, start)
    if not opened:
        return None
    depth, quote = 0, ""
    for match in _BRACKETS[opened["bracket"]].finditer(text, opened.start("bracket")):
        token = match[0]
        if quote:
            ends = token[-1] == quote[-1] and (len(token) - len(quote)) % (2 * len(quote)) == 0
            quote = "" if ends else quote
        elif token[-1] in "\"'":
            quote = token
        else:
            depth += 1 if token == opened["bracket"] else -1
            if depth == 0:
                return match.end()
    return len(text)
