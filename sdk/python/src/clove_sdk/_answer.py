"""Reads answers: absent fields take their default, wrong types are errors and never become one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .exceptions import ProtocolError, SyscallError, error_from_answer
from .models.base import Result
from .protocol import opcode_name

R = TypeVar("R", bound=Result)


class Answer:
    """One JSON answer. Every reader takes several names: the first that is there and not null counts."""

    def __init__(self, opcode: int, body: Any, caller_id: int = 0) -> None:
        self.opcode = opcode
        self.body: Any = body
        #: Whom the kernel takes the caller for, out of the frame's header.
        self.caller_id = caller_id

    @property
    def fields(self) -> Mapping[str, Any]:
        if isinstance(self.body, dict):
            return self.body
        raise self._wrong("the answer", "an object")

    def has(self, name: str) -> bool:
        return name in self.fields

    def flag(self, *names: str, default: bool = False) -> bool:
        found = self.any(*names)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise self._wrong(names[0], "true or false")
        return found

    def integer(self, *names: str, default: int = 0) -> int:
        found = self.maybe_integer(*names)
        return default if found is None else found

    def maybe_integer(self, *names: str) -> int | None:
        found = self.maybe_number(*names)
        return None if found is None else int(found)

    def number(self, *names: str, default: float = 0.0) -> float:
        found = self.maybe_number(*names)
        return default if found is None else found

    def maybe_number(self, *names: str) -> float | None:
        found = self.any(*names)
        if found is None:
            return None
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return found
        raise self._wrong(names[0], "a number")

    def text(self, *names: str, default: str = "") -> str:
        found = self.maybe_text(*names)
        return default if found is None else found

    def maybe_text(self, *names: str) -> str | None:
        found = self.any(*names)
        if found is None or isinstance(found, str):
            return found
        raise self._wrong(names[0], "text")

    def any(self, *names: str) -> Any:
        fields = self.fields
        return next((fields[name] for name in names if fields.get(name) is not None), None)

    def object(self, *names: str) -> dict[str, Any]:
        found = self.any(*names)
        if found is None:
            return {}
        if isinstance(found, dict):
            return found
        raise self._wrong(names[0], "an object")

    def text_object(self, name: str) -> dict[str, Any]:
        """An object that comes as JSON text."""
        text = self.maybe_text(name)
        found = {} if text is None else parse_json(self.opcode, text.encode("utf-8"))
        if isinstance(found, dict):
            return found
        raise self._wrong(name, "the text of an object")

    def array(self, *names: str) -> list[Any]:
        found = self.any(*names)
        if found is None:
            return []
        if isinstance(found, list):
            return found
        raise self._wrong(names[0], "an array")

    def part(self, *names: str) -> Answer:
        """An object inside the answer; empty where there is none."""
        return Answer(self.opcode, self.object(*names))

    def parts(self, *names: str) -> list[Answer]:
        return [Answer(self.opcode, each) for each in self.array(*names)]

    @property
    def success(self) -> bool:
        """Answers of SPAWN once had no such field: then, no error is success."""
        return self.flag("success", default="error" not in self.fields)

    @property
    def error(self) -> str | None:
        return self.maybe_text("error")

    def make(self, kind: Callable[..., R], /, **fields: Any) -> R:
        """A result with these attributes and with the answer itself as its dictionary."""
        return kind(**fields)._adopt(self.opcode, self.fields)

    def failure(self, otherwise: str) -> SyscallError:
        """The exception for an answer that says no without saying why."""
        fields = {"error": otherwise, "code": "NOT_FOUND", **self.fields}
        return error_from_answer(self.opcode, fields)

    def _wrong(self, what: str, expected: str) -> ProtocolError:
        return ProtocolError(f"answer to {opcode_name(self.opcode)}: {what} is not {expected}")


def parse_json(opcode: int, payload: bytes) -> Any:
    """Raises `ProtocolError` when it is not JSON."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        text = payload[:200].decode("utf-8", errors="replace")
        raise ProtocolError(f"answer to {opcode_name(opcode)} is not JSON: {text!r}") from error


def epoch_seconds(value: Any) -> float:
    """From a number, or from text such as ``2026-01-31T12:00:00.000Z``; 0 for what is no time."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
