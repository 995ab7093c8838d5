"""The server described: OpenAPI's JSON, and a page for people that fetches nothing."""

from __future__ import annotations

import html as markup
from typing import Any

from pxvm import __version__
from pxvm.integration.server.guard import describe

#: The page fetches nothing and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
#: (method, path, what it does, fields of the body: name -> (type, meaning)).
ENDPOINTS: tuple[tuple[str, str, str, dict[str, tuple[str, str]]], ...] = (
    (
        "post",
        "/v1/chat/completions",
        "An answer to a conversation.",
        {
            "model": ("string", "any; one model answers"),
            "messages": ("array", "role and content of each turn"),
            "stream": ("boolean", "send the answer as it is made"),
            "stream_options": ("object", "include_usage: tokens at the end of a stream"),
            "max_tokens": (
                "integer",
                "at most so many, -1 for no limit; also max_completion_tokens",
            ),
            "temperature": ("number", "0, the default, takes the most likely token"),
            "top_p": ("number", "draw from as few as reach this share"),
            "top_k": ("integer", "draw from so many"),
            "repeat_penalty": ("number", "above 1 the text repeats itself less"),
            "seed": ("integer", "of the random numbers"),
            "stop": ("string", "or several: they end the answer"),
            "n": ("integer", "so many answers, of seeds that follow each other"),
            "logprobs": ("boolean", "how likely each token was"),
            "top_logprobs": ("integer", "and so many of the most likely, 20 at most"),
            "tools": ("array", "functions that the model may call, where its template knows any"),
            "tool_choice": ("string", "none, auto or required; or one function by its name"),
            "response_format": ("object", "json_object, or json_schema with its schema"),
            "regex": ("string", "that the answer matches"),
            "grammar": ("string", "in Lark's notation, that the answer follows"),
            "network": ("string", "which memory; no-memory for none. Also X-PXVM-Network"),
        },
    ),
    (
        "post",
        "/v1/completions",
        "How a text goes on.",
        {
            "prompt": ("string", "or several"),
            "max_tokens": ("integer", "16 unless given; the rest as for a chat"),
            "logprobs": ("integer", "so many of the most likely tokens with each, 20 at most"),
        },
    ),
    (
        "post",
        "/v1/embeddings",
        "Vectors of texts, by the model minilm.",
        {
            "input": ("string", "or several"),
            "encoding_format": ("string", "float or base64"),
        },
    ),
    ("get", "/v1/models", "The models there are.", {}),
    ("get", "/healthz", "Whether the server is up; asks for no key.", {}),
    ("get", "/metrics", "Counters for Prometheus.", {}),
)


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for method, path, what, fields in ENDPOINTS:
        entry: dict[str, Any] = {"summary": what, "responses": {"200": {"description": "OK"}}}
        if fields:
            properties = {
                name: {"type": kind, "description": meaning}
                for name, (kind, meaning) in fields.items()
            }
            schema = {"type": "object", "properties": properties}
            entry["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        paths[path] = {method: entry}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pxvm", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": describe()},
    }


def html() -> str:
    """The same to read."""
    style = "body{font:16px sans-serif;max-width:50em;margin:2em auto}td{padding:.2em 1em .2em 0}"
    parts = [
        f"<!doctype html><meta charset=utf-8><title>pxvm</title><style>{style}</style>",
        "<h1>pxvm</h1><p>OpenAI's protocol; also as <a href=/openapi.json>openapi.json</a>.</p>",
    ]
    for method, path, what, fields in ENDPOINTS:
        parts.append(f"<h2>{method.upper()} {path}</h2><p>{markup.escape(what)}</p><table>")
        for name, (kind, meaning) in fields.items():
            parts.append(f"<tr><td><code>{name}</code><td>{kind}<td>{markup.escape(meaning)}</tr>")
        parts.append("</table>")
    return "".join(parts)
