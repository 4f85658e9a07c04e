"""What all results have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from ..exceptions import error_from_answer

R = TypeVar("R", bound="Result")


class Result(dict[str, Any]):
    """A result with typed attributes that is also a dictionary of what the kernel answered.

    ``result.agent_id`` and ``result["agent_id"]`` both work; the dictionary also has the fields of the answer that
    have no attribute, such as ``result["isolation"]``. Attributes that are None and were not in the answer are not
    in the dictionary, so ``"error" in result`` means that there is one. Treat it as read-only: the two views are
    filled once.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value is not None:
                self[field.name] = value

    def raise_for_error(self: R) -> R:
        """Returns itself when all went well. Raises what the error stands for: `PermissionDenied`, `Overload`…"""
        failure = failure_of(self)
        if failure is None:
            return self
        raise error_from_answer(getattr(self, "_opcode", 0), failure)

    def _adopt(self: R, opcode: int, answer: Mapping[str, Any]) -> R:
        """Takes over the answer as it came. Its values win over those made from it."""
        dict.update(self, answer)
        self._opcode = opcode
        return self


def failure_of(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The answer itself when it says that the call failed.

    A command that ran and ended badly did not fail as a call: such an answer has `exit_code` and no error, or says
    that it timed out.
    """
    if answer.get("success") is True or "timed_out" in answer:
        return None
    if answer.get("error") or (answer.get("success") is False and "exit_code" not in answer):
        return answer
    return None


def raise_failure(opcode: int, answer: Mapping[str, Any]) -> None:
    """Raises when the answer says that the call failed."""
    failure = failure_of(answer)
    if failure is not None:
        raise error_from_answer(opcode, failure)
