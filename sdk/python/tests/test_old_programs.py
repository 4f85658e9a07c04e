"""Programs written for the two earlier generations of this client, in their styles, on a real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import clove_sdk

DICTIONARIES = """
import json, sys
from clove_sdk import AgentOSClient, CloveClient, Message, SyscallOp, connect

client = CloveClient(sys.argv[1])
if not client.connect():
    sys.exit(1)
print("echo", client.echo("hi"), client.noop("there"))
reply = client.call(SyscallOp.SYS_NOOP, b"raw")
print("raw", reply.payload_str, reply.opcode == SyscallOp.SYS_NOOP, reply.agent_id == client.agent_id)
client.send(SyscallOp.SYS_HELLO, b"{}")
print("hello", json.loads(client.recv().payload_str)["success"], client.hello()["kernel_version"])
result = client.spawn(name="old_worker", script=sys.argv[2], sandboxed=True, network=False,
                      limits={"memory": 64 * 1024 * 1024, "max_pids": 16}, restart_policy="on-failure")
if result and result.get("status") == "running":
    print("spawned", result["id"] > 0, result["pid"] > 0, result["restart_policy"], result.get("error"))
for agent in client.list_agents():
    if agent["name"] == "old_worker":
        print("listed", agent["id"] == result["id"], agent["state"].upper(), agent["running"])
print("paused", client.pause(name="old_worker"), client.resume(agent_id=result["id"]))
print("metrics", client.get_agent_metrics(result["id"])["metrics"]["kernel_stats"]["syscall_count"])
print("killed", client.kill(name="old_worker"))
print("exec", client.exec("echo $((20 + 22))")["stdout"].strip())
stored = client.store("old:key", {"n": 1}, scope="global", ttl=60)
print("stored", stored["success"], client.fetch("old:key")["value"], client.list_keys("old:")["keys"])
print("deleted", client.delete_key("old:key")["deleted"], client.fetch("old:key")["exists"])
me = client.register("old_client")
print("sent", client.send_message({"x": 1}, to_name="old_client")["delivered_to"] == me["agent_id"])
received = client.recv_messages(max_messages=5)
for message in received["messages"]:
    print("received", message["from"] == me["agent_id"], message["from_name"], message["message"],
          message["age_ms"] >= 0)
client.subscribe(["CUSTOM"])
client.emit_event("CUSTOM", {"a": 1})
for event in client.poll_events(max_events=5)["events"]:
    print("event", event["type"], event["data"], event["source_agent_id"] == me["agent_id"])
refused = client.read_file("/no/such/file")
if not refused.get("success"):
    print("refused", refused["content"] == "", "error" in refused)
print("wrote", client.write_file(sys.argv[2] + ".out", "text")["bytes_written"], client.read(sys.argv[2] + ".out"))
print("system", client.get_system_metrics()["metrics"]["memory"]["total"] > 0)
print("json", json.loads(json.dumps(client.fetch("old:key")))["success"])
print("exit", client.exit())
client.disconnect()
"""

ATTRIBUTES = """
import sys
from clove_sdk import (AgentNotFound, AgentState, CloveClient, CloveError, ConnectionError, SpawnResult, SyscallError,
                       ValidationError)
from clove_sdk.models import ExecResult, IPCMessage
from clove_sdk.exceptions import PermissionDenied
from clove_sdk.protocol import MAX_PAYLOAD_SIZE, SyscallOp
from clove_sdk.transport import Transport

try:
    with CloveClient(sys.argv[1] + ".not"):
        pass
except ConnectionError as error:
    print("nobody", isinstance(error, CloveError))
with CloveClient(sys.argv[1]) as client:
    info = client.hello()
    print("hello", info.version, ",".join(info.capabilities) != "", info.uptime_seconds > 0, client.connected)
    result = client.spawn("new_worker", sys.argv[2], limits={"memory_mb": 64, "cpu_percent": 50})
    print("spawned", isinstance(result, SpawnResult), result.success, result.agent_id > 0, result.error)
    agent = next(agent for agent in client.list_agents() if agent.id == result.agent_id)
    print("listed", agent.name, agent.state == AgentState.RUNNING, agent.uptime_seconds >= 0, agent.pid == result.pid)
    print("killed", client.kill(agent_id=result.agent_id))
    for wrong in (lambda: client.kill(name="nobody"), client.kill):
        try:
            wrong()
        except AgentNotFound as error:
            print("not found", isinstance(error, SyscallError), error.opcode == SyscallOp.SYS_KILL)
        except ValidationError:
            print("invalid")
    done = client.exec("echo out; exit 4")
    print("exec", isinstance(done, ExecResult), done.success, done.stdout.strip(), done.exit_code, done.duration_ms > 0)
    client.register_name("new_client")
    print("sent", client.send_message("hello", to_name="new_client").delivered)
    message = client.recv_messages().messages[0]
    print("received", isinstance(message, IPCMessage), message.from_name, message.message, message.timestamp > 0)
    client.store("new:key", [1, 2])
    print("state", client.fetch("new:key").found, client.list_keys("new:").keys, client.delete_key("new:key").deleted)
    print("subscribed", client.subscribe(["CUSTOM"]).subscribed)
    print("emitted", client.emit_event("CUSTOM", {"b": 2}).delivered_to)
    event = client.poll_events().events[0]
    print("event", event.event_type, event.data, event.source_agent == client.agent_id)
    try:
        client.read("/no/such/file")
    except IOError:
        print("no file")
with Transport(sys.argv[1]) as transport:
    echoed = transport.call(SyscallOp.SYS_NOOP, "x")
    print("transport", transport.call_json(SyscallOp.SYS_HELLO, {})["success"], echoed.payload)
"""

EXPECTED = {
    DICTIONARIES: """\
echo hi there
raw raw True True
hello True 0.1.0
spawned True True on-failure None
listed True RUNNING True
paused True True
metrics 0
killed True
exec 42
stored True {'n': 1} ['old:key']
deleted True False
sent True
received True old_client {'x': 1} True
event CUSTOM {'a': 1} True
refused True True
wrote 4 text
system True
json True
exit True
""",
    ATTRIBUTES: """\
nobody True
hello 0.1.0 True True True
spawned True True True None
listed new_worker True True True
killed True
not found True True
invalid
exec True False out 4 True
sent True
received True new_client hello True
state True ['new:key'] True
subscribed ['CUSTOM']
emitted 1
event CUSTOM {'b': 2} True
no file
transport True b'x'
""",
}


@pytest.mark.parametrize("program", [DICTIONARIES, ATTRIBUTES], ids=["dictionaries", "attributes"])
def test_an_old_program_runs_unchanged(program: str, socket_path: str, tmp_path: Path) -> None:
    worker = tmp_path / "worker.sh"
    worker.write_text("sleep 60\n")
    source = str(Path(clove_sdk.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, socket_path, str(worker)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == EXPECTED[program]
