"""Chat templates: what their authors meant, and no more time, memory or reach than allowed."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pxvm.core.errors import FormatError
from pxvm.models.text import template as module
from pxvm.models.text.sandbox import Generation
from pxvm.models.text.template import MessageError, render
from tests.models.tiny_models import CHATML

LLAMA3 = (
    "{{- bos_token }}{%- for message in messages %}\n"
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
    "    {{- message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
    "{%- endif %}\n"
)
ALTERNATE = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
TALK = [
    {"role": "user", "content": " Hé "},
    {"role": "assistant", "content": "ja"},
    {"role": "user", "content": "<b>"},
]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
        "properties": {"città": {"type": "string"}}, "required": ["città"]}}}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CHATML, "<|im_start|>user\n Hé <|im_end|>\n<|im_start|>assistant\nja<|im_end|>\n"
                 "<|im_start|>user\n<b><|im_end|>\n<|im_start|>assistant\n"),
        (LLAMA3, "<s><|start_header_id|>user<|end_header_id|>\n\nHé<|eot_id|>"
                 "<|start_header_id|>assistant<|end_header_id|>\n\nja<|eot_id|>"
                 "<|start_header_id|>user<|end_header_id|>\n\n<b><|eot_id|>"
                 "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        (ALTERNATE, "[INST]  Hé  [/INST]ja</s>[INST] <b> [/INST]"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": " Hé "}, {"role": "assistant",'
                                    ' "content": "ja"}, {"role": "user", "content": "<b>"}]'),
        ("{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}"
         "{% endfor %}", "user"),
        ("{% generation %}{{ messages[1].content }}{% endgeneration %}!", "ja!"),
        ("{{ tools | tojson(indent=2) }}", json.dumps([TOOL], indent=2, ensure_ascii=False)),
        ("{{ tools[0] | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}",
         json.dumps(TOOL, separators=(",", ":"), sort_keys=True)),
        ("{{ tools | tojson(4) }}", json.dumps([TOOL])),
    ],
)  # fmt: skip
def test_templates_render_as_their_authors_meant(source, expected):
    assert render(source, TALK, bos_token="<s>", eos_token="</s>", tools=[TOOL]) == expected


# What templates in the wild are made of, each against Jinja as Hugging Face sets it up.
ORDINARY = [
    "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% if not loop.last %}{% set ns.last = m.role %}{% endif %}"
    "{% endfor %}{{ ns.n }}{{ ns.last }}",
    "{% macro show(m, mark='-') %}{{ mark ~ m.content|trim ~ loop }}{% endmacro %}"
    "{{ show(messages[0]) }}{{ show(messages[2], mark='+') }}",
    "{% macro wrap() %}<{{ caller() }}>{% endmacro %}{% call wrap() %}x{% endcall %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}"
    "{{ m['content'] }}{% else %}none{% endfor %}",
    "{% for m in messages|selectattr('role', 'equalto', 'user')|list %}{{ m.content }}{% endfor %}",
    "{{ messages|map(attribute='role')|join(', ') }}{{ messages|map(attribute='content')|list }}",
    "{{ messages|rejectattr('role', 'in', ['user'])|first|tojson }}{{ (messages|last).role }}",
    "{{ messages[1:]|length }}{{ messages[::-1][0].content }}{{ 'abcdef'[1:4] }}{{ 'ab' * 3 }}",
    "{{ messages[0].content.strip().upper() }}{{ 'a,b'.split(',') }}{{ 'x'.join(['a', 'b']) }}",
    "{{ 'think</think>say'.split('</think>')[-1].lstrip('\\n') }}{{ 'ab'.startswith('a') }}",
    "{% for k, v in tools[0].function.parameters.properties.items() %}{{ k }}={{ v.type }}"
    "{% endfor %}{{ tools[0]|items|list|length }}{{ {'b': 1, 'a': [2]}|dictsort }}",
    "{{ tools[0].function.name is defined }}{{ nothing is defined }}{{ tools is iterable }}"
    "{{ messages[0].content is string }}{{ tools[0] is mapping }}{{ none is none }}",
    "{{ nothing|default('d') }}{{ ''|default('e', true) }}{{ (1, 'a') }}{{ {'k': true} }}",
    "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 10 }}{{ 1.5 + 1 }}{{ -3|abs }}{{ 2.567|round(1) }}"
    "{{ '7'|int }}",
    "{{ 'a' in 'abc' }}{{ 1 < 2 < 3 }}{{ 3 not in [1, 2] }}{{ 'b' if false else 'c' }}",
    "{% set x %}one {{ messages|length }}{% endset %}{{ x|replace('one', 'two')|title }}",
    "{% filter upper %}abc{% endfilter %}{{ 'a\nb'|indent(2) }}{{ 'a'|capitalize }}",
    "{{ [3, 1, 2]|sort }}{{ [1, 1, 2]|unique|list }}{{ [1, 2]|sum }}{{ ['a', 'b']|reverse|list }}",
    "{% for g in messages|groupby('role') %}{{ g[0] }}{{ g[1]|length }}{% endfor %}",
    "{{ range(3)|list }}{{ '%s and %02d' % ('a', 5) }}{{ '%s' | format('x') }}{{ dict(a=1).a }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ strftime_now('%Y') }}",
    "{% raw %}{{ no }}{% endraw %}{# a note #}  \n  {%- if true %} yes{% endif -%}\n end",
    "{% for m in messages recursive %}{{ m.role }}{% endfor %}{{ messages[9] }}"
    "{{ messages[0].no }}",
    "{{ 'b--a--'.strip('-') }}{{ 'a,b,c'.rsplit(',', 1)[0] }}{{ 'aXb'.rpartition('X')[2] }}"
    "{{ '.a.'|trim('.') }}{{ [1, 2, 1].count(1) }}{{ 2 in range(1, 9, 3) }}{{ range(5)|sum }}",
    "{% for m in messages %}{{ loop.previtem is defined }}{{ loop.nextitem }}"
    "{{ loop.cycle('odd', 'even') }}{{ loop.changed(m.role) }}{% continue %}x{% endfor %}",
]


def by_jinja(source: str, **values: object) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    environment.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source).render(messages=TALK, tools=[TOOL], **values)


@pytest.mark.parametrize("source", ORDINARY)
def test_ordinary_templates_give_what_jinja_gives(source):
    assert render(source, TALK, tools=[TOOL]) == by_jinja(source)


def test_a_template_may_refuse():
    with pytest.raises(MessageError, match="Roles must alternate"):
        render(ALTERNATE, TALK[1:], bos_token="", eos_token="")
    with pytest.raises(MessageError, match="message 1: expected a mapping with role"):
        render(CHATML, [TALK[0], {"role": "user"}])
    with pytest.raises(MessageError) as caught:
        render("{{ raise_exception('long ' * 1000 ~ '\n' ~ 'two') }}", TALK)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}",
        "{{ messages['__class__'] }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ strftime_now.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ (['{0.__class__}']|map(attribute='format')|first)(1) }}",
        "{{ ''|attr('__class__') }}",
        "{{ [1]|map(attribute='__class__')|list }}",
        "{{ [1]|groupby('__class__') }}",
        "{% for m in messages %}{{ loop._iterable }}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'x' %}",
        "{{ self._TemplateReference__context }}",
        "{{ lipsum(n=3) }}",
        "{{ 1 // 0 }}",
        "{{ messages[99].role.x }}",
        "{% if %}",
        "{{ nothing() }}",
        "{{ strftime_now(3) }}",
        "{{ messages|tojson(separators=5) }}",
        "{{ messages|urlize }}",
        "{{ ('a ' * 10)|wordwrap(1) }}",
    ],
)
def test_a_template_reaches_nothing_outside(source):
    with pytest.raises(FormatError, match="chat template") as caught:
        render(source, TALK)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def doubled(body: str, count: int = 45) -> str:
    """A list that holds itself twice, so many times over, and what is then done with it."""
    return (
        f"{{% set ns = namespace(a=[1], b=[1]) %}}{{% for i in range({count}) %}}"
        "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}" + body
    )


def loops(body: str) -> str:
    inner = "{% for j in range(99999) %}" + body + "{% endfor %}"
    return "{% for i in range(99999) %}" + inner + "{% endfor %}"


def apart(use: str) -> str:
    """Two texts that a search compares all of with all of."""
    return "{% set s = 'b' * 4000 %}{% set c = 'a' * 4000 ~ 'b' %}{{ s" + use + " }}"


ATTACKS = {
    "empty loops": loops(""), "loops of text": loops("x" * 60000),
    "loops with a test": loops("").replace("(99999) %}{% e", "(99999) if false %}{% e"),
    "loops of names": loops("{{ a }}" * 200),
    "loops of lists": loops("{% set x = [" + "1," * 200 + "] %}"),
    "loops of calls": loops("{{ dict(a=1) }}"), "loops of JSON": loops("{{ messages|tojson }}"),
    "text in a set block": "{% set y %}" + loops("x" * 60000) + "{% endset %}{{ y|length }}",
    "text in a macro": "{% macro m() %}" + "x" * 60000 + "{% endmacro %}" + loops("{{ m() }}"),
    "a macro that calls itself": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
        "{% endif %}{% endmacro %}{{ f(60) }}",
    "a loop that calls itself": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "a block that calls itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "callers of callers": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
        + "{% call m() %}" * 16 + "x" + "{% endcall %}" * 16,
    "a long text": "{{ 'a' * 10**9 }}", "a longer text": "{{ 10**11 * 'a' }}",
    "a long list": "{% set x = [0] * 10**9 %}ok", "a long range": "{{ range(10**9)|list }}",
    "a text doubled": "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(60) %}"
        "{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "a text doubled by concatenation": "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in"
        " range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "a wide field": "{{ '%999999999d' % 1 }}",
    "a wide field by argument": "{{ '%*d' % (10**9, 1) }}",
    "a wide field of a filter": "{{ '%999999999d'|format(1) }}", "a big power": "{{ 7**99999 }}",
    "a number squared again": "{% set ns = namespace(x=3) %}{% for i in range(99) %}"
        "{% set ns.x = ns.x * ns.x %}{% endfor %}", "a big root": "{{ 2**(-(10**9)) }}",
    "digits": "{{ 1.5|round(10**9, 'ceil') }}", "hexadecimal": "{{ ('f' * 10**6)|int(0, 16) }}",
    "replacing": "{{ ('a' * 9999)|replace('a', 'b' * 9999) }}",
    "replacing by name": "{{ ('a' * 9999)|replace(new='b' * 9999, old='a') }}",
    "replacing nothing": "{{ ('a' * 9999).replace('', 'b' * 9999) }}",
    "joining": "{{ ('b' * 9999).join(range(9999)|map('string')) }}",
    "joining by a filter": "{{ range(9999)|join(d='b' * 9999) }}",
    "indenting": "{{ ('\n' * 9999)|indent(9999) }}",
    "indenting by text": "{{ 'a\n'|indent('x' * 10**8) }}",
    "splitting": "{{ ('a' * 10**7).split('a') }}",
    "splitting words": "{{ ('a ' * 10**7).split() }}",
    "lines": "{{ ('\n' * 10**7).splitlines() }}", "letters": "{{ ('a' * 10**7)|list }}",
    "titles": "{{ ('a b ' * 10**6)|title }}", "lists of lists": "{{ [[1]]|sum(start=[]) }}",
    "JSON indented": "{{ messages|tojson(indent=10**9) }}",
    "the time": "{{ strftime_now('%9999Y') }}",
    "stripping": apart(".strip(c)"), "stripping by a filter": apart("|trim(c)"),
    **{f"{name} in vain": apart(f".{name}(c)") for name in (
        "count", "find", "index", "lstrip", "partition", "replace", "rfind", "rindex", "rpartition",
        "rsplit", "rstrip", "split",
    )},
    **{f"a range, {how}": "{% for i in range(99) %}{{ " + use + " }}{% endfor %}" for how, use in {
        "looked into": "5.5 in range(99999)", "summed": "range(99999)|sum",
        "its largest": "range(99999)|max", "sorted": "range(99999)|sort|first",
        "tested": "5.5 is in range(99999)", "mapped": "range(99999)|map('string')|first",
        "in a list": "[0].index(range(99999))", "cut": "range(99999)[::2]|length",
        "written": "range(99999)|tojson|length",
    }.items()},
    "numbers of one hash": "{{ range(0, 380 * M, M)|unique|list|length }}".replace(
        "M", str(2**61 - 1)
    ),
    "a list in itself": doubled("{{ ns.a }}"), "as JSON": doubled("{{ ns.a|tojson }}"),
    "compared": doubled("{{ ns.a == ns.b }}"), "looked for": doubled("{{ ns.a in [ns.b] }}"),
    "tested": doubled("{{ ns.a is eq(ns.b) }}"), "sorted": doubled("{{ [ns.a, ns.b]|sort }}"),
    "counted": doubled("{{ [ns.a].count(ns.b) }}"), "joined": doubled("{{ ns.a|join }}"),
    "changed": doubled("{% for x in [1, 2] %}{{ loop.changed(ns.a) }}{% endfor %}"),
    "refused": doubled("{{ raise_exception(ns.a) }}"),
    "a tuple as a key": "{% set ns = namespace(t=(1,)) %}{% for i in range(45) %}"
        "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}",
    "a tuple looked up": "{% set ns = namespace(t=(1,)) %}{% for i in range(45) %}"
        "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {}.get(ns.t) }}",
    "namespaces": "{% set n0 = namespace(x=1) %}" + "".join(
        f"{{% set n{i} = namespace(x=n{i - 1}, y=n{i - 1}) %}}" for i in range(1, 50)
    ) + "{{ n49 }}",
    "deep lists": "{% set ns = namespace(a=[]) %}{% for i in range(999) %}{% set ns.a = [ns.a] %}"
        "{% endfor %}{{ ns.a|tojson }}",
    "the purse itself": "{{ [1]|map('(pay)', -(10**15))|list }}{{ 'a' * 10**9 }}",
    "parentheses": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "brackets": "{{ " + "[" * 999,
    "nots": "{{ " + "not " * 1500 + "1 }}", "sums": "{{ 1" + "+1" * 1500 + " }}",
    "loops in loops": "{% for i in [1] %}" * 100 + "{% endfor %}" * 100,
    "names of names": "{{ a" + ".b" * 1500 + " }}", "a long source": "x" * 70000,
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_time_memory_and_depth_are_bounded(name, monkeypatch):
    """With a small purse: what is paid for before it is done is refused soon."""
    monkeypatch.setattr(module, "PURSE", 1 << 18)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="chat template"):
            render(ATTACKS[name], TALK)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_what_a_conversation_may_cost_grows_with_it(monkeypatch):
    monkeypatch.setattr(module, "PURSE", 1 << 12)
    long = [{"role": "user", "content": "word " * 100_000}]
    assert len(render(CHATML, long)) > 500_000
