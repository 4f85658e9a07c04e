"""What can go wrong. Everything derives from `CloveError`.

Those with a counterpart in Python derive from it too, so that ``except ConnectionError``, ``except TimeoutError``,
``except PermissionError`` and ``except OSError`` mean the same with and without an import from here.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any


class CloveError(Exception):
    """Base of all errors of this package."""

    #: Code of the kernel's error table where the kernel said one, such as ``"FORBIDDEN"``.
    code: str | None = None
    #: What can be done about it, where the kernel knows.
    hint: str | None = None


class ConnectionError(CloveError, builtins.ConnectionError):
    """No kernel answers at the socket, or the connection ended before the answer came."""


class ProtocolError(CloveError):
    """What came is not what the protocol says."""


class TimeoutError(CloveError, builtins.TimeoutError):
    """No answer within the time limit. Whether the kernel has done what was asked is not known."""


class ValidationError(CloveError, ValueError):
    """The arguments of a call make no sense; nothing was sent."""


class SyscallError(CloveError):
    """The kernel answered that it would or could not."""

    def __init__(
        self,
        message: str,
        opcode: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.opcode = opcode
        #: The whole answer.
        self.details: dict[str, Any] = dict(details or {})


class BadRequest(SyscallError, ValidationError):
    """The kernel refused the form of the request."""


class UnknownSyscall(SyscallError):
    """This kernel does not have the syscall."""


class PermissionDenied(SyscallError, builtins.PermissionError):
    """The caller may not do this."""


class NotFound(SyscallError, LookupError):
    """What the request names does not exist."""


class AgentNotFound(NotFound):
    """No such agent, or nobody by that name."""


class StateKeyNotFound(NotFound, KeyError):
    """No such key, or none the caller can read."""

    def __str__(self) -> str:
        return self.message


class WorldNotFound(NotFound):
    """No such world."""


class FileError(SyscallError, OSError):
    """A file could not be read or written."""


class FileNotFound(NotFound, FileError, builtins.FileNotFoundError):
    """No such file, inside the caller's sandbox."""


class Conflict(SyscallError):
    """It exists already, or changed meanwhile."""


class Overload(SyscallError):
    """A bounded queue, pool or quota is full; try again later."""


class SyscallTimeout(SyscallError, TimeoutError):
    """The kernel gave up waiting, as it was told to."""


class Cancelled(SyscallError):
    """The kernel ended the call: a shutdown, or the connection's end."""


class SandboxError(SyscallError):
    """An isolation layer could not be had, or the program could not be executed; nothing ran."""


class AuditFailed(SyscallError):
    """The call must be recorded and could not be: see `details` for whether it was done."""


class KernelFault(SyscallError):
    """A fault of the kernel itself."""


class TunnelError(SyscallError):
    """The tunnel to a relay could not do it."""


class PayloadTooLarge(SyscallError, ProtocolError):
    """A request or an answer is larger than the limit."""


BY_CODE: dict[str, type[SyscallError]] = {
    "BAD_REQUEST": BadRequest,
    "UNKNOWN_SYSCALL": UnknownSyscall,
    "FORBIDDEN": PermissionDenied,
    "PATH_REFUSED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "CONFLICT": Conflict,
    "OVERLOAD": Overload,
    "TIMEOUT": SyscallTimeout,
    "CANCELLED": Cancelled,
    "AUDIT_FAILED": AuditFailed,
    "INTERNAL": KernelFault,
    "PAYLOAD_TOO_LARGE": PayloadTooLarge,
    "SANDBOX_UNAVAILABLE": SandboxError,
    "SETUP_FAILED": SandboxError,
    "EXEC_FAILED": SandboxError,
    "IO": FileError,
    "DATA_CORRUPT": FileError,
}

_TUNNEL_OPCODES = range(0xB0, 0xB5)
_FILE_OPCODES = (0x03, 0x04)
#: What "not found" is about, by opcode.
_NOT_FOUND: dict[int, type[SyscallError]] = {
    **dict.fromkeys((0x11, 0x14, 0x15, 0x16, 0x17, 0x20, 0xC1), AgentNotFound),
    **dict.fromkeys(_FILE_OPCODES, FileNotFound),
    **dict.fromkeys((0x31, 0x32), StateKeyNotFound),
    **dict.fromkeys(range(0xA0, 0xAC), WorldNotFound),
}


def error_from_answer(opcode: int, answer: Mapping[str, Any]) -> SyscallError:
    """The exception that an error answer stands for, by its `code`."""
    error = answer.get("error")
    message = error if isinstance(error, str) and error else f"syscall 0x{opcode:02X} failed"
    code = answer.get("code")
    if not isinstance(code, str):
        code = _code_of_text(message)
    kind = _class_of(opcode, code)
    raised = kind(message, opcode, answer)
    raised.code = code
    hint = answer.get("hint")
    raised.hint = hint if isinstance(hint, str) else None
    return raised


def _class_of(opcode: int, code: str | None) -> type[SyscallError]:
    if code == "NOT_FOUND" and opcode in _NOT_FOUND:
        return _NOT_FOUND[opcode]
    if code in BY_CODE:
        return BY_CODE[code]
    if opcode in _TUNNEL_OPCODES:
        return TunnelError
    return FileError if opcode in _FILE_OPCODES else SyscallError


def _code_of_text(message: str) -> str | None:
    """Answers of older kernels have no code, only these words."""
    text = message.lower()
    if text.startswith("permission denied"):
        return "FORBIDDEN"
    if "not found" in text:
        return "NOT_FOUND"
    return "BAD_REQUEST" if text.startswith("invalid request") else None
