"""Settings for S3 where Amazon's own tools keep them: `~/.aws/config` and `~/.aws/credentials`.

obstore reads the environment and asks the machine, but not these files.
"""

from __future__ import annotations

import configparser
import os
import socket
from pathlib import Path
from typing import Final

from fercli.errors import CredentialsError

__all__ = ["WAYS", "find_profile"]

WAYS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
    "AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or sign in by a "
    "managed identity",
}
"""To say who asks, by the schemes of addresses."""
_OTHER_WAYS: Final = ("sso_session", "sso_start_url", "role_arn", "credential_process")
"""Settings of a profile whose keys have to be asked for somewhere else."""
_KEYS: Final = frozenset({
    "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"
})  # fmt: skip
"""Of the environment: who asks is said there, and profiles do not count."""
_ELSEWHERE: Final = frozenset({
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
})  # fmt: skip
"""Of the environment: who can be asked for keys."""
_MACHINE: Final = ("169.254.169.254", 80)
"""Where one of Amazon's machines is asked for keys.

Source: "Use the Instance Metadata Service", Amazon EC2 User Guide.
"""
_MACHINE_LIMIT_S: Final = 1.0
"""As Amazon's own tools have it; obstore would try for two minutes."""


def find_profile() -> dict[str, str]:
    """Return the settings for S3 that the files of Amazon's own tools hold; the environment wins.

    Raises:
        CredentialsError: The profile is not there, or has its keys from somewhere else; or there
            are no keys anywhere.
    """
    name = os.environ.get("AWS_PROFILE", "")
    settings = _read_profile(name or "default")
    if settings is None:
        if name:
            message = f"AWS_PROFILE names the profile {name!r}, which is not there"
            raise CredentialsError(message, hint=WAYS["s3"])
        settings = {}
    found = {}
    if not os.environ.keys() & {"AWS_REGION", "AWS_DEFAULT_REGION"} and "region" in settings:
        found["region"] = settings["region"]
    if not os.environ.keys() & {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"}:
        found |= {"endpoint": settings["endpoint_url"]} if "endpoint_url" in settings else {}
    if not os.environ.keys() & _KEYS:
        keys = _find_keys(settings, name or "default")
        if not keys and not os.environ.keys() & _ELSEWHERE:
            _check_machine()
        found |= keys
    return found


def _check_machine() -> None:
    """Refuse to go on where this machine has nobody who could be asked for keys."""
    try:
        socket.create_connection(_MACHINE, timeout=_MACHINE_LIMIT_S).close()
    except OSError:
        message = "keys for s3:// are neither in the environment nor in a profile"
        raise CredentialsError(message, hint=WAYS["s3"]) from None


def _find_keys(settings: dict[str, str], name: str) -> dict[str, str]:
    if "aws_access_key_id" not in settings:
        if any(way in settings for way in _OTHER_WAYS):
            message = f"the profile {name!r} gets its keys from another source"
            command = 'eval "$(aws configure export-credentials --format env)"'
            raise CredentialsError(message, hint=f"{command} puts them into the environment")
        return {}
    found = {
        "access_key_id": settings["aws_access_key_id"],
        "secret_access_key": settings.get("aws_secret_access_key", ""),
    }
    if "aws_session_token" in settings:
        found["session_token"] = settings["aws_session_token"]
    return found


def _read_profile(name: str) -> dict[str, str] | None:
    """Return the settings of a profile in both files, None where it is in neither."""
    found: dict[str, str] | None = None
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = Path(os.environ.get(variable) or f"~/.aws/{file}").expanduser()
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            message = f"{path} cannot be read as a file of profiles"
            raise CredentialsError(message) from None
        if parser.has_section(section):
            found = {**(found or {}), **dict(parser.items(section))}
    return found
