from __future__ import annotations

import numpy as np
import pytest

from fercli.data.mapping import map_labels
from fercli.errors import ModelFileError


def test_labels_keep_their_names_in_another_order() -> None:
    names, wanted = ("sad", "happy", "calm"), ("calm", "sad", "happy")
    labels = np.array([0, 1, 2, 2, 0], dtype=np.uint8)

    mapped = map_labels(labels, names, wanted)

    assert [wanted[label] for label in mapped] == [names[label] for label in labels]
    assert mapped.dtype == np.uint8
    assert map_labels(labels, names, names).tolist() == labels.tolist()


@pytest.mark.parametrize("wanted", [("a", "c"), ("a",), ("a", "b", "c")])
def test_other_names_are_refused_with_both_lists(wanted: tuple[str, ...]) -> None:
    with pytest.raises(ModelFileError) as caught:
        map_labels(np.zeros(1, dtype=np.uint8), ("a", "b"), wanted)

    assert f"the model has the labels {', '.join(wanted)}; the dataset a, b" in caught.value.message
