"""Secrets in what people read: found in URLs and any text, and hidden. In doubt more is hidden than had to be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from hermes_ray.config.secret_names import asks_for_none, is_flag, names_secret, names_secrets
from hermes_ray.config.url_passwords import is_url, url_passwords
from hermes_ray.config.urls import QUERY
from hermes_ray.config.value_ends import item_end, of_list_end, parameter_end, value_end

__all__ = ["MASK", "Hidden", "all_spans", "mask_told", "mask_url", "plain", "refused_url", "secret_spans"]
__all__ += ["without_words"]

MASK = "***"


class Hidden(str):
    """A text that was made of a secret, or came from where secrets are: equal to any other text, but never shown."""

    __slots__ = ()


def mask_url(text: str) -> str:
    """``text``, a URL or anything with URLs in it, without passwords: ``amqp://me:pw@h/`` is ``amqp://me:***@h/``.

    Also hidden are the values of ``password=``, ``"token": ``, ``--password`` and their like, what follows ``Bearer``,
    and, in a text without ``://``, everything before the last ``@``.
    """
    return _masked(text, all_spans(text))


def mask_told(text: str) -> str:
    """``text``, which may have tracebacks in it, as ``mask_url`` has it, but for two things.

    What is before an ``@`` is shown where it has no ``:``: it may be an address. And no secret goes on beyond a frame
    of a traceback, or a line that is the traceback's own: after ``token = fetch()`` come the other frames.
    """
    return "".join(_masked(piece, _told_spans(piece)) for piece in _pieces(text))


_OF_TRACEBACK = re.compile(  # each with the ends of lines before it, which are no part of a secret there
    r"(?:\A|(?:\n[ |]*){0,2}\n)(?P<margin>[ |]*)"
    r"(?:File \"[^\n]*\", line \d[^\n]*(?:\n(?P=margin)  [^\n]*)*"
    r"|(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):$"
    r"|The above exception was the direct cause of the following exception:$"
    r"|During handling of the above exception, another exception occurred:$"
    r"|\+(?:-\+)?-{9,}(?: [\d.]+ -{9,})?$)",
    re.MULTILINE,
)


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces: each frame and line of a traceback's own, and what is between them, such as an error's words.

    A frame has all lines of its source, and an error's words all of theirs: a secret in them may have many.
    """
    done = 0
    for match in _OF_TRACEBACK.finditer(text):
        yield from (text[done : match.start()], match[0])
        done = match.end()
    yield text[done:]


def _masked(text: str, found: Iterable[tuple[int, int]]) -> str:
    masked, done = [], 0
    for start, end in _joined(found):
        masked += [text[done:start], MASK]
        done = end
    return "".join([*masked, text[done:]])


def refused_url(url: str) -> str:
    """What may be shown of a URL that cannot be read: its scheme, and what follows the last ``@`` up to a ``?``.

    Where the parts of a URL are in doubt, so is where its password is: ``amqp://me:p/w@h:x/`` is ``amqp://***@h:x/``,
    without an ``@`` the scheme alone is left.
    """
    scheme = re.match(r"\s*([a-z][a-z0-9+.-]*://|amqps?:)", url, re.IGNORECASE)
    shown = f"{scheme[1] if scheme else ''}{MASK}"
    before, at, after = url.rpartition("@")
    if not at or re.search(r"\?.*=", before, re.DOTALL):  # the @ may be one in a parameter, such as a passphrase
        return shown
    return f"{shown}@{mask_url(after.partition('?')[0])}"


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Where secrets stand in ``text``, as (start, end) in order, none overlapping another."""
    return _joined(all_spans(text))


def _joined(found: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def all_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand in ``text``, in no order; one may lie in another."""
    if "PRIVATE KEY" in text:
        yield 0, len(text)
    yield from _told_spans(text, alone=is_url(text))
    if "://" not in text and "@" in text:
        yield 0, text.rindex("@")


_ARMOUR = re.compile(r"(-{4,5} ?BEGIN [\w ]{0,40})?PRIVATE KEY(?: BLOCK)? ?----")


