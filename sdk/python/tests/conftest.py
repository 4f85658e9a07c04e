from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from clove_sdk import CloveClient
from fake_kernel import FakeKernel, Script

# Every run looks at other cases and leaves nothing behind.
_home = tempfile.TemporaryDirectory(prefix="clove-hypothesis-")
atexit.register(_home.cleanup)
set_hypothesis_home_dir(_home.name)
settings.register_profile("clove", database=None, deadline=None)
settings.load_profile("clove")

MakeKernel = Callable[..., FakeKernel]


@pytest.fixture(autouse=True)
def _no_sockets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOVE_SOCKET", raising=False)
    monkeypatch.delenv("CLOVE_LLM_SERVICE_PATH", raising=False)


@pytest.fixture
def make_kernel() -> Iterator[MakeKernel]:
    """Makes fake kernels; ends them after the test."""
    kernels: list[FakeKernel] = []

    def make(script: Script | None = None, shared_identity: bool = True) -> FakeKernel:
        kernel = FakeKernel(script, shared_identity).start()
        kernels.append(kernel)
        return kernel

    yield make
    for kernel in kernels:
        kernel.close()


@pytest.fixture
def socket_path() -> str:
    """Of a real kernel."""
    path = os.environ.get("CLOVE_TEST_SOCKET")
    if not path:
        pytest.skip(
            "no kernel to test with: CLOVE_TEST_SOCKET is not set (npm test -- test/python-sdk sets it)"
        )
    return path


@pytest.fixture
def clove(socket_path: str) -> Iterator[CloveClient]:
    """An operator's client of a real kernel."""
    with CloveClient(socket_path) as client:
        yield client
