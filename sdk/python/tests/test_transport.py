"""The blocking connection: when the kernel is late, gone, in pieces or talks nonsense."""

from __future__ import annotations

import builtins
import os
import socket
import struct
import threading
from collections import Counter
from typing import Any

import pytest

from clove_sdk import (
    MAX_PAYLOAD_SIZE,
    CloveClient,
    ConnectionError,
    Message,
    PayloadTooLarge,
    ProtocolError,
    SyscallOp,
    TimeoutError,
    Transport,
    ValidationError,
    connect,
    protocol,
)
from conftest import MakeKernel
from fake_kernel import AGENT_ID, UNANSWERED, Request

NOOP = SyscallOp.SYS_NOOP


class Late:
    """Holds back the answers to some requests until it is told to give them."""

    def __init__(self, *held: bytes) -> None:
        self.held = held
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Any:
        if request.payload in self.held or self.requests:
            # Answers keep their order, as the kernel's do.
            self.requests.append(request)
            return UNANSWERED
        return None

    def give(self) -> None:
        for request in self.requests:
            request.answer_raw(request.payload)
        self.requests.clear()
        self.held = ()


def test_the_caller_learns_its_id_from_the_first_answer(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel().socket_path) as client:
        assert client.agent_id == 0
        client.echo("x")
        assert client.agent_id == AGENT_ID


