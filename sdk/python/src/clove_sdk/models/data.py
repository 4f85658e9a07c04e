"""Results about messages, state and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .base import Result


@dataclass
class IPCMessage(Result):
    from_agent: int
    #: Name of the sender when it sent; None = it had none.
    from_name: str | None
    #: Any JSON value.
    message: Any
    #: When it was sent, seconds since the epoch.
    timestamp: float


@dataclass
class SendResult(Result):
    success: bool
    delivered: bool = False
    error: str | None = None


@dataclass
class RecvResult(Result):
    success: bool
    #: Oldest first.
    messages: list[IPCMessage] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class BroadcastResult(Result):
    success: bool
    delivered_count: int = 0
    error: str | None = None


@dataclass
class RegisterResult(Result):
    success: bool
    error: str | None = None


@dataclass
class StoreResult(Result):
    success: bool
    error: str | None = None
    #: Of this change: higher than those of all before.
    version: int | None = None


@dataclass
class FetchResult(Result):
    success: bool
    #: Any JSON value; None where there is none.
    value: Any = None
    found: bool = False
    error: str | None = None
    #: Of the change that stored it.
    version: int | None = None


@dataclass
class SwapResult(Result):
    success: bool
    #: The key held what was expected, and holds the new value now.
    swapped: bool = False
    #: What it holds now; None where there is nothing.
    value: Any = None
    exists: bool = False
    #: Of what it holds now; 0 = nothing.
    version: int = 0
    error: str | None = None


@dataclass
class StateChange(Result):
    key: str
    version: int
    deleted: bool
    #: None where it was deleted.
    value: Any = None
    #: None where there was none, or it is not known.
    previous_value: Any = None
    #: Who did it; 0 = its lifetime was over, or it is not known.
    agent_id: int = 0


@dataclass
class WatchResult(Result):
    success: bool
    #: Oldest first; empty when none came in time.
    changes: list[StateChange] = field(default_factory=list)
    count: int = 0
    #: `since_version` of the next call.
    version: int = 0
    #: Not all changes since then are still known: `changes` are the keys as they are now.
    resync: bool = False
    error: str | None = None


@dataclass
class DeleteResult(Result):
    success: bool
    deleted: bool = False
    error: str | None = None


@dataclass
class KeysResult(Result):
    success: bool
    # The established name wins over dict.keys(): use dict(result) or items().
    keys: list[str] = field(default_factory=list)  # type: ignore[assignment]
    count: int = 0
    error: str | None = None


@dataclass
class KernelEvent(Result):
    event_type: str
    data: dict[str, Any]
    #: When it happened, seconds since the epoch.
    timestamp: float
    #: Whose doing it was; None = the kernel's own.
    source_agent: int | None = None


@dataclass
class SubscribeResult(Result):
    success: bool
    subscribed: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class PollEventsResult(Result):
    success: bool
    #: Oldest first.
    events: list[KernelEvent] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class EmitResult(Result):
    success: bool
    #: Number of subscribers it reached.
    delivered_to: int = 0
    error: str | None = None
