"""What a client is to the kernel beyond its socket."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._answer import parse_json
from .models.base import failure_of
from .protocol import Message, SyscallOp

if TYPE_CHECKING:
    from ._local_model import LocalModel


class CloveWarning(UserWarning):
    """Something was lost that no call can be told of."""


class Stash:
    """Messages, events or results that were taken from the kernel but not given to anybody yet.

    An answer that came after its caller had given up ends up here: a message is delivered once and must not be lost.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._items: deque[Any] = deque()

    def absorb(self, reply: Message) -> None:
        body = parse_json(reply.opcode, reply.payload)
        if isinstance(body, dict) and isinstance(body.get(self.name), list):
            self._items.extend(body[self.name])

    def take(self, most: int) -> dict[str, Any] | None:
        """As an answer of the kernel; None when there is nothing."""
        taken: list[Any] = []
        while len(taken) < most:
            try:
                taken.append(self._items.popleft())
            except IndexError:
                break
        return self.answer(taken) if taken else None

    def answer(self, items: list[Any]) -> dict[str, Any]:
        return {"success": True, self.name: items, "count": len(items)}


@dataclass
class Session:
    """What a client is to the kernel beyond its socket; taken up again after a reconnect."""

    names: list[str] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    #: The world this client is in: other connections of it are in none.
    world: str | None = None
    messages: Stash = field(default_factory=lambda: Stash("messages"))
    events: Stash = field(default_factory=lambda: Stash("events"))
    results: Stash = field(default_factory=lambda: Stash("results"))
    #: The service process of think(), once it was asked.
    model: LocalModel | None = None


@dataclass(frozen=True)
class Renewal:
    opcode: int
    request: Mapping[str, Any]


def renewals(session: Session) -> list[Renewal]:
    """What to ask for again on a connection that replaces a lost one."""
    calls = [Renewal(SyscallOp.SYS_REGISTER, {"name": name}) for name in session.names]
    if session.subscriptions:
        calls.append(Renewal(SyscallOp.SYS_SUBSCRIBE, {"event_types": session.subscriptions}))
    if session.world is not None:
        calls.append(Renewal(SyscallOp.SYS_WORLD_JOIN, {"world_id": session.world}))
    return calls


def renewed(session: Session, renewal: Renewal, reply: Message) -> None:
    """Warns when it was refused: somebody else has the name now."""
    body = parse_json(reply.opcode, reply.payload)
    failure = failure_of(body) if isinstance(body, dict) else None
    if failure is None:
        return
    if renewal.opcode == SyscallOp.SYS_REGISTER:
        session.names.remove(renewal.request["name"])
    elif renewal.opcode == SyscallOp.SYS_WORLD_JOIN:
        session.world = None
    else:
        session.subscriptions = []
    lost = ", ".join(str(value) for value in renewal.request.values())
    warnings.warn(f"lost after a reconnect: {lost}: {failure.get('error')}", CloveWarning, stacklevel=2)
