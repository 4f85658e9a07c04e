"""Calls as data: what a method sends and how its answer is read, without any I/O.

The methods of both clients come from here. Each is declared once in `mixins` as a function that returns a `Call`; the
client it is used on decides whether the call is run at once or awaited.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import EllipsisType, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload

from ._answer import Answer, parse_json
from ._session import Session, Stash
from .exceptions import PayloadTooLarge, ValidationError
from .models.base import raise_failure
from .protocol import MAX_PAYLOAD_SIZE, RAW_OPCODES, Message, opcode_name

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds; None = no limit; ``...`` = the client's own.
Timeout: TypeAlias = float | EllipsisType | None


@dataclass(frozen=True)
class Receive:
    """The call takes things out of a queue."""

    stash: Stash
    most: int
    #: None = does not wait.
    wait: bool
    timeout: float | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One syscall."""

    opcode: int
    request: Mapping[str, Any] | bytes
    parse: Callable[[Answer], T]
    #: A failure has no place in the result: it is always raised.
    raises: bool = False
    #: The kernel may take so long in addition to the client's own limit. Seconds; None = for ever.
    extra_time: float | None = 0.0
    #: Takes as long as what it runs: must not hold up other calls where that can be had.
    long: bool = False
    #: Does not depend on who asks: may go over any connection.
    impersonal: bool = False
    receive: Receive | None = None

    def payload(self) -> bytes:
        return encode(self.opcode, self.request)

    def read(self, reply: Message, raise_errors: bool) -> T:
        """The result. Raises what an error answer stands for where the call or the client wants that."""
        if self.opcode in RAW_OPCODES:
            return self.parse(Answer(self.opcode, reply.payload.decode("utf-8", errors="surrogatepass")))
        return self.read_body(parse_json(self.opcode, reply.payload), raise_errors, reply.agent_id)

    def read_body(self, body: Any, raise_errors: bool, caller_id: int = 0) -> T:
        if (self.raises or raise_errors) and isinstance(body, dict):
            raise_failure(self.opcode, body)
        return self.parse(Answer(self.opcode, body, caller_id))

    def time_limit(self, timeout: float | None) -> float | None:
        if timeout is None or self.extra_time is None:
            return None
        return timeout + self.extra_time


def encode(opcode: int, request: Mapping[str, Any] | str | bytes) -> bytes:
    """A payload. Raises `ValidationError` for what is not JSON, `PayloadTooLarge` for more than the kernel takes."""
    if isinstance(request, bytes):
        payload = request
    elif isinstance(request, str):
        payload = _utf8(request)
    else:
        try:
            text = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError(f"{opcode_name(opcode)}: not JSON: {error}") from error
        payload = _utf8(text)
    if len(payload) > MAX_PAYLOAD_SIZE:
        raise PayloadTooLarge(
            f"{opcode_name(opcode)}: request of {len(payload)} bytes is larger than {MAX_PAYLOAD_SIZE}",
            opcode,
        )
    return payload


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValidationError(f"not text that UTF-8 can carry: {error}") from error


def without_none(**fields: Any) -> dict[str, Any]:
    """What was not given is not sent."""
    return {name: value for name, value in fields.items() if value is not None}


class Caller:
    """Base of the method declarations."""

    _session: Session


class SyncCaller(Caller):
    """Runs calls at once."""

    def _run(self, call: Call[T]) -> T:
        raise NotImplementedError


class AsyncCaller(Caller):
    """Runs calls when awaited."""

    def _run(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        raise NotImplementedError


class syscall(Generic[P, T]):  # noqa: N801 - used as a decorator
    """Turns a function that builds a `Call` into a method: one that returns the result on a synchronous client,
    and one that has to be awaited on an asynchronous client."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        @functools.wraps(build)
        def method(caller: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return caller._run(build(caller, *args, **kwargs))

        # help() and editors show what the method returns, not how it is made.
        signature = inspect.signature(build)
        returns = str(signature.return_annotation).removeprefix("Call[").removesuffix("]")
        method.__signature__ = signature.replace(return_annotation=returns)  # type: ignore[attr-defined]
        self._method = method
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, instance: SyncCaller, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: AsyncCaller, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, instance: Caller | None, owner: type) -> Any:
        return self._method if instance is None else MethodType(self._method, instance)
