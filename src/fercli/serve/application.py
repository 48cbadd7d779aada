"""The routes: the page and its files, the models, predictions, health, the description of all."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from fercli.errors import ConfigError, FercliError
from fercli.serve.answers import (
    ENDING,
    JsonResponse,
    RequestError,
    build_error,
    refuse,
    refuse_busy,
    to_request_error,
)
from fercli.serve.guard import Guard
from fercli.serve.openapi import build_openapi
from fercli.serve.query import refuse_unknown
from fercli.serve.uploads import is_form, parse_form, read_body, take_image

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

    from fercli.serve.service import Service

__all__ = ["build_app"]

_LOG: Final = logging.getLogger(__name__)
_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_INDEX: Final = "index.html"


def build_app(  # noqa: C901  # a small function for each path
    service: Service, *, address: str = "127.0.0.1"
) -> Guard:
    """Return the service as an ASGI application.

    Args:
        service: What answers.
        address: The address that is listened on.
    """
    page = read_page(files("fercli.serve") / "page")
    described = build_openapi(service)

    # All are async: Starlette would run others in threads of its own.
    async def show_page(_request: Request) -> Response:
        return _show_file(page, _INDEX)

    async def show_asset(request: Request) -> Response:
        return _show_file(page, request.path_params["name"])

    async def tell_health(_request: Request) -> Response:
        if service.is_draining:
            raise refuse_busy(ENDING)
        return JsonResponse({"status": "ok"})

    async def list_models(request: Request) -> Response:
        if problems := refuse_unknown(request.query_params.multi_items(), ()):
            raise ConfigError(*problems)
        return JsonResponse(await service.describe())

    async def predict(request: Request) -> Response:
        return await _predict(service, request)

    async def describe(_request: Request) -> Response:
        return JsonResponse(described)

    app = Starlette(
        routes=[
            Route("/", show_page),
            Route("/assets/{name:path}", show_asset),
            Route("/healthz", tell_health),
            Route("/api/models", list_models),
            Route("/api/predict", predict, methods=["POST"]),
            Route("/openapi.json", describe),
        ],
        exception_handlers={
            RequestError: _answer_refusal,
            FercliError: _answer_failure,
            HTTPException: _answer_unrouted,
            Exception: _answer_bug,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, service.config, address)


async def _predict(service: Service, request: Request) -> Response:
    """Answer with the rows of the images in a request."""
    with service.open_slot() as reserve:
        query = service.parse_query(request.query_params.multi_items())
        kind = request.headers.get("content-type")
        has_form = is_form(kind)
        body = await read_body(request.headers, request.receive, service.config, reserve)
        uploads = (
            await service.run(parse_form, kind, body, service.config)
            if has_form
            else take_image(body, query.name)
        )
        del body
        answer = await service.predict(uploads, query)
    data = answer["data"]
    is_nothing = data["n_inputs"] == data["n_skipped"] == 1
    status = HTTPStatus.UNPROCESSABLE_ENTITY if is_nothing else HTTPStatus.OK
    return JsonResponse(answer, status)


def read_page(folder: Traversable) -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by name, each with its kind.

    They are read once: no path that a client sends ever meets the disk.
    """
    if not folder.is_dir():
        return {}
    return {
        one.name: (one.read_bytes(), _name_kind(one.name))
        for one in folder.iterdir()
        if one.is_file()
    }


def _name_kind(name: str) -> str:
    ending = f".{name.rpartition('.')[2]}"
    return _KINDS.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _show_file(page: Mapping[str, tuple[bytes, str]], name: str) -> Response:
    if name not in page:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    content, kind = page[name]
    return Response(content, headers={"content-type": kind})


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    refusal = cast("RequestError", error)
    return JsonResponse(build_error(refusal), refusal.status, refusal.headers)


async def _answer_failure(request: Request, error: Exception) -> Response:
    failure = to_request_error(cast("FercliError", error))
    if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("%s", error)
    return await _answer_refusal(request, failure)


async def _answer_unrouted(request: Request, error: Exception) -> Response:
    """Answer to a path or a method that there is not."""
    unrouted = cast("HTTPException", error)
    codes: dict[int, tuple[str, str]] = {
        HTTPStatus.NOT_FOUND: ("not-found", "there is nothing under this path"),
        HTTPStatus.METHOD_NOT_ALLOWED: ("method", "this path does not take this method"),
    }
    code, message = codes.get(unrouted.status_code, ("usage", unrouted.detail))
    refusal = refuse(unrouted.status_code, code, message, headers=unrouted.headers)
    return await _answer_refusal(request, refusal)


async def _answer_bug(request: Request, error: Exception) -> Response:
    _LOG.error("a bug", exc_info=error)
    message = "a bug in the service; its log has the traceback"
    refusal = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "error", message)
    return await _answer_refusal(request, refusal)
