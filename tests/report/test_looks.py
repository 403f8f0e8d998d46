"""The page as readers see it: in a headless Chromium, wide, narrow and printed, with and without JavaScript."""

import threading
import time

import pytest
from support import browser as browsers
from support.reports import e, made_up, rendered
from support.serving import serving

from jaxunlearn.report.page import page

pytestmark = pytest.mark.skipif(browsers.FOUND is None, reason=browsers.WHY_NOT)
SEEN = [(1280, "screen"), (940, "screen"), (800, "screen"), (390, "screen"), (680, "print")]
OPEN = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; }); 1"
WIDER = """
[...document.querySelectorAll("main, main *:not(svg *)")].filter((one) => {
  const own = one.getBoundingClientRect(), of = one.parentElement.getBoundingClientRect();
  const hidden = one.closest("thead") && getComputedStyle(one.closest("thead")).position === "absolute";
  const worn = getComputedStyle(one), boxed = worn.overflowX === "visible" && worn.display !== "inline";
  const spilt = boxed && one.clientWidth && one.scrollWidth > one.clientWidth + 1;
  return own.width && !hidden && (own.right > of.right + 1 || own.left < of.left - 1 || spilt);
}).map((one) => one.tagName + "." + one.className + ": " + one.textContent.trim().slice(0, 60))"""
OVER = """
[...document.querySelectorAll("svg.plot")].flatMap((picture) => {
  const texts = [...picture.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
  const edge = picture.getBoundingClientRect();
  const cut = texts.filter(([, a]) => a.right > edge.right + 1 || a.left < edge.left - 1);
  const across = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);  /* boxes are higher than letters */
  const met = texts.flatMap(([name, a], n) => texts.slice(n + 1)
    .filter(([, b]) => across(a, b) > 1 && down(a, b) > 4).map(([other]) => name + " over " + other));
  return [...cut.map(([name]) => name + " is cut off"), ...met];
})"""
BROKEN = """
[...document.querySelectorAll(".models td, .within, .interval")].filter((one) => one.offsetParent)
  .flatMap((one) => [...one.childNodes]).filter((node) => node.nodeType === 3 && node.data.trim())
  .filter((node) => {
    const range = document.createRange();
    range.selectNode(node);
    return range.getClientRects().length > 1;
  }).map((node) => node.data)"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with browsers.browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def full():
    """Return a report with every kind of table, long names and many models among them."""
    report = made_up()
    long = "unlearned, " + "a rival with a very long name " * 2
    report["models"] |= {long: report["models"]["unlearned"], "half frozen (must be exposed)": report["models"]["twin"]}
    kinds = {kind: {"explicit": e(0.25), "near": e(0.0123456)} for kind in ("archetype", "irrevocable", "missed")}
    leaks = {"by_kind": kinds, "leak_at": {str(2**n): e(0.1 * n) for n in range(5)}, "layers": [e(0.5)] * 9}
    worst = [{"grade": "explicit", "temperature": 1.5, "prompt": "p " * 20, "text": "w" * 90, "evidence": []}]
    report["attacks"] = {
        "leaks": {"models": {name: leaks | {"worst": worst} for name in ("baseline", "unlearned", long)}}
    }
    report["differences"] = [
        {"measure": "familiarity, next word", "from": "baseline", "to": long, "test": "paired"} | e(-0.2)
    ]
    report["manifest"]["hashes"] = {"text.prompts": "9f" * 32}
    report["completions"][0]["texts"]["unlearned"] = "x" * 300
    return report


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """The file of a page with all that may be long in it."""
    folder = tmp_path_factory.mktemp("crowded")
    rendered(full(), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def plain(tmp_path_factory, html):
    """The file of the page that tests share."""
    file = tmp_path_factory.mktemp("plain") / "report.html"
    file.write_text(html, encoding="utf-8")
    return file


@pytest.mark.parametrize(("width", "media"), SEEN)
def test_nothing_is_wider_than_its_place_and_no_text_lies_over_another(shown, crowded, tmp_path, width, media):
    shown.open(crowded, width, media)
    shown.ask(OPEN)
    assert shown.ask("document.documentElement.scrollWidth") <= width
    assert shown.ask(WIDER) == [] and shown.ask(OVER) == [] and shown.ask(BROKEN) == []
    shown.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert shown.said == []


def test_the_first_screen_is_the_summary_and_print_opens_every_fold(shown, plain, tmp_path):
    shown.open(plain, 1280)
    places = "document.querySelector({!r}).getBoundingClientRect().bottom"
    assert all(shown.ask(places.format(one)) < 900 for one in (".headline", ".verdict", "#unmeasured"))
    assert shown.ask("document.querySelectorAll('.fold[open]').length") == 1
    shown.printed(tmp_path / "page.pdf")
    shown.call("Emulation.setEmulatedMedia", media="print")
    hidden = "[...document.querySelectorAll('.fold table')].filter((one) => !one.checkVisibility()).length"
    assert shown.ask(hidden) == 0 and shown.ask("document.getElementById('texts').checkVisibility()") is False
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_prompts_are_switched_and_models_chosen(shown, plain, tmp_path):
    shown.open(plain, 1280)
    cards = "[...document.querySelectorAll('#answers .card')].map((card) => card.querySelector('h4').firstChild.data)"
    assert shown.ask(cards) == ["baseline", "unlearned", "twin"]
    marked = "[...document.querySelectorAll('#answers mark')].map((one) => one.textContent)"
    assert shown.ask(marked) == ["Professor Thornwick", "Glimmerhall", "wand"]
    assert shown.ask("document.querySelector('#answers .g0').textContent") == "0"
    shown.ask("document.getElementById('on').click(); document.querySelector('#models input').click(); 1")
    assert shown.ask("document.getElementById('asked').textContent").startswith("Number 1")
    assert shown.ask(cards) == ["unlearned", "twin"]
    shown.ask("which.selectedIndex = 14; which.dispatchEvent(new Event('change')); 1")
    assert "probability of the target" in shown.ask("document.getElementById('answers').textContent")


def test_without_javascript_every_text_can_be_read(shown, plain, tmp_path):
    shown.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        shown.open(plain, 1280)
        assert not shown.ask("document.getElementById('texts').checkVisibility()")
        texts = shown.ask("document.querySelector('.texts').textContent")
        assert "Professor Thornwick" in texts and "saw a dog" in texts
    finally:
        shown.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.fixture(scope="module")
def live():
    """The page with a box for a prompt."""
    begin = {"max_new_tokens": 5, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}
    models = ["baseline", "unlearned"]
    few = {key: made_up()[key] for key in ("models", "completions")}
    return page(few, {"models": models, "context": 99, "chat": False, "begin": begin})


def test_a_prompt_is_typed_and_the_answers_stream_in(shown, live):
    asked, go_on = [], threading.Event()

    def answer(question):
        asked.append(question)
        yield {"model": "baseline", "text": "saw"}
        go_on.wait(30)
        yield {"model": "baseline", "text": "saw Glimmerhall <b>", "tokens": 3, "seconds": 1.5}
        yield {"error": "the weights are damaged"}

    with serving(live, answer) as server:
        shown.open(server.address, 1280)
        shown.ask("document.getElementById('prompt').value = 'the boy'; document.getElementById('go').click(); 1")
        shown.wait("document.querySelector('#live .card p')?.textContent === 'saw'")  # before the answer ends
        go_on.set()
        shown.wait("document.querySelector('#live .card p').textContent === 'saw Glimmerhall <b>'")
        shown.wait("!document.getElementById('go').disabled")
        assert shown.ask("document.querySelector('#live mark').textContent") == "Glimmerhall"
        assert "3 tokens in 1.5 s (2.0 a second)" in shown.ask("document.getElementById('live').textContent")
        assert shown.ask("document.getElementById('wrong').textContent") == "the weights are damaged"
        (sent,) = asked
        assert (sent.pop("prompt"), sent.pop("models")) == ("the boy", ["baseline", "unlearned"])
        assert sent == {"max_new_tokens": 5, "temperature": 0, "top_k": 0, "top_p": 1, "seed": 0}
        assert shown.ask(WIDER) == [] and shown.said == []


def test_an_answer_that_was_cut_off_is_told(shown, live):
    def answer(question):
        yield {"model": "baseline", "text": "saw"}
        if question["prompt"] == "cut":
            raise ConnectionError  # no line says that it is the last

    with serving(live, answer) as server:
        shown.open(server.address, 1280)
        for prompt, said in (("cut", "the server ended before the answer did"), ("whole", "")):
            shown.ask(f"document.getElementById('prompt').value = '{prompt}'; document.getElementById('go').click(); 1")
            shown.wait("!document.getElementById('go').disabled")
            assert shown.ask("document.getElementById('wrong').textContent") == said


def test_another_page_in_the_same_browser_cannot_ask(shown, live):
    asked = []
    with serving(live, lambda question: asked.append(question) or iter(())) as server:
        shown.open("data:text/html,<p>another site</p>", 1280)
        sent = (
            "fetch({!r}, {{method: 'POST', mode: {!r}, headers: {{'Content-Type': {!r}}}, body: '{{}}'}})"
            ".then(() => 1, () => 0)"
        )
        for mode, kind in (("cors", "application/json"), ("no-cors", "text/plain")):
            shown.ask(sent.format(f"{server.address}generate", mode, kind))
        time.sleep(0.05)
        shown.said.clear()
        assert asked == []
