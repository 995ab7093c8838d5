"""What a client asks for: OpenAI's request bodies, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pxvm.core.errors import PxvmError
from pxvm.integration.pieces import whole_values

MOST_CHOICES, MOST_SCORES, MOST_TOOLS = 8, 20, 128
ROLES = {"developer": "system"}  # new words for old ones
#: Fields that change nothing here.
IGNORED = (
    "user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier",
    "prompt_cache_key", "verbosity", "reasoning_effort", "frequency_penalty", "presence_penalty",
    "logit_bias", "modalities", "best_of", "network",
)  # fmt: skip


class RefusedError(PxvmError, ValueError):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        code: OpenAI's word for it, or None.
        field: that is wrong, or None.
    """

    def __init__(
        self, message: str, status: int = 400, code: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.field = status, code, field


@dataclass(frozen=True)
class Wanted:
    """An answer that is asked for.

    Attributes:
        model: as the client names it; "" for any.
        messages: of a chat; for a completion empty.
        prompts: of a completion.
        options: as ``Model.chat`` takes them.
        choices: how many answers to each.
        usage: whether a stream ends with the tokens it took.
        scores: how many of the most likely tokens go with each; None for no logprobs at all.
        tools: functions that the model may call, as they were given.
        must_call: those of which it must call one.
    """

    model: str
    stream: bool
    options: Mapping[str, Any]
    messages: tuple[dict[str, Any], ...] = ()
    prompts: tuple[str, ...] = ()
    choices: int = 1
    usage: bool = False
    scores: int | None = None
    tools: tuple[Any, ...] = ()
    must_call: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises RefusedError."""
    try:
        body = json.loads(data)
        if b"\\ud" in data.lower():
            body = whole_values(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the body is no JSON: {error!s:.100}") from None
    if not isinstance(body, dict):
        raise RefusedError(f"expected a JSON object; found {type(body).__name__}")
    return body


def chat(body: Mapping[str, Any], forwards: bool = False) -> Wanted:
    """A request to ``/v1/chat/completions``. Raises RefusedError naming the field.

    Args:
        forwards: it goes to another server, which judges what this one has no need to know.
    """
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise RefusedError("expected a list of at least one message", field="messages")
    if forwards:
        messages = tuple(_forwarded(number, each) for number, each in enumerate(given))
        scores = 0 if body.get("logprobs") else None
        return Wanted(messages=messages, options={}, **_common(body), body=body, scores=scores)
    known = ("messages", "max_completion_tokens", "response_format", "tools", "tool_choice")
    _no_others(body, (*known, "top_logprobs"))
    messages = tuple(_message(number, each) for number, each in enumerate(given))
    options = _options(body)
    if body.get("max_completion_tokens") is not None:
        options |= _limit(body, "max_completion_tokens")
    if (schema := _schema(body.get("response_format"))) is not None:
        options["schema"] = schema
    tools, must_call = _tools(body)
    if must_call and {"schema", "regex", "grammar"} & options.keys():
        raise RefusedError("a call and another form are not both possible", field="tool_choice")
    return Wanted(
        messages=messages, options=options, **_common(body), body=body,
        scores=_scores(body), tools=tools, must_call=must_call,
    )  # fmt: skip


def completion(body: Mapping[str, Any], forwards: bool = False) -> Wanted:
    """A request to ``/v1/completions``; arguments and errors as of ``chat``."""
    given = body.get("prompt")
    prompts = [given] if isinstance(given, str) else given
    if (
        not isinstance(prompts, list)
        or not prompts
        or not all(isinstance(each, str) and each for each in prompts)
    ):
        raise RefusedError("expected a text, or a list of texts, none empty", field="prompt")
    if len(prompts) > MOST_CHOICES:
        raise RefusedError(f"expected at most {MOST_CHOICES} prompts", field="prompt")
    if forwards:
        return Wanted(prompts=tuple(prompts), options={}, **_common(body), body=body)
    _no_others(body, ("prompt", "suffix", "echo"))
    for name in ("suffix", "echo"):
        if body.get(name):
            raise RefusedError(f"{name} is not offered", field=name)
    options = {"max_tokens": 16} | _options(body)
    asks = body.get("logprobs") is not None
    scores = _number(body, "logprobs", 0, MOST_SCORES, int) if asks else None
    return Wanted(
        prompts=tuple(prompts), options=options, **_common(body), body=body, scores=scores
    )


def embedding(body: Mapping[str, Any], width: int) -> tuple[list[str], str]:
    """(texts, "float" or "base64") of a request to ``/v1/embeddings``. Raises RefusedError.

    Args:
        width: elements of a vector.
    """
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise RefusedError("expected a text, or a list of texts; no tokens", field="input")
    if len(texts) > 2048:
        raise RefusedError("expected at most 2,048 texts", field="input")
    kind = body.get("encoding_format") or "float"
    if kind not in ("float", "base64"):
        raise RefusedError("expected float or base64", field="encoding_format")
    if body.get("dimensions") not in (None, width):
        raise RefusedError(f"the vectors have {width} elements", field="dimensions")
    return texts, kind


def _no_others(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    every = (
        *known, *IGNORED, "model", "stream", "stream_options", "max_tokens", "temperature",
        "top_p", "top_k", "seed", "stop", "n", "logprobs", "repeat_penalty", "regex", "grammar",
    )  # fmt: skip
    for name, value in body.items():
        if name not in every and value not in (None, [], {}, False):
            raise RefusedError(f"the field {name!r:.60} is not known here", field=str(name)[:60])
    for name in ("frequency_penalty", "presence_penalty", "logit_bias"):
        if body.get(name):
            raise RefusedError(f"{name} is not offered; repeat_penalty is", field=name)


def _common(body: Mapping[str, Any]) -> dict[str, Any]:
    model, stream = body.get("model") or "", body.get("stream") or False
    if not isinstance(model, str):
        raise RefusedError("expected a text", field="model")
    if not isinstance(stream, bool):
        raise RefusedError("expected true or false", field="stream")
    return {
        "model": model,
        "stream": stream,
        "usage": _usage(body),
        "choices": _number(body, "n", 1, MOST_CHOICES, int) if body.get("n") is not None else 1,
    }


def _usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RefusedError("expected an object", field="stream_options")
    return bool(options.get("include_usage"))


def _scores(body: Mapping[str, Any]) -> int | None:
    if not body.get("logprobs"):
        if body.get("top_logprobs"):
            raise RefusedError("top_logprobs need logprobs: true", field="top_logprobs")
        return None
    if body["logprobs"] is not True:
        raise RefusedError("expected true or false", field="logprobs")
    if body.get("top_logprobs") is None:
        return 0
    return int(_number(body, "top_logprobs", 0, MOST_SCORES, int))


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Mapping[str, Any], ...]]:
    """(the functions that may be called, those of which one must be)."""
    tools, choice = body.get("tools") or [], body.get("tool_choice") or "auto"
    if not isinstance(tools, list) or len(tools) > MOST_TOOLS:
        raise RefusedError(f"expected a list of at most {MOST_TOOLS}", field="tools")
    functions: dict[str, Mapping[str, Any]] = {}
    for number, tool in enumerate(tools):
        match tool:
            case {"type": "function", "function": {"name": str(name)} as function} if isinstance(
                function.get("parameters") or {}, dict
            ):
                functions[name] = function
            case _:
                raise RefusedError(
                    f"tool {number}: expected a function with a name, and parameters as a schema",
                    field="tools",
                )
    match choice:
        case "none":
            return (), ()
        case "auto":
            return tuple(tools), ()
        case "required" if functions:
            return tuple(tools), tuple(functions.values())
        case {"type": "function", "function": {"name": str(name)}} if name in functions:
            return tuple(tools), (functions[name],)
    raise RefusedError(
        "expected none, auto, required, or a function that is among the tools", field="tool_choice"
    )


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Of the fields that are given, what ``Model.chat`` takes."""
    ranges: dict[str, tuple[str, float, float, type]] = {
        "temperature": ("temperature", 0, 2, float),
        "top_p": ("top_p", 0, 1, float),
        "top_k": ("top_k", 1, 1024, int),
        "seed": ("seed", -(2**63), 2**64 - 1, int),
        "repeat_penalty": ("penalty", 0.01, 100, float),
    }
    found: dict[str, Any] = _limit(body, "max_tokens") if body.get("max_tokens") is not None else {}
    body = {k: v for k, v in body.items() if k != "top_k" or v not in (0, -1)}  # all of them
    for name, (ours, low, high, kind) in ranges.items():
        if body.get(name) is not None:
            found[ours] = _number(body, name, low, high, kind)
    if "seed" in found:
        found["seed"] %= 2**64
    stop = body.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if (
            not isinstance(stops, list)
            or len(stops) > 16
            or not all(isinstance(text, str) for text in stops)
        ):
            raise RefusedError("expected a text, or a list of at most 16", field="stop")
        found["stop"] = stops
    for name in ("regex", "grammar"):
        if body.get(name) is not None:
            found[name] = body[name]
    return found


def _limit(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """At most so many tokens; -1, as LM Studio and llama.cpp write it, is no limit."""
    return {"max_tokens": None if body[name] == -1 else _number(body, name, 1, 1 << 31, int)}


def _number(body: Mapping[str, Any], name: str, low: float, high: float, kind: type) -> Any:
    value = body[name]
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not fits or (kind is int and not whole):
        raise RefusedError(
            f"{name}: expected a{' whole' if kind is int else ''} number from {low:g} to {high:g}",
            field=name,
        )
    return kind(value)


def _forwarded(number: int, message: Any) -> dict[str, Any]:
    """A message as it came, with whatever parts another server may understand."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise RefusedError(f"message {number}: expected a role and a content", field="messages")
    return {**message, "role": ROLES.get(message["role"], message["role"])}


def _message(number: int, given: Any) -> dict[str, Any]:
    """A message as the templates know it: role and text; calls of functions and their results."""
    message = _forwarded(number, given)
    role = message["role"]
    if role not in ("system", "user", "assistant", "tool"):
        raise RefusedError(f"message {number}: unknown role {role!r:.40}", field="messages")
    if role != "assistant" and message.get("content") is None:
        raise RefusedError(f"message {number}: expected a content", field="messages")
    found: dict[str, Any] = {"role": role, "content": text_of(message.get("content"), number)}
    found |= {name: message[name] for name in ("name", "tool_call_id") if message.get(name)}
    if calls := message.get("tool_calls"):
        if not isinstance(calls, list) or not all(
            isinstance(call, dict) and isinstance(call.get("function"), dict) for call in calls
        ):
            raise RefusedError(f"message {number}: expected calls of functions", field="messages")
        found["tool_calls"] = calls
    return found


def text_of(content: Any, number: int = 0) -> str:
    """The text of a message's content. Raises RefusedError for pictures and sounds."""
    if isinstance(content, list) and any(not _is_text(part) for part in content):
        raise RefusedError(f"message {number}: only parts of text are understood", field="messages")
    if content is not None and not isinstance(content, (str, list)):
        raise RefusedError(f"message {number}: expected a text", field="messages")
    return said(content)


def said(content: Any) -> str:
    """What of a message's content is text."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if _is_text(part))
    return content if isinstance(content, str) else ""


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _schema(wanted: Any) -> Any:
    """The JSON schema that the answer follows, None for any text."""
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
    raise RefusedError(
        'expected {"type": "text"}, {"type": "json_object"} or a json_schema with its schema',
        field="response_format",
    )
