"""The opcodes are the kernel's; those it does not serve yet are the protocol's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clove_sdk import SyscallOp, protocol

PROTOCOL = Path(__file__).parents[3] / "kernel" / "protocol"

#: The whole map of the protocol, and the numbers that Clove has chosen beside it.
SPECIFIED = {
    "NOOP": 0x00, "THINK": 0x01, "EXEC": 0x02, "READ": 0x03, "WRITE": 0x04,
    "SPAWN": 0x10, "KILL": 0x11, "LIST": 0x12, "PAUSE": 0x14, "RESUME": 0x15,
    "WAIT": 0x16, "LOGS": 0x17, "RELOAD": 0x18, "NOTIFY": 0x19, "WAIT_READY": 0x1A,
    "GROUP_SET": 0x1B, "GROUP_LIST": 0x1C, "GROUP_REMOVE": 0x1D,
    "SEND": 0x20, "RECV": 0x21, "BROADCAST": 0x22, "REGISTER": 0x23,
    "STORE": 0x30, "FETCH": 0x31, "DELETE": 0x32, "KEYS": 0x33, "CAS": 0x34, "WATCH": 0x35,
    "GET_PERMS": 0x40, "SET_PERMS": 0x41, "HTTP": 0x50, "DOWNLOAD": 0x51,
    "SUBSCRIBE": 0x60, "UNSUBSCRIBE": 0x61, "POLL_EVENTS": 0x62, "EMIT": 0x63,
    "RECORD_START": 0x70, "RECORD_STOP": 0x71, "RECORD_STATUS": 0x72, "REPLAY_START": 0x73, "REPLAY_STATUS": 0x74,
    "GET_AUDIT_LOG": 0x76, "SET_AUDIT_CONFIG": 0x77, "AUDIT_QUERY": 0x78, "AUDIT_VERIFY": 0x79, "ASYNC_POLL": 0x80,
    "SET_QUOTA": 0x92, "GET_QUOTA": 0x93,
    "TASK_CREATE": 0x94, "TASK_ASSIGN": 0x95, "TASK_STATUS": 0x96, "TASK_COMPLETE": 0x97, "TASK_LIST": 0x98,
    "WORLD_CREATE": 0xA0, "WORLD_DESTROY": 0xA1, "WORLD_LIST": 0xA2, "WORLD_JOIN": 0xA3, "WORLD_LEAVE": 0xA4,
    "WORLD_EVENT": 0xA5, "WORLD_STATE": 0xA6, "WORLD_SNAPSHOT": 0xA7, "WORLD_RESTORE": 0xA8,
    "WORLD_DIFF": 0xA9, "WORLD_BRANCH": 0xAA, "WORLD_ADVANCE": 0xAB, "WORLD_WAIT": 0xAC, "WORLD_CHECKPOINT": 0xAD,
    "TUNNEL_CONNECT": 0xB0, "TUNNEL_DISCONNECT": 0xB1, "TUNNEL_STATUS": 0xB2, "TUNNEL_LIST_REMOTES": 0xB3,
    "TUNNEL_CONFIG": 0xB4,
    "METRICS_SYSTEM": 0xC0, "METRICS_AGENT": 0xC1, "METRICS_ALL_AGENTS": 0xC2, "METRICS_CGROUP": 0xC3,
    "LLM_REPORT": 0xF0, "HELLO": 0xFE, "EXIT": 0xFF,
}  # fmt: skip

SDK = {op.name.removeprefix("SYS_"): int(op) for op in SyscallOp}


def kernel_source(name: str) -> str:
    file = PROTOCOL / name
    if not file.exists():
        pytest.skip(f"not in the repository: {file} is not there")
    return file.read_text()


def kernel_opcodes() -> dict[str, int]:
    source = kernel_source("opcodes.ts")
    body = re.search(r"OPCODES = \{(.*?)\} as const", source, re.DOTALL)
    assert body is not None
    found = re.findall(r"^\s*([A-Z_]+): (0x[0-9a-f]+),$", body.group(1), re.MULTILINE)
    # Every entry was understood: one in another form must not go unseen.
    assert len(found) == len(re.findall(r"^\s*\w+:", body.group(1), re.MULTILINE))
    return {name: int(number, 16) for name, number in found}


def test_the_kernel_s_opcodes_are_those_of_the_sdk() -> None:
    kernel = kernel_opcodes()
    # What the kernel serves and the SDK lacks belongs into src/clove_sdk/protocol.py and a method into mixins/.
    assert {name: SDK.get(name) for name in kernel} == kernel


def test_all_others_are_those_of_the_protocol() -> None:
    served = kernel_opcodes()
    assert {name: number for name, number in SDK.items() if name not in served} == {
        name: number for name, number in SPECIFIED.items() if name not in served
    }


def test_no_number_has_changed() -> None:
    assert {name: SDK[name] for name in SPECIFIED} == SPECIFIED


def test_numbers_are_unique() -> None:
    assert len(set(SDK.values())) == len(SDK)


def test_sizes_are_the_kernel_s() -> None:
    source = kernel_source("constants.ts")

    def constant(name: str) -> int:
        match = re.search(rf"export const {name} = ([0-9a-fx* ]+);", source)
        assert match is not None, name
        return int(eval(match.group(1)))

    assert constant("MAGIC") == protocol.MAGIC
    assert constant("HEADER_BYTES") == protocol.HEADER_SIZE
    assert constant("MAX_PAYLOAD_BYTES") == protocol.MAX_PAYLOAD_SIZE
    assert constant("MAX_ANSWER_BYTES") == protocol.MAX_ANSWER_SIZE
    assert constant("PROTOCOL_VERSION") == protocol.PROTOCOL_VERSION
