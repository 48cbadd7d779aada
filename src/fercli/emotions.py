"""The seven expressions of FER2013 and their names elsewhere.

Labels are mapped by name, never by position: FER2013's CSV counts sad, surprise, neutral as
4, 5, 6 while a sorted folder listing counts neutral, sad, surprise. Everything that reads a
source goes through this module; nothing else assumes which labels there are, or how many.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FER2013_COUNTS", "FERPLUS_LABELS", "LABELS", "find_label"]

LABELS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The default label set; the position is the index, in the order of FER2013's CSV column."""

FERPLUS_LABELS: Final = (*LABELS, "contempt")
"""What FER+ and AffectNet know: FER2013's labels and one more."""

FER2013_COUNTS: Final = {
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "public": (467, 56, 496, 895, 653, 415, 607),
    "private": (491, 55, 528, 879, 594, 416, 626),
}
"""Images per split and label (in the order of `LABELS`) of the complete FER2013.

Source: Goodfellow et al., "Challenges in Representation Learning", 2013 (the totals); the split
counts are those of the competition's file.
"""

_ALIASES: Final = {
    "anger": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


def find_label(name: str) -> str | None:
    """Return which of `FERPLUS_LABELS` a name stands for, or None when it stands for none.

    Args:
        name: A folder's or column's word; case and surrounding blanks do not matter.
    """
    word = name.strip().lower()
    word = _ALIASES.get(word, word)
    return word if word in FERPLUS_LABELS else None
