"""The wire protocol: frames, opcodes, limits. Nothing here does I/O."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum

from .exceptions import PayloadTooLarge, ProtocolError, ValidationError

#: First four bytes of every frame, as a little-endian u32.
MAGIC = 0x41474E54
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
#: magic u32 | agent id u32 | opcode u8 | payload length u64, little-endian.
HEADER = struct.Struct("<IIBQ")
HEADER_SIZE = HEADER.size
#: Largest payload of a request; the kernel answers a larger one with an error and hangs up.
MAX_PAYLOAD_SIZE = 1024 * 1024
#: Largest payload of an answer a client accepts unless told otherwise.
MAX_ANSWER_SIZE = 64 * 1024 * 1024
PROTOCOL_VERSION = 1

#: Where a kernel listens unless told otherwise, and where an agent finds it inside its sandbox.
DEFAULT_SOCKET_PATH = "/tmp/clove.sock"
SANDBOX_SOCKET_PATH = "/run/clove.sock"


class SyscallOp(IntEnum):
    """Opcodes. A number that is not here is still a valid opcode for the low-level calls."""

    SYS_NOOP = 0x00
    SYS_THINK = 0x01
    SYS_EXEC = 0x02
    SYS_READ = 0x03
    SYS_WRITE = 0x04
    SYS_SPAWN = 0x10
    SYS_KILL = 0x11
    SYS_LIST = 0x12
    SYS_PAUSE = 0x14
    SYS_RESUME = 0x15
    SYS_WAIT = 0x16
    SYS_LOGS = 0x17
    SYS_RELOAD = 0x18
    SYS_NOTIFY = 0x19
    SYS_WAIT_READY = 0x1A
    SYS_GROUP_SET = 0x1B
    SYS_GROUP_LIST = 0x1C
    SYS_GROUP_REMOVE = 0x1D
    SYS_SEND = 0x20
    SYS_RECV = 0x21
    SYS_BROADCAST = 0x22
    SYS_REGISTER = 0x23
    SYS_STORE = 0x30
    SYS_FETCH = 0x31
    SYS_DELETE = 0x32
    SYS_KEYS = 0x33
    SYS_CAS = 0x34
    SYS_WATCH = 0x35
    SYS_GET_PERMS = 0x40
    SYS_SET_PERMS = 0x41
    SYS_HTTP = 0x50
    SYS_DOWNLOAD = 0x51
    SYS_SUBSCRIBE = 0x60
    SYS_UNSUBSCRIBE = 0x61
    SYS_POLL_EVENTS = 0x62
    SYS_EMIT = 0x63
    SYS_RECORD_START = 0x70
    SYS_RECORD_STOP = 0x71
    SYS_RECORD_STATUS = 0x72
    SYS_REPLAY_START = 0x73
    SYS_REPLAY_STATUS = 0x74
    SYS_GET_AUDIT_LOG = 0x76
    SYS_SET_AUDIT_CONFIG = 0x77
    SYS_AUDIT_QUERY = 0x78
    SYS_AUDIT_VERIFY = 0x79
    SYS_ASYNC_POLL = 0x80
    SYS_SET_QUOTA = 0x92
    SYS_GET_QUOTA = 0x93
    SYS_TASK_CREATE = 0x94
    SYS_TASK_ASSIGN = 0x95
    SYS_TASK_STATUS = 0x96
    SYS_TASK_COMPLETE = 0x97
    SYS_TASK_LIST = 0x98
    SYS_WORLD_CREATE = 0xA0
    SYS_WORLD_DESTROY = 0xA1
    SYS_WORLD_LIST = 0xA2
    SYS_WORLD_JOIN = 0xA3
    SYS_WORLD_LEAVE = 0xA4
    SYS_WORLD_EVENT = 0xA5
    SYS_WORLD_STATE = 0xA6
    SYS_WORLD_SNAPSHOT = 0xA7
    SYS_WORLD_RESTORE = 0xA8
    SYS_WORLD_DIFF = 0xA9
    SYS_WORLD_BRANCH = 0xAA
    SYS_WORLD_ADVANCE = 0xAB
    SYS_WORLD_WAIT = 0xAC
    SYS_WORLD_CHECKPOINT = 0xAD
    SYS_TUNNEL_CONNECT = 0xB0
    SYS_TUNNEL_DISCONNECT = 0xB1
    SYS_TUNNEL_STATUS = 0xB2
    SYS_TUNNEL_LIST_REMOTES = 0xB3
    SYS_TUNNEL_CONFIG = 0xB4
    SYS_METRICS_SYSTEM = 0xC0
    SYS_METRICS_AGENT = 0xC1
    SYS_METRICS_ALL_AGENTS = 0xC2
    SYS_METRICS_CGROUP = 0xC3
    SYS_LLM_REPORT = 0xF0
    SYS_HELLO = 0xFE
    SYS_EXIT = 0xFF


#: Syscalls whose payloads are bytes as they are, not JSON.
RAW_OPCODES = frozenset({SyscallOp.SYS_NOOP, SyscallOp.SYS_EXIT})


def opcode_name(opcode: int) -> str:
    """``"SPAWN"``; ``"0x99"`` for a number without a name."""
    try:
        return SyscallOp(opcode).name.removeprefix("SYS_")
    except ValueError:
        return f"0x{opcode:02X}"


def opcode_of(name: str | int) -> int:
    """The number of ``"SPAWN"``, ``"SYS_SPAWN"`` or of a number itself. Raises `ValidationError`."""
    if isinstance(name, int):
        return name
    try:
        return SyscallOp[f"SYS_{name.removeprefix('SYS_')}"]
    except KeyError:
        raise ValidationError(f"no syscall has the name {name}: give its number") from None


def known_opcode(opcode: int) -> int:
    """The enum member where there is one, else the number itself."""
    try:
        return SyscallOp(opcode)
    except ValueError:
        return opcode


@dataclass
class Message:
    """One frame. `opcode` is a `SyscallOp` where the number has a name, else a plain int."""

    agent_id: int
    opcode: int
    payload: bytes = b""

    def serialize(self) -> bytes:
        """The frame as bytes. Raises `ProtocolError` for numbers that do not fit their fields."""
        try:
            header = HEADER.pack(MAGIC, self.agent_id, self.opcode, len(self.payload))
        except struct.error as error:
            raise ProtocolError(
                f"not a frame: agent id {self.agent_id}, opcode {self.opcode}: {error}"
            ) from error
        return header + self.payload

    @classmethod
    def deserialize(cls, data: bytes) -> Message | None:
        """The frame at the start of `data`; None when it is not whole, is larger than
        `MAX_PAYLOAD_SIZE`, or is no frame."""
        if len(data) < HEADER_SIZE:
            return None
        magic, agent_id, opcode, length = HEADER.unpack_from(data)
        if magic != MAGIC or length > MAX_PAYLOAD_SIZE or len(data) < HEADER_SIZE + length:
            return None
        return cls(agent_id, known_opcode(opcode), bytes(data[HEADER_SIZE : HEADER_SIZE + length]))

    @property
    def payload_str(self) -> str:
        """The payload as text; bytes that are not UTF-8 become U+FFFD."""
        return self.payload.decode("utf-8", errors="replace")


class FrameDecoder:
    """Takes bytes as they come and gives back whole frames.

    Never holds more than one frame beyond the bytes received: a length that was only announced costs nothing.
    """

    def __init__(self, max_payload_size: int = MAX_ANSWER_SIZE) -> None:
        self._max_payload_size = max_payload_size
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The frames that are complete with these bytes.

        Raises `ProtocolError` for bytes that are no frame and `PayloadTooLarge` as soon as a header announces
        too much; after that the stream makes no sense any more.
        """
        self._buffer += data
        frames: list[Message] = []
        position = 0
        while True:
            start = bytes(self._buffer[position : position + 4])
            if start != MAGIC_BYTES[: len(start)]:
                raise ProtocolError("bad magic: these bytes are not a frame of the wire protocol")
            if len(self._buffer) - position < HEADER_SIZE:
                break
            _, agent_id, opcode, length = HEADER.unpack_from(self._buffer, position)
            if length > self._max_payload_size:
                raise PayloadTooLarge(
                    f"answer of {length} bytes is larger than {self._max_payload_size}", opcode
                )
            end = position + HEADER_SIZE + length
            if len(self._buffer) < end:
                break
            payload = bytes(memoryview(self._buffer)[position + HEADER_SIZE : end])
            frames.append(Message(agent_id, known_opcode(opcode), payload))
            position = end
        if position:
            del self._buffer[:position]
        return frames


def default_socket_path() -> str:
    """``$CLOVE_SOCKET``, else the socket of the sandbox this runs in, else the kernel's default."""
    named = os.environ.get("CLOVE_SOCKET")
    if named:
        return named
    return SANDBOX_SOCKET_PATH if os.path.exists(SANDBOX_SOCKET_PATH) else DEFAULT_SOCKET_PATH
