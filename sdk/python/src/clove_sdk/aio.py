"""The asyncio client: the methods of the blocking one, awaited."""

from __future__ import annotations

import asyncio
import copy
import os
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from ._answer import parse_json
from ._calls import AsyncCaller, Call, Receive, Timeout
from ._connecting import DEFAULT_RECONNECT_TIMEOUT, DEFAULT_TIMEOUT, Deadline
from ._session import Session, Stash, renewals, renewed
from ._think import local_model, local_model_path, report_call, think_call, think_request
from .aio_transport import AsyncTransport
from .exceptions import CloveError
from .mixins import AllCalls
from .mixins.agents import milliseconds
from .models import IPCMessage, KernelEvent, StateChange
from .models.base import failure_of
from .protocol import MAX_ANSWER_SIZE, Message, SyscallOp

T = TypeVar("T")
Client = TypeVar("Client", bound="AsyncCloveClient")

#: How long one request waits for a message: on the main connection, where others are behind it, and on one of its own.
#: A wait that nobody waits for any more lives no longer than this. Seconds.
_SHARED_SLICE = 0.05
_OWN_SLICE = 5.0


class AsyncCloveClient(AllCalls, AsyncCaller):
    """A client of the kernel for one event loop; tasks may share it and their calls overlap.

    A call can be cancelled. What it asked for may still happen; messages it would have received are not lost, the next
    `recv_messages` gets them. Everything else as in `CloveClient`.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        reconnect: bool = True,
        reconnect_timeout: float = DEFAULT_RECONNECT_TIMEOUT,
        max_answer_size: int = MAX_ANSWER_SIZE,
        raise_errors: bool = False,
    ) -> None:
        """As of `CloveClient`."""
        self._session = Session()
        self._timeout = timeout
        self._raise_errors = raise_errors
        self._options: dict[str, Any] = {
            "timeout": timeout,
            "reconnect": reconnect,
            "reconnect_timeout": reconnect_timeout,
            "max_answer_size": max_answer_size,
        }
        self._transport = AsyncTransport(socket_path, on_reconnect=self._take_up_again, **self._options)
        self._lanes = _AsyncLanes(self._transport, self._options)
        self._waits: dict[Stash, asyncio.Task[Any]] = {}

    @property
    def socket_path(self) -> str:
        return self._transport.socket_path

    @property
    def agent_id(self) -> int:
        """Who the kernel says the caller is; 0 before the first answer."""
        return self._transport.agent_id

    @property
    def connected(self) -> bool:
        return self._transport.connected

    async def connect(self) -> bool:
        """False when no kernel answers."""
        try:
            await self._transport.connect()
        except CloveError:
            return False
        return True

    async def disconnect(self) -> None:
        """Ends all connections. Calls without an answer raise `ConnectionError`."""
        await self._transport.disconnect()
        await self._lanes.close()
        waits = [*self._waits.values()]
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        self._waits.clear()
        if self._session.model is not None:
            await asyncio.to_thread(self._session.model.close)

    async def __aenter__(self: Client) -> Client:
        """Raises `ConnectionError` when no kernel answers."""
        await self._transport.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    def with_timeout(self: Client, timeout: float | None) -> Client:
        """The same client with another time limit per call, in seconds."""
        view = copy.copy(self)
        view._timeout = timeout
        return view

    async def call(
        self, opcode: int, payload: bytes | str | Mapping[str, Any] = b"", timeout: Timeout = ...
    ) -> Message | None:
        """Low level: one request and its answer. None on failure."""
        try:
            return await self._transport.call(opcode, payload, self._timeout if timeout is ... else timeout)
        except CloveError:
            return None

    async def call_json(
        self, opcode: int, request: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | list[Any]:
        """Low level: JSON both ways; whatever the kernel answers. Raises as the methods do."""
        return await self._transport.call_json(opcode, request, self._timeout)

    async def messages(self, timeout: float | None = None) -> AsyncIterator[IPCMessage]:
        """Messages as they come. Ends when none has come for `timeout` seconds; None = never."""
        while True:
            received = (await self.recv_messages(1, wait=True, timeout=timeout)).raise_for_error()
            if not received.messages:
                return
            for message in received.messages:
                yield message

    async def events(self, timeout: float | None = None) -> AsyncIterator[KernelEvent]:
        """Events as they come, of the types subscribed to. Ends as `messages` does."""
        while True:
            polled = (await self.poll_events(1, wait=True, timeout=timeout)).raise_for_error()
            if not polled.events:
                return
            for event in polled.events:
                yield event

    async def changes(
        self,
        keys: Sequence[str] | None = None,
        prefix: str | None = None,
        *,
        scope: str = "global",
        since_version: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[StateChange]:
        """As of `CloveClient`."""
        version = since_version
        while True:
            watched = await self.watch_keys(keys, prefix, scope=scope, since_version=version, timeout=timeout)
            if not watched.raise_for_error().changes:
                return
            version = watched.version
            for change in watched.changes:
                yield change

    async def restored_state(self) -> Any:
        """As of `CloveClient`."""
        data = (await self.world_checkpoint()).raise_for_error().data or {}
        restored = data.get("restored")
        return None if restored is None else restored["state"]

    async def on_checkpoint(self, state: Callable[[], Any]) -> asyncio.Task[None]:
        """As of `CloveClient`, as a task: cancel it to stop. `state` runs between two steps of the other tasks."""

        async def listen() -> None:
            while True:
                try:
                    asked = await self.world_checkpoint(wait=True)
                    if not asked.success:
                        return
                    checkpoint_id = (asked.data or {}).get("checkpoint_id")
                except CloveError:
                    return
                try:
                    await self.world_checkpoint(state(), checkpoint_id)
                except Exception as error:  # noqa: BLE001 - whatever a hook raises: the snapshot has the state of before
                    warnings.warn(f"a checkpoint was not answered: {error}", RuntimeWarning, stacklevel=1)

        (await self.world_checkpoint(offer=True)).raise_for_error()
        return asyncio.get_running_loop().create_task(listen())

    async def think(
        self,
        prompt: str,
        image: bytes | str | None = None,
        image_mime_type: str = "image/jpeg",
        system_instruction: str | None = None,
        thinking_level: str | None = None,
        temperature: float | None = None,
        model: str | None = None,
        async_: bool = False,
        request_id: int | None = None,
        *,
        timeout: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """As of `CloveClient`."""
        request = think_request(
            prompt,
            image=image,
            image_mime_type=image_mime_type,
            system_instruction=system_instruction,
            thinking_level=thinking_level,
            temperature=temperature,
            model=model,
            max_tokens=max_tokens,
            tools=tools,
        )
        path = local_model_path()
        if path is None:
            return await self._run(think_call(request, async_, request_id, timeout))
        answer = await asyncio.to_thread(local_model(self._session).ask, path, request, timeout)
        report = report_call(answer)
        if report is not None:
            used = await self._run(report)
            answer.update(used)
        return answer

    async def _take_up_again(self) -> None:
        """On a connection that replaces a lost one: names and subscriptions went with the old one."""
        self._lanes.forget()
        for renewal in renewals(self._session):
            reply = await self._transport.call_new(renewal.opcode, renewal.request, self._timeout)
            renewed(self._session, renewal, reply)

    async def _run(self, call: Call[T]) -> T:
        limit = call.time_limit(self._timeout)
        if call.receive is not None:
            return call.read_body(await self._receive(call, call.receive), self._raise_errors)
        if call.long and (call.impersonal or await self._lanes.are_the_same_caller()):
            async with self._lanes.borrow() as lane:
                reply = await lane.call(call.opcode, call.payload(), limit)
        else:
            reply = await self._transport.call(call.opcode, call.payload(), limit)
        return call.read(reply, self._raise_errors)

    async def _receive(self, call: Call[Any], receive: Receive) -> Any:
        stash = receive.stash
        if receive.most <= 0:
            return stash.answer([])
        deadline = Deadline(receive.timeout)
        while True:
            stashed = stash.take(receive.most)
            if stashed is not None:
                return stashed
            if not receive.wait:
                reply = await self._transport.call(
                    call.opcode, call.payload(), self._timeout, late=stash.absorb
                )
                return parse_json(call.opcode, reply.payload)
            remaining = deadline.remaining()
            wait = self._waits.get(stash)
            if wait is None or wait.done():
                if remaining == 0.0:
                    return stash.answer([])
                wait = asyncio.ensure_future(self._wait(call, stash, remaining))
                self._waits[stash] = wait
            # The request belongs to the client: whoever waits when it is answered gets what came, and nothing is lost
            # when one who waited is cancelled.
            await asyncio.wait((wait,), timeout=remaining)
            if wait.done():
                refused = wait.result()
                if refused is not None:
                    return refused
            elif deadline.remaining() == 0.0:
                return stash.answer([])

    async def _wait(self, call: Call[Any], stash: Stash, remaining: float | None) -> Any:
        """One request that the kernel answers when there is something, or when its time is over. What came is put in
        the stash; the answer is returned only when it is a refusal."""
        assert isinstance(call.request, Mapping)
        is_same = await self._lanes.are_the_same_caller()
        longest = _OWN_SLICE if is_same else _SHARED_SLICE
        slice_ = longest if remaining is None else min(remaining, longest)
        request = {**call.request, "wait": True, "timeout_ms": milliseconds(slice_)}
        # The kernel keeps the time; the client's own limit is only for a kernel that hangs.
        guard = None if self._timeout is None else slice_ + self._timeout
        if is_same:
            async with self._lanes.borrow() as lane:
                reply = await lane.call(call.opcode, request, guard, late=stash.absorb)
        else:
            reply = await self._transport.call(call.opcode, request, guard, late=stash.absorb)
        body = parse_json(call.opcode, reply.payload)
        if isinstance(body, dict) and failure_of(body) is not None:
            return body
        stash.absorb(reply)
        return None


class _AsyncLanes:
    """As `_lanes.Lanes`."""

    def __init__(self, main: AsyncTransport, options: dict[str, Any]) -> None:
        self._main = main
        self._options = options
        self._idle: list[AsyncTransport] = []
        self._busy: set[AsyncTransport] = set()
        self._shared: bool | None = None
        self._asking = asyncio.Lock()

    def forget(self) -> None:
        self._shared = None

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[AsyncTransport]:
        lane = self._idle.pop() if self._idle else AsyncTransport(self._main.socket_path, **self._options)
        self._busy.add(lane)
        try:
            await lane.connect()
            yield lane
        except BaseException:
            self._busy.discard(lane)
            await lane.disconnect()
            raise
        self._busy.discard(lane)
        self._idle.append(lane)

    async def are_the_same_caller(self) -> bool:
        async with self._asking:
            if self._shared is None:
                main_id = self._main.agent_id or (await self._main.call(SyscallOp.SYS_NOOP)).agent_id
                async with AsyncTransport(self._main.socket_path, **self._options) as probe:
                    self._shared = (await probe.call(SyscallOp.SYS_NOOP)).agent_id == main_id
            return self._shared

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for lane in [*idle, *self._busy]:
            await lane.disconnect()


async def connect_async(
    socket_path: str | os.PathLike[str] | None = None, **options: Any
) -> AsyncCloveClient:
    """A connected client; options as of `AsyncCloveClient`. Raises `ConnectionError` when no kernel answers."""
    client = AsyncCloveClient(socket_path, **options)
    await client.__aenter__()
    return client
