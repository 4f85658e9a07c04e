"""Python agents in a real sandbox that use the SDK without an installation: this very folder is mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import clove_sdk
from clove_sdk import AgentExit, CloveClient

PACKAGE = Path(clove_sdk.__file__).parent
#: Where it is inside; these tests are about this folder, whatever the kernel would give its agents.
INSIDE = "/opt/python"


@pytest.fixture
def run_agent(clove: CloveClient, tmp_path: Path) -> Any:
    # Scripts in a closed folder are copied for the agent; those of these tests import nothing from beside them.
    def run(source: str, **options: Any) -> tuple[AgentExit, str]:
        script = tmp_path / "agent.py"
        script.write_text(source)
        spawned = clove.spawn(
            None,
            str(script),
            python="/usr/bin/python3",
            mounts=[{"source": str(PACKAGE), "target": f"{INSIDE}/clove_sdk"}],
            env={"PYTHONPATH": INSIDE, "PYTHONDONTWRITEBYTECODE": "1"},
            **options,
        )
        assert spawned.success, spawned.error
        ended = clove.wait_agent(agent_id=spawned.agent_id, timeout=60)
        logs = clove.logs(agent_id=spawned.agent_id)
        assert ended.exit_code == 0, logs.stderr
        return ended, logs.stdout

    if not Path("/usr/bin/python3").exists():
        pytest.skip("no Python that a sandbox can see: /usr/bin/python3 is not there")
    return run


def test_three_lines_are_an_agent(run_agent: Any, clove: CloveClient) -> None:
    ended, _ = run_agent(
        "from clove_sdk import CloveClient\n"
        "with CloveClient() as clove:\n"
        "    clove.store('greeting', f'hello from {clove.hello().agent_id}')\n"
    )
    assert clove.fetch_value("greeting") == f"hello from {ended.agent_id}"
    clove.delete_key("greeting")


def test_an_agent_is_refused_what_it_may_not_do(run_agent: Any) -> None:
    _, output = run_agent(
        "from clove_sdk import *\n"
        "with CloveClient() as clove:\n"
        "    try:\n"
        "        clove.kill('anybody')\n"
        "    except PermissionDenied as error:\n"
        "        print('refused', error.code)\n"
        "    print(clove.spawn('x', command=['true']).error)\n"
    )
    assert output.splitlines()[0] == "refused FORBIDDEN"
    assert "Permission denied" in output.splitlines()[1]


def test_an_agent_waits_for_messages_while_its_threads_work(run_agent: Any, clove: CloveClient) -> None:
    clove.register_name("boss")
    _, output = run_agent(
        "import threading\n"
        "from clove_sdk import CloveClient\n"
        "with CloveClient() as clove:\n"
        "    me = clove.hello().agent_id\n"
        "    got = []\n"
        "    waiter = threading.Thread(target=lambda: got.extend(clove.recv_messages(wait=True).messages))\n"
        "    waiter.start()\n"
        "    results = [clove.exec('echo $((1+1))').raise_for_error().stdout.strip() for _ in range(3)]\n"
        "    clove.send_message('to myself', to=me)\n"
        "    waiter.join()\n"
        "    clove.send_message('ready', to_name='boss')\n"
        "    print(results, [m.message for m in got])\n"
    )
    assert output.strip() == "['2', '2', '2'] ['to myself']"
    assert clove.recv_messages(wait=True, timeout=10).messages[0].message == "ready"


def test_an_agent_may_use_asyncio(run_agent: Any) -> None:
    _, output = run_agent(
        "import asyncio\n"
        "from clove_sdk import AsyncCloveClient\n"
        "async def main():\n"
        "    async with AsyncCloveClient() as clove:\n"
        "        me = (await clove.hello()).agent_id\n"
        "        task = asyncio.ensure_future(clove.recv_messages(wait=True))\n"
        "        texts = await asyncio.gather(*(clove.echo(str(n)) for n in range(3)))\n"
        "        await clove.send_message('x', to=me)\n"
        "        print(texts, [m.message for m in (await task).messages])\n"
        "asyncio.run(main())\n"
    )
    assert output.strip() == "['0', '1', '2'] ['x']"


def test_the_package_needs_nothing_but_itself() -> None:
    files = [path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts and path.is_file()]
    assert {path.suffix for path in files} == {".py", ".typed"}
