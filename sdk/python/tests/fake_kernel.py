"""A kernel that does what a test wants: answers late, wrongly, in pieces, never, or goes away."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clove_sdk.protocol import FrameDecoder, Message, SyscallOp

AGENT_ID = 7


@dataclass
class Request:
    kernel: FakeKernel
    connection: int
    socket: socket.socket
    opcode: int
    payload: bytes
    #: Whom the kernel takes this connection for.
    caller_id: int

    @property
    def body(self) -> Any:
        return json.loads(self.payload)

    def answer(self, body: Any) -> None:
        self.answer_raw(json.dumps(body).encode())

    def answer_raw(self, payload: bytes, opcode: int | None = None) -> None:
        self.send(Message(self.caller_id, self.opcode if opcode is None else opcode, payload).serialize())

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


#: None = answered here, as a kernel would.
Script = Callable[[Request], Any]
UNANSWERED = object()


class FakeKernel:
    """Each connection is one agent (`shared_identity`), or a client of its own. The script returns the answer's body,
    `UNANSWERED`, or None for the usual answer: NOOP echoes, the rest succeeds."""

    def __init__(self, script: Script | None = None, shared_identity: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="clove-py-")
        self.socket_path = os.path.join(self.folder.name, "k.sock")
        self.script = script
        self.shared_identity = shared_identity
        self.requests: list[Request] = []
        self.connections = 0
        self.released = threading.Event()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> FakeKernel:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.socket_path)
        listener.listen(64)
        self._listener = listener
        self._spawn(self._accept, listener)
        return self

    def stop(self) -> None:
        """Drops every connection and refuses new ones; start() comes back."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            # Only then is it known who has come in.
            self._threads[0].join()
            listener.close()
            os.unlink(self.socket_path)
        for connection in [*self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def close(self) -> None:
        self.released.set()
        self.stop()
        self.folder.cleanup()

    def bodies(self, opcode: int) -> list[Any]:
        return [request.body for request in self.requests if request.opcode == opcode]

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            number = self.connections
            self.connections += 1
            self._open.append(connection)
            self._spawn(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        decoder = FrameDecoder()
        caller_id = AGENT_ID if self.shared_identity else 2**30 + number
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    break
                if not data:
                    break
                for frame in decoder.feed(data):
                    request = Request(self, number, connection, frame.opcode, frame.payload, caller_id)
                    self.requests.append(request)
                    self._answer(request)
            self._open.remove(connection)

    def _answer(self, request: Request) -> None:
        body = None if self.script is None else self.script(request)
        if body is UNANSWERED:
            return
        if body is not None:
            request.answer(body)
        elif request.opcode == SyscallOp.SYS_NOOP:
            request.answer_raw(request.payload)
        else:
            request.answer({"success": True})
