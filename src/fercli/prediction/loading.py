"""From a file to its face crops, or to the reason why there are none; in any thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fercli.errors import ImageDecodeError, ImageRefusedError
from fercli.images import MEMORY, Face, VideoFrame, cut_faces, load_image
from fercli.prediction.sources import Member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fercli.config import PredictConfig
    from fercli.images import DecodedImage, FaceFinder
    from fercli.images.memory import Share

__all__ = ["LoadedImage", "describe_failure", "load_faces", "search_image"]


@dataclass(frozen=True)
class LoadedImage:
    """A file with the faces found in it, or the reason why it has none."""

    path: Path
    """The file, or what is made of its name."""
    crops: tuple[NDArray[np.uint8], ...] = ()
    """Each `[48, 48]`, largest face first."""
    faces: tuple[Face, ...] = ()
    """Their boxes."""
    detector: str | None = None
    """How they were found."""
    reason: str | None = None
    """Why the file cannot be used."""
    refused: bool = False
    """Whether that is because it asks for too much."""
    width: int | None = None
    """Pixels of the upright image."""
    height: int | None = None
    """Pixels of the upright image."""
    frames: int | None = None
    """Frames in an image file."""
    frame: VideoFrame | None = None
    """The frame, of a video."""
    content: bytes | None = None
    """The file, where it came from within an archive."""
    title: str | None = None
    """What its rows call it, where that is not its path."""


def load_faces(source: Path | Member, finder: FaceFinder, config: PredictConfig) -> LoadedImage:
    """Return the face crops of an image file, or why there are none; for any thread.

    Args:
        source: A file, or the content of one.
        finder: Finds the faces.
        config: What to look for.

    Raises:
        ImageDecodeError: Its file cannot be decoded again, where small faces need that.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    if isinstance(source, Member):
        path, content, title = source.path, source.content, source.title or None
        if source.reason is not None:
            return LoadedImage(path, reason=source.reason, refused=source.refused, title=title)
    else:
        path, content, title = source, None, None
    try:
        # The image's bytes count until its faces are cut out.
        with MEMORY.open_share() as share:
            image = load_image(
                path if content is None else content,
                max_pixels=config.max_pixels,
                color=finder.needs_color,
                enough_px=finder.enough_px,
                share=share,
            )
            loaded = search_image(path, image, finder, config, share)
            is_plain = content is None and title is None
            return loaded if is_plain else replace(loaded, content=content, title=title)
    except ImageDecodeError as reason:
        refused = isinstance(reason, ImageRefusedError)
        said = describe_failure(reason)
        return LoadedImage(path, reason=said, refused=refused, title=title)


def search_image(
    path: Path,
    image: DecodedImage,
    finder: FaceFinder,
    config: PredictConfig,
    share: Share | None = None,
) -> LoadedImage:
    """Return the face crops of a decoded image.

    Args:
        path: What to call it.
        image: The image.
        finder: Finds the faces.
        config: What to look for.
        share: What counts the image's bytes, where somebody keeps it.

    Raises:
        ImageDecodeError: Its file cannot be decoded again, where small faces need that.
        DependencyMissingError: OpenCV is needed and cannot be imported.
    """
    detector, found = finder.find(image)
    faces = [face for face in found if min(face.width, face.height) >= config.min_face_px]
    return LoadedImage(
        path,
        crops=tuple(cut_faces(image, faces, detector, share)),
        faces=tuple(faces),
        detector=detector,
        width=image.width,
        height=image.height,
        frames=image.frames,
    )


def describe_failure(reason: ImageDecodeError) -> str:
    """Return why a file cannot be used, and the option that lifts it, where one does."""
    return f"{reason.message}; {reason.hint} allows it" if reason.hint else reason.message
