"""The blocking connection: frames over a Unix socket, with time limits, reconnects and a lock."""

from __future__ import annotations

import builtins
import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from ._calls import Timeout, encode
from ._connecting import (
    CHUNK_BYTES,
    DEFAULT_RECONNECT_TIMEOUT,
    DEFAULT_TIMEOUT,
    FIRST_PAUSE,
    Attempts,
    BaseTransport,
    Deadline,
    json_body,
    lost,
    unreachable,
)
from ._exchange import Exchange, Late, Slot
from .exceptions import ConnectionError, ProtocolError, TimeoutError
from .protocol import MAX_ANSWER_SIZE, Message


class Transport(BaseTransport):
    """One connection to the kernel.

    Threads may share it: a call holds the lock from its first byte to its answer. A call that runs out of time leaves
    its place in the order of answers, so the next one is not given the wrong answer. A call in flight when the
    connection breaks raises `ConnectionError` and is never repeated: whether the kernel has done it is not known. The
    call after it connects again, unless `reconnect` is off.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        reconnect: bool = True,
        reconnect_timeout: float = DEFAULT_RECONNECT_TIMEOUT,
        max_answer_size: int = MAX_ANSWER_SIZE,
        on_reconnect: Callable[[], None] | None = None,
    ) -> None:
        """`timeout` and `reconnect_timeout` in seconds, `max_answer_size` in bytes. `on_reconnect` runs before anybody
        else may use a new connection that replaces a lost one."""
        super().__init__(
            socket_path,
            timeout=timeout,
            reconnect=reconnect,
            reconnect_timeout=reconnect_timeout,
            max_answer_size=max_answer_size,
        )
        self._on_reconnect = on_reconnect
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._socket: socket.socket | None = None
        self._exchange = Exchange(max_answer_size)
        self._sent: deque[Slot] = deque()
        #: A new connection is getting its names back; when it is lost meanwhile, the one who made it tries again.
        self._introducing = False

    @property
    def connected(self) -> bool:
        return self._socket is not None and self._pid == os.getpid()

    def connect(self, timeout: Timeout = ...) -> None:
        """Does nothing when connected. Raises `ConnectionError`, `TimeoutError`."""
        deadline = self._deadline(timeout)
        with self._exclusive(deadline):
            self._wanted = True
            if self._socket is None:
                self._open(deadline)

    def disconnect(self) -> None:
        """Calls that wait for an answer in other threads raise `ConnectionError`."""
        self._wanted = False
        current = self._socket
        if current is not None and self._pid == os.getpid():
            # Wakes whoever holds the lock and waits for an answer.
            with suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)
        with self._exclusive(Deadline(None)):
            self._drop()

    def call(
        self,
        opcode: int,
        payload: bytes | str | Mapping[str, Any] = b"",
        timeout: Timeout = ...,
        *,
        late: Late | None = None,
    ) -> Message:
        """Sends a request and waits for its answer. `late` is given an answer that comes after the time limit.

        Raises `ConnectionError`, `TimeoutError`, `ProtocolError`, `ValidationError`.
        """
        data = encode(opcode, payload)
        deadline = self._deadline(timeout)
        with self._exclusive(deadline):
            slot = self._request(opcode, data, deadline, late)
            return self._answer(slot, deadline)

    def call_json(
        self,
        opcode: int,
        request: Mapping[str, Any] | None = None,
        timeout: Timeout = ...,
    ) -> dict[str, Any] | list[Any]:
        """As `call`, JSON both ways."""
        return json_body(opcode, self.call(opcode, request or {}, timeout))

    def send(
        self, opcode: int, payload: bytes | str | Mapping[str, Any] = b"", timeout: Timeout = ...
    ) -> None:
        """Sends a request whose answer `recv` will get. Several may be sent before the first answer is read."""
        data = encode(opcode, payload)
        deadline = self._deadline(timeout)
        with self._exclusive(deadline):
            self._sent.append(self._request(opcode, data, deadline, None))

    def recv(self, timeout: Timeout = ...) -> Message:
        """The answer to the oldest `send` that has none. Raises `ProtocolError` when there was no such `send`."""
        deadline = self._deadline(timeout)
        with self._exclusive(deadline):
            if not self._sent:
                raise ProtocolError("nothing was sent that an answer could be to")
            slot = self._sent[0]
            answer = self._answer(slot, deadline, keep=True)
            self._sent.popleft()
            return answer

    def __enter__(self) -> Transport:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    @contextmanager
    def _exclusive(self, deadline: Deadline) -> Iterator[None]:
        if self._pid != os.getpid():
            self._forget_parent()
        remaining = deadline.remaining()
        lock = self._lock
        if not lock.acquire(timeout=-1 if remaining is None else remaining):
            raise deadline.passed()
        try:
            yield
        finally:
            lock.release()

    def _forget_parent(self) -> None:
        """After a fork the connection is the parent's: two processes on one would read each other's answers."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._drop()

    def _drop(self) -> None:
        current, self._socket = self._socket, None
        self._exchange = Exchange(self._max_answer_size)
        self._sent.clear()
        if current is not None:
            current.close()

    def _lost(self, why: object) -> ConnectionError:
        self._drop()
        return lost(self.socket_path, why)

    def _open(self, deadline: Deadline) -> None:
        """One attempt; only a full queue of others who want in is waited for."""
        while True:
            attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                attempt.settimeout(deadline.left())
                attempt.connect(self.socket_path)
            except builtins.TimeoutError as error:
                attempt.close()
                raise deadline.passed() from error
            except OSError as error:
                attempt.close()
                if error.errno == errno.EAGAIN:
                    deadline.left()
                    time.sleep(FIRST_PAUSE)
                    continue
                raise unreachable(self.socket_path, error) from error
            except BaseException:
                attempt.close()
                raise
            self._socket = attempt
            return

    def _ensure_open(self, deadline: Deadline) -> socket.socket:
        if self._socket is not None:
            return self._socket
        self._assert_may_reconnect(self._introducing)
        attempts = Attempts(deadline, self._reconnect_timeout)
        while True:
            try:
                self._open(deadline)
                self._introduce()
                break
            except ConnectionError as error:
                self._drop()
                pause = attempts.pause_after(error, self._given_up())
            except BaseException:
                # A connection that has not got its names back must not be used.
                self._drop()
                raise
            time.sleep(pause)
        connection: socket.socket | None = self._socket
        if connection is None or self._given_up():
            raise self._lost("disconnect() was called")
        return connection

    def _introduce(self) -> None:
        if self._on_reconnect is None:
            return
        self._introducing = True
        try:
            self._on_reconnect()
        finally:
            self._introducing = False

    def _request(self, opcode: int, data: bytes, deadline: Deadline, late: Late | None) -> Slot:
        frame = Message(0, opcode, data).serialize()
        for is_second in (False, True):
            connection = self._ensure_open(deadline)
            slot = self._exchange.begin(opcode, late)
            try:
                self._write(connection, frame, deadline)
                return slot
            except (BrokenPipeError, ConnectionResetError) as error:
                # Not one byte of it left: the kernel had hung up before, and asking again repeats nothing.
                gone = self._lost(error)
                if is_second or self._introducing or not self._reconnect or not self._wanted:
                    raise gone from error
            except TimeoutError:
                self._exchange.withdraw(slot)
                raise
        raise AssertionError("the second attempt returned or raised")

    def _write(self, connection: socket.socket, frame: bytes, deadline: Deadline) -> None:
        """Raises BrokenPipeError or ConnectionResetError only when nothing was written."""
        view = memoryview(frame)
        written = 0
        try:
            while written < len(frame):
                connection.settimeout(deadline.left())
                written += connection.send(view[written:])
        except (BrokenPipeError, ConnectionResetError) as error:
            if written == 0:
                raise
            raise self._lost(error) from error
        except builtins.TimeoutError as error:
            if written > 0:
                # Half a frame cannot be taken back.
                self._drop()
            raise deadline.passed() from error
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self._drop()
            raise

    def _answer(self, slot: Slot, deadline: Deadline, keep: bool = False) -> Message:
        """`keep`: the answer can still be asked for when the time is over."""
        while slot.answer is None:
            connection = self._socket
            if connection is None:
                raise ConnectionError(f"connection to {self.socket_path} was lost")
            try:
                connection.settimeout(deadline.left())
                data = connection.recv(CHUNK_BYTES)
                if not data:
                    raise self._lost("the kernel closed it")
                self._exchange.feed(data)
            except builtins.TimeoutError as error:
                if not keep:
                    slot.give_up()
                raise deadline.passed() from error
            except ConnectionError:
                raise
            except OSError as error:
                raise self._lost(error) from error
            except BaseException:
                # Interrupted, or nonsense came: nobody knows how much of the stream was read.
                self._drop()
                raise
        self._agent_id = slot.answer.agent_id
        return slot.answer
