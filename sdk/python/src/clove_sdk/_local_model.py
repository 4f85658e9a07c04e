"""A model of one's own: a service process that answers line by line. Loaded when first asked: few programs need it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
from typing import Any

from ._connecting import Deadline
from ._think import with_content
from .exceptions import TimeoutError

_MAX_LINE_BYTES = 64 * 1024 * 1024


def _failed(error: str) -> dict[str, Any]:
    return {"success": False, "content": "", "error": error}


class LocalModel:
    """The service process: started when first asked, again when it has died. One question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, path: str, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Raises `TimeoutError`; then the process is ended, since its late answer would be taken for another's."""
        deadline = Deadline(timeout)
        # JSON text has no raw newlines: one question stays one line.
        line = json.dumps(request, allow_nan=False).encode("utf-8") + b"\n"
        remaining = deadline.remaining()
        if not self._lock.acquire(timeout=-1 if remaining is None else remaining):
            raise deadline.passed()
        try:
            process = self._started(path)
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
            reply = json.loads(self._read_line(process, deadline))
            if not isinstance(reply, dict):
                raise ValueError("not an object")
            return with_content(reply)
        except TimeoutError:
            self._end()
            raise
        except (OSError, ValueError) as error:
            self._end()
            return _failed(f"LLM service {path}: {error}")
        except BaseException:
            self._end()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _started(self, path: str) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, path] if path.endswith(".py") else [path]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _read_line(self, process: subprocess.Popen[bytes], deadline: Deadline) -> bytes:
        assert process.stdout is not None
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                if not selector.select(deadline.left()):
                    raise deadline.passed()
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    raise OSError("it ended without an answer")
                received += chunk
                if len(received) > _MAX_LINE_BYTES:
                    raise OSError(f"its answer is larger than {_MAX_LINE_BYTES} bytes")
        return bytes(received)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()
