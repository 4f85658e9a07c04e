"""The asyncio connection."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable, Mapping
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
from .exceptions import CloveError, ConnectionError
from .protocol import MAX_ANSWER_SIZE, Message


class AsyncTransport(BaseTransport):
    """One connection to the kernel, for one event loop.

    Calls overlap: they leave at once and answers find their callers. A call that is cancelled or runs out of time
    leaves its place in the order of answers. Otherwise as `Transport`.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        reconnect: bool = True,
        reconnect_timeout: float = DEFAULT_RECONNECT_TIMEOUT,
        max_answer_size: int = MAX_ANSWER_SIZE,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            socket_path,
            timeout=timeout,
            reconnect=reconnect,
            reconnect_timeout=reconnect_timeout,
            max_answer_size=max_answer_size,
        )
        self._on_reconnect = on_reconnect
        self._opening = asyncio.Lock()
        self._link: _Link | None = None
        #: Being introduced: nobody but `on_reconnect` may use it yet.
        self._new: _Link | None = None

    @property
    def connected(self) -> bool:
        return self._link is not None and self._link.failure is None

    async def connect(self, timeout: Timeout = ...) -> None:
        """Does nothing when connected. Raises `ConnectionError`, `TimeoutError`."""
        deadline = self._deadline(timeout)
        async with self._opening:
            self._wanted = True
            if not self.connected:
                self._link = await self._open(deadline)

    async def disconnect(self) -> None:
        """Calls that wait for an answer raise `ConnectionError`."""
        self._wanted = False
        links = {link for link in (self._link, self._new) if link is not None}
        self._link = None
        for link in links:
            await link.close(ConnectionError(f"connection to {self.socket_path} was closed"))

    async def call(
        self,
        opcode: int,
        payload: bytes | str | Mapping[str, Any] = b"",
        timeout: Timeout = ...,
        *,
        late: Late | None = None,
    ) -> Message:
        """Sends a request and waits for its answer. `late` is given an answer that comes after the caller gave up.

        Raises `ConnectionError`, `TimeoutError`, `ProtocolError`, `ValidationError`.
        """
        data = encode(opcode, payload)
        deadline = self._deadline(timeout)
        link = await self._ready(deadline)
        return await self._call_on(link, opcode, data, deadline, late)

    async def call_json(
        self, opcode: int, request: Mapping[str, Any] | None = None, timeout: Timeout = ...
    ) -> dict[str, Any] | list[Any]:
        """As `call`, JSON both ways."""
        return json_body(opcode, await self.call(opcode, request or {}, timeout))

    async def call_new(self, opcode: int, payload: Mapping[str, Any], timeout: float | None) -> Message:
        """For `on_reconnect` only: a call on the connection that nobody else may use yet."""
        if self._new is None:
            raise ConnectionError("no connection is being introduced")
        return await self._call_on(self._new, opcode, encode(opcode, payload), Deadline(timeout), None)

    async def __aenter__(self) -> AsyncTransport:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    async def _call_on(
        self, link: _Link, opcode: int, data: bytes, deadline: Deadline, late: Late | None
    ) -> Message:
        reply = await link.call(opcode, data, deadline, late)
        self._agent_id = reply.agent_id
        return reply

    async def _ready(self, deadline: Deadline) -> _Link:
        # No detour when the link is up: calls leave in the order they were made.
        if self._link is not None and self._link.is_usable():
            return self._link
        remaining = deadline.left()
        try:
            return await asyncio.wait_for(self._reopen(deadline), remaining)
        except asyncio.TimeoutError as error:
            raise deadline.passed() from error

    async def _reopen(self, deadline: Deadline) -> _Link:
        async with self._opening:
            if self._link is not None and self._link.is_usable():
                return self._link
            self._assert_may_reconnect()
            attempts = Attempts(deadline, self._reconnect_timeout)
            while True:
                try:
                    self._link = await self._introduce(await self._open(deadline))
                    return self._link
                except ConnectionError as error:
                    pause = attempts.pause_after(error, self._given_up())
                await asyncio.sleep(pause)

    async def _introduce(self, link: _Link) -> _Link:
        self._new = link
        try:
            if self._on_reconnect is not None:
                await self._on_reconnect()
            if not self._wanted:
                raise ConnectionError(f"connection to {self.socket_path} was closed")
        except BaseException as error:
            await link.close(error if isinstance(error, CloveError) else ConnectionError("given up"))
            raise
        finally:
            self._new = None
        return link

    async def _open(self, deadline: Deadline) -> _Link:
        while True:
            remaining = deadline.left()
            try:
                opened = asyncio.open_unix_connection(self.socket_path, limit=CHUNK_BYTES)
                reader, writer = await asyncio.wait_for(opened, remaining)
                return _Link(self.socket_path, reader, writer, self._max_answer_size)
            except BlockingIOError:
                # The queue of those who want in is full.
                await asyncio.sleep(FIRST_PAUSE)
            except asyncio.TimeoutError as error:
                raise deadline.passed() from error
            except OSError as error:
                raise unreachable(self.socket_path, error) from error


class _Link:
    """One socket and the task that reads it."""

    def __init__(
        self,
        socket_path: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        max_answer_size: int,
    ) -> None:
        self.failure: CloveError | None = None
        self._socket_path = socket_path
        self._reader = reader
        self._writer = writer
        self._exchange = Exchange(max_answer_size)
        self._pending: dict[Slot, asyncio.Future[None]] = {}
        self._poll = select.poll()
        self._poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
        self._reading = asyncio.ensure_future(self._read())

    def is_usable(self) -> bool:
        """Looks whether the kernel has hung up, which the event loop may not have had the time to notice. Asked before
        a request leaves, so that a kernel restarted meanwhile costs no call."""
        if self.failure is None and self._exchange.is_idle and self._poll.poll(0):
            self._fail(lost(self._socket_path, "the kernel closed it"))
        return self.failure is None

    async def call(self, opcode: int, data: bytes, deadline: Deadline, late: Late | None) -> Message:
        if self.failure is not None:
            raise self.failure
        remaining = deadline.left()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot = self._exchange.begin(opcode, late)
        slot.on_answer(lambda: None if answered.done() else answered.set_result(None))
        self._pending[slot] = answered
        self._writer.write(Message(0, opcode, data).serialize())
        try:
            # wait() and not wait_for(): when the answer and the end of the time meet, the answer counts.
            await asyncio.wait((answered,), timeout=remaining)
            if slot.answer is not None:
                return slot.answer
            if not answered.done():
                raise deadline.passed()
            answered.result()
            raise AssertionError("a settled slot has an answer")
        except BaseException:
            slot.give_up()
            raise
        finally:
            del self._pending[slot]
            # Its exception was for nobody else.
            if answered.done() and not answered.cancelled():
                answered.exception()

    async def close(self, reason: CloveError) -> None:
        self._fail(reason)
        if self._reading is not asyncio.current_task():
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read(self) -> None:
        try:
            while True:
                data = await self._reader.read(CHUNK_BYTES)
                if not data:
                    raise OSError("the kernel closed it")
                self._exchange.feed(data)
        except CloveError as error:
            self._fail(error)
        except OSError as error:
            self._fail(lost(self._socket_path, error))
        finally:
            # Whatever ended it, nobody waits for ever.
            self._fail(ConnectionError(f"connection to {self._socket_path} ended"))
            self._writer.close()

    def _fail(self, reason: CloveError) -> None:
        if self.failure is not None:
            return
        self.failure = reason
        for answered in self._pending.values():
            if not answered.done():
                # Every caller gets an exception of its own: they grow tracebacks.
                answered.set_exception(type(reason)(str(reason)))
