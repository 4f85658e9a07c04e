"""The machines and agents of a relay, against an HTTP server that answers as relays do."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clove_sdk.fleet import Agent, FleetClient, FleetClientError, Machine, SyncFleetClient

MACHINES = [
    {"machine_id": "a b", "provider": "docker", "status": "connected", "ip_address": "", "created_at": "t",
     "last_seen": "t", "metadata": {"gpu": True}, "of a later version": 1},
    {"machine_id": "c", "provider": "aws", "status": "disconnected"},
    {"machine_id": "d", "provider": "aws", "status": "connected"},
]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str | None, Any]]

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.seen.append((self.command, self.path, self.headers.get("Authorization"), body))
        status, answer = self._answer(body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _serve  # noqa: N815 - names of the base class

    def _answer(self, body: Any) -> tuple[int, Any]:
        path = self.path.removeprefix("/api/v1")
        if path == "/health":
            return 200, {"status": "healthy", "timestamp": "t"}
        if path == "/status":
            return 200, {"server": "running"}
        if path == "/machines":
            return 200, {"machines": MACHINES}
        if path == "/machines/a%20b":
            return 200, MACHINES[0]
        if path.startswith("/agents?machine_id="):
            return 200, {"agents": [{"agent_id": 1000, "agent_name": "x", "connected_at": "t"}]}
        if path == "/agents":
            row = {"agent_id": 1000, "agent_name": "x", "target_machine": "d", "status": "running",
                   "syscalls_sent": 7, "responses_received": 7, "connected_at": "t"}  # fmt: skip
            return 200, {"agents": [row]}
        if path == "/agents/deploy":
            if body["machine_id"] == "d":
                return 400, {"error": "Kernel d not connected", "status": 400}
            return 202, {
                "status": "deploying",
                "machine_id": body["machine_id"],
                "script_name": body["script_name"],
            }
        if path == "/agents/1000/stop":
            return 200, {"stopped": 1000}
        return 404, b"<html>"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str, str | None, Any]]]]:
    seen: list[tuple[str, str, str | None, Any]] = []
    handler = type("Scripted", (Handler,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


Api = tuple[str, list[tuple[str, str, str | None, Any]]]


def test_machines_and_agents(api: Api, tmp_path: Path) -> None:
    url, seen = api
    script = tmp_path / "agent.py"
    script.write_bytes(b"print(1)")
    with SyncFleetClient(url, "secret") as fleet:
        machines = fleet.list_machines()
        assert machines[0] == Machine("a b", "docker", "connected", "", "t", "t", {"gpu": True})
        assert [each.machine_id for each in fleet.get_connected_machines()] == ["a b", "d"]
        assert fleet.get_machine("a b").metadata == {"gpu": True}
        assert fleet.list_agents() == [Agent(1000, "x", "d", "running", 7)]
        assert fleet.list_agents("d") == [Agent(1000, "x", "d", "running", 0)]
        assert fleet.deploy_agent(script, "a b", ["-v"])["status"] == "deploying"
        assert fleet.run_on_all(script) == [
            {"machine_id": "a b", "status": "deployed"},
            {"machine_id": "d", "status": "failed", "error": "Kernel d not connected"},
        ]
        assert fleet.run_on_all(script, filter_fn=lambda machine: machine.provider == "none") == []
        assert fleet.stop_agent("d", 1000) is True
        assert fleet.get_status() == {"server": "running"}
        assert fleet.health_check()
    assert {authorization for _, _, authorization, _ in seen} == {"Bearer secret"}
    deployed = next(body for _, path, _, body in seen if path.endswith("/deploy"))
    assert base64.b64decode(deployed["script_content"]) == b"print(1)"
    assert deployed["args"] == ["-v"]


def test_what_goes_wrong_is_one_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = api
    with pytest.raises(FleetClientError, match="HTTP 404") as raised:
        SyncFleetClient(url).get_machine("nobody")
    assert raised.value.status == 404
    monkeypatch.setenv("RELAY_API_URL", "http://127.0.0.1:1/")
    away = SyncFleetClient()
    assert away.relay_url == "http://127.0.0.1:1"
    assert not away.health_check()
    with pytest.raises(FleetClientError, match="no relay answers"):
        away.list_machines()
    with pytest.raises(FleetClientError, match="not an http"):
        SyncFleetClient("file:///etc/passwd")


def test_the_same_for_asyncio(api: Api, tmp_path: Path) -> None:
    url, _ = api
    script = tmp_path / "agent.py"
    script.write_bytes(b"print(1)")

    async def main() -> None:
        async with FleetClient(url, "secret") as fleet:
            machines, agents, healthy = await asyncio.gather(
                fleet.list_machines(), fleet.list_agents(), fleet.health_check()
            )
            assert (len(machines), len(agents), healthy) == (3, 1, True)
            assert len(await fleet.get_connected_machines()) == 2
            assert (await fleet.get_machine("a b")).is_connected()
            assert (await fleet.deploy_agent(script, "a b"))["status"] == "deploying"
            only = await fleet.run_on_all(script, filter_fn=lambda machine: machine.machine_id == "a b")
            assert only == [{"machine_id": "a b", "status": "deployed"}]
            assert await fleet.stop_agent("d", 1000)
            assert (await fleet.get_status())["server"] == "running"
            assert fleet.relay_url == url

    asyncio.run(main())
