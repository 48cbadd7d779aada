from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from typer.testing import Result

from fercli.errors import ModelFileError
from fercli.runs import RunFolder, read_run_record
from fercli.storage import read_tensor_header

if TYPE_CHECKING:
    from fercli.data import Dataset

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.usefixtures("weights_alone")

SMALL = [
    "--recipe", "fast", "--epochs", 2, "--batch-size", 60, "--device", "cpu",
    "--set", "widths=8", "--set", "stem_width=4",
]  # fmt: skip

WHOLE = ["--recipe", "fast", "--epochs", 1, "--batch-size", 60, "--device", "cpu"]
"""`SMALL` with the recipe's own network, or that of another model."""


def test_a_run_folder_holds_what_is_promised(trained: RunFolder) -> None:
    names = {path.name for path in trained.path.iterdir()} - {"scores.jsonl"}
    rows = trained.metrics.read_text().splitlines()

    assert names == {
        "run.json", "metrics.csv", "curves.png", "log.txt", "checkpoints", "model.safetensors",
        "model.onnx", "train-digests.safetensors",
    }  # fmt: skip
    assert rows[0] == (
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,"
        "images_per_s,duration_s"
    )
    assert len(rows) == 3
    record = json.loads(trained.record.read_text())
    assert record["finished_at"]
    assert record["config"]["epochs"] == 2
    assert record["dataset"]["sha256"]


def test_every_problem_is_named_at_once(run: Run) -> None:
    result = run(
        "train", "--recipe", "fsat", "--epochs", 0, "--learning-rate", -1, "--network", "cn",
        "--set", "erasin=0.3", "--set", "dropout=2",
    )  # fmt: skip

    assert result.exit_code == 2
    for text in ("'fast'", "epochs must", "learning_rate must", "'cnn'", "'erasing'", "dropout"):
        assert text in result.stderr


def test_batches_larger_than_the_split_are_refused(run: Run, dataset_path: Path) -> None:
    result = run("train", "--data", dataset_path, "--batch-size", 481)

    assert result.exit_code == 2
    assert "480 training images" in result.stderr


def test_all_that_is_wrong_is_named_at_once(run: Run, dataset_path: Path) -> None:
    result = run(
        "train", "--data", dataset_path, "--epochs", 0, "--learning-rate", 0, "--members", 1
    )

    assert result.exit_code == 2
    for text in ("epochs must", "learning_rate must", "members must"):
        assert result.stderr.count(text) == 1, text


def test_a_missing_teacher_is_exit_4(run: Run, dataset_path: Path, tmp_path: Path) -> None:
    words = ("train", "--data", dataset_path, *SMALL, "--output", tmp_path / "student")
    result = run(*words, "--teacher", "nobody.onnx")

    assert result.exit_code == 4
    assert not (tmp_path / "student").exists()
    assert run(*words, "--teacher", "nobody.onnx", "--members", 2).exit_code == 2


def test_pretrained_weights_that_cannot_be_used(run: Run, dataset_path: Path) -> None:
    words = ("train", "--data", dataset_path, *SMALL, "--output", "small")
    refused = run(*words, "--pretrained")
    missing = run(*words, "--network", "resnet18", "--set", "pretrained_weights=nowhere.pth")

    assert refused.exit_code == 2
    assert "cnn has no pretrained weights: choose from resnet18, vgg11_bn" in refused.stderr
    assert missing.exit_code == 4
    assert "nowhere.pth" in missing.stderr
    assert not Path("small").exists()
    lonely = run(*words, "--network", "resnet18", "--set", "freeze_epochs=1")
    assert lonely.exit_code == 2


def test_a_model_is_fine_tuned(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "source")
    words = ("train", "--data", dataset_path, *WHOLE, "--init", "source")
    plan = run_json(*words, "--dry-run")["data"]["config"]
    assert (plan["widths"], plan["init"]) == ([8, 16], str(Path("source").resolve()))

    result = run(*words, "--output", "own", "--set", "trunk_ratio=0.1", "--set", "freeze_epochs=1")

    assert result.exit_code == 0, result.output
    note = "began with source, its last layer kept: the labels are the same"
    assert note in result.stderr
    assert note in Path("own/log.txt").read_text()
    assert "source, its last layer kept; chosen on public" in run("info", "own").stdout
    shutil.rmtree("source")
    assert run("train", "--resume", "own", "--init", "source").exit_code == 0
    assert run("train", "--resume", "own", "--init", "other").exit_code == 2


