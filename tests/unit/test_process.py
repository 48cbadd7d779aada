from __future__ import annotations

import platform

from fercli.training import tune_malloc


def test_memory_is_kept_where_glibc_is() -> None:
    assert tune_malloc() == (platform.libc_ver()[0] == "glibc")
