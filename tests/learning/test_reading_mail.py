"""Letters and mailboxes to blocks: every version, what is attached, whatever is badly made."""

import base64

import pytest

from pxvm.learning.sources.documents import read_content


def multipart(subtype, *parts, boundary="B"):
    """A letter's head and its parts, each with its own head."""
    return (
        f"Subject: Keel\nContent-Type: multipart/{subtype}; boundary={boundary}\n\n"
        + "".join(f"--{boundary}\n{part}\n" for part in parts)
        + f"--{boundary}--\n"
    )


def part(kind, text, head=""):
    return f"Content-Type: {kind}\n{head}\n{text}\n"


def read(content, name="a.eml"):
    """What a letter says, and its things that are not read."""
    content = content.encode() if isinstance(content, str) else content
    document = read_content(content, name, name)
    return "\n".join(f"{c.query}\n{c.answer}" for c in document.chunks), document.things


def test_what_is_attached_to_the_page_of_a_letter_is_read_where_the_plain_version_is():
    related = multipart(
        "related",
        part("text/html", "<p>The keel is made of oak.</p>"),
        part("text/csv; name=wood.csv", "wood,price\noak,12"),
        boundary="C",
    ).partition("\n")[2]
    said, things = read(
        multipart("alternative", part("text/plain", "The keel is made of oak."), related)
    )
    assert said.count("made of oak") == 1 and "oak,12" in said
    assert things == {"HTML version": 1}


def test_a_plain_version_that_only_names_the_page_does_not_hide_it():
    versions = (
        part("text/plain", "Your program shows no HTML."),
        part("text/html", "<p>The keel of the Molly is made of oak.</p>"),
        part("text/calendar", "SUMMARY:Launch"),
    )
    said, things = read(multipart("alternative", *versions))
    assert "made of oak" in said and "SUMMARY:Launch" in said
    assert things == {"plain version": 1}


def test_a_report_of_the_post_is_kept():
    report = part("message/delivery-status", "Reporting-MTA: dns; x\n\nFinal-Recipient: bob@x")
    said, _ = read(multipart("report", part("text/plain", "Not sent."), report))
    assert "Final-Recipient: bob@x" in said


def test_only_what_looks_like_the_head_of_a_letter_begins_one():
    box = (
        "From a@x Tue Mar  5 10:00:00 2024\nSubject: one\n\nbody\n\nFrom here on it is text\n"
        "and more\n\nFrom 12:30 on we ate\nsoup\n\nFrom - Tue Mar  5 11:00:00 2024\n"
        ">From x\nX-Mozilla-Status: 1\nSubject: two\n\nlast"
    )
    said, _ = read(box, "a.mbox")
    for words in (
        "From here on it is text",
        "From 12:30 on we ate",
        "soup",
        "a.mbox > two",
        "last",
    ):
        assert words in said


@pytest.mark.parametrize("name", ["a.mbox", "a.eml"])
def test_what_is_no_mailbox_and_what_is_empty(name):
    assert "in the shed" in read("Subject: Key\n\nin the shed", name)[0]
    assert "in the shed" in read("in the shed", name)[0]
    assert read("", name)[0] == read("\n\n", name)[0] == ""


def test_every_header_of_a_name_counts():
    said, _ = read("To: anna@x\nTo: ben@x\nBcc: carl@x\nSubject: Key\n\nbody")
    assert "To: anna@x, ben@x" in said and "Bcc: carl@x" in said


@pytest.mark.parametrize(
    "declared, encoding", [("iso-8859-1", "cp1252"), ("us-ascii", "utf-8"), ("utf-16", "utf-16"),
                           ("gb2312", "gbk"), ("iso-2022-jp", "iso2022_jp"), ("x-none", "utf-8")]
)  # fmt: skip
def test_a_letter_is_in_what_is_meant_by_the_encoding_that_it_names(declared, encoding):
    text = {"gbk": "钥匙,朱镕基", "iso2022_jp": "鍵は机の上"}.get(encoding, "“clé” — 5")
    head = f"Subject: Key\nContent-Type: text/plain; charset={declared}\n"
    head += "Content-Transfer-Encoding: base64\n\n"
    assert text in read(head.encode() + base64.b64encode(text.encode(encoding)))[0]
