"""A dataset of the Hugging Face hub, by its own library."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fercli.download.fetch import Downloaded
from fercli.errors import CredentialsError, DependencyMissingError, DownloadError

__all__ = ["fetch_dataset"]

_WANTED: Final = ["*.csv", "*.csv.gz", "*.zip", "*.tar", "*.tar.gz", "*.jpg", "*.jpeg", "*.png"]
"""What may be a layout that we read; models and pickles are left where they are."""


def fetch_dataset(name: str, folder: Path) -> Downloaded:
    """Download the readable files of a dataset; the hub's library resumes, retries and checks.

    Args:
        name: `OWNER/NAME`.
        folder: Where to.

    Raises:
        DependencyMissingError: huggingface-hub is not installed.
        CredentialsError: The dataset is not public.
        DownloadError: There is none of that name, or the network failed.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    except ImportError as reason:
        message = f"huggingface-hub cannot be imported ({reason})"
        raise DependencyMissingError(message, hint="pip install 'fercli[hub]'") from reason
    what = f"hf:{name}"
    try:
        path = Path(
            snapshot_download(name, repo_type="dataset", local_dir=folder, allow_patterns=_WANTED)
        )
    except GatedRepoError as reason:
        message = f"{what} is not public"
        hint = "accept its terms on huggingface.co, and put a token into HF_TOKEN"
        raise CredentialsError(message, hint=hint) from reason
    except RepositoryNotFoundError as reason:
        message = f"{what} is not there, or not public"
        raise DownloadError(message, hint="check the name; HF_TOKEN holds a token") from reason
    except (HfHubHTTPError, OSError) as reason:
        message = f"{what} cannot be had ({' '.join(str(reason).split())[:200]})"
        hint = "the same command goes on with what came so far"
        raise DownloadError(message, hint=hint) from reason
    n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Downloaded(path=path, n_bytes=n_bytes, sha256="", was_there=False)
