"""The examples of the README run, and its reference names every method."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clove_sdk
from clove_sdk import AsyncCloveClient, CloveClient, exceptions

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
#: What each prints, in order.
EXPECTED = [
    "",
    "exited 3 working\n\nboss {'job': 1}\n",
    "[0, 1, 2]\n",
    'False False None\nno such key: no-such-key\nFalse invalid request: unknown scope "nowhere"\n'
    'refused: invalid request: unknown scope "nowhere"\n',
    # Depends on the model.
    r"(True 5|False .+)\n",
    "0.1.0\n\n",
    "(8, 7) 1\n",
]


def test_every_example_is_expected_to_print_something() -> None:
    assert len(EXAMPLES) == len(EXPECTED)


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_an_example_runs(number: int, socket_path: str) -> None:
    source = str(Path(clove_sdk.__file__).parents[1])
    environment = {"PATH": os.environ["PATH"], "CLOVE_SOCKET": socket_path, "PYTHONPATH": source}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = EXPECTED[number]
    assert run.stdout == expected or (expected.startswith("(True") and re.fullmatch(expected, run.stdout))


def test_the_reference_names_every_method() -> None:
    reference = README[README.index("## Methods") :]
    for kind in (CloveClient, AsyncCloveClient):
        names = [name for name in dir(kind) if not name.startswith("_")]
        assert [name for name in names if not re.search(rf"`?\b{name}\b[(`]", reference)] == []


def test_the_reference_names_every_exception() -> None:
    names = [
        name
        for name, each in inspect.getmembers(exceptions, inspect.isclass)
        if each.__module__ == exceptions.__name__
    ]
    assert [name for name in names if f"`{name}`" not in README] == []


def test_it_names_no_method_that_is_not_there() -> None:
    reference = README[README.index("## Methods") : README.index("## A model that works")]
    mentioned = set(re.findall(r"`([a-z_]+)\(", reference))
    assert [name for name in mentioned if not hasattr(CloveClient, name)] == []
