"""Pairs answers with calls, without any I/O: the kernel answers one connection's requests in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .exceptions import ProtocolError
from .protocol import FrameDecoder, Message, opcode_name

Late = Callable[[Message], None]


class Slot:
    """The place of one request in the order of answers. Kept even when its caller has given up."""

    __slots__ = ("_late", "_listener", "answer", "given_up", "opcode")

    def __init__(self, opcode: int, late: Late | None = None) -> None:
        self.opcode = opcode
        self.answer: Message | None = None
        self.given_up = False
        self._late = late
        self._listener: Callable[[], None] | None = None

    def on_answer(self, listener: Callable[[], None]) -> None:
        self._listener = listener

    def settle(self, answer: Message) -> None:
        self.answer = answer
        if self.given_up:
            if self._late is not None:
                self._late(answer)
        elif self._listener is not None:
            self._listener()

    def give_up(self) -> None:
        """The answer will be dropped when it comes; where it must not be lost, `late` gets it."""
        if self.given_up:
            return
        self.given_up = True
        if self.answer is not None and self._late is not None:
            self._late(self.answer)


class Exchange:
    """One connection's requests without an answer."""

    def __init__(self, max_answer_size: int) -> None:
        self._decoder = FrameDecoder(max_answer_size)
        self._waiting: deque[Slot] = deque()
        self.agent_id = 0

    @property
    def is_idle(self) -> bool:
        """Nothing is to come."""
        return not self._waiting

    def begin(self, opcode: int, late: Late | None = None) -> Slot:
        slot = Slot(opcode, late)
        self._waiting.append(slot)
        return slot

    def withdraw(self, slot: Slot) -> None:
        """The newest request was not sent after all."""
        if self._waiting and self._waiting[-1] is slot:
            self._waiting.pop()

    def feed(self, data: bytes) -> None:
        """Hands answers to their slots. After a `ProtocolError` the connection is of no use any more."""
        for frame in self._decoder.feed(data):
            if not self._waiting:
                raise ProtocolError("an answer came that nothing had asked for")
            slot = self._waiting[0]
            if slot.opcode != frame.opcode:
                raise ProtocolError(
                    f"answer to {opcode_name(slot.opcode)} has the opcode of {opcode_name(frame.opcode)}"
                )
            self._waiting.popleft()
            self.agent_id = frame.agent_id
            slot.settle(frame)
