"""Messages between agents and clients."""

from __future__ import annotations

import time
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, Receive, syscall
from ..exceptions import ValidationError
from ..models import BroadcastResult, IPCMessage, RecvResult, RegisterResult, SendResult
from ..protocol import SyscallOp


class IPCCalls(Caller):
    @syscall
    def register_name(self, name: str) -> Call[RegisterResult]:
        """Takes a name by which others reach the caller. Taken again after a reconnect."""

        def parse(answer: Answer) -> RegisterResult:
            if answer.success and name not in self._session.names:
                self._session.names.append(name)
            return answer.make(RegisterResult, success=answer.success, error=answer.error)

        return Call(SyscallOp.SYS_REGISTER, {"name": name}, parse)

    register = register_name

    @syscall
    def send_message(
        self, message: Any, to: int | None = None, to_name: str | None = None
    ) -> Call[SendResult]:
        """Puts a message, any JSON value, into the mailbox of one agent or client.

        Agents also have the names ``parent`` (who spawned them) and ``self``.
        """
        if to is None and not to_name:
            raise ValidationError("send_message: to or to_name required")
        receiver = {"to": to} if to is not None else {"to_name": to_name}

        def parse(answer: Answer) -> SendResult:
            delivered = answer.flag("delivered", default=answer.integer("delivered_to") > 0)
            return answer.make(SendResult, success=answer.success, delivered=delivered, error=answer.error)

        return Call(SyscallOp.SYS_SEND, {**receiver, "message": message}, parse)

    @syscall
    def recv_messages(
        self, max_messages: int = 10, *, wait: bool = False, timeout: float | None = None
    ) -> Call[RecvResult]:
        """Takes the oldest messages out of the mailbox. Each is delivered once.

        With `wait` it answers when there is one, or with none after `timeout` seconds (None = no limit).
        """

        def parse(answer: Answer) -> RecvResult:
            messages = [_message(each) for each in answer.parts("messages")]
            return answer.make(
                RecvResult,
                success=answer.success,
                messages=messages,
                count=answer.integer("count", default=len(messages)),
                error=answer.error,
            )

        receive = Receive(self._session.messages, max_messages, wait, timeout)
        return Call(SyscallOp.SYS_RECV, {"max": max_messages}, parse, receive=receive)

    @syscall
    def broadcast(self, message: Any, include_self: bool = False) -> Call[BroadcastResult]:
        """Puts a message into the mailbox of everybody who has a name."""

        def parse(answer: Answer) -> BroadcastResult:
            return answer.make(
                BroadcastResult,
                success=answer.success,
                delivered_count=answer.integer("delivered_count"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_BROADCAST, {"message": message, "include_self": include_self}, parse)


def _message(answer: Answer) -> IPCMessage:
    sent = answer.maybe_number("timestamp")
    return answer.make(
        IPCMessage,
        from_agent=answer.integer("from_agent", "from_id", "from"),
        from_name=answer.maybe_text("from_name") or None,
        message=answer.any("message"),
        timestamp=time.time() - answer.number("age_ms") / 1000 if sent is None else sent,
    )
