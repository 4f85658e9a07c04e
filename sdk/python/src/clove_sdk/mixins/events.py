"""Events of the kernel and custom ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, Receive, syscall
from ..models import EmitResult, KernelEvent, PollEventsResult, SubscribeResult
from ..protocol import SyscallOp


class EventCalls(Caller):
    @syscall
    def subscribe(self, event_types: Sequence[str]) -> Call[SubscribeResult]:
        """Asks for events of these types from now on; ``"*"`` = all. Asked for again after a reconnect."""
        wanted = list(event_types)

        def parse(answer: Answer) -> SubscribeResult:
            if answer.success:
                merged = [*self._session.subscriptions, *wanted]
                self._session.subscriptions = list(dict.fromkeys(merged))
            return _subscribed(answer)

        return Call(SyscallOp.SYS_SUBSCRIBE, {"event_types": wanted}, parse)

    @syscall
    def unsubscribe(self, event_types: Sequence[str] = (), *, all: bool = False) -> Call[SubscribeResult]:
        """Ends subscriptions; `subscribed` is what remains."""
        unwanted = list(event_types)

        def parse(answer: Answer) -> SubscribeResult:
            if answer.success:
                kept = [name for name in self._session.subscriptions if not all and name not in unwanted]
                self._session.subscriptions = kept
            return _subscribed(answer)

        request: dict[str, Any] = {"all": True} if all else {"event_types": unwanted}
        return Call(SyscallOp.SYS_UNSUBSCRIBE, request, parse)

    @syscall
    def poll_events(
        self, max_events: int = 10, *, wait: bool = False, timeout: float | None = None
    ) -> Call[PollEventsResult]:
        """Takes the oldest events that the caller is subscribed to. `wait` and `timeout` as in `recv_messages`."""

        def parse(answer: Answer) -> PollEventsResult:
            events = [_event(each) for each in answer.parts("events")]
            return answer.make(
                PollEventsResult,
                success=answer.success,
                events=events,
                count=answer.integer("count", default=len(events)),
                error=answer.error,
            )

        receive = Receive(self._session.events, max_events, wait, timeout)
        return Call(SyscallOp.SYS_POLL_EVENTS, {"max": max_events}, parse, receive=receive)

    @syscall
    def emit_event(self, event_type: str, data: Any = None) -> Call[EmitResult]:
        """Emits a custom event, also to the emitter itself."""
        request = {"event_type": event_type, "data": {} if data is None else data}

        def parse(answer: Answer) -> EmitResult:
            return answer.make(
                EmitResult,
                success=answer.success,
                delivered_to=answer.integer("delivered_to"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_EMIT, request, parse)


def _subscribed(answer: Answer) -> SubscribeResult:
    return answer.make(
        SubscribeResult,
        success=answer.success,
        subscribed=answer.array("subscribed"),
        error=answer.error,
    )


def _event(answer: Answer) -> KernelEvent:
    return answer.make(
        KernelEvent,
        event_type=answer.text("event_type", "type"),
        data=answer.any("data") or {},
        timestamp=answer.number("timestamp"),
        source_agent=answer.maybe_integer("source_agent", "source_agent_id") or None,
    )
