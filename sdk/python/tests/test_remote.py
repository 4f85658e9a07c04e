"""An agent behind a relay: against a relay that does as told, and through a real one to a real kernel."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clove_sdk import CloveClient, ConnectionError, PermissionDenied, ProtocolError, SyscallOp, TimeoutError
from clove_sdk._relay import RelayExchange

pytest.importorskip("websockets", reason="websockets is not installed")

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from clove_sdk.remote import RemoteAgentClient, connect_remote

Behaviour = Callable[["Relay", ServerConnection, dict[str, Any]], None]


class Relay:
    """Lets agents in, and does with their calls as it is told."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.calls: list[dict[str, Any]] = []
        self.connections = 0
        self._server: Server = serve(self._serve, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _serve(self, connection: ServerConnection) -> None:
        try:
            hello = json.loads(connection.recv())
            if hello["token"] != "right":
                connection.send(
                    json.dumps({"type": "auth_error", "error": "Invalid token or target machine"})
                )
                return
            self.connections += 1
            connection.send(
                json.dumps({"type": "auth_ok", "agent_id": 1000, "target_machine": hello["target_machine"]})
            )
            for text in connection:
                message = json.loads(text)
                if message["type"] == "syscall":
                    self.calls.append(message)
                    self._behave(self, connection, message)
        except ConnectionClosed:
            pass


def answer(connection: ServerConnection, message: dict[str, Any], body: Any, with_id: bool = True) -> None:
    reply = {
        "type": "response",
        "opcode": message["opcode"],
        "payload": base64.b64encode(json.dumps(body).encode()).decode(),
    }
    if with_id:
        reply["id"] = message["id"]
    connection.send(json.dumps(reply))


MakeRelay = Callable[[Behaviour], Relay]


@pytest.fixture
def make_relay() -> Iterator[MakeRelay]:
    relays: list[Relay] = []

    def make(behave: Behaviour) -> Relay:
        relay = Relay(behave)
        relays.append(relay)
        return relay

    yield make
    for relay in relays:
        relay.close()


def client_of(relay: Relay, **options: Any) -> RemoteAgentClient:
    return RemoteAgentClient(relay.url, "scout", "right", "m-1", **options)


def test_its_methods_are_those_of_a_client(make_relay: MakeRelay) -> None:
    def behave(_: Relay, connection: ServerConnection, message: dict[str, Any]) -> None:
        request = json.loads(base64.b64decode(message["payload"]))
        answer(
            connection, message, {"success": True, "stdout": request["command"], "stderr": "", "exit_code": 0}
        )

    with client_of(make_relay(behave)) as remote:
        assert remote.connected
        assert remote.agent_id == 1000
        result = remote.exec("ls", cwd="/work")
        assert (result.success, result["stdout"], result.exit_code) == (True, "ls", 0)
    assert not remote.connected


def test_a_refused_token_is_said(make_relay: MakeRelay) -> None:
    relay = make_relay(lambda *_: None)
    assert not RemoteAgentClient(relay.url, "scout", "wrong", "m-1").connect()
    with pytest.raises(ConnectionError, match="Invalid token or target machine"):
        connect_remote(relay.url, "scout", "wrong", "m-1")
    with pytest.raises(ConnectionError, match="no relay answers"):
        connect_remote("ws://127.0.0.1:1", "scout", "right", "m-1")
    with pytest.raises(ConnectionError, match="not connected"):
        RemoteAgentClient(relay.url, "scout", "right", "m-1").hello()


@pytest.mark.parametrize("with_id", [True, False])
def test_a_late_answer_is_never_another_call_s(make_relay: MakeRelay, with_id: bool) -> None:
    held: list[dict[str, Any]] = []

    def behave(_: Relay, connection: ServerConnection, message: dict[str, Any]) -> None:
        held.append(message)
        if len(held) == 2:
            for number, each in enumerate(held):
                answer(connection, each, {"success": True, "value": number, "exists": True}, with_id)

    with client_of(make_relay(behave)) as remote:
        with pytest.raises(TimeoutError):
            remote.with_timeout(0.05).fetch("first")
        assert remote.with_timeout(30).fetch("second").value == 1


def test_a_call_in_flight_is_repeated_only_with_a_key(make_relay: MakeRelay) -> None:
    def behave(relay: Relay, connection: ServerConnection, message: dict[str, Any]) -> None:
        if relay.connections == 1 or "idempotency_key" not in message:
            connection.close()
        else:
            answer(connection, message, {"success": True})

    relay = make_relay(behave)
    with client_of(relay) as remote:
        assert remote.once("order-7").store("order", 7).success
        assert [call.get("idempotency_key") for call in relay.calls] == ["order-7", "order-7"]
        with pytest.raises(ConnectionError):
            remote.store("order", 8)
        assert len(relay.calls) == 3


def test_a_lost_machine_and_an_error_of_the_relay_end_calls(make_relay: MakeRelay) -> None:
    def behave(relay: Relay, connection: ServerConnection, _: dict[str, Any]) -> None:
        if len(relay.calls) == 1:
            connection.send(json.dumps({"type": "error", "error": "Failed to route syscall to kernel"}))
        else:
            connection.send(json.dumps({"type": "kernel_disconnected", "machine_id": "m-1"}))

    with client_of(make_relay(behave), reconnect=False) as remote:
        assert remote.fetch("x").error == "Failed to route syscall to kernel"
        with pytest.raises(ConnectionError, match="m-1 has lost its relay"):
            remote.fetch("x")
        with pytest.raises(ConnectionError, match="was lost"):
            remote.fetch("x")


def test_pings_are_answered_and_nonsense_is_an_error() -> None:
    exchange = RelayExchange()
    assert json.loads(exchange.feed('{"type":"ping"}') or "") == {"type": "pong"}
    assert exchange.feed('{"type":"of a later version"}') is None
    assert exchange.feed('{"type":"response","id":9,"opcode":1,"payload":""}') is None
    for text in ("", "[]", "{"):
        with pytest.raises(ProtocolError):
            exchange.feed(text)
    _, slot = exchange.begin(0x31, b"{}")
    with pytest.raises(ProtocolError, match="opcode"):
        exchange.feed('{"type":"response","id":1,"opcode":2,"payload":""}')
    with pytest.raises(ProtocolError, match="base64"):
        exchange.feed('{"type":"response","id":1,"opcode":49,"payload":"*"}')
    assert slot.answer is None


@pytest.fixture
def relay_url() -> str:
    """Of a relay that a real kernel can reach."""
    url = os.environ.get("CLOVE_TEST_RELAY")
    if not url:
        pytest.skip(
            "no relay to test with: CLOVE_TEST_RELAY is not set (npm test -- test/python-sdk sets it)"
        )
    return url


def test_through_a_relay_to_a_kernel(relay_url: str, clove: CloveClient) -> None:
    # Their sandbox is theirs to use.
    assert clove.tunnel_config(remote_level="default").success
    assert clove.tunnel_connect(relay_url, "m-1", "any").connected
    assert clove.tunnel_status().connected
    with (
        connect_remote(relay_url, "scout", "any", "m-1") as remote,
        connect_remote(relay_url, "second", "any", "m-1") as second,
    ):
        hello = remote.hello()
        assert hello.agent_id != second.hello().agent_id
        assert remote.echo("ü") == "ü"
        assert remote.store("from afar", {"n": 1}).success
        assert second.fetch("from afar").value == {"n": 1}
        assert remote.send_message("hi", to=second.hello().agent_id).delivered
        received = second.recv_messages(wait=True, timeout=30)
        assert [each.message for each in received.messages] == ["hi"]
        # Their own files, each.
        assert remote.write_file("note", "mine").success
        assert remote.exec("cat note; hostname").stdout == "mineclove-exec\n"
        assert not second.read_file("note").success
        with pytest.raises(PermissionDenied):
            remote.set_permissions(level="unrestricted").raise_for_error()
        assert remote.call(SyscallOp.SYS_NOOP, b"\xff") is not None
        listed = clove.tunnel_list_remotes()
        assert sorted(each["name"] for each in listed.agents) == ["scout", "second"]
    assert clove.tunnel_disconnect().success
    assert not clove.tunnel_status().connected
