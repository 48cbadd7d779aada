"""The service described as OpenAPI 3.1, written from the types and options that it is made of."""

from __future__ import annotations

import dataclasses
import types
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

from fercli import __version__
from fercli.inference import LABEL_SETS
from fercli.results import PredictionRow, PredictResult
from fercli.serve.query import PARAMETERS
from fercli.serve.uploads import FIELD, MAX_NAME

if TYPE_CHECKING:
    from fercli.config import Option
    from fercli.serve.service import Service

__all__ = ["build_openapi", "describe_dataclass"]

_Json = dict[str, Any]
_PLAIN: Final = {
    str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null",
}  # fmt: skip
_ERRORS: Final = {
    HTTPStatus.BAD_REQUEST: "A parameter or the form is wrong; every problem is named.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
    HTTPStatus.FORBIDDEN: "The request comes from another site, or its Host is not allowed.",
    HTTPStatus.NOT_FOUND: "There is nothing under this path.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path does not take this method.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too many bytes or images.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is neither an image nor a form.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The service is broken; its log says how.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service is overloaded or shutting down.",
}
_ANYWHERE: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED)
_OF_MODELS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)
_OF_PREDICT: Final = tuple(
    status for status in _ERRORS if status not in {*_ANYWHERE, HTTPStatus.NOT_FOUND}
)


def build_openapi(service: Service) -> _Json:
    """Return the description of a service, with its models and limits."""
    paths: _Json = {
        "/healthz": {
            "get": _describe_get(
                "getHealth",
                "Whether the service takes requests.",
                _OBJECT | {"required": ["status"], "properties": {"status": {"const": "ok"}}},
                (HTTPStatus.SERVICE_UNAVAILABLE,),
            )
        },
        "/openapi.json": {"get": _describe_get("getDescription", "This description.", _OBJECT)},
        "/api/models": {
            "get": _describe_get(
                "listModels",
                "The models, the ways to find faces, the limits.",
                {"$ref": "#/components/schemas/Models"},
                _OF_MODELS,
            )
        },
        "/api/predict": {"post": _describe_predict(service)},
    }
    described: _Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "fer serve",
            "version": __version__,
            "description": "Facial expressions of the faces in images. Nothing is kept.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": _build_schemas()},
    }
    if service.config.token is not None:
        schemes = {"token": {"type": "http", "scheme": "bearer"}}
        described["components"]["securitySchemes"] = schemes
        for path, operations in paths.items():
            if path.startswith("/api/"):
                for operation in operations.values():
                    operation["security"] = [{"token": []}]
    return described


_OBJECT: Final[_Json] = {"type": "object"}


def describe_dataclass(kind: type[Any], **replaced: _Json) -> _Json:
    """Return the JSON schema of a result, by its fields' types.

    Args:
        kind: A dataclass.
        replaced: Schemas of fields that are more than their type says.
    """
    hints = get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]
    properties = {name: replaced.get(name) or _describe_type(hints[name]) for name in names}
    return {
        "type": "object",
        "required": names,
        "additionalProperties": False,
        "properties": properties,
    }


def _describe_type(kind: Any) -> _Json:  # noqa: ANN401  # any annotation
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_describe_type(part) for part in parts]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe_type(parts[1])}
    if origin is list:
        return {"type": "array", "items": _describe_type(parts[0])}
    if origin is tuple:
        items = [_describe_type(part) for part in parts]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        is_row = kind is PredictionRow
        return {"$ref": "#/components/schemas/Row"} if is_row else describe_dataclass(kind)
    message = f"no schema for {kind}"
    raise TypeError(message)


def _build_schemas() -> _Json:
    row = describe_dataclass(
        PredictionRow,
        status={"enum": ["ok", "no_face", "unreadable", "refused"]},
        confidence={"type": ["number", "null"], "minimum": 0},
    )
    smooth = [name for name in row["properties"] if name.startswith("smooth_")]
    for name in smooth:
        # Of videos alone.
        del row["properties"][name]
        row["required"].remove(name)
    result = describe_dataclass(
        PredictResult, rows={"type": "array", "items": {"$ref": "#/components/schemas/Row"}}
    )
    result["properties"]["duration_s"] = {"type": "number", "minimum": 0}
    result["required"].append("duration_s")
    text = {"type": "string"}
    error = {
        "type": "object",
        "required": ["code", "message", "hint"],
        "additionalProperties": False,
        "properties": {"code": text, "message": text, "hint": text},
    }
    return {
        "Row": row,
        "Result": result,
        "Error": error,
        "Prediction": _describe_envelope(
            {"$ref": "#/components/schemas/Result"}, ["ok", "partial"], 0
        ),
        "Failure": _describe_envelope(_OBJECT | {"maxProperties": 0}, ["error"], 1),
        "Models": _describe_models(),
    }


