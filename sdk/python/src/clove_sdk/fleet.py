"""The machines and agents of a relay, over its REST interface. Needs nothing but the standard library."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .exceptions import CloveError

T = TypeVar("T")

DEFAULT_RELAY_API_URL = "http://localhost:8766"
DEFAULT_TIMEOUT = 30.0
_MAX_ANSWER = 64 * 2**20


class FleetClientError(CloveError):
    """The relay refused, or could not be reached. `status`: of HTTP; None = there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Machine:
    machine_id: str
    provider: str = "unknown"
    #: connected or disconnected.
    status: str = "disconnected"
    ip_address: str = ""
    created_at: str = ""
    last_seen: str = ""
    metadata: dict[str, Any] | None = field(default=None)

    def is_connected(self) -> bool:
        return self.status == "connected"


@dataclass
class Agent:
    agent_id: int
    agent_name: str = ""
    target_machine: str = ""
    status: str = ""
    syscalls_sent: int = 0


class SyncFleetClient:
    """The methods of `FleetClient`, blocking. Threads may share it."""

    def __init__(
        self,
        relay_url: str | None = None,
        api_token: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """`relay_url`: default ``$RELAY_API_URL``, else http://localhost:8766. `api_token`: default
        ``$CLOVE_API_TOKEN``. `timeout` of one request in seconds."""
        url = relay_url or os.environ.get("RELAY_API_URL") or DEFAULT_RELAY_API_URL
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise FleetClientError(f"not an http:// or https:// URL: {url}")
        self.relay_url = url.rstrip("/")
        self._token = api_token or os.environ.get("CLOVE_API_TOKEN") or ""
        self._timeout = timeout

    def list_machines(self) -> list[Machine]:
        return [_made(Machine, each) for each in self._list("GET", "/machines", "machines")]

    def get_machine(self, machine_id: str) -> Machine:
        return _made(Machine, self._request("GET", f"/machines/{_quoted(machine_id)}"))

    def get_connected_machines(self) -> list[Machine]:
        return [machine for machine in self.list_machines() if machine.is_connected()]

    def list_agents(self, machine_id: str | None = None) -> list[Agent]:
        query = "" if machine_id is None else f"?machine_id={_quoted(machine_id)}"
        rows = self._list("GET", f"/agents{query}", "agents")
        # Asked about one machine, a relay does not say it again.
        known = {} if machine_id is None else {"target_machine": machine_id, "status": "running"}
        return [_made(Agent, {**known, **each}) for each in rows]

    def deploy_agent(
        self, script_path: str | os.PathLike[str], machine_id: str, args: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Sends a script to a machine. Whether its kernel starts it is the kernel's to say."""
        script = Path(script_path)
        request = {
            "machine_id": machine_id,
            "script_name": script.name,
            "script_content": base64.b64encode(script.read_bytes()).decode("ascii"),
            "args": list(args or []),
        }
        return self._request("POST", "/agents/deploy", request)

    def run_on_all(
        self,
        script_path: str | os.PathLike[str],
        args: Sequence[str] | None = None,
        filter_fn: Callable[[Machine], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """Sends a script to every connected machine: machine_id, status deployed or failed, error."""
        results: list[dict[str, Any]] = []
        for machine in self.get_connected_machines():
            if filter_fn is not None and not filter_fn(machine):
                continue
            try:
                self.deploy_agent(script_path, machine.machine_id, args)
            except FleetClientError as error:
                results.append({"machine_id": machine.machine_id, "status": "failed", "error": str(error)})
            else:
                results.append({"machine_id": machine.machine_id, "status": "deployed"})
        return results

    def stop_agent(self, machine_id: str, agent_id: int | str) -> bool:
        self._request("POST", f"/agents/{_quoted(str(agent_id))}/stop", {"machine_id": machine_id})
        return True

    def get_status(self) -> dict[str, Any]:
        return self._request("GET", "/status")

    def health_check(self) -> bool:
        try:
            return self._request("GET", "/health").get("status") == "healthy"
        except FleetClientError:
            return False

    def close(self) -> None:
        """Nothing is held between requests; here for symmetry."""

    def __enter__(self) -> SyncFleetClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _list(self, method: str, path: str, name: str) -> list[dict[str, Any]]:
        rows = self._request(method, path).get(name)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
        raise FleetClientError(f"the relay's answer has no list of {name}")

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(
            f"{self.relay_url}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode("utf-8"),
            headers=headers,
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return _object(response.read(_MAX_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                raise FleetClientError(_reason(error.read(_MAX_ANSWER), error), error.code) from error
        except (OSError, ValueError) as error:
            raise FleetClientError(f"no relay answers at {self.relay_url}: {error}") from error


class FleetClient:
    """The machines and agents of a relay, for asyncio: requests run beside the event loop."""

    def __init__(
        self,
        relay_url: str | None = None,
        api_token: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """As of `SyncFleetClient`."""
        self._client = SyncFleetClient(relay_url, api_token, timeout=timeout)

    @property
    def relay_url(self) -> str:
        return self._client.relay_url

    async def list_machines(self) -> list[Machine]:
        return await asyncio.to_thread(self._client.list_machines)

    async def get_machine(self, machine_id: str) -> Machine:
        return await asyncio.to_thread(self._client.get_machine, machine_id)

    async def get_connected_machines(self) -> list[Machine]:
        return await asyncio.to_thread(self._client.get_connected_machines)

    async def list_agents(self, machine_id: str | None = None) -> list[Agent]:
        return await asyncio.to_thread(self._client.list_agents, machine_id)

    async def deploy_agent(
        self, script_path: str | os.PathLike[str], machine_id: str, args: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """As of `SyncFleetClient`."""
        return await asyncio.to_thread(self._client.deploy_agent, script_path, machine_id, args)

    async def run_on_all(
        self,
        script_path: str | os.PathLike[str],
        args: Sequence[str] | None = None,
        filter_fn: Callable[[Machine], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """As of `SyncFleetClient`."""
        return await asyncio.to_thread(self._client.run_on_all, script_path, args, filter_fn)

    async def stop_agent(self, machine_id: str, agent_id: int | str) -> bool:
        return await asyncio.to_thread(self._client.stop_agent, machine_id, agent_id)

    async def get_status(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.get_status)

    async def health_check(self) -> bool:
        return await asyncio.to_thread(self._client.health_check)

    async def close(self) -> None:
        self._client.close()

    async def __aenter__(self) -> FleetClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _made(kind: type[T], row: dict[str, Any]) -> T:
    """Relays may say more than is known here, and must say who it is about."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # both are dataclasses
    try:
        return kind(**{name: value for name, value in row.items() if name in known})
    except TypeError as error:
        raise FleetClientError(f"the relay's answer is not of its form: {error}") from error


def _object(body: bytes) -> dict[str, Any]:
    answer = json.loads(body)
    if isinstance(answer, dict):
        return answer
    raise ValueError("the answer is no object")


def _reason(body: bytes, error: urllib.error.HTTPError) -> str:
    try:
        return str(_object(body)["error"])
    except (ValueError, KeyError):
        return f"HTTP {error.code} {error.reason}"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


__all__ = ["Agent", "FleetClient", "FleetClientError", "Machine", "SyncFleetClient"]
