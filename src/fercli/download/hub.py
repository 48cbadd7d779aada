"""Datasets and models of the Hugging Face hub, by its own library."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from fercli.dependencies import explain_missing
from fercli.download.fetch import SPARE_BYTES, Downloaded
from fercli.errors import (
    CredentialsError,
    DownloadError,
    FercliError,
    ModelFileError,
    ModelNotFoundError,
    SetupError,
)
from fercli.names import hide_secrets
from fercli.paths import find_data_home

__all__ = ["HubModel", "fetch_dataset", "fetch_model"]

_WANTED: Final = ("*.csv", "*.csv.gz", "*.zip", "*.tar", "*.tar.gz", "*.jpg", "*.jpeg", "*.png")
"""What may be a layout that we read; models and pickles are left where they are."""
_MODEL: Final = "model.onnx"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_GOES_ON: Final = "run the same command again to continue the download"


@dataclass(frozen=True)
class HubModel:
    """A model of the hub that is here."""

    path: Path
    """Its ONNX file."""
    commit: str
    """The commit it is of, 40 hexadecimal digits: whoever names it gets this file."""


def fetch_model(name: str, revision: str | None = None) -> HubModel:
    """Download a model's ONNX file, or find that it is there.

    Each commit has a folder in the data home. One that is named by its commit and was had before is
    taken without asking anybody.

    Args:
        name: `OWNER/NAME`.
        revision: A commit, branch or tag; None for the newest.

    Raises:
        DependencyMissingError: huggingface-hub is not installed.
        CredentialsError: The model is not public.
        ModelNotFoundError: There is none of that name or revision.
        ModelFileError: It has no ONNX file, or several and none is `model.onnx`.
        DownloadError: The network failed.
        SetupError: There is not enough space on the disk.
    """
    home = find_data_home() / "models" / "hub" / name.replace("/", "--")
    if revision is not None and _COMMIT.fullmatch(revision):
        there = sorted((home / revision).glob("*.onnx"))
        if len(there) == 1:
            return HubModel(there[0], revision)
    _check_library()
    from huggingface_hub import HfApi, hf_hub_download

    what = f"hf:{name}" + (f"@{revision}" if revision else "")
    with _explain(what, ModelNotFoundError):
        info: Any = HfApi().model_info(name, revision=revision, files_metadata=True)
        commit = str(info.sha)
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or []}
        file = _choose_model(what, [one for one in sizes if one.endswith(".onnx")])
        target = home / commit / Path(file).name
        _check_space(target.parent, sizes[file])
        with FileLock(home / "lock"):
            if not target.is_file():
                # By its commit: what the name stands for may change in between.
                part = home / "part"
                Path(hf_hub_download(name, file, revision=commit, local_dir=part)).replace(target)
                shutil.rmtree(part)
    return HubModel(target, commit)


def _choose_model(what: str, files: list[str]) -> str:
    if _MODEL in files:
        return _MODEL
    if len(files) == 1:
        return files[0]
    has = ", ".join(files[:5]) if files else "none"
    message = f"{what} has no {_MODEL}; its other ONNX files: {has}"
    raise ModelFileError(message, hint="fercli takes ONNX from the hub: fer export MODEL --onnx")


def fetch_dataset(name: str, folder: Path) -> Downloaded:
    """Download the readable files of a dataset; the hub's library resumes, retries and checks.

    Args:
        name: `OWNER/NAME`.
        folder: Where to.

    Raises:
        DependencyMissingError: huggingface-hub is not installed.
        CredentialsError: The dataset is not public.
        DownloadError: There is none of that name, it has nothing readable, or the network failed.
        SetupError: There is not enough space on the disk.
    """
    _check_library()
    from huggingface_hub import snapshot_download

    what = f"hf:{name}"
    with _explain(what, DownloadError):
        revision, sizes = _list_files(name)
        _check_files(what, folder, sizes)
        # Of that very revision: the library would take an old copy where there is no network.
        snapshot_download(
            name, repo_type="dataset", revision=revision, local_dir=folder,
            allow_patterns=list(_WANTED),
        )  # fmt: skip
    missing = [file for file in sizes if not (folder / file).is_file()]
    if missing:
        message = f"{len(missing)} files of {what} were not downloaded, first {missing[0]}"
        raise DownloadError(message, hint=_GOES_ON)
    return Downloaded(path=folder, n_bytes=sum(sizes.values()), sha256="", was_there=False)


def _check_library() -> None:
    try:
        import huggingface_hub  # noqa: F401  # looked for, and then imported by whoever needs it
    except ImportError as reason:
        failure = explain_missing("huggingface_hub", reason, title="huggingface-hub")
        raise failure from reason


@contextmanager
def _explain(what: str, not_there: type[FercliError]) -> Iterator[None]:
    """Turn what the library raises into what a user can act on."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # That of the library it speaks HTTP by, whichever one that is: a refused connection is of it.
    network_error = next(
        kind for kind in HfHubHTTPError.__mro__ if kind.__name__ in {"HTTPError", "OSError"}
    )
    try:
        yield
    except GatedRepoError as reason:
        message = f"{what} is not public"
        hint = "accept its terms on huggingface.co, and put a token into HF_TOKEN"
        raise CredentialsError(message, hint=hint) from reason
    except RevisionNotFoundError as reason:
        message = f"{what} is not there: it has no such revision"
        hint = "give a commit, a branch or a tag, or none for the newest"
        raise not_there(message, hint=hint) from reason
    except RepositoryNotFoundError as reason:
        message = f"{what} is not there, or not public"
        raise not_there(message, hint="check the name, or put a token into HF_TOKEN") from reason
    except (network_error, OSError, ValueError) as reason:
        message = f"{what}: download failed ({hide_secrets(' '.join(str(reason).split()))[:200]})"
        raise DownloadError(message, hint=_GOES_ON) from reason


def _list_files(name: str) -> tuple[str, dict[str, int]]:
    """Return a dataset's newest revision, and its readable files with their sizes."""
    from huggingface_hub import HfApi

    info: Any = HfApi().dataset_info(name, files_metadata=True)
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or []}
    wanted = {
        file: size for file, size in sizes.items() if any(fnmatch(file, kind) for kind in _WANTED)
    }
    return str(info.sha), wanted


def _check_files(what: str, folder: Path, sizes: dict[str, int]) -> None:
    if not sizes:
        message = f"{what} has no table, archive or image that fercli reads"
        raise DownloadError(message, hint="its files may be parquet: convert them by hand")
    folder.mkdir(parents=True, exist_ok=True)
    here = sum(1 for file in sizes if (folder / file).is_file())
    if here < len(sizes):
        _check_space(folder, sum(sizes.values()))


def _check_space(folder: Path, n_bytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if n_bytes + SPARE_BYTES > shutil.disk_usage(folder).free:
        message = f"{n_bytes / 2**20:,.0f} MiB do not fit on the disk of {folder}"
        raise SetupError(message, hint="free some space, or give --output on another disk")
