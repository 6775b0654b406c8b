"""The page at /docs: the OpenAPI description as plain HTML, without scripts.

FastAPI's own page loads its scripts from elsewhere, which a desk that is to work
offline, under a strict Content-Security-Policy, cannot do.
"""

from __future__ import annotations

import html
import json

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page/desk.css">
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<p>For programs: <a href="/openapi.json">openapi.json</a></p>
<main>
"""


def docs_page(schema: dict) -> str:
    """Writes an OpenAPI description as HTML.

    Args:
        schema: as `FastAPI.openapi` returns it.
    """
    info = schema["info"]
    about = html.escape(info.get("description", ""))
    parts = [_HEAD.format(title=html.escape(info["title"]), about=about)]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(path, method, operation))
    models = schema.get("components", {}).get("schemas", {})
    parts.append("</main>\n<h2>Objects</h2>\n")
    parts += [_model(name, model) for name, model in models.items()]
    return "".join([*parts, "</body>\n</html>\n"])


def _operation(path: str, method: str, operation: dict) -> str:
    about = operation.get("description") or operation.get("summary", "")
    rows = [
        (
            parameter["name"],
            f"{parameter['in']}, {_type(parameter.get('schema', {}))}",
            parameter.get("description", ""),
        )
        for parameter in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        model = content.get("schema", {})
        fields = model.get("properties", {})
        rows += [
            (name, f"{kind}, {_type(field)}", field.get("description", ""))
            for name, field in fields.items()
        ]
        if not fields:
            rows.append(("body", f"{kind}, {_type(model)}", ""))
    rows += [
        (f"status {status}", ", ".join(map(_answer, _contents(answer))), _text(answer))
        for status, answer in operation["responses"].items()
    ]
    heading = html.escape(f"{method.upper()} {path}")
    return (
        f"<section>\n<h2><code>{heading}</code></h2>\n"
        f"<p>{_paragraphs(about)}</p>\n{_list(rows)}</section>\n"
    )


def _contents(answer: dict) -> list[tuple[str, dict]]:
    return list(answer.get("content", {}).items())


def _answer(content: tuple[str, dict]) -> str:
    kind, about = content
    model = _type(about.get("schema", {}))
    return kind if model == "any" else f"{kind}: {model}"


def _text(answer: dict) -> str:
    return answer.get("description", "")


def _model(name: str, model: dict) -> str:
    rows = [
        (field, _type(about), about.get("description", ""))
        for field, about in model.get("properties", {}).items()
    ]
    about = _paragraphs(model.get("description", ""))
    return f"<h3>{html.escape(name)}</h3>\n<p>{about}</p>\n{_list(rows)}"


def _list(rows: list[tuple[str, str, str]]) -> str:
    lines = [
        f"<dt><code>{html.escape(name)}</code></dt>"
        f"<dd>{html.escape(kind)}{'. ' if kind and about else ''}"
        f"{html.escape(about)}</dd>\n"
        for name, kind, about in rows
    ]
    return f"<dl>\n{''.join(lines)}</dl>\n"


def _paragraphs(text: str) -> str:
    return html.escape(text).replace("\n\n", "</p>\n<p>")


def _type(schema: dict) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(_type(part) for part in schema[key])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("contentMediaType") or schema.get("format") == "binary":
        return "file"
    return kind
