"""The loop of a model with tools, and where its model comes from."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clove_sdk import (
    AgenticLoop,
    AsyncCloveClient,
    CloveClient,
    SyscallOp,
    TimeoutError,
    Tool,
    run_task,
)
from conftest import MakeKernel
from fake_kernel import Request

S = SyscallOp


def tool_call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def thinking(*replies: str, **others: Any) -> Callable[[Request], Any]:
    """A kernel whose model says these things in turn."""
    left = list(replies)

    def script(request: Request) -> Any:
        if request.opcode == S.SYS_THINK:
            if not left:
                return {"success": False, "error": "LLM not configured", "content": ""}
            return {"success": True, "content": left.pop(0), "tokens": 3}
        return others.get(S(request.opcode).name)

    return script


def test_a_task_is_done_with_tools(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(
        thinking(
            "First I look. " + tool_call("exec", command="ls"),
            tool_call("write_file", path="/f", content="x") + tool_call("read_file", path="/f"),
            tool_call("done", result="42"),
            SYS_EXEC={"success": True, "stdout": "a.txt\n", "stderr": "", "exit_code": 0},
            SYS_WRITE={"success": True, "bytes_written": 1},
            SYS_READ={"success": False, "error": "failed to open file", "content": "", "size": 0},
        )
    )
    result = run_task("count", kernel.socket_path, verbose=False)
    assert (result.success, result.result, result.iterations, result.error) == (True, "42", 3, None)
    last = kernel.bodies(S.SYS_THINK)[-1]
    assert "Tool: " + json.dumps({"success": True, "output": "a.txt\n", "exit_code": 0}) in last["prompt"]
    assert '"bytes_written": 1' in last["prompt"]
    assert '"error": "failed to open file"' in last["prompt"]
    assert last["prompt"].startswith("User: count\n\nAssistant: First I look.")
    assert "<tool_call>" in last["system_instruction"]
    assert last["async"] is False


def test_what_goes_wrong_is_told_to_the_model(make_kernel: MakeKernel) -> None:
    def explode(arguments: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("boom")

    kernel = make_kernel(
        thinking(
            "I have no idea.",
            "<tool_call>{not json}</tool_call>",
            '<tool_call>["exec"]</tool_call>',
            tool_call("explode") + tool_call("nothing"),
            tool_call("exec"),
            tool_call("done", result=1),
        )
    )
    with CloveClient(kernel.socket_path) as client:
        loop = AgenticLoop(client, verbose=False, system_prompt="Be brief.")
        loop.add_tool(Tool("explode", "Explodes.", {"type": "object"}, explode))
        result = loop.run("task")
    assert result.success
    told = [entry["content"] for entry in loop.conversation_history if entry["role"] in ("tool", "user")][1:]
    assert "done" in told[0]
    assert "not JSON" in told[1]
    assert "arguments" in told[2]
    assert "RuntimeError: boom" in told[3]
    assert "no tool 'nothing'" in told[4]
    assert "KeyError" in told[5]
    assert kernel.bodies(S.SYS_THINK)[0]["system_instruction"] == "Be brief."


def test_the_loop_ends_without_a_model_and_without_an_end(make_kernel: MakeKernel) -> None:
    kernel = make_kernel(thinking())
    with CloveClient(kernel.socket_path) as client:
        result = AgenticLoop(client, verbose=False).run("task")
        assert (result.success, result.error, result.iterations) == (False, "LLM not configured", 1)
        kernel.script = thinking(*["hm"] * 9)
        result = AgenticLoop(client, max_iterations=2, verbose=False).run("task")
        assert (result.success, result.iterations) == (False, 2)
        assert result.error == "max iterations (2) reached"


def test_tools_can_be_added_removed_and_shown(
    make_kernel: MakeKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    with CloveClient(make_kernel(thinking(tool_call("done", result="r"))).socket_path) as client:
        loop = AgenticLoop(client)
        assert set(loop.tools) == {"exec", "read_file", "write_file", "done"}
        loop.add_tool(Tool("extra", "Does more.", {}, lambda _: {}))
        loop.remove_tool("exec")
        assert "extra: Does more." in loop.system_prompt
        assert "- exec:" not in loop.system_prompt
        loop.system_prompt = "mine"
        assert loop.system_prompt == "mine"
        loop.run("task")
    assert "[assistant] <tool_call>" in capsys.readouterr().out


def test_a_kernel_without_a_model_says_what_to_do(make_kernel: MakeKernel) -> None:
    unknown = {"success": False, "error": "unknown opcode 0x01", "code": "UNKNOWN_SYSCALL"}
    with CloveClient(
        make_kernel(lambda request: unknown if request.opcode == 1 else None).socket_path
    ) as client:
        answer = client.think("x", image=b"\xff", temperature=0.5)
        assert answer["success"] is False
        assert "CLOVE_LLM_SERVICE_PATH" in answer["error"]
        assert answer["content"] == ""


def test_what_is_asked_is_sent_whole(make_kernel: MakeKernel, tmp_path: Path) -> None:
    kernel = make_kernel(thinking("yes"))
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\xff")
    with CloveClient(kernel.socket_path) as client:
        client.think(
            "x",
            str(picture),
            "image/png",
            "be",
            "high",
            0.5,
            "m",
            request_id=4,
            async_=True,
            max_tokens=9,
            tools=[{"name": "t"}],
        )
    assert kernel.bodies(S.SYS_THINK) == [
        {
            "prompt": "x", "image": {"data": "/w==", "mime_type": "image/png"}, "system_instruction": "be",
            "thinking_level": "high", "temperature": 0.5, "model": "m", "request_id": 4, "async": True,
            "max_tokens": 9, "tools": [{"name": "t"}],
        }
    ]  # fmt: skip


SERVICE = """
import json, sys, time, os
for line in sys.stdin:
    request = json.loads(line)
    prompt = request["prompt"]
    if prompt == "die":
        sys.exit(3)
    if prompt == "sleep":
        time.sleep(60)
    if prompt == "nonsense":
        print("oops", flush=True)
        continue
    if prompt == "fail":
        print(json.dumps({"success": False, "error": "no key"}), flush=True)
        continue
    print(json.dumps({"success": True, "content": f"{os.getpid()} {prompt}", "tokens": 12}), flush=True)
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "service.py"
    path.write_text(SERVICE)
    monkeypatch.setenv("CLOVE_LLM_SERVICE_PATH", str(path))


