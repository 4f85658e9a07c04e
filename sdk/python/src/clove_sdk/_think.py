"""Asking a model: through the kernel, or through a service process of one's own.

Such a service is a program that reads one JSON object per line and answers each with one line: prompt, image,
system_instruction, thinking_level, temperature, model; success, content, tokens, error.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ._answer import Answer
from ._calls import Call, without_none
from .exceptions import TimeoutError, ValidationError
from .protocol import SyscallOp
from .transport import Deadline

SERVICE_VARIABLE = "CLOVE_LLM_SERVICE_PATH"
_MAX_LINE_BYTES = 64 * 1024 * 1024


def local_model_path() -> str | None:
    return os.environ.get(SERVICE_VARIABLE) or None


def think_request(
    prompt: str,
    image: bytes | str | None,
    image_mime_type: str,
    system_instruction: str | None,
    thinking_level: str | None,
    temperature: float | None,
    model: str | None,
) -> dict[str, Any]:
    if thinking_level not in (None, "low", "medium", "high"):
        raise ValidationError(f"think: thinking_level is low, medium or high, not {thinking_level!r}")
    picture = None
    if image is not None:
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        picture = {"data": base64.b64encode(data).decode("ascii"), "mime_type": image_mime_type}
    return {
        "prompt": prompt,
        **without_none(
            image=picture,
            system_instruction=system_instruction,
            thinking_level=thinking_level,
            temperature=temperature,
            model=model,
        ),
    }


def think_call(
    request: dict[str, Any], async_: bool, request_id: int | None, timeout: float | None
) -> Call[dict[str, Any]]:
    """The kernel's own model."""
    return Call(
        SyscallOp.SYS_THINK,
        {**request, "async": async_, **without_none(request_id=request_id)},
        lambda answer: _with_content(dict(answer.fields)),
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


def _with_content(answer: dict[str, Any]) -> dict[str, Any]:
    """Failures have the same fields as successes."""
    if answer.get("success"):
        return answer
    if answer.get("code") == "UNKNOWN_SYSCALL":
        answer["error"] = f"this kernel has no model, and {SERVICE_VARIABLE} names no service"
    return {"content": "", **answer, "success": False}


def failed(error: str) -> dict[str, Any]:
    return {"success": False, "content": "", "error": error}


class LocalModel:
    """The service process: started when first asked, again when it has died. One question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, path: str, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Raises `TimeoutError`; then the process is ended, since its late answer would be taken for another's."""
        deadline = Deadline(timeout)
        # JSON text has no raw newlines: one question stays one line.
        line = json.dumps(request, allow_nan=False).encode("utf-8") + b"\n"
        remaining = deadline.remaining()
        if not self._lock.acquire(timeout=-1 if remaining is None else remaining):
            raise deadline.passed()
        try:
            process = self._started(path)
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
            reply = json.loads(self._read_line(process, deadline))
            if not isinstance(reply, dict):
                raise ValueError("not an object")
            return _with_content(reply)
        except TimeoutError:
            self._end()
            raise
        except (OSError, ValueError) as error:
            self._end()
            return failed(f"LLM service {path}: {error}")
        except BaseException:
            self._end()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _started(self, path: str) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, path] if path.endswith(".py") else [path]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _read_line(self, process: subprocess.Popen[bytes], deadline: Deadline) -> bytes:
        assert process.stdout is not None
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(deadline.left()):
                    raise deadline.passed()
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    raise OSError("it ended without an answer")
                received += chunk
                if len(received) > _MAX_LINE_BYTES:
                    raise OSError(f"its answer is larger than {_MAX_LINE_BYTES} bytes")
        return bytes(received)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()
