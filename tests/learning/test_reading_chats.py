"""Exported conversations to exchanges, with nothing lost in silence."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timezone

import pytest

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.chats import read_chats
from pxvm.learning.sources.documents import read_content
from pxvm.learning.sources.structured import leaves, parse

SHAREGPT = [
    {
        "id": "abc",
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "What is a keel?"},
            {"from": "gpt", "value": "The spine of a boat."},
            {"from": "human", "value": "And a sail?"},
        ],
    }
]
CHATGPT = [
    {
        "title": "Boats",
        "current_node": "d",
        "mapping": {
            "a": {"message": None, "parent": None, "children": ["b"]},
            "b": {
                "parent": "a",
                "children": ["c", "d"],
                "message": {
                    "author": {"role": "user"},
                    "create_time": 1700000000.5,
                    "content": {"content_type": "text", "parts": ["What is a keel?", {"image": 1}]},
                },
            },
            "c": {
                "parent": "b",
                "children": [],
                "message": {
                    "author": {"role": "assistant"},
                    "content": {"content_type": "text", "parts": ["A first try."]},
                },
            },
            "d": {
                "parent": "b",
                "children": [],
                "message": {
                    "author": {"role": "assistant"},
                    "create_time": 1700000003,
                    "metadata": {"model_slug": "gpt-4"},
                    "content": {"content_type": "text", "parts": ["The spine of a boat."]},
                },
            },
        },
    }
]
MESSAGES = [
    {"role": "user", "content": "Hello", "session": "s1", "timestamp": "2024-03-01T10:00:00Z"},
    {"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "session": "s1"},
    {"role": "user", "content": "Bye", "session": "s2", "timestamp": 1709287200000},
]


def chat(data, suffix=".json"):
    lines = suffix == ".jsonl"
    text = "\n".join(map(json.dumps, data)) if lines else json.dumps(data)
    document = read_content(text.encode(), f"export{suffix}", "export")
    assert not document.replaces
    return [
        (chunk.kind, chunk.query, chunk.answer, chunk.source, chunk.model, chunk.event_time)
        for chunk in document.chunks
    ]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_sharegpt(suffix):
    assert chat(SHAREGPT, suffix) == [
        ("interaction", "What is a keel?", "The spine of a boat.", "chat: abc", "", None),
        ("interaction", "And a sail?", "", "chat: abc", "", None),
    ]


def test_chatgpt_takes_the_branch_that_was_seen_last():
    time = datetime(2023, 11, 14, 22, 13, 20, 500_000, timezone.utc)
    assert chat(CHATGPT) == [
        (
            "interaction",
            "What is a keel?",
            "The spine of a boat.",
            "chat: Boats (2023-11-14 22:13)",
            "gpt-4",
            time,
        )
    ]


def test_jsonl_of_messages_is_one_record_an_exchange_with_its_session_and_time():
    assert chat(MESSAGES, ".jsonl") == [
        (
            "interaction",
            "Hello",
            "Hi",
            "chat: s1",
            "",
            datetime(2024, 3, 1, 10, tzinfo=timezone.utc),
        ),
        ("interaction", "Bye", "", "chat: s2", "", datetime(2024, 3, 1, 10, tzinfo=timezone.utc)),
    ]


def test_what_was_recalled_is_not_learned_again():
    text = "\u27e6recalled 3 \u00b7 2024-01-01\u27e7\nA keel.\n\u27e6/recalled\u27e7\nWhat is it?"
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "A spine."}]
    assert chat([{"messages": turns}])[0][1:3] == ("What is it?", "A spine.")
    assert chat([{"prompt": text, "response": "A spine."}])[0][1:3] == ("What is it?", "A spine.")


def test_openai_messages_and_pairs():
    openai = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert [found[1:4] for found in chat([openai], ".jsonl")] == [("a", "b", "chat: export.jsonl")]
    pairs = [{"instruction": "a", "output": "b"}, {"prompt": "c", "response": "d"}]
    assert [found[1:3] for found in chat(pairs)] == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "3", '{"name": "pxvm"}', '[{"mapping": 3}]', '[{"messages": [1]}]',
        "[" * 100_000,
        '{"input": "src/index.js", "output": "dist/x.js", "owner": "team kestrel"}',
        '[{"author": "Jane", "title": "Emma", "text": "A novel."}]',
        '{"messages": {"greeting": "Hello there"}}',
    ],
)  # fmt: skip
def test_other_json_is_read_as_what_it_is(text):
    document = read_content(text.encode(), "a.json", "a.json")
    assert {chunk.kind for chunk in document.chunks} <= {"document"}
    said = " ".join(chunk.answer for chunk in document.chunks)
    for word in ("pxvm", "mapping", "kestrel", "dist/x.js", "Emma", "A novel.", "Hello there"):
        assert (word in text) == (word in said)


def test_half_characters_become_a_stated_substitute():
    text = json.dumps([{"question": "a\ud83d", "answer": "b"}])
    assert chat(json.loads(text))[0][1] == "a\ufffd"


def asked(*turns):
    return [
        {"role": "assistant" if number % 2 else "user", "content": said}
        for number, said in enumerate(turns)
    ]


def test_what_goes_with_a_question_is_kept():
    alpaca = [{"instruction": "Translate", "input": "The hedgehog sleeps", "output": "Le hérisson"}]
    assert chat(alpaca)[0][1:3] == ("Translate\n\nThe hedgehog sleeps", "Le hérisson")
    pair = [{"question": "What?", "answer": "A keel.", "topic": "boats", "score": 3, "id": "x7"}]
    document = read_content(json.dumps(pair).encode(), "a.json", "a.json")
    assert document.chunks[0].answer == "A keel.\n\ntopic: boats"
    assert document.left == {"ids, numbers and flags of conversations": 3}


def test_lines_that_are_no_conversation_are_kept_beside_those_that_are():
    lines = ['{"question": "q", "answer": "a"}', "no JSON at all"]
    lines += [f'{{"note": "the code of room {n} is {n * 37}"}}' for n in range(50)]
    document = read_content("\n".join(lines).encode(), "events.jsonl", "events.jsonl")
    assert document.replaces and document.source == "events.jsonl" and not document.left
    assert [c.source for c in document.chunks if c.kind == "interaction"] == ["chat: events.jsonl"]
    said = "\n".join(chunk.answer for chunk in document.chunks)
    assert "no JSON at all" in said
    assert all(f"note: the code of room {n} is {n * 37}" in said for n in range(50))


def test_each_message_among_people_answers_the_one_before():
    group = [{"author": "bot", "text": "bump"}, {"author": "Jane", "text": "It is in the vault."}]
    assert [found[1:3] for found in chat(group)] == [
        ("", "bot: bump"),
        ("bot: bump", "Jane: It is in the vault."),
    ]
    telegram = {"name": "Crew", "type": "personal_chat", "id": 5, "messages": [
        {"id": 1, "type": "message", "date": "2024-03-05T10:00:00", "from": "Anna", "from_id": "u1",
         "text": ["See ", {"type": "link", "text": "boats.example"}, " soon"]},
        {"id": 2, "type": "message", "date": "2024-03-05T10:01:00", "from": "Ben", "text": "Ahoy"},
    ]}  # fmt: skip
    first, second = chat(telegram)
    time = datetime(2024, 3, 5, 10, 0, tzinfo=timezone.utc)
    assert first == ("interaction", "", "Anna: See boats.example soon", "chat: Crew (5)", "", time)
    assert second[1:3] == ("Anna: See boats.example soon", "Ben: Ahoy")
    called = {"id": 3, "type": "service", "actor": "Ben", "action": "phone_call"}
    sent = {"id": 4, "type": "message", "from": "Anna", "text": "", "photo": "photos/1.jpg"}
    telegram["messages"] += [called, sent]
    found = read_chats([telegram])
    assert [(e.session, e.answer) for e in found.exchanges] == [
        ("Crew (5)", "Anna: See boats.example soon"),
        ("Crew (5)", "Ben: Ahoy"),
        ("Crew (5)", "Anna: [photos/1.jpg]"),
    ]
    assert found.rest == [called] and found.things == {"attachment": 1}
    slack = [{"type": "message", "user": "U1", "text": "The key?", "ts": "1709600000.000200",
              "user_profile": {"real_name": "Anna Moe"}}]  # fmt: skip
    assert chat(slack)[0][2] == "Anna Moe: The key?"


def test_claude_with_what_was_attached():
    export = [{"uuid": "0123456789abcdef", "name": "Budget", "summary": "About the roof.",
               "created_at": "2024-03-05T10:11:12Z", "chat_messages": [
        {"uuid": "1", "sender": "human", "text": "How much?", "content": [{"type": "text", "text":
         "How much?"}], "attachments": [{"file_name": "roof.txt", "file_size": 9,
         "extracted_content": "the quote is 8800 euros"}], "files": [{"file_name": "roof.jpg"}]},
        {"uuid": "2", "sender": "assistant", "text": "", "content": [
            {"type": "thinking", "thinking": "Let me see."}, {"type": "text", "text": "5200."}]},
    ]}]  # fmt: skip
    time = datetime(2024, 3, 5, 10, 11, 12, tzinfo=timezone.utc)
    source = "chat: Budget (89abcdef)"
    assert chat(export) == [
        ("interaction", "How much?\n\n[roof.txt]\nthe quote is 8800 euros\n\n[roof.jpg]",
         "Let me see.\n\n5200.", source, "", time),
        ("interaction", "", "About the roof.", source, "", time),
    ]  # fmt: skip
    found = read_chats(export)
    assert found.things == {"attachment": 1}
    assert found.left["words that stand there twice"] == len("Howmuch?")


def node(key, parent, role, said):
    message = {"author": {"role": role}, "content": {"content_type": "text", "parts": [said]}}
    return {"id": key, "parent": parent, "message": message}


def test_a_tree_without_its_end_and_conversations_without_a_tree():
    nodes = {"u": node("u", None, "user", "Soup?"), "a": node("a", "u", "assistant", "Nettles.")}
    gone = {"title": "Soup", "current_node": "gone", "mapping": nodes}
    empty = {"title": "empty", "mapping": None}
    document = read_content(json.dumps([gone, empty]).encode(), "a.json", "a.json")
    assert [chunk.answer for chunk in document.chunks] == [
        "Nettles.",
        "title: empty\nmapping: null",
    ]


def test_a_tree_with_a_turn_missing_goes_on_above_it():
    nodes = {
        "u": {**node("u", None, "user", "Soup?"), "children": ["a"]},
        "u2": {**node("u2", "a", "user", "And bread?"), "children": ["b"]},
        "b": node("b", "u2", "assistant", "Rye."),
    }
    found = read_chats([{"title": "Soup", "id": "77", "current_node": "b", "mapping": nodes}])
    (exchange,) = found.exchanges
    assert (exchange.query, exchange.answer) == ("Soup?\n\nAnd bread?", "Rye.")


@pytest.mark.parametrize(
    "links",
    [
        ({"children": ["b"]}, {}),  # no parents at all
        ({"parent": None, "children": ["b"]}, {"parent": None}),
        ({"parent": None, "children": []}, {"parent": "gone"}),
    ],
)
def test_a_tree_with_a_link_missing_is_one_conversation(links):
    question, answer = node("u", None, "user", "Soup?"), node("b", None, "assistant", "Rye.")
    nodes = {
        key: {"message": turn["message"], **link}
        for key, turn, link in zip("ub", (question, answer), links, strict=True)
    }
    found = read_chats([{"title": "Soup", "id": "77", "current_node": "b", "mapping": nodes}])
    assert [(e.query, e.answer) for e in found.exchanges] == [("Soup?", "Rye.")]


@pytest.mark.parametrize(
    "extra, kept",
    [
        ({"text": "What the book says."}, "What the book says."),
        ({"metadata": {"source": "page five", "seen": [{"by": "Anna Lund"}]}}, "page five"),
        ({"metadata": {"source": "page five", "seen": [{"by": "Anna Lund"}]}}, "Anna Lund"),
        ({"tags": ["rigging plan"]}, "rigging plan"),
        ({"files": [{"name": "b.md", "file": {"data": {"content": "of oak"}}}]}, "[b.md]\nof oak"),
        ({"channel": {"topic": "All about keels"}}, "All about keels"),
        ({"title": "Another title"}, "Another title"),
    ],
)
def test_words_beside_a_conversation_or_a_question_are_kept_whatever_their_field(extra, kept):
    """Under names that hold ids and flags elsewhere."""
    turns = [{"role": "user", "content": "q?"}, {"role": "assistant", "content": "a."}]
    for item in (
        {"name": "Soup", "messages": turns, **extra},
        {"title": "Soup", "chat": {"messages": turns, **extra}},
        {"question": "q?", "answer": "a.", **extra},
    ):
        found = read_chats([item])
        assert any(kept in f"{e.session}\n{e.answer}" for e in found.exchanges), item
        assert found.exchanges[0].query == "q?"


def test_branches_that_are_not_shown_are_counted():
    nodes = {
        "u": node("u", None, "user", "Soup?"),
        "a": node("a", "u", "assistant", "Nettles."),
        "b": node("b", "u", "assistant", "Or leeks."),
        "c": None,
    }
    found = read_chats([{"title": "Soup", "id": "77", "current_node": "a", "mapping": nodes}])
    assert [(e.query, e.answer, e.session) for e in found.exchanges] == [
        ("Soup?", "Nettles.", "Soup (77)")
    ]
    versions = found.left["answers and questions that others took the place of"]
    assert versions == len("Orleeks." + "assistant" + "text")


def test_lm_studio():
    def version(role, **fields):
        return {"versions": [{"role": role, **fields}, {"role": role, "content": "not shown"}],
                "currentlySelected": 0}  # fmt: skip

    file = {"type": "file", "fileIdentifier": "roses.pdf", "fileType": "pdf", "sizeBytes": 9}
    said = [{"type": "text", "text": "When to prune?"}, file]
    step = {"type": "contentBlock", "content": [{"type": "text", "text": "Late winter."}]}
    answer = version("assistant", type="multiStep", steps=[step], senderInfo={"senderName": "qwen"})
    export = {"name": "Garden", "createdAt": 1709600000000, "messages": [
        version("user", type="singleStep", content=said), answer]}  # fmt: skip
    (found,) = chat(export, ".conversation.json")
    assert found[1:5] == (
        "When to prune?\n\n[roses.pdf]",
        "Late winter.",
        "chat: Garden (2024-03-05 00:53)",
        "qwen",
    )


def test_open_webui_with_its_tree():
    turns = {"1": {"id": "1", "parentId": None, "role": "user", "content": "Where is the paddle?"},
             "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "In the attic.",
                   "model": "llama"},
             "3": {"id": "3", "parentId": "1", "role": "assistant", "content": "No idea."},
    }  # fmt: skip
    for history in ({}, {"history": {"messages": turns, "currentId": "2"}}):
        inner = {"title": "Kayak", **history, "messages": [turns["1"], turns["2"]]}
        export = [{"id": "abc", "title": "Kayak", "chat": inner}]
        assert [found[1:5] for found in chat(export)] == [
            ("Where is the paddle?", "In the attic.", "chat: Kayak (abc)", "llama")
        ]
    assert read_chats(export).left["words that stand there twice"] > 0


def test_llm_logs():
    logged = {"id": "01h", "prompt": "Best bait?", "response": "Worms.", "model": "m",
              "system": None, "datetime_utc": "2024-03-05T10:11:12", "conversation_name": "Fishing",
              "conversation_id": "01hxyz", "duration_ms": 12}  # fmt: skip
    time = datetime(2024, 3, 5, 10, 11, 12, tzinfo=timezone.utc)
    assert chat([logged]) == [
        ("interaction", "Best bait?", "Worms.", "chat: Fishing (01hxyz)", "m", time)
    ]


def test_settings_of_programs_are_no_answers():
    template = {"key": "promptTemplate", "value": "{% if tools %} You are a model {% endif %}"}
    step = {"type": "contentBlock", "content": [{"type": "text", "text": "Late winter."}],
            "genInfo": {"predictionConfig": {"fields": [template]}}}  # fmt: skip
    turns = [{"versions": [{"role": role, "type": "multiStep", "steps": [step]}]} for role in
             ("user", "assistant")]  # fmt: skip
    export = {"name": "Garden", "systemPrompt": "Be a gardener.", "messages": turns,
              "perChatPredictionConfig": {"fields": [template]}}  # fmt: skip
    assert [found[1:3] for found in chat(export)] == [("Late winter.", "Late winter.")]
    left = read_chats([export]).left
    assert left["instructions to the assistant"] == len("Beagardener.")
    before = {"messages": [{"role": "user", "content": "Bait? Bait?"}]}
    logged = {"prompt": "Bait?", "response": "Worms.", "system": "Be a fisher."}
    logged["prompt_json"] = before
    assert chat([logged])[0][1:3] == ("Bait?", "Worms.")
    assert read_chats([logged]).left["instructions to the assistant"] == len("Beafisher.")


def database(tmp_path, script):
    file = tmp_path / "logs.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)
    return file.read_bytes()


def test_the_database_of_llm(tmp_path):
    content = database(
        tmp_path,
        """
        CREATE TABLE conversations (id TEXT, name TEXT, model TEXT);
        CREATE TABLE responses (id TEXT, model TEXT, prompt TEXT, system TEXT, response TEXT,
            conversation_id TEXT, datetime_utc TEXT);
        CREATE TABLE fragments (id INTEGER, hash TEXT, content TEXT);
        CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER);
        CREATE TABLE attachments (id TEXT, type TEXT, path TEXT, content BLOB);
        CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT);
        INSERT INTO conversations VALUES ('01hxyz', 'Fishing', 'm');
        INSERT INTO responses VALUES
            ('2', 'm', 'And for pike?', NULL, 'A spoon.', '01hxyz', '2024-03-05T10:12:12'),
            ('1', 'm', 'Best bait?', NULL, 'Worms.', '01hxyz', '2024-03-05T10:11:12'),
            ('3', 'n', 'Hello there', NULL, 'Hi.', NULL, '2024-03-06T00:00:00');
        INSERT INTO fragments VALUES (1, 'h', 'The pond has carp.');
        INSERT INTO prompt_fragments VALUES ('1', 1);
        INSERT INTO attachments VALUES ('a', 'image/png', '/pond.png', x'00');
        INSERT INTO prompt_attachments VALUES ('1', 'a');
        """,
    )
    document = read_content(content, "logs.db", "logs.db")
    time = datetime(2024, 3, 5, 10, 11, 12, tzinfo=timezone.utc)
    assert [(c.query, c.answer, c.source, c.model) for c in document.chunks] == [
        ("Best bait?", "Worms.\n\nThe pond has carp.", "chat: Fishing (01hxyz)", "m"),
        ("And for pike?", "A spoon.", "chat: Fishing (01hxyz)", "m"),
        ("Hello there", "Hi.", "chat: logs.db", "n"),
    ]
    assert document.chunks[0].event_time == time and not document.replaces
    assert document.things == {"picture": 1}


def test_the_database_of_open_webui_and_other_databases(tmp_path):
    inner = {"history": {"currentId": "2", "messages": {
        "1": {"id": "1", "parentId": None, "role": "user", "content": "Where is the paddle?"},
        "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "In the attic."},
    }}}  # fmt: skip
    content = database(
        tmp_path,
        "CREATE TABLE chat (id TEXT, title TEXT, chat JSON, created_at BIGINT);"
        f"INSERT INTO chat VALUES ('abc', 'Kayak', '{json.dumps(inner)}', 1709600000);",
    )
    (found,) = read_content(content, "webui.db", "webui.db").chunks
    assert (found.query, found.answer, found.source) == (
        "Where is the paddle?", "In the attic.", "chat: Kayak (abc)",
    )  # fmt: skip
    for bad, reason in ((content[:3_000], "damaged"), (content[:100], "damaged")):
        with pytest.raises(UnreadableError, match=reason):
            read_content(bad, "webui.db", "webui.db")
    (tmp_path / "logs.db").unlink()
    other = database(tmp_path, "CREATE TABLE prices (wood TEXT); INSERT INTO prices VALUES ('oak')")
    with pytest.raises(UnreadableError, match="as CSV or JSON"):
        read_content(other, "prices.db", "prices.db")


def test_conversations_of_one_title_stay_apart():
    export = [{"title": "New chat", "messages": asked(f"a{n}", "b")} for n in (1, 2, 3)]
    names = [found[3] for found in chat(export)]
    assert len(set(names)) == 3 and names[0] == "chat: New chat"
    assert [found[3] for found in chat([export[0], export[2], export[1]])][1:] == names[:0:-1]
    export = [
        {"title": "New chat", "id": f"id-{n}", "messages": asked(f"a{n}", "b")} for n in (1, 2)
    ]
    assert [found[3] for found in chat(export)] == [
        "chat: New chat (id-1)",
        "chat: New chat (id-2)",
    ]


def test_a_tool_is_part_of_the_answer_and_a_system_prompt_is_counted():
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "x1", "function": {"name": "look", "arguments": '{"in": "Oslo"}'}}]},
        {"role": "tool", "content": "Rain until noon."},
        {"role": "assistant", "content": "Take a coat.", "reasoning": "It rains."},
    ]  # fmt: skip
    found = read_chats([{"messages": turns}])
    (exchange,) = found.exchanges
    assert exchange.query == "Weather?"
    assert exchange.answer == (
        '{"in": "Oslo"}\n\nRain until noon.\n\nTake a coat.\n\nreasoning: It rains.'
    )
    assert found.left["instructions to the assistant"] == len("Bekind.")
    assert found.things == {"picture": 1}


EXPORTS = [
    SHAREGPT, CHATGPT, MESSAGES,
    [{"prompt": "a b", "response": "c d", "extra": {"deep": ["e f", 5, None]}, "title": "t"},
     {"n": 1}],
    {"chats": {"list": [{"name": "x", "messages": asked("hello there", "hi you")}]}, "about": "me"},
    [{"messages": asked("a", "b"), "other": [{"note": "kept as well"}]}, ["c"], "d"],
]  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS)
def test_every_character_is_kept_or_counted(export):
    values = parse(json.dumps(export))
    found = read_chats(values if isinstance(values, list) else [values])
    said = " ".join(f"{e.query} {e.answer} {e.session}" for e in found.exchanges)
    said += json.dumps(found.rest)
    missing, open_ = 0, [values]
    while open_:
        value = open_.pop()
        if isinstance(value, (dict, list)):
            open_ += value.values() if isinstance(value, dict) else value
        elif str(value) not in said:
            missing += leaves(value)
    assert missing <= found.left.total()
    assert all(count >= 0 for count in found.left.values())
