"""Asking a model: through the kernel, or through a service process of one's own.

Such a service is a program that reads one JSON object per line and answers each with one line: prompt, image,
system_instruction, thinking_level, temperature, model; success, content, tokens, error.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._answer import Answer
from ._calls import Call, without_none
from ._session import Session
from .exceptions import ValidationError
from .protocol import SyscallOp

if TYPE_CHECKING:
    from ._local_model import LocalModel

SERVICE_VARIABLE = "CLOVE_LLM_SERVICE_PATH"


def local_model_path() -> str | None:
    return os.environ.get(SERVICE_VARIABLE) or None


def think_request(
    prompt: str,
    *,
    image: bytes | str | None,
    image_mime_type: str,
    system_instruction: str | None,
    thinking_level: str | None,
    temperature: float | None,
    model: str | None,
    max_tokens: int | None,
    tools: Sequence[Mapping[str, Any]] | None,
) -> dict[str, Any]:
    if thinking_level not in (None, "low", "medium", "high"):
        raise ValidationError(f"think: thinking_level is low, medium or high, not {thinking_level!r}")
    picture = None
    if image is not None:
        data = image if isinstance(image, bytes) else _contents(image)
        picture = {"data": base64.b64encode(data).decode("ascii"), "mime_type": image_mime_type}
    return {
        "prompt": prompt,
        **without_none(
            image=picture,
            system_instruction=system_instruction,
            thinking_level=thinking_level,
            temperature=temperature,
            model=model,
            max_tokens=max_tokens,
            tools=None if tools is None else [dict(tool) for tool in tools],
        ),
    }


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def think_call(
    request: dict[str, Any], async_: bool, request_id: int | None, timeout: float | None
) -> Call[dict[str, Any]]:
    """The kernel's own model."""
    return Call(
        SyscallOp.SYS_THINK,
        {**request, "async": async_, **without_none(request_id=request_id)},
        lambda answer: with_content(dict(answer.fields)),
        extra_time=timeout,
        long=not async_,
    )


def report_call(answer: dict[str, Any]) -> Call[dict[str, Any]] | None:
    """Tells the kernel what a model of one's own has used; None where there is nothing to tell."""
    tokens = answer.get("tokens")
    if answer.get("success") is not True or not isinstance(tokens, int) or tokens <= 0:
        return None

    def parse(reply: Answer) -> dict[str, Any]:
        """What was not counted is said in the answer."""
        if reply.success:
            return {}
        return without_none(
            quota_exceeded=reply.any("quota_exceeded"), report_error=reply.error or "not reported"
        )

    return Call(SyscallOp.SYS_LLM_REPORT, {"tokens": tokens, "success": True}, parse)


def with_content(answer: dict[str, Any]) -> dict[str, Any]:
    """Failures have the same fields as successes."""
    if answer.get("success"):
        return answer
    if answer.get("code") == "UNKNOWN_SYSCALL":
        answer["error"] = f"this kernel has no model, and {SERVICE_VARIABLE} names no service"
    return {"content": "", **answer, "success": False}


def local_model(session: Session) -> LocalModel:
    """The client's one; views with another time limit share it."""
    from ._local_model import LocalModel

    if session.model is None:
        session.model = LocalModel()
    return session.model
