"""HTML to blocks: as browsers build the tree, with nothing lost that is shown."""

from time import process_time

import pytest

from pxvm.learning.sources.blocks import Block, pack
from pxvm.learning.sources.html import read_html

HTML = """<!DOCTYPE html><html><head><title>Boat yard</title><style>p {}</style></head><body>
<nav>Home | Away</nav><h1>Boats&nbsp;</h1>
<div>A <b>keel</b> is
long.<br>Heavy.<script>evil()</script><!-- hidden --></div>
<h2>Wood <a href="https://wood.example">¶</a></h2>
<ul><li>oak<ul><li>white</li></ul></li><li>pine</li></ul>
<pre><code>make keel

make boat
</code></pre>
<table><tr><th>wood</th><th>price</th></tr><tr><td>oak</td><td>12</td></tr></table>
<ol><li>Run <pre>make</pre> then rest.</li></ol><img src="a.png"></body></html>"""


def texts(page):
    return [block.text for block in read_html(page).blocks]


def test_html():
    read = read_html(HTML)
    boats, wood = ("Boat yard", "Boats"), ("Boat yard", "Boats", "Wood")
    assert read.blocks == [
        Block("A keel is long.\nHeavy.", boats),
        Block("- oak\n  - white\n- pine", wood),
        Block("make keel\n\nmake boat", wood, True),
        Block("wood | price\noak | 12", wood, True),
        Block("- Run", wood),
        Block("make", wood, True),
        Block("then rest.", wood),
    ]
    assert +read.left == {"styles": 3, "navigation": 9, "scripts": 6, "comments": 6, "marks": 1}
    assert read.things == {"link target": 1, "picture": 1}


def test_every_article_and_what_stands_in_a_form_is_read():
    assert texts(
        "<body>Before.<main><p>One.</main><article><p>Two.</p></article><aside>Beside.</aside>"
        "<article><p>Three.</article><form><h1>Hours</h1><p>On Thursdays.<select><option>Yes"
        "<option>No</select><textarea>Mine</textarea></form><footer>End.</footer>"
    ) == ["Before.", "One.", "Two.", "Beside.", "Three.", "On Thursdays.", "Yes No", "Mine",
         "End."]  # fmt: skip


def test_end_tags_may_be_left_out():
    rows = "".join(f"<tr><td>Row{n}<td>Value{n}\n" for n in range(200))
    chunks = list(pack(read_html(f"<table><tr><th>a<th>b{rows}</table>").blocks))
    assert sum(len(chunk.text) for chunk in chunks) < 2 * len(rows)
    assert chunks[0].text.startswith("a | b\nRow0 | Value0\nRow1 | Value1\n")
    assert texts("".join(f"<p>Paragraph {n}.\n" for n in range(600))) == [
        f"Paragraph {n}." for n in range(600)
    ]
    assert texts("<ul><li>apples<li>pears<ul><li>green</ul><li>plums</ul><dl><dt>a<dd>b") == [
        "- apples\n- pears\n  - green\n- plums",
        "a",
        "b",
    ]


def test_a_table_that_lays_out_a_page_is_text():
    page = (
        "<table><tr><td>menu<td><h1>Boats</h1><p>Text.<table><tr><th>a<th>b<tr><td>1<td>2</table>"
        "after<tr><td>foot</table>end"
    )
    assert read_html(page).blocks == [
        Block("menu"),
        Block("Text.", ("Boats",)),
        Block("a | b\n1 | 2", ("Boats",), True),
        *(Block(text, ("Boats",)) for text in ("after", "foot", "end")),
    ]


def test_headings_without_text_and_headings_that_do_not_end_are_kept():
    assert read_html("<h1>A</h1><h2>B</h2><h2>C</h2><p>c</p><h1>D</h1>").blocks == [
        Block("B", ("A",)),
        Block("c", ("A", "C")),
        Block("D"),
    ]
    assert read_html("<h1>Title<p>text<h2></h2><p>more").blocks == [
        Block("text", ("Title",)),
        Block("more", ("Title",)),
    ]
    assert read_html("<title>Only a title</title>").blocks == [Block("Only a title")]


def test_what_a_form_is_filled_in_with_is_kept():
    page = "<p>Name:<input value='Anna Moe'> <input type=hidden value=x><input type=checkbox>"
    assert texts(page) == ["Name: Anna Moe"]


def test_what_a_button_says_is_kept_and_a_title_is_not_told_twice():
    page = "<title>Key</title><h1>Key</h1><h3><button>Where is it?</button></h3><p>In the shed."
    read = read_html(page)
    assert read.blocks == [Block("In the shed.", ("Key", "Where is it?"))]
    assert +read.left == {"titles that stand there twice": 3}


def test_empty_elements_of_xhtml_hide_nothing():
    page = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
    assert texts(page + '<script src="x"/></head><body><p>kept<br/>too</p></body></html>') == [
        "kept\ntoo"
    ]
    assert texts(page + "</head><body><p><![CDATA[a < b & c]]></p></body></html>") == ["a < b & c"]


def test_comments_around_a_page_are_counted():
    read = read_html("<!--one--><!DOCTYPE html><html><p>kept</html><!--two<p>three")
    assert read.blocks == [Block("kept")] and read.left["comments"] == len("onetwo<p>three")


@pytest.mark.parametrize(
    "part",
    ["<div>", "<ul><li>", "<table><tr><td>", "<b>", "<x>", "<x><div></x>", "<div><table><td></div>",
     "<h1>", "<nav>", "<pre>", "<svg>", "<!--", "<a ", "<form>", "<template>"],
)  # fmt: skip
def test_what_stands_inside_each_other_without_end_is_read_in_time(part):
    read = read_html(part * 5_000 + "<p>kept")
    said = sum(len(block.text) + len("".join(block.path)) for block in read.blocks)
    assert said <= 2 * len("<p>kept") + len(part) * 5_000
    if part in ("<div>", "<ul><li>", "<table><tr><td>", "<b>", "<x>", "<x><div></x>", "<form>"):
        assert "kept" in read.blocks[-1].text


def test_templates_are_shown_where_browsers_show_them():
    page = "<p>a</p><template><p>b c</template><my-part><template shadowrootmode=open><p>d"
    read = read_html(f"{page}</template></my-part>")
    assert [block.text for block in read.blocks] == ["a", "d"] and read.left == {"templates": 2}


@pytest.mark.parametrize("part", ["<a", "<aa", "<a b", "</a", "<!-", "<title>", "&", "<a/>"])
def test_what_never_ends_is_read_in_time(part):
    start = process_time()
    read_html("<?xml?><html xmlns='http://www.w3.org/1999/xhtml'>" + part * 20_000)
    assert process_time() - start < 5


def test_formatting_that_never_ends_does_not_multiply():
    page = "".join(f"<font color={n}>" for n in range(2_000)) + "<p>a" * 2_000
    assert texts(page) == ["a"] * 2_000