def _told_spans(text: str, *, alone: bool = False) -> Iterator[tuple[int, int]]:
    if armour := _ARMOUR.search(text):
        yield armour.start() if armour[1] else 0, len(text)  # the text may have been cut: where its end comes first
    yield from _bearers(text)
    yield from _assigned(text, alone=alone)
    yield from _separate(text)
    if "@" in text or "://" in text:
        yield from url_passwords(text, alone=alone)


def _bearers(text: str) -> Iterator[tuple[int, int]]:
    return (match.span(1) for match in _BEARER.finditer(text))


# Neither ``basic validation`` nor ``digest sha256:``: base64 of ``name:password`` has more than small letters.
_BEARER = re.compile(
    r"\b(?i:bearer|(?:basic|digest)(?!\s+(?-i:sha\d+:|[a-z]+[.:]?(?![\w+/=.~:-]))))\s+([\w+/=.~:-]{4,})"
)
# Of a long run of letters, such as base64, each beginning is no key of its own: that took seconds for 9 kB.
_KEY_IN_TEXT = re.compile(
    r"(?<!\w)(?:(?P<item>[\"'])-{0,2})?(?P<key>(?<!\w)(?:[A-Za-z_]|%[0-9A-Fa-f]{2})(?:[\w-]|%[0-9A-Fa-f]{2}){0,79})"
    r"(?:(?P<within>=(?!=\s))|\\?[\"']*\s{0,9}(?:=>|:|=(?!=\s))\s*)"
)
# ``(using password: YES)``, ``password=None, host='h'``; what goes on otherwise may be a passphrase.
_NO_SECRET = re.compile(r"(?:YES|NO|None|null|[Tt]rue|[Ff]alse)(?:[)\]}]|, [\"']?\w{1,80}[\"']?[:=]|\s*\Z)")
_OPAQUE = {"ssl_options", "client_properties"}  # mappings in one parameter of a URL, a passphrase may be among them
_NEXT_PARAMETER = re.compile(rf"&(?:{'|'.join(sorted(QUERY))})=")
# Of a key that names many: no count, ``max_tokens=4096``, and nothing in prose, ``of 9 tokens: 4 are left``.
_OF_MANY = re.compile(r"(?<!\s)(?!\d{1,6}(?!\w))\S|b?[\"'\[{(<\\]|[^\W\d][\w.]{0,79}[\[{(]")


_ANSWER = re.compile(
    r"([\"']?)(?:true|false|yes|no|on|off|none|null|[01])\1(?=[\s,;&)\]}\"'\\]|\.?(?:\s|\Z))", re.IGNORECASE
)


def _says_no_secret(key: str, text: str, start: int) -> bool:
    """Whether what begins at ``start`` is no secret: that there is none, or whether there is one, if ``key`` asks."""
    return bool(_NO_SECRET.match(text, start) or (is_flag(key) and _ANSWER.match(text, start)))


def _assigned(text: str, *, alone: bool) -> Iterator[tuple[int, int]]:
    done = 0
    unclosed: dict[str, int] = {}
    for match in _KEY_IN_TEXT.finditer(text) if "=" in text or ":" in text else ():
        key, start = unquote(match["key"]), match.end()
        if match.start() < done or _says_no_secret(key, text, start) or _is_user(text, match):
            continue
        if key.lower() in _OPAQUE:
            after = _NEXT_PARAMETER.search(text, start)
            done = after.start() if after else len(text)
            yield start, done
        elif names_secret(key) or (names_secrets(key) and _OF_MANY.match(text, start)):
            done = _assigned_end(text, match, unclosed, alone=alone)
            yield start, done


_OF_WORDS = re.compile("pass|pwd", re.IGNORECASE)  # the keys of what may have blanks, a broker's URL among it


