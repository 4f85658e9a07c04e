"""The wheel: it builds, installs without anything else, and is typed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import clove_sdk

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "clove_sdk"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed: pip install hatchling")
    # Built from a copy: a build must not depend on what else is in the folder, nor leave anything there.
    folder = tmp_path_factory.mktemp("wheel")
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(project)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == "clove_sdk-0.1.0-py3-none-any.whl"
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in inside if name.startswith("clove_sdk/")}
    assert package == {
        f"clove_sdk/{path.relative_to(SOURCE)}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "clove_sdk/py.typed" in package
    assert all(name.startswith("clove_sdk-0.1.0.dist-info/") for name in inside - package)
    metadata = zipfile.ZipFile(wheel).read("clove_sdk-0.1.0.dist-info/METADATA").decode()
    assert "\nName: clove-sdk\nVersion: 0.1.0\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert [line for line in required if "extra ==" not in line] == []


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder)
    found = folder / "bin" / "python"
    install = [
        "-m",
        "pip",
        "--python",
        str(found),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    return found


def test_the_wheel_installs_and_works_alone(python: Path) -> None:
    code = "import clove_sdk; print(clove_sdk.__version__, clove_sdk.__file__)"
    run = subprocess.run(
        [python, "-I", "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    version, file = run.stdout.split()
    assert version == "0.1.0"
    assert file.startswith(str(python.parents[1]))


#: Every "type: ignore" must be needed: each stands for a mistake that the types find.
USER = """
import asyncio
from clove_sdk import AgentExit, AgentInfo, AsyncCloveClient, CloveClient, FetchResult, IPCMessage, KernelInfo

with CloveClient(timeout=None, raise_errors=True) as client:
    info: KernelInfo = client.hello()
    agents: list[AgentInfo] = client.list_agents()
    ended: AgentExit = client.with_timeout(5).wait_agent("name", timeout=1.5)
    message: IPCMessage = next(client.messages())
    print(info.version, info["features"], client.fetch("k").raise_for_error().value, client.echo("x").upper())
    client.spawn(nam="x")  # type: ignore[call-arg]
    client.kill(agent_id="4")  # type: ignore[arg-type]
    wrong: str = client.hello()  # type: ignore[assignment]


async def main() -> None:
    async with AsyncCloveClient() as client:
        found: FetchResult = await client.fetch("k", scope="agent")
        client.fetch("k")  # type: ignore[unused-coroutine]
        async for event in client.events(timeout=1):
            print(event.event_type, found.value)


asyncio.run(main())
"""


def test_types_are_seen_from_outside(python: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the type checker is not installed: pip install mypy")
    program = tmp_path / "user.py"
    program.write_text(USER)
    options = ["--strict", "--config-file=", "--cache-dir=/dev/null", "--python-executable", str(python)]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_version_is_said_once_more_and_alike() -> None:
    assert f'\nversion = "{clove_sdk.__version__}"\n' in (PROJECT / "pyproject.toml").read_text()
