"""From ``package.module:name`` to something a slot can call."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import WrapperDescriptorType
from typing import Any

from hermes_ray.config.option_secrets import OptionSecrets
from hermes_ray.config.secrets import plain
from hermes_ray.errors import OperationFailed
from hermes_ray.logs import Log

__all__ = ["ASYNC_CONCURRENCY", "SYNC_CONCURRENCY", "Handler"]
__all__ += ["import_from", "load_handler", "run_close", "trouble_at_close"]

log = Log(__name__)

ASYNC_CONCURRENCY = 32
SYNC_CONCURRENCY = 4
CLOSE_HANDLER_S = 10.0
_LONGEST_SECRET = 4_096  # characters; of one that no option is or has
_MOST_WRAPPERS = 100
_MOST_FRAMES = -100  # the last ones
_SHOWN_CHARACTERS = 8_000  # of an error; a dead letter keeps half, and to look for secrets takes time


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A loaded handler. ``close`` releases what a class opened; for a function it does nothing.

    ``name`` is what it was loaded by, ``options`` what its class was built with.
    """

    call: Callable[..., Any]
    is_async: bool
    close: Callable[[], Any]
    name: str = "handler"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _secrets: OptionSecrets = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_secrets", OptionSecrets(self.options))  # now: the first failure may be in a loop

    @property
    def default_concurrency(self) -> int:
        """Slots per worker when the configuration names none."""
        return ASYNC_CONCURRENCY if self.is_async else SYNC_CONCURRENCY

    def sentence_of(self, error: BaseException) -> str:
        """What was raised, as anybody may read it: without the secrets among the options."""
        return self.shown(_said(error))

    def trace_of(self, error: BaseException) -> str:
        """The end of its traceback, as anybody may read it; empty where none can be made of it."""
        return self.shown(_trace_of(error), end=True)

    def shown(self, text: str, *, end: bool = False) -> str:
        """8,000 characters of ``text``, the first or the last, which the handler may have made of its options' secrets.

        Those are left out: one that lies across the cut too.
        """
        return _shown(text, self._secrets, end=end)


def import_from(paths: Sequence[str]) -> None:
    """Make modules in the existing ones of ``paths`` importable, first path first."""
    for path in reversed(paths):
        if path not in sys.path and Path(path).is_dir():
            sys.path.insert(0, path)


def load_handler(spec: str, options: Mapping[str, Any]) -> Handler:
    """Import ``spec`` (``package.module:name``) and build it if it is a class, with ``options`` as keyword arguments.

    Raises ``OperationFailed`` with the text of whatever importing or building raised.
    """
    module_name, _, name = spec.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise _refusal(f"handler {spec} cannot be imported", error, options) from _cause(error, options)
    if inspect.isclass(found):
        return _build(spec, found, options)
    if not callable(found):
        raise OperationFailed(f"handler {spec} is a {type(found).__name__}: name a function or a class")
    if options:
        raise OperationFailed(f"handler {spec} is a function: options are for a class, which gets them once per worker")
    return _handler(spec, found, _nothing, options)


def _build(spec: str, cls: type, options: Mapping[str, Any]) -> Handler:
    if not _has_call(cls):
        raise OperationFailed(f"handler {spec} is a class without __call__(self, message): add one")
    try:
        instance = cls(**plain(options))
    except (Exception, SystemExit) as error:
        raise _refusal(f"handler {spec} cannot be built", error, options) from _cause(error, options)
    close = getattr(instance, "close", _nothing)
    return _handler(spec, instance, close if callable(close) else _nothing, options)


def _has_call(cls: type) -> bool:
    return any("__call__" in vars(base) for base in cls.__mro__)


def _handler(spec: str, call: Callable[..., Any], close: Callable[[], Any], options: Mapping[str, Any]) -> Handler:
    code, args, keywords = _unwrapped(call)
    codes = (call, code)
    if any(inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code) for code in codes):
        raise OperationFailed(f"handler {spec} has a yield, so calling it would do nothing: return instead")
    if isinstance(code, type) and _has_call(code):
        made = f"would build a {code.__name__} with each message and never call it"
        raise OperationFailed(f"handler {spec} {made}: name the class, and give what it is built with as its options")
    if not _takes(code, args, keywords):
        raise OperationFailed(f"handler {spec} cannot be called with one argument, the message: correct its parameters")
    is_async = any(map(inspect.iscoroutinefunction, codes))
    return Handler(call=call, is_async=is_async, close=close, name=spec, options=options)


