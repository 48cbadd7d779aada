"""From a file that nobody trusts to the uint8 [48,48] face crop that every network sees.

One way for every command, so that training, evaluation and prediction cannot disagree.
"""

from __future__ import annotations

from fercli.images.crop import SIDE_PX, load_face_crop, to_face_crop
from fercli.images.decode import SUFFIXES, DecodedImage, convert_image, load_image
from fercli.images.detection import (
    WHOLE_UP_TO_PX,
    Face,
    FaceFinder,
    cut_face,
    cut_faces,
    import_cv2,
)
from fercli.images.kinds import HEAD_BYTES, find_kind, may_hold_pictures
from fercli.images.live import LiveFeed, LiveSource, find_live_source, parse_live_source
from fercli.images.memory import MEMORY
from fercli.images.video import VideoFrame, is_video, sample_frames

__all__ = [
    "HEAD_BYTES",
    "MEMORY",
    "SIDE_PX",
    "SUFFIXES",
    "WHOLE_UP_TO_PX",
    "DecodedImage",
    "Face",
    "FaceFinder",
    "LiveFeed",
    "LiveSource",
    "VideoFrame",
    "convert_image",
    "cut_face",
    "cut_faces",
    "find_kind",
    "find_live_source",
    "import_cv2",
    "is_video",
    "load_face_crop",
    "load_image",
    "may_hold_pictures",
    "parse_live_source",
    "sample_frames",
    "to_face_crop",
]
