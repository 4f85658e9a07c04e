"""Frames: what is written can be read, in whatever pieces it comes, and nonsense is told from frames at once."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clove_sdk import MAX_PAYLOAD_SIZE, Message, PayloadTooLarge, ProtocolError, SyscallOp, protocol

messages = st.builds(Message, st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=200))


@given(messages)
def test_a_message_survives_serialising(message: Message) -> None:
    assert Message.deserialize(message.serialize()) == message


@given(messages)
def test_a_frame_is_17_bytes_little_endian_then_the_payload(message: Message) -> None:
    data = message.serialize()
    assert data[:4] == b"TNGA"
    assert struct.unpack("<IBQ", data[4:17]) == (message.agent_id, message.opcode, len(message.payload))
    assert data[17:] == message.payload


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_whole_however_the_bytes_are_cut(sent: list[Message], cuts: list[int]) -> None:
    data = b"".join(message.serialize() for message in sent)
    decoder = protocol.FrameDecoder()
    received: list[Message] = []
    sizes = itertools.cycle(cuts)
    while data:
        size = next(sizes)
        received += decoder.feed(data[:size])
        data = data[size:]
    assert received == sent


@given(messages, st.data())
def test_a_truncated_frame_is_no_message(message: Message, data: st.DataObject) -> None:
    whole = message.serialize()
    length = data.draw(st.integers(0, len(whole) - 1))
    assert Message.deserialize(whole[:length]) is None
    assert protocol.FrameDecoder().feed(whole[:length]) == []


@given(st.binary(min_size=1, max_size=40))
def test_bytes_that_are_no_frame_are_refused_at_the_first_wrong_one(data: bytes) -> None:
    decoder = protocol.FrameDecoder(max_payload_size=100)
    matches = data[:4] == protocol.MAGIC_BYTES[: len(data)]
    if matches:
        return
    with pytest.raises(ProtocolError, match="magic"):
        decoder.feed(data)


def test_an_announced_length_beyond_the_limit_is_refused_before_it_comes() -> None:
    header = struct.pack("<IIBQ", protocol.MAGIC, 1, 2, 1001)
    with pytest.raises(PayloadTooLarge, match="1001 bytes"):
        protocol.FrameDecoder(max_payload_size=1000).feed(header)


def test_the_limit_itself_is_allowed() -> None:
    data = Message(1, 2, b"x" * 1000).serialize()
    assert protocol.FrameDecoder(max_payload_size=1000).feed(data) == [Message(1, 2, b"x" * 1000)]


def test_a_message_larger_than_the_protocol_allows_is_no_message() -> None:
    header = struct.pack("<IIBQ", protocol.MAGIC, 1, 2, MAX_PAYLOAD_SIZE + 1)
    assert Message.deserialize(header + b"x" * (MAX_PAYLOAD_SIZE + 1)) is None
    assert Message.deserialize(b"AGNT" + bytes(13)) is None


def test_an_opcode_without_a_name_stays_a_number() -> None:
    message = Message.deserialize(Message(1, 0x99, b"").serialize())
    assert message is not None
    assert message.opcode == 0x99
    assert not isinstance(message.opcode, SyscallOp)
    assert protocol.opcode_name(0x99) == "0x99"
    assert protocol.opcode_name(0x10) == "SPAWN"


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ProtocolError):
        Message(2**32, 1).serialize()
    with pytest.raises(ProtocolError):
        Message(1, 256).serialize()


def test_payload_text_replaces_what_is_not_utf8() -> None:
    assert Message(1, 2, b"a\xffb").payload_str == "a\ufffdb"


def test_the_socket_is_the_named_one_or_the_sandbox_s_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLOVE_SOCKET", "/x/y.sock")
    assert protocol.default_socket_path() == "/x/y.sock"
    monkeypatch.delenv("CLOVE_SOCKET")
    monkeypatch.setattr("os.path.exists", lambda path: path == "/run/clove.sock")
    assert protocol.default_socket_path() == "/run/clove.sock"
    monkeypatch.setattr("os.path.exists", lambda _: False)
    assert protocol.default_socket_path() == "/tmp/clove.sock"
