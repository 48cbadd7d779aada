"""One network trained on two machines, which are two agents of torchrun's on this one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fercli.model_files import find_model

Node = subprocess.Popen[str]
StartNode = Callable[..., Node]

TRAIN = [
    "train", "--data", "synthetic:400", "--recipe", "fast", "--batch-size", "33", "--device", "cpu",
    "--set", "widths=8,16", "--set", "stem_width=8", "--dropout", "0.3", "--json",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes through /proc"),
]


def find_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    nodes: list[Node] = []

    def start(port: int, *words: str, folder: Path = tmp_path, restarts: int = 3) -> Node:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        torchrun += ["--nproc-per-node", "1", "--max-restarts", f"{restarts}"]
        torchrun += [
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            f"127.0.0.1:{port}",
            "--rdzv-id",
            "job",
            "-m",
            "fercli",
        ]
        nodes.append(
            subprocess.Popen(
                [*torchrun, *TRAIN, *words],
                cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return nodes[-1]

    yield start
    for node in nodes:
        if node.poll() is None:
            kill(node)
            node.communicate()


def list_children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def kill(node: Node) -> None:
    """End an agent and its worker, as a power cut does."""
    children = list_children(node.pid)
    for process in (node.pid, *children):
        os.kill(process, signal.SIGKILL)


def count_epochs(run: Path) -> int:
    metrics = run / "metrics.csv"
    return len(metrics.read_text(encoding="utf-8").splitlines()) - 1 if metrics.exists() else 0


def finish(nodes: list[Node], again: Callable[[], Node]) -> list[str]:
    """Wait for the nodes; one that fails is started again, as a scheduler would."""
    said: list[str] = []
    waiting, n_started = list(nodes), 0
    deadline = time.monotonic() + 900
    while waiting:
        assert time.monotonic() < deadline, said
        node = next((one for one in waiting if one.poll() is not None), None)
        if node is None:
            time.sleep(0.2)
            continue
        waiting.remove(node)
        output, errors = node.communicate()
        said.append(output if node.returncode == 0 else errors)
        if node.returncode:
            n_started += 1
            assert n_started < 5, said
            waiting.append(again())
    return said


@pytest.mark.parametrize("victim", [0, 1], ids=["the one that others meet at", "another"])
def test_a_node_that_was_killed_and_comes_back_changes_nothing(
    tmp_path: Path, start_node: StartNode, victim: int
) -> None:
    words = ("--epochs", "60", "--output", "cut", "--resume", "cut")
    whole = ("--epochs", "60", "--output", "whole")
    port = find_port()
    finish([start_node(port, *whole), start_node(port, *whole)], lambda: pytest.fail("no restart"))
    port = find_port()
    nodes = [start_node(port, *words)]
    time.sleep(1)
    nodes.append(start_node(port, *words))
    deadline = time.monotonic() + 200
    while count_epochs(tmp_path / "cut") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    kill(nodes[victim])
    said = finish(nodes, lambda: start_node(port, *words))

    assert any('"epochs": 60' in text for text in said)
    assert "resumed from" in (tmp_path / "cut" / "log.txt").read_text(encoding="utf-8")
    digests = [find_model(str(tmp_path / name)).compute_digest() for name in ("cut", "whole")]
    assert digests[0] == digests[1]


def test_other_options_on_another_node_are_refused(start_node: StartNode) -> None:
    port = find_port()
    nodes = [
        start_node(port, "--epochs", epochs, "--output", "run", restarts=0) for epochs in ("1", "2")
    ]

    errors = "".join(node.communicate()[1] for node in nodes)

    assert "was given epochs" in errors
    assert "the same command, data and fercli" in errors
    assert all(node.returncode for node in nodes)


def test_a_run_folder_that_is_not_shared_is_refused(tmp_path: Path, start_node: StartNode) -> None:
    port = find_port()
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    nodes = [
        start_node(port, "--epochs", "1", "--output", "run", folder=folder, restarts=0)
        for folder in folders
    ]

    said = [node.communicate() for node in nodes]

    assert "cannot be found by process 1" in said[0][1] + said[1][1]
    refused = [json.loads(line) for out, _ in said for line in out.splitlines()]
    assert {one["exit_code"] for one in refused} == {2}
    assert not list(tmp_path.glob("*/run/model.safetensors"))
