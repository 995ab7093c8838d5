"""Answers of a given form: always valid, however foolish the model."""

from __future__ import annotations

import hashlib
import json
import re

import jsonschema
import numpy as np
import pytest

from pxvm import Model
from pxvm.models.constrained import GrammarError
from pxvm.models.model import ModelError
from tests.models.tiny_models import compiled, real, write_llama

ASK = [{"role": "user", "content": "Describe a pixel."}]
SCHEMAS = 1000
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.pxi")


@pytest.fixture(scope="module")
def model(path):
    return Model.open(path, device=compiled(), threads=1)


def random_schema(rng, depth=0):
    """A JSON schema of objects, arrays, choices and bounded values."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern"]
    kinds += [] if depth > 2 else ["object", "object", "array", "anyOf", "map"]
    kind = kinds[rng.integers(len(kinds))]
    below = lambda: random_schema(rng, depth + 1)  # noqa: E731
    if kind == "enum":
        return {"enum": ["red", 7, None, 'a "b"', True][: rng.integers(1, 6)]}
    if kind == "const":
        return {"const": ["yes", 12, {"a": [1]}][rng.integers(3)]}
    if kind == "pattern":
        return {
            "type": "string",
            "pattern": ["^[a-c]{1,4}$", "^x+y?$", "^\\d{3}-\\d{2}$"][rng.integers(3)],
        }
    if kind == "string":
        return {"type": "string"} | ({"minLength": 2, "maxLength": 6} if rng.random() < 0.5 else {})
    if kind == "integer":
        return {"type": "integer"} | ({"minimum": -5, "maximum": 120} if rng.random() < 0.5 else {})
    if kind == "array":
        size = {"minItems": 1, "maxItems": 4} if rng.random() < 0.5 else {}
        return {"type": "array", "items": below()} | size
    if kind == "anyOf":
        return {"anyOf": [below() for _ in range(rng.integers(2, 4))]}
    if kind == "map":
        return {"type": "object", "additionalProperties": below()}
    if kind == "object":
        names = ["name", "size", "kind", "näme", "x y"][: rng.integers(1, 6)]
        needed = [n for n in names if rng.random() < 0.6]
        return {"type": "object", "properties": {n: below() for n in names}, "required": needed,
                "additionalProperties": False}  # fmt: skip
    return {"type": kind}


def test_1000_random_schemas_give_no_invalid_document(model):
    """A model of random weights, mostly drawn hot and cut off early."""
    rng = np.random.default_rng(11)
    ends = set()
    for number in range(SCHEMAS):
        schema = random_schema(rng)
        text = model.generate(
            "x", schema=schema, max_tokens=int(rng.integers(1, 24)), temperature=1.5, seed=number
        )
        ends.add(model.finish)
        document = json.loads(text)
        jsonschema.validate(document, schema)
    assert ends == {"stop"}


def test_a_long_document_is_closed_when_its_tokens_are_used_up(model):
    for limit in (1, 3, 10, 40):
        text = model.chat(ASK, schema=PERSON, max_tokens=limit, temperature=2.0, seed=limit)
        jsonschema.validate(json.loads(text), PERSON)
        assert model.finish == "stop"
        assert len(model.generator.drawn()) < limit + 60


@pytest.mark.parametrize("pattern", [r"[0-9]{4}-[0-9]{2}", r"(yes|no)( (yes|no)){0,3}", "é+中?"])
def test_a_regular_expression_matches_all_of_the_answer(model, pattern):
    for seed in range(10):
        text = model.chat(ASK, regex=pattern, temperature=1.5, seed=seed, max_tokens=24)
        assert re.fullmatch(pattern, text), text
        assert model.finish == "stop"


def test_a_context_free_grammar_is_followed(model):
    grammar = 'start: "(" start ")" | LETTER\nLETTER: /[xyz]/\n'
    ended = 0
    for seed in range(10):
        text = model.chat(ASK, grammar=grammar, temperature=1.0, seed=seed, max_tokens=60)
        if model.finish == "stop":
            ended += 1
            depth = text.count("(")
            assert re.fullmatch(rf"\({{{depth}}}[xyz]\){{{depth}}}", text), text
    assert ended


def test_a_schema_may_be_text_and_pieces_stream(model):
    whole = model.chat(ASK, schema=PERSON, max_tokens=20)
    pieces = list(model.chat(ASK, schema=json.dumps(PERSON), max_tokens=20, stream=True))
    assert "".join(pieces) == whole and len(pieces) > 3


def test_one_answer_on_both_executors(path):
    found = set()
    for device in ("reference", compiled()):
        one = Model.open(path, device=device)
        text = one.chat(ASK, schema=PERSON, max_tokens=12, temperature=1.0, seed=5)
        found.add((text, hashlib.sha256(np.ascontiguousarray(one.image)).hexdigest()))
    assert len(found) == 1


def test_a_document_saved_in_the_middle_is_finished_elsewhere(path, model, tmp_path):
    options = {"schema": PERSON, "max_tokens": 30}
    whole = model.chat(ASK, temperature=1.2, seed=3, **options)
    pieces = model.chat(ASK, temperature=1.2, seed=3, stream=True, **options)
    begun = "".join(next(pieces) for _ in range(6))
    model.save_state(tmp_path / "half.pxi")
    resumed = Model.resume(tmp_path / "half.pxi", device="reference")
    with pytest.raises(ModelError, match="give its schema"):
        resumed.proceed()
    assert begun + resumed.proceed(**options) == whole


def test_the_next_answer_is_free_again(model):
    free = model.chat(ASK, max_tokens=12)
    model.chat(ASK, max_tokens=12, regex="[ab]{2,4}")
    assert model.chat(ASK, max_tokens=12) == free


@pytest.mark.parametrize(
    "form",
    [{"schema": {"type": "nonsense"}}, {"schema": "no json"}, {"regex": "(unclosed"},
     {"grammar": "start: missing\n"}, {"schema": {}, "regex": "a"}, {"schema": 7}],
)  # fmt: skip
def test_forms_that_cannot_be_followed_are_refused_in_one_line(model, form):
    with pytest.raises(GrammarError) as caught:
        model.chat(ASK, max_tokens=2, **form)
    assert "\n" not in str(caught.value)


def ring(count: int) -> str:
    """Rules each of which leads to the next."""
    rules = (f'r{i}: "a" r{(i + 1) % count} "b" | "c"' for i in range(count))
    return "start: r0\n" + "\n".join(rules)


def nested(depth: int) -> dict:
    schema: dict = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def chained(count: int) -> dict:
    """Definitions each of which leads to the next."""
    found = {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": found | {f"d{count}": {"type": "string"}}}


HUGE = {
    "rules in a ring": {"grammar": ring(5000)},
    "rules without end": {"grammar": "start: " + " ".join('"a"?' for _ in range(40_000))},
    "deep parentheses": {"grammar": "start: " + "(" * 5000 + '"a"' + ")" * 5000},
    "a deep schema": {"schema": nested(50_000)},
    "a deep schema as text": {"schema": '{"items":' * 50_000 + "{}" + "}" * 50_000},
    "definitions in a chain": {"schema": chained(5000)},
    "a long schema": {"schema": {"enum": ["x" * (1 << 20)]}},
    "a schema of objects": {"schema": object()},
    "a deep expression": {"regex": "(" * 3000 + "a" + ")" * 3000},
    "a long expression": {"regex": "a?" * 10_000},
    "a repeated expression": {"regex": "(a{1000}){1000}"},
    "terminals doubled": {"grammar": "start: T0\n" + "\n".join(
        f"T{i}: T{i + 1} T{i + 1}" for i in range(40)) + '\nT40: "b"'},
    "a number": {"regex": 5}, "a list": {"grammar": ["start"]},
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_forms_that_are_too_large_are_refused_before_they_do_harm(model, name):
    with pytest.raises(GrammarError) as caught:
        model.chat(ASK, max_tokens=4, **HUGE[name])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_forms_that_are_as_large_as_allowed_are_followed(model):
    """The library calls itself 1,990 times for each: its stack must hold them."""
    for form in ({"grammar": ring(1990)}, {"schema": chained(660)}):
        assert model.chat(ASK, max_tokens=4, **form)


def test_a_model_without_a_last_token_cannot_be_constrained(tmp_path):
    model = Model.open(write_llama(tmp_path / "t.pxi", stops=()), device="reference")
    with pytest.raises(Exception, match="needs a token that ends it"):
        model.chat(ASK, regex="a")


def test_the_real_model_fills_in_forms():
    model = Model.open(real("smollm2"), device=compiled(), context=512)
    rng = np.random.default_rng(2)
    for number in range(10):
        schema = random_schema(rng)
        text = model.chat(ASK, schema=schema, max_tokens=24, temperature=0.7, seed=number)
        jsonschema.validate(json.loads(text), schema)
