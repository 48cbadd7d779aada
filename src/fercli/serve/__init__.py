"""Expressions over HTTP: a page for people, an API for programs, on this machine.

Faces are sent nowhere, kept nowhere and logged nowhere. torch is not imported. Starlette routes and
uvicorn speaks HTTP; both come with the extra `serve`.
"""

from __future__ import annotations

from fercli.serve.application import build_app
from fercli.serve.models import ServedModels
from fercli.serve.server import Listener, listen, serve
from fercli.serve.service import Service

__all__ = ["Listener", "ServedModels", "Service", "build_app", "listen", "serve"]
