"""An agent that reaches a kernel elsewhere through a relay: the methods of `CloveClient`.

Needs the package websockets: ``pip install 'clove-sdk[remote]'``.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ._calls import Call, SyncCaller, Timeout, encode
from ._connecting import Deadline
from ._exchange import Slot
from ._relay import RelayExchange
from ._session import Session
from ._think import think_call, think_request
from .exceptions import CloveError, ConnectionError, TimeoutError
from .mixins import AllCalls
from .mixins.agents import milliseconds
from .protocol import Message

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

T = TypeVar("T")
Client = TypeVar("Client", bound="RemoteAgentClient")

CONNECT_TIMEOUT = 30.0
AUTH_TIMEOUT = 10.0
#: Of one call, unless told otherwise. Seconds.
CALL_TIMEOUT = 60.0
RECONNECT_ATTEMPTS = 5
RECONNECT_PAUSE = 1.0
_MAX_MESSAGE = 2 * 64 * 2**20


class _Shared:
    """What views of one client have in common."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.socket: ClientConnection | None = None
        self.exchange = RelayExchange()
        self.wanted = False


class RemoteAgentClient(AllCalls, SyncCaller):
    """A client of a kernel behind a relay. Threads may share it; their calls run one after another.

    To the kernel it is a principal of its own, with the least permissions until its operator grants more; its files
    and commands are in a sandbox of its own. A lost connection is made again by the next call. A call in flight is not
    repeated, unless it has a key: see `once`.
    """

    def __init__(
        self,
        relay_url: str,
        agent_name: str,
        agent_token: str,
        target_machine: str,
        reconnect: bool = True,
        *,
        timeout: float | None = CALL_TIMEOUT,
        raise_errors: bool = False,
    ) -> None:
        """`timeout` of one call in seconds; None = no limit."""
        self.relay_url = relay_url
        self.agent_name = agent_name
        self.target_machine = target_machine
        self._token = agent_token
        self._reconnect = reconnect
        self._timeout = timeout
        self._raise_errors = raise_errors
        self._session = Session()
        self._shared = _Shared()
        self._key: str | None = None

    @property
    def agent_id(self) -> int:
        """Who the relay says the agent is; 0 before it was let in."""
        return self._shared.exchange.agent_id

    @property
    def connected(self) -> bool:
        return self._shared.socket is not None

    def connect(self) -> bool:
        """False when the relay cannot be reached or does not let the agent in."""
        try:
            self._connect()
        except CloveError:
            return False
        return True

    def disconnect(self) -> None:
        self._shared.wanted = False
        with self._shared.lock:
            self._drop()

    def __enter__(self: Client) -> Client:
        """Raises `ConnectionError`."""
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def with_timeout(self: Client, timeout: float | None) -> Client:
        """The same client with another time limit per call, in seconds."""
        view = copy.copy(self)
        view._timeout = timeout
        return view

    def once(self: Client, key: str) -> Client:
        """The same client for one call that is executed once, whatever becomes of connections:
        ``remote.once("order-7").store("order", 7)``. Such a call is sent again after a lost connection."""
        view = copy.copy(self)
        view._key = key
        return view

    def call(self, opcode: int, payload: bytes | str | Mapping[str, Any] = b"") -> Message | None:
        """Low level: one request and its answer. None on failure."""
        try:
            return self._exchange(opcode, encode(opcode, payload), self._timeout)
        except CloveError:
            return None

    def think(
        self,
        prompt: str,
        image: bytes | str | None = None,
        image_mime_type: str = "image/jpeg",
        system_instruction: str | None = None,
        thinking_level: str | None = None,
        temperature: float | None = None,
        model: str | None = None,
        *,
        timeout: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Asks the kernel's model: success, content, tokens; or success False and error. `timeout` in seconds."""
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
        return self._run(think_call(request, False, None, timeout))

    def _run(self, call: Call[T]) -> T:
        limit = call.time_limit(self._timeout)
        payload = call.payload()
        receive = call.receive
        if receive is not None and receive.wait:
            assert isinstance(call.request, Mapping)
            wait = {} if receive.timeout is None else {"timeout_ms": milliseconds(receive.timeout)}
            payload = encode(call.opcode, {**call.request, "wait": True, **wait})
            limit = None if limit is None or receive.timeout is None else limit + receive.timeout
        return call.read(self._exchange(call.opcode, payload, limit), self._raise_errors)

    def _exchange(self, opcode: int, payload: bytes, timeout: Timeout) -> Message:
        deadline = Deadline(self._timeout if timeout is ... else timeout)
        shared = self._shared
        remaining = deadline.remaining()
        if not shared.lock.acquire(timeout=-1 if remaining is None else remaining):
            raise deadline.passed()
        try:
            for is_last in (self._key is None, True):
                socket = self._ready(deadline)
                try:
                    text, slot = shared.exchange.begin(opcode, payload, self._key)
                    socket.send(text)
                    return self._answer(socket, slot, deadline)
                except ConnectionError:
                    self._drop()
                    if is_last or not self._reconnect:
                        raise
                except TimeoutError:
                    slot.give_up()
                    raise
                except Exception as error:
                    self._drop()
                    if not _is_of_websockets(error):
                        raise
                    if is_last or not self._reconnect:
                        raise ConnectionError(f"connection to {self.relay_url} lost: {error}") from error
            raise AssertionError("the last attempt returned or raised")
        finally:
            shared.lock.release()

    def _answer(self, socket: ClientConnection, slot: Slot, deadline: Deadline) -> Message:
        while slot.answer is None:
            try:
                text = socket.recv(timeout=deadline.left())
            except _builtin_timeout() as error:
                raise deadline.passed() from error
            reply = self._shared.exchange.feed(
                text if isinstance(text, str) else text.decode("utf-8", "replace")
            )
            if reply is not None:
                socket.send(reply)
        return slot.answer

    def _ready(self, deadline: Deadline) -> ClientConnection:
        shared = self._shared
        if shared.socket is not None:
            return shared.socket
        if not shared.wanted:
            raise ConnectionError("not connected: call connect() first")
        if not self._reconnect:
            raise ConnectionError(f"connection to {self.relay_url} was lost")
        pause = RECONNECT_PAUSE
        for attempt in range(RECONNECT_ATTEMPTS):
            try:
                return self._open()
            except ConnectionError:
                remaining = deadline.remaining()
                is_late = remaining is not None and remaining <= pause
                if attempt == RECONNECT_ATTEMPTS - 1 or is_late or not shared.wanted:
                    raise
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returned or raised")

    def _connect(self) -> None:
        with self._shared.lock:
            self._shared.wanted = True
            if self._shared.socket is None:
                self._open()

    def _open(self) -> ClientConnection:
        connect = _websockets_connect()
        exchange = RelayExchange()
        try:
            # Entered, never left: it ends with _drop(). Versions of the package differ in what comes before that.
            socket: ClientConnection = connect(
                self.relay_url,
                open_timeout=CONNECT_TIMEOUT,
                max_size=_MAX_MESSAGE,
                compression=None,
            ).__enter__()
        except Exception as error:
            if isinstance(error, (OSError, ValueError)) or _is_of_websockets(error):
                raise ConnectionError(f"no relay answers at {self.relay_url}: {error}") from error
            raise
        try:
            socket.send(exchange.hello(self.agent_name, self._token, self.target_machine))
            text = socket.recv(timeout=AUTH_TIMEOUT)
            exchange.welcomed(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        except _builtin_timeout() as error:
            socket.close()
            raise ConnectionError(f"the relay at {self.relay_url} does not answer to the token") from error
        except CloveError:
            socket.close()
            raise
        except Exception as error:
            socket.close()
            if not _is_of_websockets(error):
                raise
            raise ConnectionError(f"the relay at {self.relay_url} hung up: {error}") from error
        self._shared.socket, self._shared.exchange = socket, exchange
        return socket

    def _drop(self) -> None:
        socket, self._shared.socket = self._shared.socket, None
        if socket is not None:
            socket.close()


def connect_remote(
    relay_url: str, agent_name: str, agent_token: str, target_machine: str, **options: Any
) -> RemoteAgentClient:
    """A connected client; options as of `RemoteAgentClient`. Raises `ConnectionError`."""
    client = RemoteAgentClient(relay_url, agent_name, agent_token, target_machine, **options)
    client.__enter__()
    return client


def _builtin_timeout() -> type[BaseException]:
    import builtins

    return builtins.TimeoutError


def _websockets_connect() -> Any:
    try:
        from websockets.sync.client import connect
    except ImportError as error:
        raise ImportError("a relay needs the package websockets: pip install 'clove-sdk[remote]'") from error
    return connect


def _is_of_websockets(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "websockets"


__all__ = ["RemoteAgentClient", "connect_remote"]
