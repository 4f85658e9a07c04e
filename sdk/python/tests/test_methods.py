"""Every method: what it sends, and what it makes of the answer, on both clients."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from clove_sdk import AgentState, AsyncCloveClient, CloveClient, SyscallOp
from clove_sdk._calls import syscall
from clove_sdk.mixins import AllCalls
from conftest import MakeKernel
from fake_kernel import AGENT_ID, UNANSWERED, Request

S = SyscallOp


@dataclass
class Case:
    method: str
    args: tuple[Any, ...]
    opcode: int
    #: None = not JSON.
    request: Any
    answer: Any
    #: Attributes of the result; or the result itself.
    expected: Any
    kwargs: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def case(
    method: str,
    args: tuple[Any, ...],
    opcode: int,
    request: Any,
    answer: Any,
    expected: Any,
    note: str = "",
    /,
    **kwargs: Any,
) -> Case:
    return Case(method, args, opcode, request, answer, expected, kwargs, note)


OK = {"success": True}
DENIED = {"success": False, "error": "Permission denied: no", "code": "FORBIDDEN"}
REFUSED = {"success": False, "error": "Permission denied: no"}

TASK = {
    "task_id": 7, "kind": "k", "title": "", "payload": {"n": 1}, "state": "assigned", "creator": 1, "assignee": 3,
    "attempts": 1, "max_attempts": 3, "priority": 2, "depends_on": [5], "lease_ms": 60000, "lease_until_ms": 1500,
    "deadline_ms": None, "result": None, "error": None,
}  # fmt: skip
#: What a client makes of it.
TASK_SEEN = {
    "task_id": 7, "kind": "k", "payload": {"n": 1}, "state": "assigned", "creator": 1, "assignee": 3, "attempts": 1,
    "max_attempts": 3, "priority": 2, "depends_on": [5], "lease_until": 1.5, "deadline": None, "result": None,
}  # fmt: skip

GROUP = {
    "name": "crew", "parent": None, "strategy": "one_for_all", "order": 0, "max_restarts": 3, "restart_window": 60,
    "restart_backoff_ms": 250, "restart_backoff_max_ms": 30000, "failed": False, "agents": [4, 5],
}  # fmt: skip


CASES = [
    case("hello", (), S.SYS_HELLO, {},
         {**OK, "protocol_version": 1, "kernel_version": "0.1.0", "features": {}},
         {"version": "0.1.0", "capabilities": [], "agent_id": AGENT_ID, "uptime_seconds": 0.0}, "older kernel"),
    case("hello", (), S.SYS_HELLO, {},
         {**OK, "version": "2", "capabilities": ["exec"], "agent_id": 9, "uptime": 1.5},
         {"version": "2", "capabilities": ["exec"], "agent_id": 9, "uptime_seconds": 1.5}),
    case("exit", (), S.SYS_EXIT, None, b"goodbye", True),
    case("echo", ("\ud800é",), S.SYS_NOOP, None, None, "\ud800é", "whatever it is"),
    case("noop", ("x",), S.SYS_NOOP, None, None, "x"),
    # agents
    case("spawn", ("a", "/a.py"), S.SYS_SPAWN,
         {"name": "a", "script": "/a.py", "sandboxed": True, "network": False, "restart_policy": "never",
          "max_restarts": 5, "restart_window": 300},
         {"id": 4, "name": "a", "pid": 99, "status": "running", "restart_policy": "never", "isolation": {}},
         {"success": True, "agent_id": 4, "pid": 99, "error": None}, "answer without success"),
    case("spawn", ("a", "/a.py", False, True, {"memory_mb": 64}, "on_failure", 2, 60), S.SYS_SPAWN,
         {"name": "a", "script": "/a.py", "sandboxed": False, "network": True, "limits": {"memory_mb": 64},
          "restart_policy": "on_failure", "max_restarts": 2, "restart_window": 60},
         {"error": "failed to spawn agent"},
         {"success": False, "agent_id": None, "pid": None, "error": "failed to spawn agent"}, "failure"),
    case("spawn", (), S.SYS_SPAWN,
         {"sandboxed": True, "network": False, "restart_policy": "never", "max_restarts": 5, "restart_window": 300,
          "command": ["sh", "-c", "true"], "args": ["x"], "env": {"A": "1"}, "cwd": "/work", "stdin": "in",
          "python": "python3", "mounts": [{"source": "/s", "target": "/t"}], "isolation": {"profile": "strict"},
          "timeout_ms": 1500, "log_bytes": 10},
         {**OK, "agent_id": 4, "pid": 1}, {"agent_id": 4}, "everything by name",
         command=("sh", "-c", "true"), args=["x"], env={"A": "1"}, cwd="/work", stdin="in", python="python3",
         mounts=[{"source": "/s", "target": "/t"}], isolation={"profile": "strict"}, lifetime=1.5, log_bytes=10),
    case("kill", ("a",), S.SYS_KILL, {"name": "a"}, {"killed": True, "agent_id": 4}, True),
    case("kill", (), S.SYS_KILL, {"id": 4, "grace_ms": 250}, {**OK, "killed": True}, True, agent_id=4, grace=0.25),
    case("pause", (), S.SYS_PAUSE, {"id": 0}, {**OK, "paused": True}, True, "zero is an id", agent_id=0),
    case("resume", ("a",), S.SYS_RESUME, {"name": "a"}, {**OK, "resumed": True, "agent_id": 1}, True),
    case("list_agents", (), S.SYS_LIST, {}, [{"id": 1, "name": "a", "pid": 2, "state": "RUNNING", "running": True}],
         [{"id": 1, "name": "a", "pid": 2, "state": AgentState.RUNNING, "memory_bytes": None}], "older kernel"),
    case("list_agents", (), S.SYS_LIST, {"all": True},
         {"agents": [{"id": 1, "name": "a", "pid": 2, "state": "odd", "uptime": 1.5, "memory": 10, "cpu": 2.5}]},
         [{"state": AgentState.UNKNOWN, "uptime_seconds": 1.5, "memory_bytes": 10, "cpu_percent": 2.5}], all=True),
    case("wait_agent", ("a",), S.SYS_WAIT, {"name": "a", "timeout_ms": 1001, "log_bytes": 5},
         {**OK, "agent_id": 1, "name": "a", "state": "failed", "reason": "exited", "exit_code": 3, "signal": None,
          "restart_count": 2, "ended_at_ms": 1500, "usage": {"wall_us": 7}, "log_tail": "end"},
         {"agent_id": 1, "state": AgentState.FAILED, "reason": "exited", "exit_code": 3, "signal": None,
          "restart_count": 2, "ended_at": 1.5, "usage": {"wall_us": 7}, "log_tail": "end"},
         timeout=1.0005, log_bytes=5),
    case("wait_ready", ("a",), S.SYS_WAIT_READY, {"name": "a", "timeout_ms": 1500},
         {**OK, "agent_id": 3, "name": "a", "state": "running", "ready": True, "pid": 9}, 3, timeout=1.5),
    case("notify", (True,), S.SYS_NOTIFY, {"ready": True}, {**OK, "answered": False}, False),
    case("notify", (), S.SYS_NOTIFY, {"status": "busy", "pong": "n1"}, {**OK, "answered": True}, True,
         status="busy", pong="n1"),
    case("logs", ("a",), S.SYS_LOGS, {"name": "a", "max_bytes": 9},
         {**OK, "agent_id": 1, "name": "a", "stdout": "o", "stderr": "e", "stdout_dropped": 2, "stderr_dropped": 0},
         {"stdout": "o", "stderr": "e", "stdout_dropped": 2, "stdout_to": None, "ended": False}, max_bytes=9),
    case("logs", ("a",), S.SYS_LOGS, {"name": "a", "stdout_from": 3, "stderr_from": 0, "timeout_ms": 1500},
         {**OK, "agent_id": 1, "name": "a", "stdout": "o", "stderr": "", "stdout_dropped": 0, "stderr_dropped": 0,
          "stdout_bytes": 4, "stderr_bytes": 0, "stdout_to": 4, "stderr_to": 0, "ended": True},
         {"stdout": "o", "stdout_to": 4, "stderr_to": 0, "stdout_bytes": 4, "ended": True},
         stdout_from=3, stderr_from=0, timeout=1.5),
    case("spawn", ("a",), S.SYS_SPAWN,
         {"name": "a", "command": ["x"], "sandboxed": True, "network": False, "restart_policy": "never",
          "max_restarts": 5, "restart_window": 300, "permissions": {"can_read": True}, "world": "w-1", "group": "crew",
          "persist": False, "labels": {"a": "b"}},
         {**OK, "id": 4, "pid": 9}, {"agent_id": 4}, "with what has no argument of its own",
         command=["x"], permissions={"can_read": True}, world="w-1", group="crew", persist=False,
         more={"labels": {"a": "b"}, "name": "not this"}),
    case("set_group", ("crew",), S.SYS_GROUP_SET, {"name": "crew"}, {**OK, "group": GROUP},
         {"name": "crew", "parent": None, "strategy": "one_for_all", "max_restarts": 3, "restart_window": 60,
          "restart_backoff": 0.25, "restart_backoff_max": 30, "failed": False, "agents": [4, 5]}),
    case("set_group", ("crew", "all"), S.SYS_GROUP_SET,
         {"name": "crew", "parent": "all", "strategy": "one_for_all", "order": 2, "max_restarts": 3,
          "restart_window": 60, "restart_backoff_ms": 250, "restart_backoff_max_ms": 30000},
         {**OK, "group": {**GROUP, "parent": "all"}}, {"parent": "all"}, strategy="one_for_all", order=2,
         max_restarts=3, restart_window=60, restart_backoff=0.25, restart_backoff_max=30),
    case("list_groups", (), S.SYS_GROUP_LIST, {}, {**OK, "groups": [GROUP]}, [{"name": "crew", "agents": [4, 5]}]),
    case("remove_group", ("crew",), S.SYS_GROUP_REMOVE, {"name": "crew"},
         {**OK, "name": "crew", "killed": [5, 4]}, [5, 4]),
    case("remove_group", ("crew",), S.SYS_GROUP_REMOVE, {"name": "crew", "grace_ms": 500},
         {**OK, "name": "crew", "killed": []}, [], grace=0.5),
    # files and commands
    case("exec", ("ls",), S.SYS_EXEC, {"command": "ls", "timeout": 30, "async": False},
         {**OK, "stdout": "o", "stderr": "", "exit_code": 0},
         {"success": True, "stdout": "o", "exit_code": 0, "duration_ms": None, "error": None}),
    case("exec", (["ls", "-l"],), S.SYS_EXEC,
         {"argv": ["ls", "-l"], "cwd": "/", "timeout": 1.5, "async": False, "request_id": 3, "separate": True},
         REFUSED, {"success": False, "stdout": "", "exit_code": -1, "error": REFUSED["error"]}, "refused",
         cwd="/", timeout=1.5, request_id=3, separate=True),
    case("exec", ("ls",), S.SYS_EXEC, {"command": "ls", "timeout": 30, "async": True},
         {**OK, "async": True, "request_id": 12, "status": "accepted"},
         {"success": True, "exit_code": 0, "async_request_id": 12}, async_=True),
    case("read_file", ("/f",), S.SYS_READ, {"path": "/f"}, {**OK, "content": "é", "size": 2},
         {"success": True, "content": "é", "size": 2, "data": "é".encode(), "error": None}),
    case("read_file", ("/f",), S.SYS_READ, {"path": "/f"}, {**OK, "content": "/w==", "size": 1, "encoding": "base64"},
         {"content": "/w==", "data": b"\xff"}, "not text"),
    case("read_file", ("/f",), S.SYS_READ, {"path": "/f"}, {**DENIED, "content": "", "size": 0},
         {"success": False, "content": "", "size": 0, "error": DENIED["error"]}, "refused"),
    case("read", ("/f",), S.SYS_READ, {"path": "/f"}, {**OK, "content": "t", "size": 1}, "t"),
    case("read_bytes", ("/f",), S.SYS_READ, {"path": "/f"}, {**OK, "content": "/w==", "encoding": "base64"}, b"\xff"),
    case("write_file", ("/f", "t"), S.SYS_WRITE, {"path": "/f", "content": "t", "mode": "write"},
         {**OK, "bytes_written": 1}, {"success": True, "bytes_written": 1}),
    case("write", ("/f", b"\xff", "append"), S.SYS_WRITE,
         {"path": "/f", "content": "/w==", "mode": "append", "encoding": "base64"},
         {**OK, "bytes_written": 1}, {"bytes_written": 1}),
    case("http", ("http://x",), S.SYS_HTTP, {"url": "http://x", "method": "GET", "timeout": 30, "async": False},
         {"success": True, "status_code": 404, "body": "no", "headers": {"a": "b"}},
         {"success": True, "status_code": 404, "body": "no", "headers": {"a": "b"}}),
    case("http", ("http://x", "POST", {"h": "v"}, "b", 5, True, 8), S.SYS_HTTP,
         {"url": "http://x", "method": "POST", "headers": {"h": "v"}, "body": "b", "timeout": 5, "async": True,
          "request_id": 8},
         {**OK, "async": True, "request_id": 8, "status": "accepted"}, {"async_request_id": 8, "status_code": 0}),
    case("http", ("http://x", "PUT", None, b"\xff"), S.SYS_HTTP,
         {"url": "http://x", "method": "PUT", "body": "/w==", "body_encoding": "base64", "redirect": "manual",
          "max_bytes": 9, "timeout": 30, "async": False},
         {**OK, "status_code": 200, "headers": {}, "body": "/w==", "encoding": "base64"},
         {"body": "/w==", "data": b"\xff"}, "bytes", redirect="manual", max_bytes=9),
    case("download", ("http://x", "/f"), S.SYS_DOWNLOAD, {"url": "http://x", "path": "/f", "timeout": 30},
         {"success": False, "path": "/f", "bytes": 0, "sha256": "", "status_code": 404, "error": "e", "code": "IO"},
         {"success": False, "path": "/f", "bytes": 0, "status_code": 404, "error": "e"}),
    case("download", ("http://x", "/f", {"h": "v"}, 5), S.SYS_DOWNLOAD,
         {"url": "http://x", "path": "/f", "headers": {"h": "v"}, "timeout": 5, "sha256": "00", "max_bytes": 7},
         {**OK, "path": "/f", "bytes": 3, "sha256": "00", "status_code": 200},
         {"success": True, "bytes": 3, "sha256": "00"}, sha256="00", max_bytes=7),
    case("poll_async", (3,), S.SYS_ASYNC_POLL, {"max": 3},
         {**OK, "count": 2, "results": [
             {"request_id": 1, "opcode": 2, "opcode_name": "EXEC", "payload": '{"success": true, "exit_code": 0}'},
             {"request_id": 2, "opcode": 80, "success": False, "result": {"error": "e"}, "error": "e"}]},
         {"count": 2, "results": [
             {"request_id": 1, "opcode": 2, "success": True, "result": {"success": True, "exit_code": 0}},
             {"request_id": 2, "success": False, "error": "e"}]}),
    # messages
    case("register_name", ("me",), S.SYS_REGISTER, {"name": "me"}, {**OK, "agent_id": 1, "name": "me"}, OK),
    case("register", ("me",), S.SYS_REGISTER, {"name": "me"}, {"success": False, "error": "name required"},
         {"success": False, "error": "name required"}),
    case("send_message", ({"a": 1}, 3), S.SYS_SEND, {"to": 3, "message": {"a": 1}}, {**OK, "delivered_to": 3},
         {"success": True, "delivered": True}, "older kernel"),
    case("send_message", ("x",), S.SYS_SEND, {"to_name": "you", "message": "x"}, {**DENIED, "delivered": False},
         {"success": False, "delivered": False}, to_name="you"),
    case("recv_messages", (), S.SYS_RECV, {"max": 10},
         {**OK, "count": 1, "messages": [{"from": 3, "from_name": "", "message": [1], "timestamp": 5.5, "age_ms": 1}]},
         {"count": 1, "messages": [{"from_agent": 3, "from_name": None, "message": [1], "timestamp": 5.5}]}),
    case("broadcast", ("x",), S.SYS_BROADCAST, {"message": "x", "include_self": False}, {**OK, "delivered_count": 2},
         {"success": True, "delivered_count": 2}),
    # state
    case("store", ("k", None), S.SYS_STORE, {"key": "k", "value": None, "scope": "global"}, {**OK, "key": "k"}, OK),
    case("store", ("k", 1, "agent", 0), S.SYS_STORE, {"key": "k", "value": 1, "scope": "agent", "ttl": 0}, OK, OK),
    case("fetch", ("k",), S.SYS_FETCH, {"key": "k"}, {**OK, "exists": True, "value": False},
         {"value": False, "found": True}, "older kernel"),
    case("fetch", ("k",), S.SYS_FETCH, {"key": "k", "scope": "agent"}, {**OK, "found": False, "value": None},
         {"success": True, "value": None, "found": False}, scope="agent"),
    case("fetch_value", ("k",), S.SYS_FETCH, {"key": "k"}, {**OK, "found": True, "value": 0}, 0),
    case("fetch_value", ("k", 5), S.SYS_FETCH, {"key": "k"}, {**OK, "found": False, "value": None}, 5, "default"),
    case("compare_and_swap", ("k", 2, None), S.SYS_CAS, {"key": "k", "value": 2, "expected": None, "scope": "global"},
         {**OK, "swapped": False, "exists": True, "value": 1, "version": 7},
         {"success": True, "swapped": False, "exists": True, "value": 1, "version": 7}, "null is a value"),
    case("compare_and_swap", ("k", 2), S.SYS_CAS,
         {"key": "k", "value": 2, "expected_version": 6, "scope": "agent", "ttl": 5},
         {**OK, "swapped": True, "exists": True, "value": 2, "version": 8}, {"swapped": True, "version": 8},
         expected_version=6, scope="agent", ttl=5),
    case("watch_keys", (("a", "b"),), S.SYS_WATCH, {"keys": ["a", "b"], "scope": "global"},
         {**OK, "count": 1, "version": 9, "more": False, "resync": False, "changes": [
             {"key": "a", "version": 9, "deleted": True, "value": None, "previous_value": 1, "agent_id": 3}]},
         {"count": 1, "version": 9, "resync": False, "changes": [
             {"key": "a", "version": 9, "deleted": True, "value": None, "previous_value": 1, "agent_id": 3}]}),
    case("watch_keys", (), S.SYS_WATCH,
         {"prefix": "", "scope": "session", "since_version": 0, "timeout_ms": 500, "limit": 2},
         {**OK, "count": 0, "version": 4, "changes": []}, {"changes": [], "version": 4},
         prefix="", scope="session", since_version=0, timeout=0.5, limit=2),
    case("delete_key", ("k",), S.SYS_DELETE, {"key": "k"}, {**OK, "deleted": True}, {"deleted": True}),
    case("list_keys", (), S.SYS_KEYS, {"prefix": ""}, {**OK, "keys": ["a", "b"]}, {"keys": ["a", "b"], "count": 2}),
    case("list_keys", ("p",), S.SYS_KEYS, {"prefix": "p", "after": "pa", "limit": 1},
         {**OK, "keys": ["pb"], "count": 1, "more": True}, {"keys": ["pb"]}, after="pa", limit=1),
    # events
    case("subscribe", (("A", "B"),), S.SYS_SUBSCRIBE, {"event_types": ["A", "B"]}, {**OK, "subscribed": ["A", "B"]},
         {"success": True, "subscribed": ["A", "B"]}),
    case("unsubscribe", (["A"],), S.SYS_UNSUBSCRIBE, {"event_types": ["A"]}, {**OK, "subscribed": ["B"]},
         {"subscribed": ["B"]}),
    case("unsubscribe", (), S.SYS_UNSUBSCRIBE, {"all": True}, OK, {"subscribed": []}, all=True),
    case("poll_events", (), S.SYS_POLL_EVENTS, {"max": 10},
         {**OK, "count": 1, "events": [{"type": "CUSTOM", "data": {"a": 1}, "source_agent_id": 4, "timestamp": 12}]},
         {"count": 1, "events": [{"event_type": "CUSTOM", "data": {"a": 1}, "source_agent": 4, "timestamp": 12}]}),
    case("emit_event", ("T",), S.SYS_EMIT, {"event_type": "T", "data": {}}, {**OK, "delivered_to": 3},
         {"delivered_to": 3}),
    case("emit_event", ("T", [1]), S.SYS_EMIT, {"event_type": "T", "data": [1]}, {**OK, "event": "T"},
         {"delivered_to": 0}, "older kernel"),
    # permissions
    case("get_permissions", (), S.SYS_GET_PERMS, {}, {**OK, "permissions": {"level": "standard", "can_exec": False}},
         {"level": "standard", "paths": []}, "older kernel"),
    case("set_permissions", (), S.SYS_SET_PERMS, {"level": "readonly", "agent_id": 3},
         {**OK, "agent_id": 3, "level": "readonly", "paths": ["/a"], "commands": ["ls"], "domains": ["d"]},
         {"level": "readonly", "paths": ["/a"], "commands": ["ls"], "domains": ["d"]}, level="readonly", agent_id=3),
    case("set_permissions", ({"can_exec": True},), S.SYS_SET_PERMS, {"permissions": {"can_exec": True}}, DENIED,
         {"success": False, "error": DENIED["error"]}),
    case("get_permissions", (), S.SYS_GET_PERMS, {"agent_id": 3}, {**OK, "agent_id": 3, "level": "custom"},
         {"level": "custom"}, "of another", agent_id=3),
    case("get_quota", (), S.SYS_GET_QUOTA, {}, {**OK, "agent_id": 3, "quotas": {"agents": None}, "used": {"agents": 1}},
         {"agent_id": 3, "quotas": {"agents": None}, "used": {"agents": 1}}),
    case("set_quota", ({"agents": 2, "messages": None}, 3), S.SYS_SET_QUOTA,
         {"quotas": {"agents": 2, "messages": None}, "agent_id": 3, "reset": True}, {**OK, "agent_id": 3},
         {"success": True, "agent_id": 3}, reset=True),
    # metrics
    case("get_system_metrics", (), S.SYS_METRICS_SYSTEM, {},
         {**OK, "metrics": {"cpu": {"percent": 1.5, "load_avg": [1, 2, 3]},
                            "memory": {"used": 2, "total": 4, "percent": 50},
                            "disk": {"read_bytes": 5, "write_bytes": 6},
                            "network": {"bytes_recv": 7, "bytes_sent": 8}}},
         {"cpu_percent": 1.5, "memory_used_bytes": 2, "memory_total_bytes": 4, "memory_percent": 50,
          "disk_used_bytes": 11, "network_rx_bytes": 7, "network_tx_bytes": 8, "load_average": [1, 2, 3]}, "nested"),
    case("get_system_metrics", (), S.SYS_METRICS_SYSTEM, {},
         {**OK, "cpu_percent": 2, "memory_used_bytes": 3, "disk_used_bytes": 4, "disk_total_bytes": 5,
          "disk_percent": 80, "load_average": [0.5]},
         {"cpu_percent": 2, "memory_used_bytes": 3, "disk_used_bytes": 4, "disk_total_bytes": 5, "disk_percent": 80,
          "load_average": [0.5]}, "flat"),
    case("get_agent_metrics", (3,), S.SYS_METRICS_AGENT, {"agent_id": 3},
         {**OK, "metrics": {"agent_id": 3, "name": "a", "status": "RUNNING", "uptime_ms": 2000,
                            "process": {"cpu": {"percent": 4}, "memory": {"rss": 10, "percent": 1}},
                            "cgroup": {"memory": {"current": 20}}, "kernel_stats": {"syscall_count": 6}}},
         {"agent_id": 3, "name": "a", "state": "running", "uptime_seconds": 2, "cpu_percent": 4, "memory_bytes": 20,
          "memory_percent": 1, "syscalls_count": 6}, "nested"),
    case("get_agent_metrics", (), S.SYS_METRICS_AGENT, {},
         {"success": False, "error": "Agent not found", "agent_id": 0},
         {"success": False, "error": "Agent not found"}, "failure"),
    case("get_all_agent_metrics", (), S.SYS_METRICS_ALL_AGENTS, {},
         {**OK, "count": 1, "agents": [{"agent_id": 3, "name": "a", "cpu_percent": 1, "state": "running",
                                        "process": None, "cgroup": None}]},
         {"count": 1, "agents": [{"agent_id": 3, "name": "a", "cpu_percent": 1, "state": "running"}]}),
    case("get_cgroup_metrics", ("clove/x",), S.SYS_METRICS_CGROUP, {"cgroup_path": "clove/x"},
         {**OK, "metrics": {"cpu": {"usage_usec": 1}, "memory": {"current": 2, "max": -1},
                            "pids": {"current": 3, "max": 4}}},
         {"cpu_usage_usec": 1, "memory_current": 2, "memory_limit": -1, "pids_current": 3, "pids_limit": 4}),
    # worlds
    case("world_create", ("w",), S.SYS_WORLD_CREATE, {"name": "w", "config": {}}, {**OK, "world_id": "w-0001"},
         {"world_id": "w-0001"}),
    case("world_create", ("w", {"clock": "step"}), S.SYS_WORLD_CREATE,
         {"name": "w", "config": {"clock": "step"}, "template": "blank", "seed": 0, "path": "/w.yaml"},
         {**OK, "world_id": "w-0001"}, {"world_id": "w-0001"}, "all that can be said", template="blank", seed=0,
         path="/w.yaml"),
    case("world_destroy", ("w",), S.SYS_WORLD_DESTROY, {"world_id": "w", "force": True}, {**OK, "world_id": "w"},
         {"success": True, "data": {"world_id": "w"}}, force=True),
    case("world_list", (), S.SYS_WORLD_LIST, {},
         {**OK, "worlds": [{"id": "w", "name": "n", "agent_count": 2, "created_at": "1970-01-01T00:00:01Z"}]},
         {"count": 1, "worlds": [{"id": "w", "name": "n", "agent_count": 2, "created_at": 1.0}]}),
    case("world_join", ("w",), S.SYS_WORLD_JOIN, {"world_id": "w"}, OK, {"success": True, "data": None}),
    case("world_leave", (), S.SYS_WORLD_LEAVE, {}, {"success": False, "error": "Not in any world"},
         {"success": False, "error": "Not in any world"}),
    case("world_event", ("w", "disk_full", {"p": 1}), S.SYS_WORLD_EVENT,
         {"world_id": "w", "event_type": "disk_full", "params": {"p": 1}}, OK, OK),
    case("world_state", ("w",), S.SYS_WORLD_STATE, {"world_id": "w"},
         {**OK, "state": {"world_id": "w", "name": "n", "agents": [1], "vfs_metrics": {"file_count": 1},
                          "chaos_metrics": {"failures_injected": 4}}},
         {"id": "w", "name": "n", "agents": [1], "chaos_events_injected": 4,
          "metrics": {"vfs_metrics": {"file_count": 1}, "chaos_metrics": {"failures_injected": 4}}}, "nested"),
    case("world_snapshot", ("w",), S.SYS_WORLD_SNAPSHOT, {"world_id": "w"}, {**OK, "snapshot": {"id": "w"}},
         {"snapshot_data": {"id": "w"}, "snapshot_id": None}),
    case("world_restore", ({"success": True, "snapshot": {"id": "w"}},), S.SYS_WORLD_RESTORE,
         {"snapshot": {"id": "w"}, "new_world_id": "v"}, {**OK, "world_id": "v"}, {"world_id": "v"},
         "the whole answer of a snapshot", new_world_id="v"),
    case("world_diff", ("w",), S.SYS_WORLD_DIFF, {"world_id": "w"}, {**OK, "changes": [], "count": 0},
         {"success": True, "data": {"changes": [], "count": 0}}),
    case("world_branch", ("w", 2), S.SYS_WORLD_BRANCH, {"world_id": "w", "count": 2}, {**OK, "world_ids": ["x", "y"]},
         {"success": True, "data": {"world_ids": ["x", "y"]}}),
    case("world_advance", ("w", 60_000), S.SYS_WORLD_ADVANCE, {"world_id": "w", "ms": 60_000},
         {**OK, "monotonic_ms": 60_000}, {"success": True, "data": {"monotonic_ms": 60_000}}),
    case("world_wait", (60_000,), S.SYS_WORLD_WAIT, {"ms": 60_000}, {**OK, "monotonic_ms": 60_000},
         {"success": True, "data": {"monotonic_ms": 60_000}}),
    case("world_checkpoint", ({"step": 3},), S.SYS_WORLD_CHECKPOINT, {"state": {"step": 3}, "checkpoint_id": 5},
         {**OK, "checkpoint_id": None, "restored": None},
         {"success": True, "data": {"checkpoint_id": None, "restored": None}}, checkpoint_id=5),
    case("world_checkpoint", (), S.SYS_WORLD_CHECKPOINT, {"wait": True}, {**OK, "checkpoint_id": 5, "restored": None},
         {"success": True, "data": {"checkpoint_id": 5, "restored": None}}, "waiting", wait=True),
    # tunnel
    case("tunnel_connect", ("ws://r",), S.SYS_TUNNEL_CONNECT, {"relay_url": "ws://r", "machine_id": "m", "token": "t"},
         {**OK, "relay_url": "ws://r", "machine_id": "m"}, {"connected": True, "relay_url": "ws://r"},
         machine_id="m", token="t"),
    case("tunnel_disconnect", (), S.SYS_TUNNEL_DISCONNECT, {}, OK, OK),
    case("tunnel_status", (), S.SYS_TUNNEL_STATUS, {}, {**OK, "connected": False, "relay_url": "", "latency_ms": 1.5},
         {"connected": False, "latency_ms": 1.5}),
    case("tunnel_list_remotes", (), S.SYS_TUNNEL_LIST_REMOTES, {}, {**OK, "agents": [{"agent_id": 1000}]},
         {"agents": [{"agent_id": 1000}], "count": 1}),
    case("tunnel_config", (), S.SYS_TUNNEL_CONFIG, {"relay_url": "u", "reconnect_interval": 5}, OK, OK,
         relay_url="u", reconnect_interval=5),
    # tasks, new code
    case("create_task", ("k", {"n": 1}), S.SYS_TASK_CREATE,
         {"kind": "k", "payload": {"n": 1}, "title": "t", "priority": 2, "depends_on": [5], "lease_ms": 1500,
          "max_attempts": 4, "timeout_ms": 2000, "assignee": "bob"},
         {**OK, "task_id": 7, "task": TASK}, {"task_id": 7, "task": TASK_SEEN},
         title="t", priority=2, depends_on=(5,), lease=1.5, max_attempts=4, timeout=2, assignee="bob"),
    case("create_task", (), S.SYS_TASK_CREATE, {"kind": "", "payload": None, "title": "", "priority": 0},
         DENIED, {**REFUSED, "task": None, "task_id": None}, "refused"),
    case("take_task", (), S.SYS_TASK_ASSIGN, {}, {**OK, "assigned": False, "task": None},
         {"assigned": False, "task": None, "task_id": None}, "none"),
    case("take_task", (["k"],), S.SYS_TASK_ASSIGN,
         {"kinds": ["k"], "wait": True, "timeout_ms": 2500, "lease_ms": 1000},
         {**OK, "assigned": True, "task": TASK}, {"assigned": True, "task_id": 7, "task": TASK_SEEN},
         timeout=2.5, lease=1),
    case("take_task", (), S.SYS_TASK_ASSIGN, {"wait": True}, {**OK, "assigned": True, "task": TASK},
         {"assigned": True}, "without limit", timeout=None),
    case("assign_task", (7, 3), S.SYS_TASK_ASSIGN, {"task_id": 7, "assignee": 3, "lease_ms": 1000},
         {**OK, "assigned": True, "task": TASK}, {"assigned": True, "task_id": 7}, lease=1),
    case("task_status", (7,), S.SYS_TASK_STATUS, {"task_id": 7}, {**OK, "task": TASK}, {"task": TASK_SEEN}),
    case("complete_task", (7, {"r": 1}), S.SYS_TASK_COMPLETE,
         {"task_id": 7, "result": {"r": 1}, "retry": True, "attempt": 1},
         {**OK, "completed": True, "already": False, "task": TASK}, {"completed": True, "already": False}, attempt=1),
    case("complete_task", (7,), S.SYS_TASK_COMPLETE, {"task_id": 7, "error": "no", "retry": False},
         {**OK, "completed": False, "already": True, "task": TASK}, {"completed": False, "already": True},
         "failed", error="no", retry=False),
    case("list_tasks", ("assigned", "k"), S.SYS_TASK_LIST,
         {"state": "assigned", "kind": "k", "after": 2, "limit": 5},
         {**OK, "tasks": [TASK], "count": 1, "more": True}, {"tasks": [TASK_SEEN], "count": 1, "more": True},
         after=2, limit=5),
    case("reload_agent", ("a",), S.SYS_RELOAD, {"name": "a"},
         {**OK, "agent_id": 4, "name": "a", "pid": 9, "reloaded": True, "rolled_back": False, "reason": None,
          "log_tail": ""}, {"agent_id": 4, "pid": 9, "reloaded": True, "reason": None}),
    case("reload_agent", (), S.SYS_RELOAD,
         {"id": 4, "command": ["x"], "args": ["1"], "env": {"A": "b"}, "drain_ms": 500, "ready_ms": 250},
         {**OK, "agent_id": 4, "name": "a", "pid": 9, "reloaded": False, "rolled_back": True, "reason": "exit 1",
          "log_tail": "no"}, {"reloaded": False, "rolled_back": True, "reason": "exit 1", "log_tail": "no"},
         "did not come up", agent_id=4, command=("x",), args=("1",), env={"A": "b"}, drain=0.5, ready=0.25),
    # audit
    case("get_audit_log", (), S.SYS_GET_AUDIT_LOG,
         {"category": "SECURITY", "agent_id": 0, "since_id": 4, "limit": 5},
         {**OK, "count": 1, "entries": [{"id": 5, "timestamp": "1970-01-01T00:00:01.500Z", "category": "SECURITY",
                                         "event_type": "X", "agent_id": 3, "success": True, "details": {"a": 1}}]},
         {"count": 1, "entries": [{"id": 5, "timestamp": 1.5, "category": "SECURITY", "action": "X", "agent_id": 3,
                                   "details": {"a": 1}}]}, category="SECURITY", agent_id=0, since_id=4, limit=5),
    case("set_audit_config", (), S.SYS_SET_AUDIT_CONFIG, {"max_entries": 5, "log_ipc": False},
         {**OK, "config": {"log_ipc": False}}, {"config": {"log_ipc": False}}, max_entries=5, log_ipc=False),
    case("audit_query", (["IPC"], 3), S.SYS_AUDIT_QUERY,
         {"categories": ["IPC"], "agent_id": 3, "event_types": ["X"], "syscall": "SEND", "decision": "deny",
          "outcome": "FORBIDDEN", "since_seq": 0, "before_seq": 9, "from": "a", "to": "b", "limit": 5, "end": "oldest"},
         {**OK, "entries": [{"seq": 1}], "count": 1, "more": True}, {"entries": [{"seq": 1}], "count": 1, "more": True},
         event_types=("X",), syscall="SEND", decision="deny", outcome="FORBIDDEN", since_seq=0, before_seq=9,
         from_time="a", to_time="b", limit=5, end="oldest"),
    case("audit_query", (), S.SYS_AUDIT_QUERY, {}, DENIED, {"success": False, "entries": []}, "refused"),
    case("audit_verify", (), S.SYS_AUDIT_VERIFY, {},
         {**OK, "ok": False, "records": 4, "first_bad_seq": 2,
          "problems": [{"seq": 2, "kind": "changed", "text": "t"}]},
         {"ok": False, "records": 4, "first_bad_seq": 2, "problems": [{"seq": 2, "kind": "changed", "text": "t"}]}),
    # any
    case("syscall", ("TASK_LIST",), S.SYS_TASK_LIST, {"state": "open"}, {**OK, "tasks": [1]}, {**OK, "tasks": [1]},
         state="open"),
    case("syscall", (0x99,), 0x99, {}, [1], [1], "a number without a name"),
    # recording
    case("start_recording", (), S.SYS_RECORD_START,
         {"include_think": False, "include_http": True, "include_exec": False, "max_entries": 50000,
          "filter_agents": [1]},
         {**OK, "recording": True}, {"active": True, "entry_count": 0}, include_http=True, filter_agents=(1,)),
    case("stop_recording", (), S.SYS_RECORD_STOP, {}, {**OK, "recording": False, "entries_recorded": 7},
         {"active": False, "entry_count": 7}),
    case("get_recording_status", (True,), S.SYS_RECORD_STATUS, {"export": True},
         {**OK, "state": "RECORDING", "recording": "[]", "entry_count": 2, "started_at": "1970-01-01T00:00:02Z"},
         {"active": True, "recording_data": "[]", "entry_count": 2, "started_at": 2.0}),
    case("start_replay", ([{"sequence_id": 1}],), S.SYS_REPLAY_START, {"recording": '[{"sequence_id": 1}]'},
         {**OK, "total_entries": 1}, {"success": True, "total_entries": 1}),
    case("get_replay_status", (), S.SYS_REPLAY_STATUS, {},
         {**OK, "state": "running", "total_entries": 4, "entries_replayed": 1, "entries_skipped": 1,
          "progress_percent": 50, "last_error": "e"},
         {"active": True, "progress": 0.5, "entries_replayed": 1, "entries_skipped": 1, "errors": ["e"]}),
]  # fmt: skip


def names(each: Case) -> str:
    return f"{each.method}{f' ({each.note})' if each.note else ''}"


def script_of(each: Case) -> Any:
    def script(request: Request) -> Any:
        if request.opcode != each.opcode or each.answer is None:
            return None
        request.answer_raw(
            each.answer if isinstance(each.answer, bytes) else json.dumps(each.answer).encode()
        )
        return UNANSWERED

    return script


def check(result: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert isinstance(result, list)
        assert len(result) == len(expected)
        for each, wanted in zip(result, expected, strict=True):
            check(each, wanted)
    elif isinstance(expected, dict) and type(result) is not dict:
        for name, wanted in expected.items():
            check(getattr(result, name), wanted)
    else:
        assert result == expected


@pytest.mark.parametrize("each", CASES, ids=names)
def test_blocking(each: Case, make_kernel: MakeKernel) -> None:
    kernel = make_kernel(script_of(each))
    with CloveClient(kernel.socket_path) as client:
        check(getattr(client, each.method)(*each.args, **each.kwargs), each.expected)
    sent = [request for request in kernel.requests if request.opcode == each.opcode][-1]
    if each.request is not None:
        assert sent.body == each.request


@pytest.mark.parametrize("each", CASES, ids=names)
def test_asyncio(each: Case, make_kernel: MakeKernel) -> None:
    kernel = make_kernel(script_of(each))

    async def run() -> Any:
        async with AsyncCloveClient(kernel.socket_path) as client:
            return await getattr(client, each.method)(*each.args, **each.kwargs)

    check(asyncio.run(run()), each.expected)
    sent = [request for request in kernel.requests if request.opcode == each.opcode][-1]
    if each.request is not None:
        assert sent.body == each.request


def declared() -> dict[str, Any]:
    found = {}
    for kind in AllCalls.__mro__:
        found.update({name: each for name, each in vars(kind).items() if isinstance(each, syscall)})
    return found


def test_every_method_is_in_the_table() -> None:
    assert set(declared()) == {each.method for each in CASES}


def test_every_opcode_has_a_method() -> None:
    # These two belong to think().
    of_think = {S.SYS_THINK, S.SYS_LLM_REPORT}
    with_methods = {each.opcode for each in CASES if each.method != "syscall"}
    assert with_methods | of_think == set(SyscallOp)


@pytest.mark.parametrize("kind", [CloveClient, AsyncCloveClient])
def test_methods_say_what_they_take_and_return(kind: type[Any]) -> None:
    for name in declared():
        method = getattr(kind, name)
        assert inspect.getdoc(method), name
        signature = inspect.signature(method)
        assert "Call" not in str(signature.return_annotation), name
    assert str(inspect.signature(kind.spawn)).endswith("'SpawnResult'")
    assert next(iter(inspect.signature(kind().fetch).parameters)) == "key"


def test_the_defaults_are_those_of_existing_clients() -> None:
    defaults = {
        name: {
            key: each.default
            for key, each in inspect.signature(getattr(CloveClient, name)).parameters.items()
        }
        for name in (
            "spawn",
            "exec",
            "http",
            "store",
            "poll_events",
            "recv_messages",
            "get_audit_log",
            "think",
        )
    }
    assert {
        key: defaults["spawn"][key] for key in ("sandboxed", "network", "restart_policy", "max_restarts")
    } == {
        "sandboxed": True,
        "network": False,
        "restart_policy": "never",
        "max_restarts": 5,
    }
    assert (defaults["exec"]["timeout"], defaults["exec"]["async_"]) == (30, False)
    assert (defaults["http"]["method"], defaults["http"]["timeout"]) == ("GET", 30)
    assert (defaults["store"]["scope"], defaults["store"]["ttl"]) == ("global", None)
    assert defaults["poll_events"]["max_events"] == 10
    assert defaults["recv_messages"]["max_messages"] == 10
    assert defaults["get_audit_log"]["limit"] == 100
    assert defaults["think"]["image_mime_type"] == "image/jpeg"
