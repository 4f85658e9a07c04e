"""Files and commands: an agent's inside its own sandbox."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..exceptions import FileError, ValidationError
from ..models import ExecResult, FileContent, WriteResult
from ..protocol import SyscallOp


class FilesystemCalls(Caller):
    @syscall
    def exec(
        self,
        command: str | Sequence[str],
        cwd: str | None = None,
        timeout: float = 30,
        async_: bool = False,
        request_id: int | None = None,
        *,
        separate: bool = False,
    ) -> Call[ExecResult]:
        """Runs a command: text for a shell, or argv without one. Then everything it started is killed.

        `timeout` in seconds. stderr is part of stdout, in order, unless `separate`. With ``async_=True`` the answer
        comes by `poll_async`.
        """
        what = {"command": command} if isinstance(command, str) else {"argv": list(command)}
        request = {
            **what,
            **without_none(cwd=cwd, request_id=request_id),
            "timeout": timeout,
            "async": async_,
            **({"separate": True} if separate else {}),
        }

        def parse(answer: Answer) -> ExecResult:
            return answer.make(
                ExecResult,
                success=answer.success,
                stdout=answer.text("stdout"),
                stderr=answer.text("stderr"),
                exit_code=answer.integer("exit_code", default=0 if answer.has("request_id") else -1),
                duration_ms=answer.maybe_number("duration_ms"),
                async_request_id=answer.maybe_integer("request_id"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_EXEC, request, parse, extra_time=timeout, long=not async_)

    @syscall
    def read_file(self, path: str) -> Call[FileContent]:
        """A regular file; `content` is text, `data` the bytes."""

        def parse(answer: Answer) -> FileContent:
            return answer.make(
                FileContent,
                success=answer.success,
                content=answer.text("content"),
                size=answer.integer("size"),
                error=answer.error,
                encoding=answer.maybe_text("encoding"),
            )

        return Call(SyscallOp.SYS_READ, {"path": path}, parse)

    @syscall
    def read(self, path: str) -> Call[str]:
        """The text of a file. Raises an `OSError`: `FileNotFound`, `PermissionDenied`, or `FileError`."""

        def parse(answer: Answer) -> str:
            if answer.maybe_text("encoding") is None:
                return answer.text("content")
            raise FileError(f"{path} is not UTF-8 text: use read_bytes()", answer.opcode, answer.fields)

        return Call(SyscallOp.SYS_READ, {"path": path}, parse, raises=True)

    @syscall
    def read_bytes(self, path: str) -> Call[bytes]:
        """The bytes of a file. Raises as `read`."""

        def parse(answer: Answer) -> bytes:
            content = answer.text("content")
            is_text = answer.maybe_text("encoding") is None
            return content.encode("utf-8") if is_text else base64.b64decode(content)

        return Call(SyscallOp.SYS_READ, {"path": path}, parse, raises=True)

    @syscall
    def write_file(self, path: str, content: str | bytes, mode: str = "write") -> Call[WriteResult]:
        """Replaces a file, or adds to it with mode ``"append"``. Parent folders are not made."""
        if mode not in ("write", "append"):
            raise ValidationError(f'write_file: mode is "write" or "append", not {mode!r}')
        if isinstance(content, bytes):
            request = {"path": path, "content": base64.b64encode(content).decode("ascii"), "mode": mode}
            request["encoding"] = "base64"
        else:
            request = {"path": path, "content": content, "mode": mode}

        def parse(answer: Answer) -> WriteResult:
            return answer.make(
                WriteResult,
                success=answer.success,
                bytes_written=answer.integer("bytes_written"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_WRITE, request, parse)

    write = write_file