def _unwrapped(call: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What runs in the end when ``call`` is called with a message, and with what: partials and objects are left out.

    As Python calls them; inspect takes any ``__call__`` of a class, a static one too, for a method of its objects.
    """
    args: tuple[Any, ...] = (None,)
    keywords: dict[str, Any] = {}
    for _ in range(_MOST_WRAPPERS):
        if isinstance(call, partial):
            args, keywords, call = (*call.args, *args), {**call.keywords, **keywords}, call.func
            continue
        found = inspect.getattr_static(type(call), "__call__", None)
        if isinstance(call, type) or isinstance(found, WrapperDescriptorType):
            break
        call = found.__get__(call, type(call)) if hasattr(type(found), "__get__") else found
    return call, args, keywords


def _takes(code: Any, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    try:
        signature = inspect.signature(code, follow_wrapped=False)  # a decorator may have more or less to hand on
    except (TypeError, ValueError):  # a function of a C extension may have no signature: it is taken as it is
        return True
    try:
        signature.bind(*args, **keywords)
    except TypeError:
        return False
    return True


def _refusal(text: str, error: BaseException, options: Mapping[str, Any]) -> OperationFailed:
    return OperationFailed(_shown(f"{text}: {_said(error)}", OptionSecrets(options)))


def _shown(text: str, secrets: OptionSecrets, *, end: bool = False) -> str:
    margin, most = max(_LONGEST_SECRET, secrets.longest), _SHOWN_CHARACTERS

    def told_of(count: int) -> str:
        return secrets.hidden_in(text[max(0, len(text) - count) :] if end else text[:count])

    told = told_of(most + margin)
    if most + margin < len(text):
        # Half a secret, at a cut, is not hidden; of a longer part it is none. What both have alike knows of no cut.
        further = told_of(most + 2 * margin)
        pairs = zip(reversed(told), reversed(further), strict=False) if end else zip(told, further, strict=False)
        most = min(most, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if len(told) <= most:
        return told
    return told[len(told) - most :] if end else told[:most]


def _cause(error: BaseException, options: Mapping[str, Any]) -> BaseException | None:
    """``error``, unless its traceback, or that of what led to it, would show a secret."""
    trace = _trace_of(error)
    return error if trace and OptionSecrets(options).hidden_in(trace) == trace else None


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=_MOST_FRAMES))
    except BaseException:  # of what an error may have in its place, such as notes or a line that are none
        return ""


def _said(error: BaseException) -> str:
    try:
        name = type(error).__name__
    except BaseException:  # of a name that its class makes up
        return "an error without a name"
    try:
        said = str(error)  # once: what holds a large body takes long to say it
        return f"{name}: {said}" if said else name
    except BaseException:  # of its __str__: an exit there would take the slot away for good
        return name


def _nothing() -> None:
    return None


def run_close(handler: Handler, run: Callable[[Any], None], timeout_s: float = CLOSE_HANDLER_S) -> None:
    """Call the handler's ``close`` and log what is wrong with it: see ``trouble_at_close``."""
    if (trouble := trouble_at_close(handler, run, timeout_s)) is not None:
        log.warning("%s", trouble)


def trouble_at_close(handler: Handler, run: Callable[[Any], None], timeout_s: float = CLOSE_HANDLER_S) -> str | None:
    """Call the handler's ``close``; what is wrong if it raises, or has not ended within ``timeout_s``.

    ``run`` executes what an async ``close`` returned. What is raised is told without a traceback, which would show the
    secrets among the options.
    """
    troubles = [f"the close of {handler.name} has not ended within {timeout_s:g} s"]

    def close() -> None:
        try:
            result = handler.close()
            if inspect.isawaitable(result):
                run(result)
        except BaseException as error:
            troubles.append(f"the close of {handler.name} raised {handler.sentence_of(error)}")
        else:
            troubles.clear()

    thread = threading.Thread(target=close, name="close handler", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return next(reversed(troubles), None)  # it may end just now
