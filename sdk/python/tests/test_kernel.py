"""The SDK and a real kernel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from clove_sdk import (
    AgentNotFound,
    AgentState,
    AsyncCloveClient,
    AsyncResult,
    BadRequest,
    CloveClient,
    Conflict,
    NotFound,
    PermissionDenied,
    Result,
    StateChange,
    SyscallError,
    SyscallOp,
    TimeoutError,
    UnknownSyscall,
)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Nobody else's on a kernel that all tests share."""
    return "".join(character for character in request.node.name if character.isalnum())[:60]


def test_hello(clove: CloveClient) -> None:
    info = clove.hello()
    assert info.version == info["kernel_version"]
    assert "agents.spawn" in info.capabilities
    assert info.agent_id == clove.agent_id > 0
    assert info.uptime_seconds > 0
    assert clove.echo("héllo") == "héllo"
    assert clove.exit() is True


def test_the_life_of_an_agent(clove: CloveClient, name: str) -> None:
    spawned = clove.spawn(name, command=["/bin/sh", "-c", "echo out; echo err >&2; sleep 60"])
    assert spawned.success, spawned.error
    assert spawned.agent_id is not None
    assert spawned["status"] == "running"
    listed = {info.id: info for info in clove.list_agents()}[spawned.agent_id]
    assert (listed.name, listed.state, listed.pid) == (name, AgentState.RUNNING, spawned.pid)
    assert listed.memory_bytes is not None
    assert clove.pause(name)
    assert {info.name: info.state for info in clove.list_agents()}[name] is AgentState.PAUSED
    assert clove.resume(agent_id=spawned.agent_id)
    with pytest.raises(TimeoutError):
        clove.wait_agent(name, timeout=0.01)
    assert clove.kill(name, grace=0)
    ended = clove.wait_agent(agent_id=spawned.agent_id, timeout=10)
    assert (ended.name, ended.reason) == (name, "killed")
    logs = clove.logs(agent_id=spawned.agent_id)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    with pytest.raises(AgentNotFound):
        clove.kill(name)
    assert name in {info.name for info in clove.list_agents(all=True)}


def test_how_an_agent_ended(clove: CloveClient) -> None:
    spawned = clove.spawn(command=["/bin/sh", "-c", "cat; exit 3"], stdin="given", limits={"memory_mb": 64})
    ended = clove.wait_agent(agent_id=spawned.agent_id, timeout=30)
    assert (ended.state, ended.reason, ended.exit_code, ended.signal) == (
        AgentState.FAILED,
        "exited",
        3,
        None,
    )
    assert ended.log_tail == "given"
    assert ended.usage["wall_us"] > 0


def test_a_spawn_that_fails(clove: CloveClient, socket_path: str) -> None:
    result = clove.spawn("x", "/not/there.py")
    assert (result.success, result.agent_id) == (False, None)
    assert result.error is not None
    assert "not found" in result.error
    with pytest.raises(NotFound):
        result.raise_for_error()
    with CloveClient(socket_path, raise_errors=True) as strict, pytest.raises(BadRequest, match="limits"):
        strict.spawn("x", command=["true"], limits={"memery": 1})


def test_commands(clove: CloveClient) -> None:
    merged = clove.exec("echo out; echo err >&2; exit 2")
    assert (merged.success, merged.stdout, merged.exit_code, merged.error) == (False, "out\nerr\n", 2, None)
    separate = clove.exec(["/bin/sh", "-c", "echo out; echo err >&2"], separate=True, cwd="/tmp")
    assert (separate.success, separate.stdout, separate.stderr) == (True, "out\n", "err\n")
    late = clove.exec("sleep 60", timeout=0.1)
    assert (late.success, late.exit_code) == (False, -1)
    assert late.error is not None


