"""The errors a user can meet, as data.

Each carries what happened (`message`), what to do next (`hint`) and a stable word for machines
(`code`). They know no exit status and print nothing: the command line turns them into sentences
and statuses. `ValueError` and `TypeError` stay what they are, bugs of the caller.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigError",
    "CredentialsError",
    "DataError",
    "DatasetLayoutError",
    "DatasetNotFoundError",
    "DependencyMissingError",
    "DeviceUnavailableError",
    "DownloadError",
    "FercliError",
    "ImageDecodeError",
    "ImageNotFoundError",
    "ImageRefusedError",
    "InputNotFoundError",
    "ModelFileError",
    "ModelNotFoundError",
    "OutputBusyError",
    "OutputExistsError",
    "PeerLostError",
    "RunExistsError",
    "RunFailedError",
    "RunInterruptedError",
    "SetupError",
    "VerificationError",
]


class FercliError(Exception):
    """Something a user can act on.

    Args:
        message: What happened, naming the path or value; one sentence, no final period needed.
        hint: The next command or change that helps; empty when there is none.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            # Python's tracebacks, which notebooks show, have it too.
            self.add_note(f"hint: {hint}")


class ConfigError(FercliError):
    """Options or configuration that cannot be run; lists every problem found, not only the first.

    Args:
        problems: One sentence each; at least one.
        hint: As in `FercliError`.
    """

    code = "config"

    def __init__(self, *problems: str, hint: str = "") -> None:
        super().__init__("; ".join(problems), hint=hint)
        self.problems = problems


class OutputExistsError(ConfigError):
    """An output is already there and `--force` was not given."""

    code = "output-exists"


class OutputBusyError(ConfigError):
    """Another process writes the output."""

    code = "output-busy"


class RunExistsError(OutputExistsError):
    """A training would start in a folder that already holds a run or anything else."""

    code = "run-exists"


class DataError(FercliError):
    """Data is missing or refused."""

    code = "data"


class DownloadError(DataError):
    """A file cannot be downloaded, or is not what it should be."""

    code = "download"


class DatasetNotFoundError(DataError):
    """There is no dataset where one was looked for, or it lacks the split asked for."""

    code = "dataset-not-found"


class DatasetLayoutError(DataError):
    """A source has no layout that fercli can read, or its content is not valid."""

    code = "dataset-layout"


class ImageDecodeError(DataError):
    """A file is not an image that we accept."""

    code = "image-decode"


class ImageNotFoundError(ImageDecodeError, FileNotFoundError):
    """There is no file where an image was to be read."""

    code = "image-not-found"


class ImageRefusedError(ImageDecodeError):
    """A file is not decoded: too large, of too many parts, or not a regular file."""

    code = "image-refused"


class InputNotFoundError(DataError):
    """A path given to predict is missing, or nothing was found under it."""

    code = "input-not-found"


class ModelFileError(FercliError):
    """A model file or run is refused: format, digest, labels or shapes."""

    code = "model-file"


class ModelNotFoundError(ModelFileError):
    """There is no model where one was looked for."""

    code = "model-not-found"


class SetupError(FercliError):
    """The machine lacks something: a device, a library, credentials."""

    code = "setup"


class CredentialsError(SetupError):
    """A server requires credentials, and they are missing or refused."""

    code = "credentials"


class DeviceUnavailableError(SetupError):
    """The device asked for is not there."""

    code = "device-unavailable"


class DependencyMissingError(SetupError):
    """A library cannot be imported."""

    code = "dependency-missing"


class VerificationError(FercliError):
    """A check that the user asked for, or that guards a result, did not hold."""

    code = "verification"


class RunFailedError(FercliError):
    """A run failed after it started; the message or hint names its last good state."""

    code = "run-failed"


class PeerLostError(RunFailedError):
    """Another process of the same training is gone, and with it the run."""

    code = "peer-lost"


class RunInterruptedError(FercliError):
    """A run was stopped by a signal after its state was saved.

    Args:
        message: As in `FercliError`.
        signal_number: The signal: 2 (SIGINT), 15 (SIGTERM) or 1 (SIGHUP).
        hint: As in `FercliError`.
    """

    code = "interrupted"

    def __init__(self, message: str, *, signal_number: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number