def test_connect_tells_whether_somebody_answers(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    client = CloveClient(kernel.socket_path)
    assert client.connect() is True
    assert client.connect() is True
    states = [client.connected]
    client.disconnect()
    assert [*states, client.connected] == [True, False]
    assert CloveClient(kernel.socket_path + ".not").connect() is False


def test_entering_and_the_helper_raise_when_nobody_answers(make_kernel: MakeKernel) -> None:
    path = make_kernel().socket_path + ".not"
    with pytest.raises(builtins.ConnectionError) as raised:
        CloveClient(path).__enter__()
    assert isinstance(raised.value, ConnectionError)
    assert raised.value.code == "UNREACHABLE"
    with pytest.raises(ConnectionError, match=r"no kernel answers at .*\.not"):
        connect(path)
    with pytest.raises(ConnectionError):
        connect("/" + "x" * 200)


def test_calls_before_connect_are_refused(make_kernel: MakeKernel) -> None:
    client = CloveClient(make_kernel().socket_path)
    with pytest.raises(ConnectionError, match="connect"):
        client.echo("x")
    assert client.send(NOOP, "x") is False
    assert client.recv() is None
    assert client.call(NOOP, "x") is None


def test_the_low_level_calls_are_paired_in_their_order(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel().socket_path) as client:
        assert client.send(NOOP, "first")
        assert client.send(NOOP, b"second")
        # A call in between neither takes their answers nor loses its own.
        assert client.echo("third") == "third"
        assert [message.payload_str for message in (client.recv(), client.recv()) if message] == [
            "first",
            "second",
        ]
        reply = client.call(SyscallOp.SYS_LIST, {"a": 1})
        assert reply is not None
        assert reply.opcode is SyscallOp.SYS_LIST
        assert client.recv() is None


def test_an_opcode_without_a_name_is_answered(make_kernel: MakeKernel) -> None:
    with Transport(make_kernel().socket_path) as transport:
        reply = transport.call(0x99, b"{}")
        assert (reply.opcode, reply.payload_str) == (0x99, '{"success": true}')
        assert transport.call_json(0x99) == {"success": True}


def test_a_late_answer_is_not_taken_for_the_next_one(make_kernel: MakeKernel) -> None:
    late = Late(b"slow")
    kernel = make_kernel(late)
    with CloveClient(kernel.socket_path) as client:
        with pytest.raises(TimeoutError):
            client.with_timeout(0.05).echo("slow")
        with pytest.raises(builtins.TimeoutError):
            client.with_timeout(0.05).echo("also slow")
        late.give()
        assert client.echo("next") == "next"
        assert client.connected
        assert kernel.connections == 1


def test_a_low_level_receive_can_be_tried_again(make_kernel: MakeKernel) -> None:
    late = Late(b"slow")
    with Transport(make_kernel(late).socket_path) as transport:
        transport.send(NOOP, b"slow")
        with pytest.raises(TimeoutError):
            transport.recv(timeout=0.05)
        late.give()
        assert transport.recv().payload == b"slow"


def test_messages_that_come_too_late_are_given_to_the_next_receive(make_kernel: MakeKernel) -> None:
    held: list[Request] = []

    def script(request: Request) -> Any:
        if request.opcode == SyscallOp.SYS_RECV and not held:
            held.append(request)
            return UNANSWERED
        return None

    with CloveClient(make_kernel(script).socket_path) as client:
        with pytest.raises(TimeoutError):
            client.with_timeout(0.05).recv_messages()
        held[0].answer(
            {"success": True, "messages": [{"from": 1, "message": n} for n in (1, 2, 3)], "count": 3}
        )
        client.echo("the late answer comes before this one")
        assert [each.message for each in client.recv_messages(2).messages] == [1, 2]
        assert [each.message for each in client.recv_messages(2).messages] == [3]


def test_an_answer_may_come_in_pieces(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        for byte in Message(AGENT_ID, request.opcode, request.payload).serialize():
            request.send(bytes([byte]))
        return UNANSWERED

    with CloveClient(make_kernel(script).socket_path) as client:
        assert client.echo("héllo") == "héllo"


def test_a_connection_lost_during_a_call_is_said_and_made_again(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        if request.payload == b"die":
            request.drop()
            return UNANSWERED
        return None

    kernel = make_kernel(script)
    with CloveClient(kernel.socket_path) as client:
        with pytest.raises(ConnectionError, match="lost"):
            client.echo("die")
        assert not client.connected
        assert client.echo("again") == "again"
        # What was in flight is never repeated.
        assert [request.payload for request in kernel.requests] == [b"die", b"again"]


def test_a_kernel_restarted_between_two_calls_is_not_noticed(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        client.register_name("worker")
        client.subscribe(["CUSTOM"])
        client.subscribe(["AGENT_EXITED"])
        client.unsubscribe(["CUSTOM"])
        kernel.stop()
        kernel.requests.clear()
        kernel.start()
        assert client.echo("still here") == "still here"
        assert [request.opcode for request in kernel.requests] == [
            SyscallOp.SYS_REGISTER,
            SyscallOp.SYS_SUBSCRIBE,
            SyscallOp.SYS_NOOP,
        ]
        assert kernel.bodies(SyscallOp.SYS_REGISTER) == [{"name": "worker"}]
        assert kernel.bodies(SyscallOp.SYS_SUBSCRIBE) == [{"event_types": ["AGENT_EXITED"]}]


def test_a_name_that_somebody_else_has_now_is_warned_of(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        client.register_name("worker")
        kernel.stop()

        def script(request: Request) -> Any:
            if request.opcode == SyscallOp.SYS_REGISTER:
                return {"success": False, "error": "name already registered", "code": "CONFLICT"}
            return None

        kernel.script = script
        kernel.start()
        with pytest.warns(UserWarning, match="worker: name already registered"):
            client.echo("x")
        kernel.stop()
        kernel.requests.clear()
        kernel.start()
        client.echo("x")
        assert kernel.bodies(SyscallOp.SYS_REGISTER) == []


def test_a_kernel_that_comes_back_is_waited_for(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        client.echo("x")
        kernel.stop()
        timer = threading.Timer(0.1, kernel.start)
        timer.start()
        assert client.echo("back") == "back"
        timer.join()


def test_a_kernel_that_does_not_come_back_is_given_up(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path, reconnect_timeout=0.1) as client:
        kernel.stop()
        with pytest.raises(ConnectionError, match="no kernel answers"):
            client.echo("x")
        kernel.start()
        assert client.echo("it did") == "it did"


def test_a_kernel_that_hangs_up_on_every_newcomer_is_given_up(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path, reconnect_timeout=0.2) as client:
        client.register_name("worker")

        def script(request: Request) -> Any:
            request.drop()
            return UNANSWERED

        kernel.script = script
        with pytest.raises(ConnectionError, match="lost"):
            client.echo("x")
        with pytest.raises(ConnectionError, match="lost"):
            client.echo("x")
        assert kernel.connections > 2
        kernel.script = None
        assert client.echo("x") == "x"


def test_without_reconnect_a_lost_connection_stays_lost_until_connect(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path, reconnect=False) as client:
        kernel.stop()
        kernel.start()
        for _ in range(2):
            with pytest.raises(ConnectionError, match="lost"):
                client.echo("x")
        assert client.connect()
        assert client.echo("x") == "x"


def test_after_disconnect_nothing_connects_by_itself(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    client = CloveClient(kernel.socket_path)
    client.connect()
    client.echo("x")
    client.disconnect()
    with pytest.raises(ConnectionError, match="connect"):
        client.echo("x")
    assert kernel.connections == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", ProtocolError),
        (struct.pack("<IIBQ", protocol.MAGIC, 1, 0, 2**63), PayloadTooLarge),
        (Message(1, SyscallOp.SYS_LIST, b"[]").serialize(), ProtocolError),
        (Message(1, 0, b"x").serialize() * 2, None),
    ],
    ids=["no frame", "announced too much", "another's answer", "one answer too many"],
)
def test_nonsense_ends_the_connection_and_not_the_client(
    make_kernel: MakeKernel, data: bytes, error: type[Exception] | None
) -> None:
    def script(request: Request) -> Any:
        if request.payload == b"x":
            request.send(data)
            return UNANSWERED
        return None

    kernel = make_kernel(script)
    with CloveClient(kernel.socket_path) as client:
        with pytest.raises(error or ProtocolError):
            client.echo("x")
            client.echo("y")
        assert client.echo("fine") == "fine"
        assert kernel.connections == 2


def test_an_answer_that_is_not_json_is_an_error_with_its_text(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        request.answer_raw(b"goodbye")
        return UNANSWERED

    with CloveClient(make_kernel(script).socket_path) as client:
        for call in (client.hello, client.list_agents, client.get_system_metrics):
            with pytest.raises(ProtocolError, match="not JSON: 'goodbye'"):
                call()


def test_an_answer_nested_without_end_is_an_error(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        request.answer_raw(b"[" * 200_000)
        return UNANSWERED

    with CloveClient(make_kernel(script).socket_path) as client, pytest.raises(ProtocolError):
        client.list_agents()


def test_the_size_of_answers_is_limited(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel().socket_path, max_answer_size=1000) as client:
        assert client.echo("x" * 1000) == "x" * 1000
        with pytest.raises(PayloadTooLarge, match="1001 bytes"):
            client.echo("x" * 1001)


def test_requests_the_kernel_would_not_take_are_not_sent(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        assert client.echo("x" * MAX_PAYLOAD_SIZE) == "x" * MAX_PAYLOAD_SIZE
        with pytest.raises(PayloadTooLarge):
            client.echo("x" * (MAX_PAYLOAD_SIZE + 1))
        endless: list[Any] = []
        endless.append(endless)
        for value in (float("nan"), {1, 2}, "\ud800", endless, b"bytes"):
            with pytest.raises(ValidationError):
                client.store("key", value)
        assert kernel.bodies(SyscallOp.SYS_STORE) == []


def test_threads_share_a_client_and_get_their_own_answers(make_kernel: MakeKernel) -> None:
    with CloveClient(make_kernel().socket_path) as client:
        wrong: Counter[str] = Counter()

        def work(number: int) -> None:
            for index in range(100):
                text = f"{number}:{index}"
                if client.echo(text) != text:
                    wrong[text] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


@pytest.mark.parametrize("shared_identity", [True, False], ids=["agent", "operator"])
def test_a_thread_that_waits_for_messages_does_not_hold_up_others(
    make_kernel: MakeKernel, shared_identity: bool
) -> None:
    arrived = threading.Event()

    def script(request: Request) -> Any:
        if request.opcode != SyscallOp.SYS_RECV:
            return None
        arrived.wait(request.body.get("timeout_ms", 60_000) / 1000)
        if not arrived.is_set():
            return {"success": True, "messages": [], "count": 0}
        return {"success": True, "messages": [{"from": 3, "message": "hello"}], "count": 1}

    kernel = make_kernel(script, shared_identity)
    with CloveClient(kernel.socket_path) as client:
        received: list[Any] = []
        thread = threading.Thread(target=lambda: received.extend(client.recv_messages(wait=True).messages))
        thread.start()
        while not kernel.bodies(SyscallOp.SYS_RECV):
            assert client.echo("x") == "x"
        for number in range(5):
            assert client.echo(str(number)) == str(number)
        arrived.set()
        thread.join()
        assert [each.message for each in received] == ["hello"]


def test_disconnect_ends_the_wait_of_another_thread(make_kernel: MakeKernel) -> None:
    started = threading.Event()

    def script(request: Request) -> Any:
        started.set()
        return UNANSWERED

    client = CloveClient(make_kernel(script).socket_path, timeout=None)
    client.connect()
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            client.echo("x")
        except ConnectionError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    client.disconnect()
    thread.join()
    assert len(failures) == 1


def test_waiting_for_one_s_turn_counts_as_waiting(make_kernel: MakeKernel) -> None:
    late = Late(b"slow")
    with CloveClient(make_kernel(late).socket_path) as client:
        thread = threading.Thread(target=lambda: client.echo("slow"))
        thread.start()
        while not late.requests:
            pass
        with pytest.raises(TimeoutError):
            client.with_timeout(0.05).echo("behind it")
        late.give()
        thread.join()


def test_a_forked_child_gets_a_connection_of_its_own(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        client.echo("parent")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if client.echo("child") == "child" else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.echo("parent") == "parent"
        assert [request.connection for request in kernel.requests] == [0, 1, 0]


def test_an_interrupted_call_leaves_no_half_read_stream(make_kernel: MakeKernel) -> None:
    """As Ctrl-C in the middle of a call."""

    class Interrupting(socket.socket):
        def recv(self, *args: Any) -> bytes:
            super().recv(*args)
            raise KeyboardInterrupt

    kernel = make_kernel()
    with Transport(kernel.socket_path) as transport:
        real = transport._socket
        assert real is not None
        transport._socket = Interrupting(fileno=os.dup(real.fileno()))
        real.close()
        with pytest.raises(KeyboardInterrupt):
            transport.call(NOOP, b"one")
        assert transport.call(NOOP, b"two").payload == b"two"


def test_a_full_queue_of_the_kernel_is_waited_for() -> None:
    """On Linux connect() fails at once then, where TCP would wait."""
    path = f"\0clove-py-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(TimeoutError):
                Transport(path).connect(timeout=0.1)


def test_nothing_is_left_open(make_kernel: MakeKernel) -> None:
    kernel = make_kernel()
    with CloveClient(kernel.socket_path) as client:
        client.exec("true")
        client.wait_agent("somebody")
        client.recv_messages(wait=True, timeout=0)
    kernel.stop()
    before = len(os.listdir("/proc/self/fd"))
    kernel.start()
    with CloveClient(kernel.socket_path) as client:
        client.exec("true")
        kernel.script = lambda _: UNANSWERED
        with pytest.raises(TimeoutError):
            client.with_timeout(0.01).wait_agent("somebody", timeout=0)
    kernel.stop()
    assert len(os.listdir("/proc/self/fd")) == before
