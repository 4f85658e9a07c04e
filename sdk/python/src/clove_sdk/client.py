"""The blocking client."""

from __future__ import annotations

import copy
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ._answer import parse_json
from ._calls import Call, Receive, SyncCaller, Timeout
from ._connecting import DEFAULT_RECONNECT_TIMEOUT, DEFAULT_TIMEOUT, Deadline
from ._lanes import Lanes
from ._session import Session, renewals, renewed
from ._think import local_model, local_model_path, report_call, think_call, think_request
from .exceptions import CloveError
from .mixins import AllCalls
from .mixins.agents import milliseconds
from .models import IPCMessage, KernelEvent, StateChange
from .protocol import MAX_ANSWER_SIZE, Message
from .transport import Transport

T = TypeVar("T")
Client = TypeVar("Client", bound="CloveClient")

#: How long other threads' calls may be held up by one that waits, where it has no connection of its own. Seconds.
_SLICE = 0.05


class CloveClient(AllCalls, SyncCaller):
    """A client of the kernel. Threads may share it.

    Methods return results with `success` and `error` where existing clients expect that; those that have no place for
    an error raise. With ``raise_errors=True`` every error answer is raised. Lost connections, time limits and nonsense
    on the wire are always raised: `ConnectionError`, `TimeoutError`, `ProtocolError`.
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
        """`socket_path`: default ``$CLOVE_SOCKET``, else /run/clove.sock where it exists, else /tmp/clove.sock.
        `timeout` of one call and `reconnect_timeout` in seconds; `max_answer_size` in bytes."""
        self._session = Session()
        self._timeout = timeout
        self._raise_errors = raise_errors
        self._transport = Transport(
            socket_path,
            timeout=timeout,
            reconnect=reconnect,
            reconnect_timeout=reconnect_timeout,
            max_answer_size=max_answer_size,
            on_reconnect=self._take_up_again,
        )
        path = self._transport.socket_path
        self._lanes = Lanes(
            self._transport,
            lambda: Transport(
                path,
                timeout=timeout,
                reconnect=reconnect,
                reconnect_timeout=reconnect_timeout,
                max_answer_size=max_answer_size,
            ),
        )

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

    def connect(self) -> bool:
        """False when no kernel answers."""
        try:
            self._transport.connect()
        except CloveError:
            return False
        return True

    def disconnect(self) -> None:
        """Ends all connections. Calls that wait in other threads raise `ConnectionError`."""
        self._transport.disconnect()
        self._lanes.close()
        if self._session.model is not None:
            self._session.model.close()

    def __enter__(self: Client) -> Client:
        """Raises `ConnectionError` when no kernel answers."""
        self._transport.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def with_timeout(self: Client, timeout: float | None) -> Client:
        """The same client with another time limit per call, in seconds: ``clove.with_timeout(2).fetch("key")``."""
        view = copy.copy(self)
        view._timeout = timeout
        return view

    def send(self, opcode: int, payload: bytes | str | Mapping[str, Any] = b"") -> bool:
        """Low level: sends one request. False on failure."""
        try:
            self._transport.send(opcode, payload, self._timeout)
        except CloveError:
            return False
        return True

    def recv(self) -> Message | None:
        """Low level: the answer to the oldest `send` that has none. None on failure."""
        try:
            return self._transport.recv(self._timeout)
        except CloveError:
            return None

    def call(
        self, opcode: int, payload: bytes | str | Mapping[str, Any] = b"", timeout: Timeout = ...
    ) -> Message | None:
        """Low level: one request and its answer. None on failure."""
        try:
            return self._transport.call(opcode, payload, self._timeout if timeout is ... else timeout)
        except CloveError:
            return None

    def call_json(self, opcode: int, request: Mapping[str, Any] | None = None) -> dict[str, Any] | list[Any]:
        """Low level: JSON both ways; whatever the kernel answers. Raises as the methods do."""
        return self._transport.call_json(opcode, request, self._timeout)

    def messages(self, timeout: float | None = None) -> Iterator[IPCMessage]:
        """Messages as they come. Ends when none has come for `timeout` seconds; None = never.

        Takes one at a time: leaving the loop loses none.
        """
        while True:
            received = self.recv_messages(1, wait=True, timeout=timeout).raise_for_error()
            if not received.messages:
                return
            yield from received.messages

    def events(self, timeout: float | None = None) -> Iterator[KernelEvent]:
        """Events as they come, of the types subscribed to. Ends as `messages` does."""
        while True:
            polled = self.poll_events(1, wait=True, timeout=timeout).raise_for_error()
            if not polled.events:
                return
            yield from polled.events

    def changes(
        self,
        keys: Sequence[str] | None = None,
        prefix: str | None = None,
        *,
        scope: str = "global",
        since_version: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[StateChange]:
        """Changes of keys as they come, none left out. Ends when none has come for `timeout` seconds; None = never."""
        version = since_version
        while True:
            result = self.watch_keys(
                keys, prefix, scope=scope, since_version=version, timeout=timeout
            ).raise_for_error()
            if not result.changes:
                return
            version = result.version
            yield from result.changes

    def restored_state(self) -> Any:
        """What this agent came back with; None = it did not come back, it has begun. Raises `NotFound` in no world."""
        data = self.world_checkpoint().raise_for_error().data or {}
        restored = data.get("restored")
        return None if restored is None else restored["state"]

    def on_checkpoint(self, state: Callable[[], Any]) -> threading.Thread:
        """Calls `state` whenever a snapshot of the agent's world asks what it wants to come back with.

        That is in a thread of its own: what `state` returns must be JSON, and true of one moment, so take the lock that
        your other threads take. The thread ends with the process, the client or the world. Raises `NotFound` outside
        of worlds.
        """

        def listen() -> None:
            while True:
                try:
                    asked = self.world_checkpoint(wait=True)
                    if not asked.success:
                        return
                    checkpoint_id = (asked.data or {}).get("checkpoint_id")
                except CloveError:
                    return
                try:
                    self.world_checkpoint(state(), checkpoint_id)
                except Exception as error:  # noqa: BLE001 - whatever a hook raises: the snapshot has the state of before
                    warnings.warn(f"a checkpoint was not answered: {error}", RuntimeWarning, stacklevel=1)

        self.world_checkpoint(offer=True).raise_for_error()
        thread = threading.Thread(target=listen, name="clove-checkpoint", daemon=True)
        thread.start()
        return thread

    def think(
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
        """Asks a model: success, content, tokens; or success False and error.

        Asks the service that ``$CLOVE_LLM_SERVICE_PATH`` names and reports the tokens to the kernel, or where there is
        none the kernel. `image`: bytes, or a path. `timeout` in seconds; None = no limit. `tools`: name, description,
        parameters (JSON Schema) of functions; the answer's `function_calls` are what the model calls of them.
        """
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
            return self._run(think_call(request, async_, request_id, timeout))
        answer = local_model(self._session).ask(path, request, timeout)
        report = report_call(answer)
        if report is not None:
            used = self._run(report)
            answer.update(used)
        return answer

    def _take_up_again(self) -> None:
        """On a connection that replaces a lost one: names and subscriptions went with the old one."""
        self._lanes.forget()
        for renewal in renewals(self._session):
            reply = self._transport.call(renewal.opcode, renewal.request, self._timeout)
            renewed(self._session, renewal, reply)

    def _run(self, call: Call[T]) -> T:
        limit = call.time_limit(self._timeout)
        if call.receive is not None:
            return call.read_body(self._receive(call, call.receive), self._raise_errors)
        if call.long and (call.impersonal or self._lanes.are_the_same_caller()):
            with self._lanes.borrow() as lane:
                reply = lane.call(call.opcode, call.payload(), limit)
        else:
            reply = self._transport.call(call.opcode, call.payload(), limit)
        return call.read(reply, self._raise_errors)

    def _receive(self, call: Call[Any], receive: Receive) -> Any:
        stash = receive.stash
        if receive.most <= 0:
            return stash.answer([])
        stashed = stash.take(receive.most)
        if stashed is not None:
            return stashed
        if not receive.wait:
            reply = self._transport.call(call.opcode, call.payload(), self._timeout, late=stash.absorb)
            return parse_json(call.opcode, reply.payload)
        deadline = Deadline(receive.timeout)
        if self._lanes.are_the_same_caller():
            with self._lanes.borrow() as lane:
                return self._wait(lane, call, deadline.remaining())
        while True:
            remaining = deadline.remaining()
            body = self._wait(self._transport, call, _SLICE if remaining is None else min(_SLICE, remaining))
            if remaining == 0.0 or not isinstance(body, dict) or body.get("count") != 0 or "error" in body:
                return body
            # A lock is not fair: without a pause those who wait for it might never get it.
            time.sleep(0.001)

    def _wait(self, transport: Transport, call: Call[Any], timeout: float | None) -> Any:
        """One request that the kernel answers when there is something, or when the time is over."""
        assert isinstance(call.request, Mapping)
        wait = {} if timeout is None else {"timeout_ms": milliseconds(timeout)}
        request = {**call.request, "wait": True, **wait}
        # The kernel keeps the time; the client's own limit is only for a kernel that hangs.
        guard = None if timeout is None or self._timeout is None else timeout + self._timeout
        late = None if call.receive is None else call.receive.stash.absorb
        reply = transport.call(call.opcode, request, guard, late=late)
        return parse_json(call.opcode, reply.payload)


#: Name of the class in the first generation.
AgentOSClient = CloveClient


def connect(socket_path: str | os.PathLike[str] | None = None, **options: Any) -> CloveClient:
    """A connected client; options as of `CloveClient`. Raises `ConnectionError` when no kernel answers."""
    client = CloveClient(socket_path, **options)
    client.__enter__()
    return client
