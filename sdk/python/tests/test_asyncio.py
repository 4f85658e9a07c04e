"""The asyncio client where it differs: overlapping calls, cancellation, waits that lose nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from clove_sdk import (
    AsyncCloveClient,
    AsyncTransport,
    ConnectionError,
    Message,
    PayloadTooLarge,
    ProtocolError,
    SyscallOp,
    TimeoutError,
    connect_async,
)
from conftest import MakeKernel
from fake_kernel import AGENT_ID, UNANSWERED, Request

T = TypeVar("T")
NOOP = SyscallOp.SYS_NOOP


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 30))


async def until_lost(client: AsyncCloveClient) -> None:
    while client.connected:
        await asyncio.sleep(0.001)


class Mailbox:
    """RECV as a kernel serves it: answers when there is something or the time is over, each message once."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.arrived = threading.Condition()
        self.waiting = 0

    def put(self, *messages: Any) -> None:
        with self.arrived:
            self.messages += messages
            self.arrived.notify_all()

    def __call__(self, request: Request) -> Any:
        if request.opcode != SyscallOp.SYS_RECV:
            return None
        with self.arrived:
            self.waiting += 1
            until = time.monotonic() + request.body.get("timeout_ms", 0) / 1000
            while not self.messages and not request.kernel.released.is_set() and time.monotonic() < until:
                self.arrived.wait(0.01)
            self.waiting -= 1
            most = request.body["max"]
            taken, self.messages = self.messages[:most], self.messages[most:]
        listed = [{"from": 1, "message": message} for message in taken]
        return {"success": True, "messages": listed, "count": len(listed)}


def test_calls_overlap_and_find_their_answers(make_kernel: MakeKernel) -> None:
    held: list[Request] = []

    def script(request: Request) -> Any:
        held.append(request)
        if len(held) == 20:
            for each in held:
                each.answer_raw(each.payload)
        return UNANSWERED

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(script).socket_path) as client:
            texts = [str(number) for number in range(20)]
            assert await asyncio.gather(*(client.echo(text) for text in texts)) == texts
            assert client.agent_id == AGENT_ID

    run(work())


def test_connecting_to_nobody(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        path = make_kernel().socket_path + ".not"
        assert await AsyncCloveClient(path).connect() is False
        with pytest.raises(ConnectionError, match="no kernel answers"):
            await connect_async(path)
        client = AsyncCloveClient(path)
        with pytest.raises(ConnectionError, match="connect"):
            await client.echo("x")
        assert await client.call(NOOP) is None

    run(work())


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_late_answer_is_not_taken_for_another_one(make_kernel: MakeKernel, how: str) -> None:
    held: list[Request] = []

    def script(request: Request) -> Any:
        if request.payload == b"slow":
            held.append(request)
            return UNANSWERED
        return None

    async def work() -> None:
        kernel = make_kernel(script)
        async with AsyncCloveClient(kernel.socket_path) as client:
            if how == "timeout":
                with pytest.raises(TimeoutError):
                    await client.with_timeout(0.05).echo("slow")
            else:
                task = asyncio.ensure_future(client.echo("slow"))
                while not held:
                    await asyncio.sleep(0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            held[0].answer_raw(b"slow")
            assert await client.echo("next") == "next"
            assert kernel.connections == 1

    run(work())


def test_a_lost_connection_fails_all_its_calls_and_is_made_again(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        if request.payload == b"die":
            request.drop()
            return UNANSWERED
        return UNANSWERED if request.payload == b"silent" else None

    async def work() -> None:
        kernel = make_kernel(script)
        async with AsyncCloveClient(kernel.socket_path) as client:
            await client.register_name("worker")
            await client.subscribe(["CUSTOM"])
            outcomes = await asyncio.gather(client.echo("silent"), client.echo("die"), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ConnectionError, ConnectionError]
            assert not client.connected
            assert [*await asyncio.gather(client.echo("a"), client.echo("b"))] == ["a", "b"]
            assert kernel.connections == 2
            names = [request.opcode for request in kernel.requests if request.connection == 1]
            assert names == [SyscallOp.SYS_REGISTER, SyscallOp.SYS_SUBSCRIBE, NOOP, NOOP]

    run(work())


def test_a_kernel_that_comes_back_is_waited_for(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        kernel = make_kernel()
        async with AsyncCloveClient(kernel.socket_path) as client:
            await asyncio.to_thread(kernel.stop)
            asyncio.get_running_loop().call_later(0.05, kernel.start)
            await until_lost(client)
            assert await client.echo("back") == "back"

    run(work())


def test_a_kernel_that_does_not_come_back_is_given_up(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        kernel = make_kernel()
        async with AsyncCloveClient(kernel.socket_path, reconnect_timeout=0.1) as client:
            await asyncio.to_thread(kernel.stop)
            await until_lost(client)
            with pytest.raises(ConnectionError, match="no kernel answers"):
                await client.echo("x")
            with pytest.raises((TimeoutError, ConnectionError)):
                await client.with_timeout(0.05).echo("x")

    run(work())


def test_a_kernel_restarted_between_two_calls_is_not_noticed(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        kernel = make_kernel()
        async with AsyncCloveClient(kernel.socket_path) as client:
            await client.register_name("worker")
            # The event loop stands still meanwhile.
            kernel.stop()
            kernel.start()
            assert await client.echo("still here") == "still here"
            assert kernel.bodies(SyscallOp.SYS_REGISTER) == [{"name": "worker"}] * 2

    run(work())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", ProtocolError),
        (Message(1, 0, b"x" * 2000).serialize(), PayloadTooLarge),
        (Message(1, SyscallOp.SYS_LIST, b"[]").serialize(), ProtocolError),
    ],
    ids=["no frame", "too large", "another's answer"],
)
def test_nonsense_ends_the_connection_and_not_the_client(
    make_kernel: MakeKernel, data: bytes, error: type[Exception]
) -> None:
    def script(request: Request) -> Any:
        if request.payload == b"x":
            request.send(data)
            return UNANSWERED
        return None

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(script).socket_path, max_answer_size=1000) as client:
            with pytest.raises(error):
                await client.echo("x")
            assert await client.echo("fine") == "fine"

    run(work())


@pytest.mark.parametrize("shared_identity", [True, False], ids=["agent", "operator"])
def test_a_wait_for_messages_does_not_hold_up_other_calls(
    make_kernel: MakeKernel, shared_identity: bool
) -> None:
    mailbox = Mailbox()

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(mailbox, shared_identity).socket_path) as client:
            task = asyncio.ensure_future(client.recv_messages(wait=True))
            while not mailbox.waiting:
                await asyncio.sleep(0.001)
            assert await asyncio.gather(*(client.echo(str(n)) for n in range(3))) == ["0", "1", "2"]
            assert not task.done()
            mailbox.put("hello")
            assert [each.message for each in (await task).messages] == ["hello"]

    run(work())


@pytest.mark.parametrize("shared_identity", [True, False], ids=["agent", "operator"])
def test_a_cancelled_wait_loses_no_message(make_kernel: MakeKernel, shared_identity: bool) -> None:
    mailbox = Mailbox()

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(mailbox, shared_identity).socket_path) as client:
            received: list[Any] = []
            for number in range(30):
                task = asyncio.ensure_future(client.recv_messages(1, wait=True))
                await asyncio.sleep(0.001 * (number % 3))
                mailbox.put(number)
                if number % 2:
                    await asyncio.sleep(0)
                task.cancel()
                done = (await asyncio.gather(task, return_exceptions=True))[0]
                if not isinstance(done, BaseException):
                    received += [each.message for each in done.messages]
            while len(received) < 30:
                got = await client.recv_messages(wait=True, timeout=5)
                assert got.count > 0
                received += [each.message for each in got.messages]
            assert received == list(range(30))

    run(work())


def test_several_waiters_get_each_message_once(make_kernel: MakeKernel) -> None:
    mailbox = Mailbox()

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(mailbox).socket_path) as client:
            tasks = [asyncio.ensure_future(client.recv_messages(1, wait=True)) for _ in range(5)]
            while not mailbox.waiting:
                await asyncio.sleep(0.001)
            mailbox.put(*range(5))
            results = await asyncio.gather(*tasks)
            assert sorted(result.messages[0].message for result in results) == list(range(5))

    run(work())


