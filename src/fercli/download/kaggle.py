"""Where Kaggle keeps a file, found out with kagglehub.

kagglehub knows who is signed in and where to ask. Its own download is not used: it prints to
stdout, gives up at the first cut, and unpacks whatever comes with `extractall`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, Final

import requests

from fercli.download.responses import TIMEOUTS_S, RemoteFile, check_status, classify_error
from fercli.errors import CredentialsError, DownloadError
from fercli.names import hide_secrets

__all__ = ["CHALLENGE", "find_challenge", "find_dataset"]

CHALLENGE: Final = "challenges-in-representation-learning-facial-expression-recognition-challenge"
"""The competition of 2013, whose archive has the original table."""
_WAYS_IN: Final = (
    "make a token on kaggle.com/settings, put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token, "
    f"and accept the rules on kaggle.com/c/{CHALLENGE}/rules"
)


def find_dataset(owner: str, name: str, version: int | None) -> RemoteFile:
    """Return where the archive of a dataset is; public ones need no account.

    Args:
        owner: Who put it there.
        name: Of the dataset.
        version: Its number; None is the newest.

    Raises:
        CredentialsError: It is not public.
        DownloadError: There is none of that name.
        TransientError: Kaggle cannot be reached just now.
    """
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiDownloadDatasetRequest,
        ApiGetDatasetRequest,
    )

    what = f"kaggle:{owner}/{name}"
    with _ask(what) as client:
        service = client.datasets.dataset_api_client
        if version is None:
            question = ApiGetDatasetRequest()
            question.owner_slug, question.dataset_slug = owner, name
            version = int(service.get_dataset(question).current_version_number)
        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = owner, name
        request.dataset_version_number = version
        return _describe(service.download_dataset(request), f"{what}/versions/{version}")


def find_challenge() -> RemoteFile:
    """Return where the original competition's archive is.

    Raises:
        CredentialsError: Nobody is signed in, or did not accept the rules.
        TransientError: Kaggle cannot be reached just now.
    """
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

    with _quiet(), _read_credentials():
        from kagglehub.config import get_kaggle_credentials

        known = get_kaggle_credentials()
    if not known:
        message = "the original competition's data need a Kaggle account"
        raise CredentialsError(message, hint=_WAYS_IN)
    request = ApiDownloadDataFilesRequest()
    request.competition_name = CHALLENGE
    try:
        with _ask("kaggle-challenge") as client:
            service = client.competitions.competition_api_client
            return _describe(service.download_data_files(request), "kaggle-challenge")
    except CredentialsError as reason:
        raise CredentialsError(reason.message, hint=_WAYS_IN) from reason


@contextlib.contextmanager
def _ask(what: str) -> Iterator[Any]:
    """Yield Kaggle's client; what it raises becomes ours."""
    with _quiet():
        from kagglehub.clients import build_kaggle_client

        try:
            with _read_credentials():
                made = build_kaggle_client()
            with made as client:
                _set_timeouts(client)
                yield client
        except requests.HTTPError as reason:
            if reason.response is None:
                raise classify_error(reason) from reason
            check_status(reason.response, what)
            message = f"{what}: {hide_secrets(' '.join(str(reason).split()))[:200]}"
            raise DownloadError(message) from reason
        except requests.RequestException as reason:
            raise classify_error(reason) from reason


@contextlib.contextmanager
def _read_credentials() -> Iterator[None]:
    """Turn what kagglehub raises of a credentials file that is no JSON, or lacks a key, into ours.

    Public data need no credentials, but wrong ones are refused: so they are said, not passed over.
    """
    try:
        yield
    except ValueError as reason:
        message = f"Kaggle's credentials cannot be read ({reason})"
        raise CredentialsError(message, hint="fix that file, or remove it") from reason


class _PatientAdapter(requests.adapters.HTTPAdapter):
    """Waits for an answer, but not for ever; Kaggle's client sets no timeout."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401  # handed on
        """Send a request; see the base class."""
        return super().send(request, **{**options, "timeout": options.get("timeout") or TIMEOUTS_S})


def _set_timeouts(client: Any) -> None:  # noqa: ANN401  # kagglesdk has no types
    session = getattr(getattr(client, "_http_client", None), "_session", None)
    if session is not None:
        session.mount("https://", _PatientAdapter())
        session.mount("http://", _PatientAdapter())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep kagglehub's messages off stdout, which belongs to results."""
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _describe(response: requests.Response, identity: str) -> RemoteFile:
    """Take down where an answer came from; its body is left for `fetch`."""
    remote = RemoteFile(url=response.url, identity=identity, headers=dict(response.headers))
    response.close()
    return remote
