"""A dataset of the Hugging Face hub, by its own library."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from fercli.dependencies import explain_missing
from fercli.download.fetch import SPARE_BYTES, Downloaded
from fercli.errors import (
    CredentialsError,
    DownloadError,
    SetupError,
)
from fercli.names import hide_secrets

__all__ = ["fetch_dataset"]

_WANTED: Final = ("*.csv", "*.csv.gz", "*.zip", "*.tar", "*.tar.gz", "*.jpg", "*.jpeg", "*.png")
"""What may be a layout that we read; models and pickles are left where they are."""


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
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    except ImportError as reason:
        failure = explain_missing("huggingface_hub", reason, title="huggingface-hub")
        raise failure from reason
    what = f"hf:{name}"
    try:
        revision, sizes = _list_files(name)
        _check_files(what, folder, sizes)
        # Of that very revision: the library would take an old copy where there is no network.
        snapshot_download(
            name, repo_type="dataset", revision=revision, local_dir=folder,
            allow_patterns=list(_WANTED),
        )  # fmt: skip
    except GatedRepoError as reason:
        message = f"{what} is not public"
        hint = "accept its terms on huggingface.co, and put a token into HF_TOKEN"
        raise CredentialsError(message, hint=hint) from reason
    except RepositoryNotFoundError as reason:
        message = f"{what} is not there, or not public"
        raise DownloadError(message, hint="check the name; HF_TOKEN holds a token") from reason
    except (HfHubHTTPError, OSError, ValueError) as reason:
        message = f"{what} cannot be had ({hide_secrets(' '.join(str(reason).split()))[:200]})"
        hint = "the same command goes on with what came so far"
        raise DownloadError(message, hint=hint) from reason
    missing = [file for file in sizes if not (folder / file).is_file()]
    if missing:
        message = f"of {what} {len(missing)} files did not come, {missing[0]} first"
        raise DownloadError(message, hint="the same command goes on with what came so far")
    return Downloaded(path=folder, n_bytes=sum(sizes.values()), sha256="", was_there=False)


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
    if here < len(sizes) and sum(sizes.values()) + SPARE_BYTES > shutil.disk_usage(folder).free:
        message = f"{sum(sizes.values()) / 2**20:,.0f} MiB do not fit on the disk of {folder}"
        raise SetupError(message, hint="free some space, or give --output on another disk")
