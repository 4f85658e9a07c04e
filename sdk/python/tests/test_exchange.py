"""Answers find their calls, whatever was given up in between and however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clove_sdk import Message, ProtocolError
from clove_sdk._exchange import Exchange, Slot


class Pairing(RuleBasedStateMachine):
    """A kernel that answers in order, calls that give up at any time, and bytes cut anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange(1000)
        self.slots: list[Slot] = []
        self.late: dict[int, list[bytes]] = {}
        self.answered = 0
        self.wire = b""
        self.delivered = 0

    @rule(opcode=st.integers(0, 255))
    def ask(self, opcode: int) -> None:
        number = len(self.slots)
        self.late[number] = []
        self.slots.append(self.exchange.begin(opcode, lambda reply: self.late[number].append(reply.payload)))

    @precondition(lambda self: self.slots)
    @rule()
    def ask_and_think_better_of_it(self) -> None:
        slot = self.exchange.begin(0)
        self.exchange.withdraw(slot)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.slots)).give_up()

    @precondition(lambda self: self.answered < len(self.slots))
    @rule()
    def answer(self) -> None:
        self.wire += Message(7, self.slots[self.answered].opcode, str(self.answered).encode()).serialize()
        self.answered += 1

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(1, len(self.wire)))
        self.exchange.feed(self.wire[:length])
        self.wire = self.wire[length:]

    @invariant()
    def every_answer_is_its_own(self) -> None:
        for number, slot in enumerate(self.slots):
            own = str(number).encode()
            if slot.answer is not None:
                assert slot.answer.payload == own
            expected = [own] if slot.given_up and slot.answer is not None else []
            assert self.late[number] == expected

    def teardown(self) -> None:
        self.exchange.feed(self.wire)
        assert [slot.answer is not None for slot in self.slots] == [
            number < self.answered for number in range(len(self.slots))
        ]
        assert self.exchange.is_idle == (self.answered == len(self.slots))


TestPairing = Pairing.TestCase


def test_an_answer_to_nothing_is_nonsense() -> None:
    with pytest.raises(ProtocolError, match="nothing had asked"):
        Exchange(10).feed(Message(1, 0).serialize())
