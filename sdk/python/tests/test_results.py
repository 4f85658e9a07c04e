"""Results: dataclasses and dictionaries at once, and errors that are raised where they should be."""

from __future__ import annotations

import asyncio
import builtins
import copy
import dataclasses
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clove_sdk
from clove_sdk import (
    AgentNotFound,
    AsyncCloveClient,
    BadRequest,
    CloveClient,
    CloveError,
    Conflict,
    ExecResult,
    FetchResult,
    FileError,
    FileNotFound,
    KernelFault,
    KeysResult,
    NotFound,
    Overload,
    PermissionDenied,
    ProtocolError,
    Result,
    SpawnResult,
    StateKeyNotFound,
    SyscallError,
    SyscallOp,
    SyscallTimeout,
    TunnelError,
    UnknownSyscall,
    ValidationError,
    WorldNotFound,
)
from clove_sdk.exceptions import BY_CODE, error_from_answer
from conftest import MakeKernel
from fake_kernel import Request


def answering(body: Any) -> Callable[[Request], Any]:
    return lambda request: None if request.opcode == SyscallOp.SYS_NOOP else body


def spawned(make_kernel: MakeKernel) -> SpawnResult:
    answer = {"success": True, "id": 4, "agent_id": 4, "pid": 9, "status": "running", "isolation": {"on": 20}}
    with CloveClient(make_kernel(answering(answer)).socket_path) as client:
        return client.spawn("a", "/a.py")


def test_both_styles_work(make_kernel: MakeKernel) -> None:
    result = spawned(make_kernel)
    assert result.success
    assert result["success"]
    assert result.agent_id == result["agent_id"] == result["id"] == result.get("agent_id") == 4
    assert result["status"] == "running"
    assert result["isolation"]["on"] == 20
    assert result.get("nothing", 1) == 1
    assert "error" not in result
    assert result.error is None
    assert isinstance(result, dict)
    assert json.loads(json.dumps(result))["pid"] == 9


def test_a_failure_without_an_answer_s_field_has_it_in_both_styles(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel(answering({"error": "failed to spawn agent"})).socket_path) as client:
        result = client.spawn("a", "/a.py")
    assert result.success is result["success"] is False
    assert result.error == result["error"] == "failed to spawn agent"


def test_results_can_be_copied_compared_and_pickled(make_kernel: MakeKernel) -> None:
    result = spawned(make_kernel)
    for twin in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert twin == result
        assert twin["isolation"] == {"on": 20}
        assert twin.agent_id == 4
    assert dataclasses.asdict(result)["agent_id"] == 4
    assert repr(result) == "SpawnResult(success=True, agent_id=4, pid=9, error=None)"
    assert SpawnResult(True, 4) == SpawnResult(True, 4)
    assert SpawnResult(True, 4) != SpawnResult(True, 5)
    assert FetchResult(True) == {"success": True, "found": False}


def test_a_field_named_as_a_method_of_dictionaries(make_kernel: MakeKernel) -> None:
    with CloveClient(
        make_kernel(answering({"success": True, "keys": ["a"], "count": 1})).socket_path
    ) as client:
        result = client.list_keys()
    assert result.keys == ["a"]
    assert result["keys"] == ["a"]
    assert dict(result.items()) == {"success": True, "keys": ["a"], "count": 1}
    assert json.loads(json.dumps(KeysResult(True, ["b"])))["keys"] == ["b"]


def test_a_result_can_be_asked_to_raise(make_kernel: MakeKernel) -> None:
    body = {"success": False, "error": "every mailbox is full", "code": "OVERLOAD", "hint": "wait"}
    with CloveClient(make_kernel(answering(body)).socket_path) as client:
        result = client.broadcast("x")
        assert result.success is False
        with pytest.raises(Overload) as raised:
            result.raise_for_error()
    assert (raised.value.code, raised.value.hint, raised.value.opcode) == ("OVERLOAD", "wait", 0x22)
    assert body.items() <= raised.value.details.items()
    assert ExecResult(True, "", "", 0).raise_for_error().success


def test_a_command_that_ended_badly_is_not_an_error(make_kernel: MakeKernel) -> None:
    ended = {"success": False, "stdout": "", "stderr": "", "exit_code": 1}
    timed_out = {**ended, "exit_code": -1, "timed_out": True, "error": "command timeout", "code": "TIMEOUT"}
    refused = {**ended, "exit_code": -1, "error": "Permission denied: EXEC needs exec", "code": "FORBIDDEN"}
    for body in (ended, timed_out):
        with CloveClient(make_kernel(answering(body)).socket_path, raise_errors=True) as client:
            assert client.exec("false").raise_for_error().exit_code == body["exit_code"]
    with CloveClient(make_kernel(answering(refused)).socket_path, raise_errors=True) as client:
        with pytest.raises(PermissionDenied):
            client.exec("false")
    with CloveClient(make_kernel(answering(refused)).socket_path) as client:
        assert client.exec("false").error == "Permission denied: EXEC needs exec"


