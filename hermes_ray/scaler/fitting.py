"""What fits of plain data that another version wrote: a part that does not is left out, and named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct, structs

__all__ = ["Fitting"]


@dataclass(slots=True)
class Fitting:
    """Makes values of plain data, less the parts that do not fit; ``left_out`` names those: ``learnt.orders.policy``.

    Parts are the fields of structs in ``divisible``, the values of mappings, and structs in lists. All else is kept or
    left out as one, since half a histogram is a wrong one.
    """

    divisible: Collection[type[Struct]]
    left_out: list[str] = field(default_factory=list)

    def fit(self, plain: Any, kind: Any, at: str = "") -> Any:
        """``plain``, found ``at`` this place, as a ``kind``; raises ``ValidationError`` if it cannot be one at all."""
        try:
            return msgspec.convert(plain, kind)
        except msgspec.ValidationError:
            origin, inner = get_origin(kind), get_args(kind)
            if isinstance(plain, dict) and kind in self.divisible:
                return self._struct(plain, kind, at)
            if isinstance(plain, dict) and origin is dict:
                return dict(self._parts(plain.items(), inner[1], at))
            if isinstance(plain, list) and origin in (list, tuple) and isinstance(inner[0], type(Struct)):
                return origin(part for _, part in self._parts(enumerate(plain), inner[0], at))
            raise

    def _struct(self, plain: dict[str, Any], kind: type[Struct], at: str) -> Struct:
        fitted = {}
        for part in structs.fields(kind):
            if part.required:
                fitted[part.name] = self.fit(plain.get(part.name), part.type, _place(at, part.name))
            elif part.name in plain:
                fitted.update(self._parts([(part.name, plain[part.name])], part.type, at))
        return kind(**fitted)

    def _parts(self, plain: Iterable[tuple[Any, Any]], kind: Any, at: str) -> Iterator[tuple[Any, Any]]:
        for name, value in plain:
            place = _place(at, name)
            try:
                yield name, self.fit(value, kind, place)
            except msgspec.ValidationError:
                self.left_out.append(place)


def _place(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)