@pytest.mark.usefixtures("service")
def test_a_service_of_one_s_own_is_asked_and_its_use_reported(make_kernel: MakeKernel) -> None:
    quota = {"success": False, "tokens": 12, "quota_exceeded": True, "error": "LLM quota exceeded"}
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        first = client.think("a\nb")
        assert first["content"].endswith("a\nb")
        assert kernel.bodies(S.SYS_LLM_REPORT) == [{"tokens": 12, "success": True}]
        kernel.script = lambda request: quota
        second = client.think("c")
        assert (second["success"], second["quota_exceeded"], second["report_error"]) == (
            True,
            True,
            "LLM quota exceeded",
        )
        assert second["content"].split()[0] == first["content"].split()[0]
        assert kernel.bodies(S.SYS_THINK) == []


@pytest.mark.usefixtures("service")
def test_a_service_that_fails_is_started_again(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel().socket_path) as client:
        pids = {client.think("x")["content"].split()[0]}
        for prompt, words in (
            ("die", "ended without an answer"),
            ("nonsense", "service.py"),
            ("fail", "no key"),
        ):
            answer = client.think(prompt)
            assert answer["success"] is False
            assert words in answer["error"]
            assert answer["content"] == ""
        with pytest.raises(TimeoutError):
            client.think("sleep", timeout=0.2)
        pids.add(client.think("x")["content"].split()[0])
        assert len(pids) == 2
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")


def test_a_service_that_is_not_there_is_an_answer(
    make_kernel: MakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOVE_LLM_SERVICE_PATH", "/not/there")
    with CloveClient(make_kernel().socket_path) as client:
        assert "/not/there" in client.think("x")["error"]


@pytest.mark.usefixtures("service")
def test_asyncio_thinks_alike(make_kernel: MakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        kernel = make_kernel(thinking("from the kernel"))
        async with AsyncCloveClient(kernel.socket_path) as client:
            answers = await asyncio.gather(client.think("a"), client.think("b"))
            assert [answer["content"].split()[1] for answer in answers] == ["a", "b"]
            assert len(kernel.bodies(S.SYS_LLM_REPORT)) == 2
            monkeypatch.delenv("CLOVE_LLM_SERVICE_PATH")
            assert (await client.think("c"))["content"] == "from the kernel"

    asyncio.run(work())
