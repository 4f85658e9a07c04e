"""What both transports have in common, without any I/O: options, time limits, when to try again and when to give up."""

from __future__ import annotations

import errno
import os
import time
from random import uniform
from typing import Any

from ._answer import parse_json
from ._calls import Timeout
from .exceptions import ConnectionError, ProtocolError, TimeoutError
from .protocol import MAX_ANSWER_SIZE, Message, default_socket_path

DEFAULT_TIMEOUT = 30.0
#: How long a lost connection is tried again before calls give up. Seconds.
DEFAULT_RECONNECT_TIMEOUT = 60.0
#: Between two attempts; doubles up to the longest. Seconds.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 2.0
CHUNK_BYTES = 256 * 1024
#: Nobody listens (yet), or the queue of those who want in is full.
_RETRIABLE = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.ECONNRESET})


class Deadline:
    """An end in time, or none."""

    __slots__ = ("_at", "_timeout")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds, never negative; None = no end."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def left(self) -> float | None:
        """As `remaining`; raises `TimeoutError` when nothing is left."""
        remaining = self.remaining()
        if remaining == 0.0:
            raise self.passed()
        return remaining

    def passed(self) -> TimeoutError:
        return TimeoutError(f"no answer within {self._timeout:g} s")

    def sooner(self, timeout: float | None) -> Deadline:
        remaining = self.remaining()
        limits = [limit for limit in (remaining, timeout) if limit is not None]
        return Deadline(min(limits, default=None))


class Attempts:
    """When a lost connection is tried again, and when no more."""

    def __init__(self, deadline: Deadline, reconnect_timeout: float) -> None:
        self._give_up = deadline.sooner(reconnect_timeout)
        self._pause = FIRST_PAUSE

    def pause_after(self, error: ConnectionError, given_up: bool) -> float:
        """How long to wait before the next attempt. Seconds. Raises the error when there is none."""
        remaining = self._give_up.remaining()
        if given_up or not is_retriable(error) or (remaining is not None and remaining <= self._pause):
            raise error
        # Spread, so that a fleet does not come back all at once.
        pause = self._pause * uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause


class BaseTransport:
    """Options of a connection, and who the kernel says its caller is."""

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        reconnect: bool = True,
        reconnect_timeout: float = DEFAULT_RECONNECT_TIMEOUT,
        max_answer_size: int = MAX_ANSWER_SIZE,
    ) -> None:
        self.socket_path = os.fspath(socket_path) if socket_path else default_socket_path()
        self.timeout = timeout
        self._reconnect = reconnect
        self._reconnect_timeout = reconnect_timeout
        self._max_answer_size = max_answer_size
        #: Between connect() and disconnect().
        self._wanted = False
        self._agent_id = 0

    @property
    def agent_id(self) -> int:
        """Who the kernel says the caller is; 0 before the first answer."""
        return self._agent_id

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self.timeout if timeout is ... else timeout)

    def _given_up(self) -> bool:
        """Whether another thread or task has called disconnect()."""
        return not self._wanted

    def _assert_may_reconnect(self, is_being_introduced: bool = False) -> None:
        if not self._wanted:
            raise ConnectionError("not connected: call connect() first")
        if not self._reconnect or is_being_introduced:
            raise ConnectionError(f"connection to {self.socket_path} was lost")


def json_body(opcode: int, reply: Message) -> dict[str, Any] | list[Any]:
    """Raises `ProtocolError` for an answer that is neither an object nor an array."""
    body = parse_json(opcode, reply.payload)
    if isinstance(body, (dict, list)):
        return body
    raise ProtocolError(f"answer to opcode {opcode} is neither an object nor an array")


def is_retriable(error: ConnectionError) -> bool:
    """Whether nobody listened, or whoever did hung up: that may be over soon. A refusal will not."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno is None or cause.errno in _RETRIABLE


def lost(socket_path: str, why: object) -> ConnectionError:
    return ConnectionError(f"connection to {socket_path} lost: {why}")


def unreachable(socket_path: str, error: OSError) -> ConnectionError:
    raised = ConnectionError(f"no kernel answers at {socket_path}: {error.strerror or error}")
    raised.code = "UNREACHABLE"
    raised.hint = "Start one with `clove kernel start`, or name its socket in CLOVE_SOCKET."
    return raised