def test_what_cannot_be_fine_tuned_is_said(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    words = ("train", "--data", dataset_path, *WHOLE, "--output", "own", "--init")
    onnx = run(*words, trained.onnx)
    missing = run(*words, "nowhere")
    other = run(*words, trained.path, "--set", "widths=8", "--network", "separable")
    both = run(*words, "nowhere", "--epochs", 0)

    assert (onnx.exit_code, missing.exit_code, other.exit_code, both.exit_code) == (4, 4, 2, 2)
    assert "an ONNX file, which can be used but not trained" in onnx.stderr
    assert "name a run folder, or the model.safetensors in one" in onnx.stderr
    assert "has network=cnn, widths=8,16, and not network=separable, widths=8" in other.stderr
    assert "hint: leave network, widths out: --init decides that" in other.stderr
    assert "epochs must" in both.stderr
    assert not Path("own").exists()


def test_members_stay_within_their_run(run: Run, run_json: RunJson, dataset_path: Path) -> None:
    words = ("train", "--data", dataset_path, *SMALL, "--epochs", 1, "--output", "runs/small")
    data = run_json(*words, "--members", 2)["data"]

    assert data["members"] == 2
    assert {path.name for path in Path("runs/small/members").iterdir()} == {"1", "2"}
    assert run("evaluate", "--data", dataset_path).exit_code == 0
    assert run(*words, "--force").exit_code == 0
    assert not list(Path("runs/small/members").glob("*/model.safetensors"))


def test_members_left_by_a_killed_removal_are_cleared(run: Run, dataset_path: Path) -> None:
    words = ("train", "--data", dataset_path, *SMALL, "--epochs", 1, "--output", "runs/small")
    assert run(*words, "--members", 2).exit_code == 0
    Path("runs/small/members/1/run.json").unlink()

    assert run(*words, "--force").exit_code == 0
    assert not list(Path("runs/small/members").glob("*/checkpoints/*"))


def test_a_teacher_may_be_named_again_on_resume(
    run: Run, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "teacher")
    words = ("train", "--data", dataset_path, *SMALL, "--output", "runs/student")
    assert run(*words, "--set", "teacher=teacher").exit_code == 0
    shutil.rmtree("teacher")

    assert run("train", "--resume", "runs/student", "--teacher", "teacher").exit_code == 0
    assert run("train", "--resume", "runs/student", "--teacher", "other").exit_code == 2
    record = json.loads(Path("runs/student/run.json").read_text())
    (named,) = record["config"]["teacher"]
    assert Path(named).is_absolute()
    assert record["teachers"][0]["model"] == "teacher"
    assert "trained: teachers" in run("info", "runs/student").stdout


def test_private_never_chooses(run: Run, dataset_path: Path) -> None:
    for split in ("private", "test", "train"):
        assert run("train", "--data", dataset_path, "--validation", split).exit_code == 2
    assert run("train", "--data", dataset_path, "--validation", "dev").exit_code == 3
    assert run("train", "--data", dataset_path, "--validation", "0.9").exit_code == 2


def test_dry_run_runs_nothing(run_json: RunJson, dataset_path: Path) -> None:
    data = run_json("train", "--data", dataset_path, *SMALL, "--dry-run")["data"]

    assert data["steps_per_epoch"] == 8
    assert data["config"]["widths"] == [8]
    assert not Path("runs").exists()


def test_precedence(run_json: RunJson, dataset_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my.toml").write_text('recipe = "fast"\nepochs = 3\nseed = 3\n[augment]\nerasing = 0.5\n')
    monkeypatch.setenv("FERCLI_DEVICE", "cpu")

    data = run_json(
        "train", "--data", dataset_path, "--config", "my.toml", "--set", "epochs=4",
        "--set", "seed=4", "--seed", 5, "--batch-size", 60, "--dry-run",
    )["data"]  # fmt: skip

    config = data["config"]
    assert (config["recipe"], config["epochs"], config["seed"]) == ("fast", 4, 5)
    assert (config["erasing"], config["device"]) == (0.5, "cpu")


NO_CONFIG = "cannot be read as a configuration"
NO_RUN = "is not the run.json of a run"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.toml", None, "missing.toml: No such file or directory"),
        ("missing.json", None, "missing.json: No such file or directory"),
        (".", None, ".: Is a directory"),
        ("folder.json/", None, "folder.json: Is a directory"),
        (
            "my.toml",
            b"epochs = = 3\n",
            f"my.toml {NO_CONFIG} (Invalid value (at line 1, column 10))",
        ),
        ("torn.json", b"", f"torn.json {NO_CONFIG} (Expecting value: line 1 column 1 (char 0))"),
        (
            "odd.json",
            b'{"epochs": 3}',
            f"odd.json {NO_RUN} (odd.json: it is not a fercli run)",
        ),
        (
            "my.toml",
            b"\xff",
            (
                f"my.toml {NO_CONFIG} ('utf-8' codec can't decode byte 0xff in position 0: "
                "invalid start byte)"
            ),
        ),
        (
            "list.json",
            b"[3]",
            f"list.json {NO_RUN} (list.json: its metadata must be an object, not a list)",
        ),
    ],
)
def test_a_config_that_cannot_be_read_says_why(
    run: Run, run_json: RunJson, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    elif name.endswith("/"):
        Path(name).mkdir()
    words = ["train", "--data", "synthetic:100", "--config", name, "--output", "new"]

    result = run(*words)
    (error,) = run_json(*words, status=2)["errors"]

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"error: {sentence}\n"
    assert error == {"code": "config", "message": sentence, "hint": ""}
    assert not Path("new").exists()


def test_a_key_in_two_tables_is_refused(run: Run, dataset_path: Path) -> None:
    Path("my.toml").write_text("[a]\nepochs = 3\n[b]\nepochs = 4\n")

    result = run("train", "--data", dataset_path, "--config", "my.toml", "--dry-run")

    assert result.exit_code == 2
    assert "my.toml has epochs twice" in result.stderr


def test_a_run_is_repeated_on_its_own_data(run: Run, dataset_path: Path) -> None:
    words = ["train", *SMALL, "--epochs", 1, "--set", "sizes_px=48"]
    assert run(*words, "--data", dataset_path, "--output", "first").exit_code == 0
    record = Path("first/run.json")

    repeated = run("train", "--config", record, "--output", "second")
    assert repeated.exit_code == 0
    assert "other data" not in repeated.stderr
    digests = [RunFolder(Path(name)).model.read_bytes() for name in ("first", "second")]
    assert digests[0] == digests[1]

    dataset = json.loads(record.read_text())
    dataset["dataset"]["sha256"] = "0" * 64
    record.write_text(json.dumps(dataset))
    elsewhere = run("train", "--config", record, "--output", "third")
    assert elsewhere.exit_code == 0
    assert "was trained on other data" in elsewhere.stderr


@pytest.fixture
def older_run(trained: RunFolder, dataset_path: Path, tmp_path: Path) -> RunFolder:
    """A finished run of an older version, with a field and a value that were removed since."""
    old = RunFolder(tmp_path / "runs" / "old")
    shutil.copytree(trained.path, old.path)
    record = json.loads(old.record.read_text())
    record["config"] |= {"views": 2, "average": "lookahead"}
    record["dataset"]["data"] = str(dataset_path)
    old.record.write_text(json.dumps(record))
    return old


def test_a_run_with_removed_options_is_read(
    run: Run, older_run: RunFolder, trained: RunFolder, dataset_path: Path, face_files: Path
) -> None:
    path = older_run.path
    assert run("predict", face_files, "--model", path).exit_code == 0
    assert run("evaluate", path, "--data", dataset_path).exit_code == 0
    assert run("info", path, "--card", "CARD.md").exit_code == 0
    compared = run("compare", path, trained.path, "--data", dataset_path)
    assert compared.exit_code == 0
    assert "lookahead" in compared.stdout


def test_a_run_with_removed_options_is_not_repeated(run: Run, older_run: RunFolder) -> None:
    repeated = run("train", "--config", older_run.record, "--output", "again")
    older_run.model.unlink()
    resumed = run("train", "--resume", older_run.path)

    for refused in (repeated, resumed):
        assert refused.exit_code == 2
        assert "views=2 was removed" in refused.stderr
        assert "average=lookahead was removed" in refused.stderr


def test_too_few_images_are_refused(run: Run, faces: Dataset) -> None:
    for label in ("calm", "tense"):
        Path(f"own/{label}").mkdir(parents=True)
    for number, label in enumerate(("calm", "tense")):
        Image.fromarray(faces.images[number]).save(f"own/{label}/0.png")
    assert run("data", "prepare", "own", "--output", "own.safetensors").exit_code == 0

    result = run("train", "--data", "own.safetensors", *SMALL)

    assert result.exit_code == 3
    assert "too few" in result.stderr


def test_a_runs_record_is_a_configuration(
    run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    data = run_json("train", "--data", dataset_path, "--config", trained.record, "--dry-run")[
        "data"
    ]

    assert data["config"] == json.loads(trained.record.read_text())["config"]


def test_run_folders_are_numbered(run_json: RunJson, dataset_path: Path) -> None:
    folders = [
        run_json("train", "--data", dataset_path, *SMALL, "--epochs", 1)["data"]["run_directory"]
        for _ in range(2)
    ]

    assert folders == ["runs/fast", "runs/fast-2"]


def test_a_finished_run_is_not_overwritten(run: Run, trained: RunFolder) -> None:
    result = run("train", "--data", "synthetic:100", "--output", trained.path)

    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_force_removes_an_older_run_only_for_one_that_can_start(
    run: Run, trained: RunFolder, dataset_path: Path, tmp_path: Path
) -> None:
    old = RunFolder(tmp_path / "old")
    shutil.copytree(trained.path, old.path)
    words = ["train", "--data", dataset_path, *SMALL, "--output", old.path, "--force"]

    assert run(*words, "--batch-size", 5000).exit_code == 2
    assert run(*words, "--validation", "dev").exit_code == 3
    assert run(*words, "--device", "cuda:99").exit_code == 5
    assert run(*words, "--teacher", "nobody").exit_code == 4
    for teacher in (old.path, old.model):
        assert run(*words, "--teacher", teacher).exit_code == 2
    assert old.model.exists()
    assert run(*words).exit_code == 0


def test_contradictions_are_refused(run: Run, trained: RunFolder, dataset_path: Path) -> None:
    words = ["train", "--data", dataset_path]

    assert run(*words, "--recipe", "notebook", "--config", trained.record).exit_code == 2
    assert run(*words, "--set", "recipe=fast").exit_code == 2
    assert run("train", "--resume", trained.path, "--dry-run").exit_code == 2
    assert run("train", "--resume", trained.path, "--device", "auto").exit_code == 0


@pytest.mark.usefixtures("weights_alone")
def test_a_command_that_is_started_again_goes_on(run: Run, dataset_path: Path) -> None:
    words = [
        "train", "--data", dataset_path, "--recipe", "fast", "--epochs", 1, "--batch-size", 100,
        "--set", "widths=8", "--set", "stem_width=4", "--device", "cpu", "--output", "job",
        "--resume", "./job",
    ]  # fmt: skip
    assert run(*words).exit_code == 0
    model = Path("job/model.safetensors").read_bytes()

    again = run(*words)

    assert again.exit_code == 0
    assert "job is finished already" in again.stderr
    assert Path("job/model.safetensors").read_bytes() == model
    other = run(*words, "--seed", 3)
    assert other.exit_code == 2
    assert "seed is 3 now, but job was started with 0" in other.stderr
    assert run(*words, "--force").exit_code == 2
    assert run(*words[:-1], "elsewhere").exit_code == 4


def test_a_fraction_of_train_is_said_aloud(run: Run, dataset_path: Path) -> None:
    result = run("train", "--data", dataset_path, *SMALL, "--epochs", 1, "--validation", "0.2")

    assert result.exit_code == 0
    assert "a stratified 0.2 of train" in result.stderr


def test_resume_of_a_finished_run_says_so(run: Run, trained: RunFolder) -> None:
    result = run("train", "--resume", trained.path)

    assert result.exit_code == 0
    assert "finished already" in result.stderr


@pytest.mark.usefixtures("weights_alone")
def test_a_finished_run_is_given_more_epochs(
    run: Run, run_json: RunJson, trained: RunFolder, dataset_path: Path
) -> None:
    shutil.copytree(trained.path, "mine")
    model = Path("mine/model.safetensors").read_bytes()
    words = ["train", "--resume", "mine", "--data", dataset_path, "--epochs"]

    data = run_json(*words, 3)["data"]

    assert (data["run_directory"], data["epochs"]) == ("mine-3-epochs", 3)
    assert Path("mine/model.safetensors").read_bytes() == model
    assert json.loads(Path("mine-3-epochs/run.json").read_text())["extends"]["run"] == "mine"
    again = run(*words, 3)
    assert again.exit_code == 0
    assert "on a schedule of that many" in again.stderr
    assert Path("mine-3-epochs-2/model.safetensors").exists()
    assert run(*words, 3, "--output", "mine-3-epochs").exit_code == 2
    fewer = run(*words, 1)
    assert fewer.exit_code == 2
    assert "already has 2 epochs" in fewer.stderr
    assert run(*words, 2).exit_code == 0


def test_resume_refuses_what_would_change_the_result(run: Run, trained: RunFolder) -> None:
    result = run("train", "--resume", trained.path, "--epochs", 5, "--set", "seed=1")

    assert result.exit_code == 2
    assert "seed cannot be changed when a run gets more epochs" in result.stderr
    assert run("train", "--resume", trained.path, "--epochs", 2).exit_code == 0


def test_resume_refuses_other_data(run: Run, trained: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(trained.path, copy.path)
    copy.model.unlink()

    assert run("train", "--resume", copy.path, "--data", "synthetic:100").exit_code == 4


def test_resume_of_what_is_no_run(run: Run, tmp_path: Path) -> None:
    assert run("train", "--resume", tmp_path).exit_code == 4


def test_missing_devices_are_refused(run: Run, dataset_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")

    result = run("train", "--data", dataset_path, *SMALL, "--device", "cuda")

    assert result.exit_code == 5
    assert "no CUDA device" in result.stderr


def test_a_run_whose_device_is_gone_is_not_sent_to_another(
    run: Run, trained: RunFolder, dataset_path: Path, tmp_path: Path
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    record = json.loads(trained.record.read_text())
    del record["result"], record["finished_at"]

    for processes in (1, 2):
        gone = {**record, "processes": processes, "config": {**record["config"], "device": "cuda"}}
        begun.record.write_text(json.dumps(gone))
        result = run("train", "--resume", begun.path)

        assert result.exit_code == 5
        assert "no CUDA device" in result.stderr
        assert f"begin anew: fer train --config {begun.record} --device cpu" in result.stderr

    anew = ["train", "--config", begun.record, "--device", "cpu", "--output", tmp_path / "anew"]
    assert run(*anew, "--data", dataset_path).exit_code == 0


def test_a_gpu_without_kernels_is_passed_over_aloud(
    run: Run, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _index: "Tesla P100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index: (6, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    # Exports ask for devices, too, and nothing here looks at them.
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    words = ["train", "--data", dataset_path, *SMALL[:6], *SMALL[8:]]

    passed = run(*words, "--output", "passed")
    refused = run(*words, "--output", "refused", "--device", "cuda")
    told = run("info")

    missing = (
        "this torch has no kernels for cuda:0 (Tesla P100): its compute capability is 6.0, "
        "that of the kernels 7.5, 9.0"
    )
    assert passed.exit_code == 0
    assert f"{missing}; training on cpu instead" in passed.stderr
    assert refused.exit_code == 5
    assert f"error: {missing}\n" in refused.stderr
    assert not Path("refused").exists()
    assert missing in told.stderr


def test_processes_cannot_share_the_gpu_of_a_mac(
    run: Run, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    result = run("train", "--data", dataset_path, "--device", "mps", "--processes", 2)

    assert result.exit_code == 2
    assert "several processes need a device each, and mps is a single one" in result.stderr
    assert "--device cpu" in result.stderr


def test_a_loss_that_explodes_ends_the_run(run: Run, dataset_path: Path) -> None:
    result = run(
        "train", "--data", dataset_path, *SMALL, "--set", "warmup=0", "--learning-rate", 1e30,
        "--output", "boom",
    )  # fmt: skip

    assert result.exit_code == 8
    assert "state" in result.stderr
    assert not RunFolder(Path("boom")).model.exists()


def test_no_dataset_names_the_ways_on(run: Run) -> None:
    result = run("train")

    assert result.exit_code == 3
    for way in ("fer data prepare", "--data", "synthetic"):
        assert way in result.stderr


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_signals_save_and_resume_ends_with_the_same_weights(
    run: Run, dataset_path: Path, start: Start, number: int, status: int
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("this process ignores it, as under nohup, and so would its child")
    cut, whole = RunFolder(Path("cut")), RunFolder(Path("whole"))
    words = ["train", "--data", dataset_path, *SMALL, "--epochs", 12, "--output"]
    process = start(*words, cut.path)
    while not cut.metrics.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=300)

    assert process.returncode == status, stderr
    assert "--resume" in stderr
    assert not cut.model.exists()
    resumed = run("train", "--resume", cut.path)
    assert resumed.exit_code == run(*words, whole.path).exit_code == 0
    assert "finished already" not in resumed.stderr
    digests = [
        read_tensor_header(folder.model, ModelFileError)["sha256"] for folder in (whole, cut)
    ]
    assert digests[0] == digests[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_a_terminal_that_is_closed_saves_the_state(dataset_path: Path) -> None:
    import pty

    run_folder = RunFolder(Path("closed"))
    words = ["train", "--data", dataset_path, *SMALL, "--epochs", 99, "--output", run_folder.path]
    terminal, end = pty.openpty()
    # The session's terminal, so that its end is a hangup.
    # Under `nohup` the tests' own process ignores it, which a child would inherit.
    begin = "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    begin += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    begin += "os.execv(sys.executable, [sys.executable, '-m', 'fercli', *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", begin, *map(str, words)],
        stdin=end, stdout=end, stderr=end, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(end)
    while not run_folder.metrics.exists() and select.select([terminal], [], [], 60)[0]:
        os.read(terminal, 1 << 16)
    os.close(terminal)

    assert process.wait(timeout=300) == 129
    assert "the state is saved" in run_folder.log.read_text()
    assert list(run_folder.checkpoints.glob("*.safetensors"))


@pytest.mark.usefixtures("weights_alone")
def test_a_signal_while_the_model_is_written_is_told(
    run: Run, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fercli.model_files import save_model

    def save_after_a_signal(*values: Any) -> str:
        signal.raise_signal(signal.SIGTERM)
        return save_model(*values)

    monkeypatch.setattr("fercli.training.finalize.save_model", save_after_a_signal)

    result = run("train", "--data", dataset_path, *SMALL, "--output", "late")

    assert result.exit_code == 0
    assert "SIGTERM came after the training; the run is complete" in result.stderr
    assert read_run_record(Path("late")).finished_at


@pytest.mark.usefixtures("weights_alone")
def test_seeds_are_one_table_and_go_on(run: Run, run_json: RunJson, dataset_path: Path) -> None:
    words = [
        "train", "--data", dataset_path, "--recipe", "fast", "--epochs", 1, "--batch-size", 100,
        "--set", "widths=8", "--set", "stem_width=4", "--device", "cpu",
    ]  # fmt: skip
    plan = run_json(*words, "--seeds", 2, "--dry-run")["data"]
    assert plan["runs"] == ["runs/fast-seeds/seed-0", "runs/fast-seeds/seed-1"]
    assert not Path("runs").exists()

    done = run(*words, "--seeds", 2, "--table", "seeds.md")

    assert done.exit_code == 0
    assert "run 2 of 2, seed 1" in done.stderr
    for text in ("seed-0", "seed-1", "95 % interval", "standard deviation", "runs/fast-seeds"):
        assert text in done.stdout
    assert Path("seeds.md").read_text().startswith("2 seeds\n\n| run | seed |")
    assert run(*words, "--table", "one.md").exit_code == 2
    again = run("train", "--resume", "runs/fast-seeds")
    assert again.exit_code == 0
    assert again.stdout == done.stdout
    assert again.stderr.count("finished already") == 2
    assert run("train", "--resume", "runs/fast-seeds", "--seeds", 3).exit_code == 2
    assert run("train", "--resume", "runs/fast-seeds", "--epochs", 3).exit_code == 2
    assert run(*words, "--seeds", 2, "--output", "runs/fast-seeds").exit_code == 2
    assert run(*words, "--seeds", 2, "--folds", 2).exit_code == 2


def test_a_log_that_cannot_be_written_is_refused_first(
    run: Run, dataset_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = run("train", "--data", dataset_path, "--log", "paper")
    assert unknown.exit_code == 2
    assert "log" in unknown.stderr

    def check(module: str) -> bool:
        return module != "tensorboard"

    monkeypatch.setattr("fercli.dependencies.is_there", check)
    missing = run("train", "--data", dataset_path, "--log", "tensorboard")
    assert missing.exit_code == 5
    assert "pip install 'fercli[tensorboard]'" in missing.stderr
    assert not Path("runs").exists()