def _describe_envelope(data: _Json, statuses: list[str], least: int) -> _Json:
    errors = {"type": "array", "items": {"$ref": "#/components/schemas/Error"}, "minItems": least}
    properties = {
        "schema": {"const": 1},
        "command": {"const": "predict"},
        "status": {"enum": statuses},
        "exit_code": {"type": "integer"},
        "data": data,
        "errors": errors,
    }
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _describe_models() -> _Json:
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    whole = {"type": "integer", "minimum": 1}
    model = {
        "name": text,
        "labels": texts,
        "labels_of": texts,
        "purpose": text,
        "default": {"type": "boolean"},
        "int8": {"type": "boolean"},
        "network": {"type": ["string", "null"]},
        "parameters": {"type": ["integer", "null"]},
    }
    limits = {"bytes": whole, "pixels": whole, "images": whole}
    properties = {
        "models": {"type": "array", "minItems": 1, "items": _require(model)},
        "faces": texts,
        "limits": _require(limits),
        "version": text,
    }
    return _require(properties)


def _require(properties: _Json) -> _Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _describe_get(
    name: str, summary: str, schema: _Json, statuses: tuple[HTTPStatus, ...] = ()
) -> _Json:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": schema}}},
            **_describe_errors((*_ANYWHERE, *statuses)),
        },
    }


def _describe_errors(statuses: tuple[HTTPStatus, ...]) -> _Json:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    responses: _Json = {}
    for status in sorted(statuses):
        responses[str(int(status))] = {"description": _ERRORS[status], "content": content}
    if "503" in responses:
        retry = {"description": "Seconds.", "schema": {"type": "integer"}}
        responses["503"] = {**responses["503"], "headers": {"Retry-After": retry}}
    return responses


def _describe_predict(service: Service) -> _Json:
    image = {"type": "string", "contentMediaType": "application/octet-stream", "minLength": 1}
    limits = service.config
    form = {
        "type": "object",
        "required": [FIELD],
        "additionalProperties": False,
        "properties": {
            FIELD: {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "format": "binary"},
            }
        },
    }
    rows = {"application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}}
    names, faces = service.models.names, service.faces
    own = [
        _describe_parameter("model", {"enum": names, "default": names[0]}, "Which model to ask."),
        _describe_parameter(
            "labels_of", {"enum": ["", *LABEL_SETS]}, "Use only the labels of this set."
        ),
        _describe_parameter(
            "name", {"type": "string", "maxLength": MAX_NAME}, "Name of a single image in rows."
        ),
    ]
    shared = [
        _describe_parameter(name, _describe_option(one, faces), one.declared["help"])
        for name, one in PARAMETERS.items()
    ]
    return {
        "operationId": "predict",
        "summary": "The expression of every face in one image or several.",
        "description": f"At most {limits.max_bytes} bytes, {limits.max_images} images and "
        f"{limits.max_pixels} pixels in each. An image that cannot be read is a row with its "
        "reason.",
        "parameters": [*own, *shared],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": image},
                "image/*": {"schema": image},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {"description": "A row per face, or per image without one.", "content": rows},
            "422": {"description": "The only image cannot be read.", "content": rows},
            **_describe_errors((*_ANYWHERE, *_OF_PREDICT)),
        },
    }


def _describe_parameter(name: str, schema: _Json, text: str) -> _Json:
    return {
        "name": name, "in": "query", "required": False, "schema": schema, "description": text,
    }  # fmt: skip


def _describe_option(one: Option, faces: list[str]) -> _Json:
    """Return the schema of a parameter by what its option declares."""
    declared = one.declared
    if "choices" in declared:
        return {"enum": faces, "default": one.default}
    schema: _Json = {"type": _PLAIN[one.kind], "default": one.default}
    if "low" in declared:
        schema["minimum"] = declared["low"]
    if "high" in declared:
        schema["maximum"] = declared["high"]
    return schema
