"""A world as one who is in it meets it: files, services, shared state, events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..client import CloveClient
from ..exceptions import CloveError


@dataclass(frozen=True)
class HttpAnswer:
    """`status` 0: there was none, and `error` says why."""

    status: int
    body: str
    error: str | None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """None where the body is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class WorldView:
    """What the calls of one episode go through. `memory` is the task's own, and new in every episode."""

    def __init__(
        self,
        clients: dict[str, CloveClient],
        names: dict[str, str],
        world_id: str,
        seed: int,
        horizon_ms: int,
    ) -> None:
        self._clients = clients
        #: By which names services know the roles; other ones in every environment.
        self.names = names
        self._first = next(iter(clients.values()))
        self.world_id = world_id
        self.seed = seed
        self.horizon_ms = horizon_ms
        self.memory: dict[str, Any] = {}
        #: World time since the world's start.
        self.now_ms = 0.0
        #: What could not be had since the last step, in order.
        self.failures: list[str] = []
        #: Whether `now_ms` has to be asked for.
        self._is_time_unknown = False
        self._seen: dict[str, Any] = {}

    def http(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        role: str | None = None,
        timeout: float = 30.0,
    ) -> HttpAnswer:
        """One request of a role (default: the first) in the world's network; `timeout` in seconds of world time."""
        client = self._clients[role] if role is not None else self._first
        has_body = body is not None
        result = client.http(
            url,
            method,
            headers={"content-type": "application/json"} if has_body else None,
            body=json.dumps(body) if has_body else None,
            timeout=timeout,
        )
        took = result.get("duration_ms")
        if isinstance(took, int | float):
            self.now_ms += took
        else:
            self._is_time_unknown = True
        # A response is an answer, whatever its status; an error is what was said in place of one.
        error = result.error or (None if result.status_code else "no answer")
        return HttpAnswer(result.status_code, result.body, error)

    def get(self, url: str, *, role: str | None = None) -> Any:
        """What a service answers, as JSON; once per step and address. None, with a line in `failures`, if it fails."""
        key = f"{role} {url}"
        if key not in self._seen:
            answer = self.http("GET", url, role=role)
            if not answer.ok:
                self.failures.append(f"GET {url}: {answer.error or answer.status}")
            self._seen[key] = answer.json if answer.ok else None
        return self._seen[key]

    def read(self, path: str) -> str | None:
        """A file of the world; once per step. None, and a line in `failures`, where it cannot be read."""
        text: str | None = self._once(f"file {path}", lambda: self._read(path))
        return text

    def write(self, path: str, text: str) -> bool:
        """Writes a file of the world. False, with a line in `failures`, if it cannot be written."""
        result = self._first.write_file(path, text)
        if not result.success:
            self.failures.append(f"{path}: {result.error or 'not written'}")
        return result.success

    def run(self, command: str) -> bool:
        """A command in the world's shell. False, with a line in `failures`, if it ends with another code than 0."""
        result = self._first.exec(command)
        # What it sleeps is the world's time, and nobody counts it for us.
        self._is_time_unknown = True
        if not result.success:
            self.failures.append(f"{command}: {result.error or result.stdout.strip() or result.exit_code}")
        return result.success

    def state(self, key: str) -> Any:
        """A key that all in the world share; None where there is none."""
        return self._once(f"state {key}", lambda: self._first.fetch(key, scope="world").value)

    def active_events(self) -> list[str]:
        """Types of the events that go on in the world, such as ``latency_spike``."""

        def ask() -> list[str]:
            state = self._first.world_state(self.world_id)
            state.raise_for_error()
            return [str(event["kind"]) for event in state["state"]["events"]]

        events: list[str] = self._once("events", ask)
        return events

    def event(self, kind: str, **params: Any) -> None:
        """Lets something happen in the world. Raises what the kernel says against it."""
        self._first.world_event(self.world_id, kind, params).raise_for_error()

    def advance(self, ms: float) -> None:
        """Lets so much of the world's time pass."""
        answer = self._first.world_advance(self.world_id, max(0.0, ms))
        answer.raise_for_error()
        self.now_ms = float((answer.data or {})["monotonic_ms"])
        self._is_time_unknown = False

    def advance_to(self, due_ms: float) -> None:
        """Lets the time pass until then; none where it is later already."""
        if self._is_time_unknown:
            self.advance(0)
        if due_ms > self.now_ms:
            self.advance(due_ms - self.now_ms)

    def forget(self) -> None:
        """A new step: everything is looked at anew."""
        self._seen.clear()
        self.failures = []

    def _read(self, path: str) -> str | None:
        try:
            return self._first.read(path)
        except (CloveError, OSError) as error:
            self.failures.append(f"{path}: {error}")
            return None

    def _once(self, key: str, ask: Callable[[], Any]) -> Any:
        if key not in self._seen:
            self._seen[key] = ask()
        return self._seen[key]