DENIED = {"success": False, "error": "Permission denied: no", "code": "FORBIDDEN"}


def test_errors_have_a_place_in_results_unless_they_are_to_be_raised(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(answering(DENIED))
    with CloveClient(kernel.socket_path) as client:
        assert client.store("k", 1).error == "Permission denied: no"
        assert client.write_file("/f", "x").success is False
        assert client.http("http://x").error == "Permission denied: no"
    with CloveClient(kernel.socket_path, raise_errors=True) as client:
        with pytest.raises(PermissionDenied):
            client.store("k", 1)
        with pytest.raises(PermissionDenied):
            client.write_file("/f", "x")
        with pytest.raises(PermissionDenied):
            client.think("x")


def test_methods_without_a_place_for_an_error_always_raise(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(answering(DENIED))
    with CloveClient(kernel.socket_path) as client:
        for call in (
            client.hello,
            client.list_agents,
            lambda: client.kill("a"),
            lambda: client.pause("a"),
            lambda: client.resume(agent_id=1),
            lambda: client.wait_agent("a"),
            lambda: client.logs("a"),
            lambda: client.read("/f"),
            lambda: client.read_bytes("/f"),
            lambda: client.fetch_value("k"),
            lambda: next(client.messages()),
            lambda: next(client.events()),
        ):
            with pytest.raises(builtins.PermissionError) as raised:
                call()
            assert isinstance(raised.value, PermissionDenied)


def test_asyncio_raises_alike(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        async with AsyncCloveClient(make_kernel(answering(DENIED)).socket_path) as client:
            assert (await client.store("k", 1)).success is False
            with pytest.raises(PermissionDenied):
                await client.kill("a")
        async with AsyncCloveClient(make_kernel(answering(DENIED)).socket_path, raise_errors=True) as client:
            with pytest.raises(PermissionDenied):
                await client.store("k", 1)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("opcode", "code", "kind", "builtin"),
    [
        (0x11, "NOT_FOUND", AgentNotFound, LookupError),
        (0x20, "NOT_FOUND", AgentNotFound, LookupError),
        (0x03, "NOT_FOUND", FileNotFound, builtins.FileNotFoundError),
        (0x31, "NOT_FOUND", StateKeyNotFound, KeyError),
        (0xA6, "NOT_FOUND", WorldNotFound, LookupError),
        (0x10, "NOT_FOUND", NotFound, LookupError),
        (0x02, "FORBIDDEN", PermissionDenied, builtins.PermissionError),
        (0x03, "PATH_REFUSED", PermissionDenied, OSError),
        (0x04, "IO", FileError, OSError),
        (0x51, "DATA_CORRUPT", FileError, OSError),
        (0x22, "OVERLOAD", Overload, CloveError),
        (0x16, "TIMEOUT", SyscallTimeout, builtins.TimeoutError),
        (0x23, "CONFLICT", Conflict, CloveError),
        (0x30, "BAD_REQUEST", BadRequest, ValueError),
        (0x30, "INTERNAL", KernelFault, CloveError),
        (0xA0, "UNKNOWN_SYSCALL", UnknownSyscall, CloveError),
        (0xB0, "IO_OF_LATER", TunnelError, CloveError),
        (0x30, "OF_LATER", SyscallError, CloveError),
    ],
)
def test_codes_become_exceptions(
    opcode: int, code: str, kind: type[SyscallError], builtin: type[Exception]
) -> None:
    error = error_from_answer(opcode, {"success": False, "error": "words", "code": code})
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert isinstance(error, CloveError)
    assert str(error) == error.message == "words"
    assert (error.code, error.opcode) == (code, opcode)
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), twin.code, twin.opcode) == (kind, "words", code, opcode)


@pytest.mark.parametrize(
    ("opcode", "words", "kind"),
    [
        (0x02, "Permission denied: command not allowed", PermissionDenied),
        (0xA6, "World not found", WorldNotFound),
        (0x20, "target agent not found: x", AgentNotFound),
        (0x21, "invalid request: payload", BadRequest),
        (0x03, "failed to open file", FileError),
        (0xB0, "Failed to connect to relay server", TunnelError),
        (0x10, "failed to spawn agent", SyscallError),
    ],
)
def test_answers_without_a_code_are_understood_by_their_words(
    opcode: int, words: str, kind: type[SyscallError]
) -> None:
    assert type(error_from_answer(opcode, {"error": words})) is kind


