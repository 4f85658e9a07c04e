"""A remote agent's side of the relay's protocol, without any I/O: what to send, and to which call an answer belongs."""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from ._exchange import Slot
from .exceptions import CloveError, ConnectionError, ProtocolError
from .protocol import Message


class RelayExchange:
    """Calls of one connection to a relay that have no answer yet.

    Answers carry the `id` of their call. Relays that do not know it pass them on in the order of calls, which is the
    order in which they are taken then: also a call that was given up keeps its place.
    """

    def __init__(self) -> None:
        self.agent_id = 0
        self.target_machine = ""
        self._waiting: deque[tuple[int, Slot]] = deque()
        self._last_id = 0
        self.failure: CloveError | None = None

    def hello(self, name: str, token: str, target_machine: str) -> str:
        return _text(type="agent_auth", name=name, token=token, target_machine=target_machine)

    def welcomed(self, text: str) -> None:
        """The first message of the relay. Raises `ConnectionError` when it does not let the agent in."""
        message = _parse(text)
        if message.get("type") != "auth_ok":
            raise ConnectionError(f"the relay refuses: {message.get('error') or message.get('type')}")
        self.agent_id = int(message.get("agent_id") or 0)
        self.target_machine = str(message.get("target_machine") or "")

    def begin(self, opcode: int, payload: bytes, key: str | None = None) -> tuple[str, Slot]:
        """The message to send, and the place of its answer. `key`: executed once, however often it is sent."""
        self._last_id += 1
        slot = Slot(opcode)
        self._waiting.append((self._last_id, slot))
        fields: dict[str, Any] = {} if key is None else {"idempotency_key": key}
        encoded = base64.b64encode(payload).decode("ascii")
        return _text(type="syscall", opcode=opcode, payload=encoded, id=self._last_id, **fields), slot

    def feed(self, text: str) -> str | None:
        """A message of the relay; returns what is to be said to it. Raises what makes the connection useless."""
        message = _parse(text)
        kind = message.get("type")
        if kind == "response":
            self._settle(message)
        elif kind == "ping":
            return _text(type="pong")
        elif kind == "kernel_disconnected":
            raise ConnectionError(f"the machine {message.get('machine_id')} has lost its relay")
        elif kind == "error":
            # It is about the oldest call: there is nothing else that it could be about.
            if not self._waiting:
                raise ConnectionError(f"the relay says: {message.get('error')}")
            self._answer(
                self._waiting.popleft()[1],
                {"success": False, "error": str(message.get("error")), "code": "UNREACHABLE"},
            )
        return None

    def _settle(self, message: Mapping[str, Any]) -> None:
        place = 0
        if message.get("id") is not None:
            ids = [number for number, _ in self._waiting]
            if message["id"] not in ids:
                return
            place = ids.index(message["id"])
        if not self._waiting:
            raise ProtocolError("an answer came that nothing had asked for")
        slot = self._waiting[place][1]
        if message.get("opcode") != slot.opcode:
            raise ProtocolError(f"answer to opcode {slot.opcode} has opcode {message.get('opcode')}")
        del self._waiting[place]
        try:
            payload = base64.b64decode(str(message.get("payload") or ""), validate=True)
        except binascii.Error as error:
            raise ProtocolError(f"the payload of an answer is not base64: {error}") from error
        slot.settle(Message(self.agent_id, slot.opcode, payload))

    def _answer(self, slot: Slot, body: Mapping[str, Any]) -> None:
        slot.settle(Message(self.agent_id, slot.opcode, json.dumps(body).encode("utf-8")))


def _text(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the relay sent what is not JSON: {text[:100]!r}") from error
    if isinstance(message, dict):
        return message
    raise ProtocolError(f"the relay sent what is no message: {text[:100]!r}")
