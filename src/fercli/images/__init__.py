"""From a file that nobody trusts to the uint8 [48,48] face crop that every network sees.

One way for every command, so that training, evaluation and prediction cannot disagree.
"""

from __future__ import annotations

from fercli.images.crop import SIDE_PX, load_face_crop, to_face_crop
from fercli.images.decode import SUFFIXES, DecodedImage, load_gray

__all__ = ["SIDE_PX", "SUFFIXES", "DecodedImage", "load_face_crop", "load_gray", "to_face_crop"]
