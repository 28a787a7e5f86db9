"""A configuration as people may see it: the whole tree without its secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hermes_ray.config.beside_names import with_named
from hermes_ray.config.secret_names import looks_secret, mentions_secret, names_code
from hermes_ray.config.secrets import MASK, mask_url

__all__ = ["masked_tree"]


def masked_tree(value: Any, source: Any, *, options: bool = False, private: bool = False, secret: bool = False) -> Any:
    """A copy of ``value`` (dataclasses and plain values) without secrets, made of what YAML can write.

    ``source`` is the same tree before its ``${...}`` were resolved. Below a key ``options`` everything that came from
    one is hidden, and below it and ``broker`` every value under a key that looks secret; passwords in URLs are hidden
    everywhere.
    """
    if dataclasses.is_dataclass(value):
        value = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {
            _shown(key): item
            if not options and names_code(str(key), item)
            else masked_tree(
                item,
                source.get(key) if isinstance(source, Mapping) else source,
                options=options or key == "options",
                private=private or key in ("options", "broker"),
                secret=secret or (private and (is_named or (isinstance(key, str) and looks_secret(key, item)))),
            )
            for key, item, is_named in with_named(value)
        }
    if isinstance(value, list | tuple):
        sources = source if isinstance(source, list | tuple) and len(source) == len(value) else [source] * len(value)
        return [
            masked_tree(item, source, options=options, private=private, secret=secret or (private and is_named))
            for (_, item, is_named), source in zip(with_named(value), sources, strict=True)
        ]
    if value is None or isinstance(value, bool):
        return MASK if secret and value is not None else value
    interpolated = isinstance(source, str) and "${" in source
    return MASK if secret or (interpolated and (options or mentions_secret(str(source)))) else _shown(value)


def _shown(value: Any) -> Any:
    if isinstance(value, str):  # one from the environment may hold bytes that are no UTF-8
        return mask_url(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return str(value) if isinstance(value, bytes) else value