def test_a_wait_ends_with_nothing_when_its_time_is_over(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        async with AsyncCloveClient(make_kernel(Mailbox()).socket_path) as client:
            assert (await client.recv_messages(wait=True, timeout=0.05)).messages == []
            assert (await client.recv_messages(wait=True, timeout=0)).count == 0
            assert (await client.recv_messages(0, wait=True)).count == 0
            assert [message async for message in client.messages(timeout=0.01)] == []

    run(work())


def test_a_refused_wait_says_so(make_kernel: MakeKernel) -> None:
    def script(request: Request) -> Any:
        if request.opcode == SyscallOp.SYS_RECV:
            return {
                "success": False,
                "error": "Permission denied",
                "code": "FORBIDDEN",
                "messages": [],
                "count": 0,
            }
        return None

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(script).socket_path) as client:
            result = await client.recv_messages(wait=True)
            assert (result.success, result.error) == (False, "Permission denied")
            with pytest.raises(PermissionError):
                async for _ in client.messages():
                    raise AssertionError("nothing can come")

    run(work())


def test_messages_can_be_iterated_and_left(make_kernel: MakeKernel) -> None:
    mailbox = Mailbox()
    mailbox.put("a", "b", "c")

    async def work() -> None:
        async with AsyncCloveClient(make_kernel(mailbox).socket_path) as client:
            async for message in client.messages():
                assert message.message == "a"
                break
            assert [each.message for each in (await client.recv_messages()).messages] == ["b", "c"]

    run(work())


def test_disconnect_ends_calls_and_waits(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        before = asyncio.all_tasks()
        kernel = make_kernel(
            lambda request: UNANSWERED if request.payload == b"silent" else Mailbox()(request)
        )
        client = await connect_async(kernel.socket_path)
        await client.echo("x")
        calls = [
            asyncio.ensure_future(client.echo("silent")),
            asyncio.ensure_future(client.recv_messages(wait=True)),
        ]
        while not kernel.bodies(SyscallOp.SYS_RECV):
            await asyncio.sleep(0.001)
        await client.disconnect()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, (ConnectionError, asyncio.CancelledError)) for outcome in outcomes)
        with pytest.raises(ConnectionError):
            await client.echo("x")
        assert asyncio.all_tasks() == before

    run(work())


def test_the_transport_alone(make_kernel: MakeKernel) -> None:
    async def work() -> None:
        async with AsyncTransport(make_kernel().socket_path) as transport:
            assert (await transport.call(0x99, b"{}")).payload_str == '{"success": true}'
            assert await transport.call_json(SyscallOp.SYS_LIST) == {"success": True}

    run(work())
