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


def test_the_wheel_installs_and_works_alone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    install = [
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    code = "import clove_sdk; print(clove_sdk.__version__, clove_sdk.__file__)"
    run = subprocess.run(
        [python, "-I", "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    version, file = run.stdout.split()
    assert version == "0.1.0"
    assert file.startswith(str(tmp_path))


def test_the_version_is_said_once_more_and_alike() -> None:
    assert f'\nversion = "{clove_sdk.__version__}"\n' in (PROJECT / "pyproject.toml").read_text()
