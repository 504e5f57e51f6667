"""What make says and does on a machine that lacks something."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTHING_BUT = ("bash", "sed", "git", "make", "dirname", "realpath", "sh")


def venv(directory: pathlib.Path, python: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MAKECMDGOALS": "demo"}
    return subprocess.run(
        ["hack/venv", directory, python],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def program(path: pathlib.Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_is_told_with_the_one_that_is_needed(tmp_path: pathlib.Path) -> None:
    old = program(tmp_path / "python3", "echo 3.10")
    done = venv(tmp_path / "venv", old)
    assert done.returncode == 1
    assert f"natsscaler needs Python 3.11 or newer, and {old} is 3.10: name another one" in done.stderr
    assert "make PYTHON=python3." in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    assert "no-such-python is missing: name another one" in venv(tmp_path / "venv", "no-such-python").stderr


def test_a_virtual_environment_of_another_python_is_made_anew(tmp_path: pathlib.Path) -> None:
    program(tmp_path / "venv/bin/python", "echo 3.10")
    done = venv(tmp_path / "venv", sys.executable)
    assert done.returncode == 0, done.stderr
    assert "Making a virtual environment of Python" in done.stdout
    made = tmp_path / "venv/bin/python"
    assert subprocess.run([made, "-c", "import pip"], check=False).returncode == 0
    (tmp_path / "venv/mark").touch()
    assert venv(tmp_path / "venv", sys.executable).stdout == ""
    assert (tmp_path / "venv/mark").exists(), "one of the same Python stays"


def test_the_local_stack_says_that_kind_is_missing_before_it_builds_anything(tmp_path: pathlib.Path) -> None:
    for name in NOTHING_BUT:
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.fail(f"there is no {name} here"))
    for name in ("docker", "kubectl"):
        program(tmp_path / name, f"echo {name} $* >>{tmp_path}/called")
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["make", "up"], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode
    assert "stack: kind is missing: https://kind.sigs.k8s.io" in done.stderr
    called = (tmp_path / "called").read_text() if (tmp_path / "called").exists() else ""
    assert "build" not in called


def test_ctrl_c_in_the_demo_is_no_error_of_make(tmp_path: pathlib.Path) -> None:
    program(
        tmp_path / "bin/natsscaler",
        "trap 'echo summed up; exit 130' INT; echo begun; while :; do sleep 0.1; done",
    )
    (tmp_path / "demo").touch()
    command = ["make", "--no-print-directory", "-o", f"{tmp_path}/demo", f"VENV={tmp_path}", "demo"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as made:
        assert made.stdout
        assert made.stdout.readline() == "begun\n"
        os.killpg(made.pid, signal.SIGINT)  # as a terminal does
        assert made.stdout.read() == "summed up\n"