def test_the_codes_it_knows_are_codes_of_the_kernel() -> None:
    file = Path(__file__).parents[3] / "errors" / "codes.ts"
    if not file.exists():
        pytest.skip(f"not in the repository: {file} is not there")
    codes = set(re.findall(r"^  ([A-Z_]+):", file.read_text(), re.MULTILINE))
    assert set(BY_CODE) <= codes


def test_old_kernels_that_only_say_no(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel(answering({"killed": False, "agent_id": 0})).socket_path) as client:
        with pytest.raises(AgentNotFound):
            client.kill("a")
    with (
        CloveClient(
            make_kernel(answering({"success": False, "paused": False, "agent_id": 1})).socket_path
        ) as client,
        pytest.raises(SyscallError),
    ):
        client.pause("a")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.kill(),
        lambda client: client.pause(name=""),
        lambda client: client.wait_agent(),
        lambda client: client.wait_agent("a", timeout=-1),
        lambda client: client.wait_agent("a", timeout=float("inf")),
        lambda client: client.spawn("a"),
        lambda client: client.send_message("x"),
        lambda client: client.watch_keys(),
        lambda client: client.write_file("/f", "x", "append or so"),
        lambda client: client.think("x", thinking_level="much"),
    ],
)
def test_arguments_that_make_no_sense_are_not_sent(
    call: Callable[[CloveClient], Any], make_kernel: MakeKernel
) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client, pytest.raises(ValidationError):
        call(client)
    assert kernel.requests == []


def test_a_missing_key_is_an_error_where_its_value_is_asked_for(make_kernel: MakeKernel) -> None:
    body = {"success": True, "exists": False, "found": False, "value": None}
    with CloveClient(make_kernel(answering(body)).socket_path) as client:
        with pytest.raises(StateKeyNotFound, match="no such key: k"):
            client.fetch_value("k")
        assert client.fetch_value("k", None) is None


def test_text_is_not_made_of_bytes_that_are_none(make_kernel: MakeKernel) -> None:
    body = {"success": True, "content": "/w==", "size": 1, "encoding": "base64"}
    with (
        CloveClient(make_kernel(answering(body)).socket_path) as client,
        pytest.raises(OSError, match="not UTF-8"),
    ):
        client.read("/f")


def test_fields_of_a_wrong_type_are_errors_and_never_defaults(make_kernel: MakeKernel) -> None:
    wrong: list[Any] = [
        {"success": True, "size": "many"},
        {"success": "yes"},
        {"success": True, "content": 5},
        [],
    ]
    for body in wrong:
        with CloveClient(make_kernel(answering(body)).socket_path) as client, pytest.raises(ProtocolError):
            client.read_file("/f")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([c for c in SyscallOp if c not in (0x00, 0xFF)]), json_values)
def test_whatever_the_answer_is_it_becomes_a_result_or_an_error_of_ours(opcode: SyscallOp, body: Any) -> None:
    from clove_sdk import Message
    from test_methods import CASES

    for each in CASES:
        if each.opcode != opcode:
            continue
        method = getattr(CloveClient, each.method)
        reply = Message(1, opcode, json.dumps(body).encode())

        class Client(CloveClient):
            def _run(self, call: Any, reply: Message = reply) -> Any:
                return call.read(reply, False)

        try:
            result = method(Client(), *each.args, **each.kwargs)
        except CloveError:
            continue
        assert isinstance(result, (Result, list, bool, int, str, bytes)) or each.method in (
            "fetch_value",
            "syscall",
        )


def test_an_agent_that_needs_no_asyncio_does_not_load_it() -> None:
    code = "import sys, clove_sdk; print(sorted({'asyncio', 'subprocess', 'pathlib', 'logging'} & set(sys.modules)))"
    source = str(Path(clove_sdk.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


def test_the_package_exports_what_it_says() -> None:
    assert set(clove_sdk.__all__) <= set(dir(clove_sdk))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        clove_sdk.Nothing  # noqa: B018
    assert all(hasattr(clove_sdk, name) for name in clove_sdk.__all__)
    assert clove_sdk.AgentOSClient is CloveClient
    old = {
        "CloveError", "ConnectionError", "ProtocolError", "TimeoutError", "ValidationError", "SyscallError",
        "PermissionDenied", "AgentNotFound", "StateKeyNotFound", "WorldNotFound", "TunnelError", "Message", "SyscallOp",
        "Transport", "CloveClient", "connect", "AgentOSClient", "AgenticLoop", "Tool", "ToolCall", "AgentResult",
        "run_task", "AgentState", "AgentInfo", "IPCMessage", "KernelEvent", "OperationResult",
    }  # fmt: skip
    assert old <= set(clove_sdk.__all__)