def test_files(clove: CloveClient, tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    assert clove.write_file(path, "é").bytes_written == 2
    assert clove.write_file(path, b"\xff", "append").success
    content = clove.read_file(path)
    assert (content.size, content.encoding, content.data) == (3, "base64", "é".encode() + b"\xff")
    assert clove.read_bytes(path) == content.data
    assert clove.write(path, "text").success
    assert clove.read(path) == "text"
    assert clove.read_file(path + ".not").error is not None
    with pytest.raises(FileNotFoundError):
        clove.read(path + ".not")


def test_messages(clove: CloveClient, socket_path: str, name: str) -> None:
    assert clove.register_name(name).success
    with CloveClient(socket_path) as other:
        assert other.register_name(name).success is False
        with pytest.raises(Conflict):
            other.register_name(name).raise_for_error()
        other.hello()
        sent = other.send_message({"n": [1, None]}, to_name=name)
        assert (sent.success, sent.delivered, sent["delivered_to"]) == (True, True, clove.agent_id)
        assert other.send_message("second", to=clove.agent_id).delivered
        first, second = clove.recv_messages().messages
        assert (first.message, first.from_agent, first.from_name) == ({"n": [1, None]}, other.agent_id, None)
        assert first["from"] == other.agent_id
        assert first.timestamp > 1.6e9
        assert second.message == "second"
        assert clove.recv_messages(wait=True, timeout=0.05).messages == []
        with pytest.raises(AgentNotFound):
            other.send_message("x", to_name=name + "x").raise_for_error()

        threading.Timer(0.05, lambda: other.send_message("late", to_name=name)).start()
        assert next(clove.messages()).message == "late"
        assert other.broadcast("all").delivered_count >= 1
        assert clove.recv_messages(wait=True, timeout=10).messages[0].message == "all"


def test_state(clove: CloveClient, name: str) -> None:
    assert clove.store(name, {"a": [1, None, "é"]}).success
    fetched = clove.fetch(name)
    assert (fetched.found, fetched.value, fetched["exists"]) == (True, {"a": [1, None, "é"]}, True)
    assert clove.fetch_value(name)["a"][0] == 1
    assert clove.store(name + ".own", 1, scope="agent").success
    assert clove.fetch(name + ".own", scope="agent").found
    assert clove.list_keys(name).keys == [name, name + ".own"]
    assert clove.list_keys(name, limit=1)["more"] is True
    assert clove.store(name + ".gone", 1, ttl=0).success
    assert clove.fetch(name + ".gone").found is False
    assert clove.delete_key(name).deleted
    assert clove.delete_key(name).deleted is False
    with pytest.raises(KeyError):
        clove.fetch_value(name)
    assert clove.store(name, 1, scope="world").error is not None


def test_events(clove: CloveClient, name: str) -> None:
    assert clove.subscribe([name]).subscribed == [name]
    assert clove.emit_event(name, {"a": 1}).delivered_to == 1
    (event,) = clove.poll_events(wait=True, timeout=10).events
    assert (event.event_type, event["custom_type"], event.data["a"]) == ("CUSTOM", name, 1)
    assert event.source_agent == clove.agent_id
    assert event.timestamp > 1.6e12
    clove.emit_event(name)
    assert [each["custom_type"] for each in clove.events(timeout=0.05)] == [name]
    assert clove.unsubscribe(all=True).subscribed == []
    assert clove.emit_event(name).delivered_to == 0


def test_metrics(clove: CloveClient, name: str) -> None:
    system = clove.get_system_metrics()
    assert system.success
    assert 0 < system.memory_used_bytes < system.memory_total_bytes
    assert system["metrics"]["cpu"]["count"] > 0
    assert len(system.load_average) == 3
    spawned = clove.spawn(name, command=["/bin/sleep", "60"])
    metrics = clove.get_agent_metrics(spawned.agent_id)
    assert (metrics.success, metrics.agent_id, metrics.name, metrics.state) == (
        True,
        spawned.agent_id,
        name,
        "running",
    )
    assert metrics.memory_bytes > 0
    everyone = clove.get_all_agent_metrics()
    assert everyone.count == len(everyone.agents)
    assert name in {each.name for each in everyone.agents}
    cgroup = clove.get_cgroup_metrics(agent_id=spawned.agent_id)
    assert cgroup.success
    assert "cpu" in cgroup["metrics"]
    clove.kill(name, grace=0)
    assert clove.get_agent_metrics(4_000_000).error is not None


def test_every_attribute_comes_from_an_answer(
    clove: CloveClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the kernel never says is shown as if it had."""
    answered: dict[int, set[str]] = {}
    adopt = Result._adopt

    def noting(self: Result, opcode: int, answer: Mapping[str, Any]) -> Result:
        answered[id(self)] = set(answer)
        return adopt(self, opcode, answer)

    monkeypatch.setattr(Result, "_adopt", noting)
    clove.register_name(f"{name}.client")
    clove.subscribe([name])
    clove.emit_event(name)
    clove.send_message("x", to=clove.agent_id)
    clove.spawn(name, command=["/bin/sleep", "60"])
    renamed = {
        "uptime_seconds": "uptime", "memory_bytes": "memory", "cpu_percent": "cpu", "ended_at": "ended_at_ms",
    }  # fmt: skip
    received, polled, everyone = clove.recv_messages(), clove.poll_events(), clove.get_all_agent_metrics()
    assert received.messages
    assert polled.events
    assert everyone.agents
    results: list[Any] = [
        *(received, polled, everyone, *received.messages, *polled.events, *everyone.agents),
        clove.hello(),
        clove.exec("true"),
        clove.write_file(f"/tmp/{name}", "x"),
        clove.read_file(f"/tmp/{name}"),
        *clove.list_agents(),
        clove.store(name, 1),
        clove.fetch(name),
        clove.list_keys(name),
        clove.delete_key(name),
        clove.get_system_metrics(),
        clove.emit_event(name),
        clove.broadcast("x", include_self=True),
    ]
    clove.kill(name, grace=0)
    results += [clove.wait_agent(name), clove.logs(name, stdout_from=0, stderr_from=0)]
    Path(f"/tmp/{name}").unlink()
    for result in results:
        optional = {"error", "encoding", "async_request_id", "duration_ms", "success"}
        raw = answered[id(result)]
        for field in result.__dataclass_fields__:
            if field not in optional:
                assert field in raw or renamed.get(field) in raw, f"{type(result).__name__}.{field}"


def test_calls_that_end_later(clove: CloveClient) -> None:
    first = clove.exec("sleep 0.1; echo first; exit 3", async_=True)
    assert first.success, first.error
    second = clove.exec("echo second", async_=True, request_id=1_000_001)
    assert second.async_request_id == 1_000_001
    ended: dict[int, AsyncResult] = {}
    while len(ended) < 2:
        ended.update({each.request_id: each for each in clove.poll_async(wait=True, timeout=30).results})
    assert first.async_request_id is not None
    of_first, of_second = ended[first.async_request_id], ended[1_000_001]
    assert (of_first.success, of_first.result["stdout"], of_first.result["exit_code"]) == (
        False,
        "first\n",
        3,
    )
    assert (of_second.success, of_second.opcode, of_second.error) == (True, SyscallOp.SYS_EXEC, None)
    assert clove.poll_async().count == 0


def test_a_model(clove: CloveClient) -> None:
    """Whether the kernel has one is up to how it was started; either way the answer has one form."""
    answer = clove.think("How are you?", system_instruction="Be brief.", timeout=60)
    if answer["success"]:
        assert answer["tokens"] > 0
        assert answer["content"]
    else:
        assert answer["error"]
        assert answer["content"] == ""


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("X-Asked", self.path)
        self.end_headers()
        self.wfile.write(b"\xff\x00hi")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_http(clove: CloveClient, site: str, tmp_path: Path) -> None:
    answer = clove.http(f"{site}/")
    assert (answer.success, answer.status_code, answer.headers["x-asked"]) == (True, 200, "/"), answer.error
    assert (answer.encoding, answer.data) == ("base64", b"\xff\x00hi")
    assert clove.http(f"{site}/not").status_code == 404
    path = tmp_path / "file"
    saved = clove.download(f"{site}/", str(path))
    assert (saved.success, saved.bytes, saved.sha256) == (True, 4, sha256(b"\xff\x00hi").hexdigest())
    assert path.read_bytes() == b"\xff\x00hi"
    assert clove.download(f"{site}/not", str(path)).status_code == 404
    assert clove.http("nonsense").error is not None
    with pytest.raises(PermissionDenied):
        clove.http("http://127.0.0.1:1/").raise_for_error()


def test_swaps_and_watches(clove: CloveClient, socket_path: str, name: str) -> None:
    clove.delete_key(name)
    first = clove.compare_and_swap(name, 1)
    assert (first.swapped, first.value) == (True, 1)
    assert clove.compare_and_swap(name, 2).swapped is False
    assert clove.compare_and_swap(name, 2, 1).swapped
    fetched = clove.fetch(name)
    assert clove.compare_and_swap(name, 3, expected_version=fetched.version).swapped
    changes = clove.watch_keys([name], since_version=0)
    assert [change.value for change in changes.changes][-1] == 3

    def count(client: CloveClient) -> None:
        for _ in range(10):
            while not client.compare_and_swap(name, (seen := client.fetch_value(name)) + 1, seen).swapped:
                pass

    with CloveClient(socket_path) as other:
        seen: list[StateChange] = []
        watcher = threading.Thread(
            target=lambda: seen.extend(islice(clove.changes([name], since_version=changes.version), 20))
        )
        watcher.start()
        threads = [threading.Thread(target=count, args=(client,)) for client in (clove, other)]
        for thread in threads:
            thread.start()
        for thread in [*threads, watcher]:
            thread.join()
    assert [change.value for change in seen] == list(range(4, 24))
    clove.delete_key(name)


def test_permissions_and_quotas(clove: CloveClient, name: str) -> None:
    assert clove.get_permissions().level == "unrestricted"
    spawned = clove.spawn(name, command=["/bin/sleep", "60"])
    given = clove.set_permissions(level="readonly", agent_id=spawned.agent_id)
    assert (given.success, given.level, given["permissions"]["can_write"]) == (True, "readonly", False)
    assert clove.get_permissions(agent_id=spawned.agent_id).level == "readonly"
    assert spawned.agent_id is not None
    quota = clove.set_quota({"messages": 5}, spawned.agent_id)
    assert (quota.success, quota.quotas["messages"]) == (True, 5)
    assert clove.get_quota(spawned.agent_id).used["messages"] == 0
    clove.kill(name, grace=0)


def test_audit(clove: CloveClient, name: str) -> None:
    clove.spawn(name, command=["/bin/sleep", "60"])
    clove.kill(name, grace=0)
    log = clove.get_audit_log(category="AGENT_LIFECYCLE", limit=1000)
    entry = next(each for each in log.entries if each.get("agent_name") == name or name in str(each.details))
    assert entry.action == entry["event_type"]
    assert entry.timestamp > 1.6e9
    assert clove.get_audit_log(since_id=log.entries[-1].id, category="AGENT_LIFECYCLE").entries == []
    records = clove.audit_query(["AGENT_LIFECYCLE"], limit=1)
    assert (records.count, records.more) == (1, True)
    assert clove.audit_verify().ok


def test_recording(clove: CloveClient, name: str) -> None:
    started = clove.start_recording(filter_agents=[clove.hello().agent_id])
    assert (started.success, started.active) == (True, True)
    assert started.started_at is not None
    assert started.started_at > 1.6e9
    clove.store(name, "recorded")
    stopped = clove.stop_recording()
    assert (stopped.success, stopped.active) == (True, False)
    assert stopped.entry_count > 0
    status = clove.get_recording_status(export=True)
    assert status.recording_data is not None
    assert name in status.recording_data
    clove.delete_key(name)
    replay = clove.start_replay(status.recording_data)
    assert replay.success, replay.error
    while (state := clove.get_replay_status()).active:
        pass
    assert (state.progress, state.errors) == (1, [])
    assert clove.fetch_value(name) == "recorded"
    clove.delete_key(name)


def test_syscalls_of_later_kernels_are_refused_by_name(clove: CloveClient) -> None:
    served = {SyscallOp(opcode) for opcode in SyscallOp if _is_served(clove, opcode)}
    assert {SyscallOp.SYS_SPAWN, SyscallOp.SYS_WAIT, SyscallOp.SYS_METRICS_SYSTEM} <= served
    if SyscallOp.SYS_WORLD_LIST not in served:
        with pytest.raises(UnknownSyscall):
            clove.world_list().raise_for_error()


def _is_served(clove: CloveClient, opcode: int) -> bool:
    if opcode in (SyscallOp.SYS_NOOP, SyscallOp.SYS_EXIT, SyscallOp.SYS_WAIT):
        return True
    # An array is no request of any syscall: nothing happens but the look at the table.
    reply = clove.call(opcode, "[]")
    assert reply is not None
    return "UNKNOWN_SYSCALL" not in reply.payload_str


def test_groups_of_a_supervision_tree(clove: CloveClient, socket_path: str, name: str) -> None:
    outer = clove.set_group(
        name, strategy="one_for_all", max_restarts=2, restart_window=30, restart_backoff=0.5
    )
    assert (outer.parent, outer.strategy, outer.max_restarts, outer.agents) == (None, "one_for_all", 2, [])
    assert (outer.restart_window, outer.restart_backoff) == (30, 0.5)
    inner = clove.set_group(f"{name}-in", name, "rest_for_one", order=1)
    assert (inner.parent, inner.order) == (name, 1)
    spawned = clove.spawn(
        name, command=["/bin/sleep", "600"], group=inner.name, more={"labels": {"of": "the group"}}
    ).raise_for_error()
    listed = {group.name: group for group in clove.list_groups()}
    assert listed[name].agents == listed[inner.name].agents == [spawned.agent_id]
    with pytest.raises(SyscallError):
        clove.set_group(f"{name}-lost", "nowhere")
    assert clove.remove_group(name, grace=0) == [spawned.agent_id]

    async def over_asyncio() -> None:
        async with AsyncCloveClient(socket_path) as other:
            assert (await other.set_group(name)).strategy == "one_for_one"
            assert name in [group.name for group in await other.list_groups()]
            assert await other.remove_group(name) == []
            with pytest.raises(SyscallError):
                await other.remove_group(name)

    asyncio.run(over_asyncio())
    assert name not in [group.name for group in clove.list_groups()]


def test_threads_share_a_client(clove: CloveClient, name: str) -> None:
    clove.register_name(name)
    received: list[Any] = []
    receiver = threading.Thread(target=lambda: received.extend(islice(clove.messages(), 4)))
    receiver.start()

    def work(number: int) -> None:
        for index in range(20):
            key = f"{name}.{number}"
            clove.store(key, index)
            assert clove.fetch(key).value == index
        clove.send_message(number, to_name=name)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    receiver.join()
    assert sorted(each.message for each in received) == [0, 1, 2, 3]


def test_asyncio(socket_path: str, name: str) -> None:
    async def work() -> None:
        async with AsyncCloveClient(socket_path) as clove:
            await clove.register_name(name)
            spawned = await asyncio.gather(
                *(clove.spawn(command=["/bin/sh", "-c", f"sleep 0.1; exit {code}"]) for code in range(3))
            )
            waits = [clove.wait_agent(agent_id=each.agent_id) for each in spawned]
            task = asyncio.ensure_future(clove.recv_messages(wait=True))
            assert [ended.exit_code for ended in await asyncio.gather(*waits)] == [0, 1, 2]
            assert not task.done()
            await clove.send_message("hello", to_name=name)
            assert (await task).messages[0].message == "hello"
            task = asyncio.ensure_future(clove.recv_messages(wait=True))
            await asyncio.sleep(0.01)
            task.cancel()
            await clove.send_message("kept", to_name=name)
            assert (await clove.recv_messages(wait=True, timeout=10)).messages[0].message == "kept"
            sleeper = await clove.spawn(command=["/bin/sleep", "60"])
            with pytest.raises(TimeoutError):
                await clove.wait_agent(agent_id=sleeper.agent_id, timeout=0.05)
            await clove.kill(agent_id=sleeper.agent_id, grace=0)
            result = await clove.exec("echo hi")
            assert result.stdout == "hi\n"

    asyncio.run(work())