def _assigned_end(text: str, key: re.Match[str], unclosed: dict[str, int], *, alone: bool) -> int:
    start, of_words = key.end(), _OF_WORDS.search(unquote(key["key"])) is not None
    if key["within"] and key["item"] and (end := item_end(text, start, key["item"])) is not None:
        return end
    if key["within"] and not of_words and not alone and text.endswith(("?", "&"), 0, key.start("key")):
        return parameter_end(text, key.start("key"), start)
    return value_end(text, start, unclosed, of_words=of_words)


# ``('token', 'x')``, ``['token', 'x']`` and ``['--token', 'x', '-v']``, but not names, ``['token', 'user', 'id']``;
# a tuple may be a row: of it all have to be words.
_KEY_OF_ITEM = re.compile(
    r"(?:(?:\((?!(?:\s*+\\?[\"'][A-Za-z_]{1,80}\\?[\"']\s*+,?){3,99}+\))"
    r"|\[(?!(?:\s*+\\?[\"'][\w.-]{1,80}\\?[\"']\s*+,){2}))\s*+b?(?P<quote>\\?[\"'])"
    r"|(?P<item>\\?[\"'])--?)"
    r"(?P<key>[A-Za-z_][\w-]{0,79})(?:(?P=quote)|(?P=item))\s*+,\s*+(?![\"']--[A-Za-z])"
)
_OPTION = re.compile(r"(?<![\w-])--?(?P<key>[A-Za-z][\w-]{0,79})(?:[ \t]|\\\r?\n)++(?!--[A-Za-z])")
_WORD = re.compile(r"(?:'[^']*(?:'|\Z)|\"(?:\\[\s\S]|[^\\\"])*+(?:\"|\\?\Z))+\S*|\S+?(?=[\"']{0,9}(?:\s|\Z))")


def _separate(text: str) -> Iterator[tuple[int, int]]:
    """Where a secret is an item or a word of its own, after that which names it."""
    done = 0
    unclosed: dict[str, int] = {}
    for item in _KEY_OF_ITEM.finditer(text) if "," in text else ():
        start = item.end()
        if (
            item.start() >= done
            and _is_named(item["key"], text, start)
            and not _says_no_secret(item["key"], text, start)
        ):
            done = of_list_end(text, start, unclosed)
            yield start, done
    done = 0
    for option in _OPTION.finditer(text) if "-" in text else ():
        start = option.end()
        if start >= done and _is_named(option["key"], text, start) and (word := _WORD.match(text, start)):
            done = word.end() if text[start] in "'\"" else start  # ``-password`` may be a word, and an option
            yield word.span()


_A_NUMBER = re.compile(r"[\"']?\d{1,6}(?!\w)")


def _is_named(key: str, text: str, start: int) -> bool:
    """Whether ``key`` names a secret, or many while what begins at ``start`` is no count of them."""
    if asks_for_none(key):
        return False
    return names_secret(key) or (names_secrets(key) and not _A_NUMBER.match(text, start))


_TO_USER, _TO_HOST = re.compile(r"://[\w-]{0,80}\Z"), re.compile(r"[^\s/?#@]{1,256}@")


def _is_user(text: str, key: re.Match[str]) -> bool:
    """Whether ``key`` ends a user's name in a URL, whose password is found as that: ``x-access-token:PW@h``."""
    return bool(
        _TO_HOST.match(text, key.end()) and _TO_USER.search(text[max(0, key.start("key") - 83) : key.start("key")])
    )


def plain(value: Any) -> Any:
    """A copy of plain values without the marks of ``Hidden``: for those who want exactly a text."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Hidden) else value


_WITH_LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*|[^\s:@/=]+:[^@]+@.*", re.DOTALL)


def without_words(text: str, words: Iterable[str]) -> str:
    """``text`` without the passwords of URLs among ``words``, those of a command line, which it may quote anywhere."""
    logins = {found[0] for word in words if (found := _WITH_LOGIN.search(word))}
    logins |= {login.partition("=")[0] for login in logins}  # how an option that does not exist is quoted
    for login in sorted(logins, key=len, reverse=True):
        for form in (login, repr(login)[1:-1]):
            text = text.replace(form, mask_url(form))
    return text
