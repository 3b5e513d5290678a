"""The report as a reader sees it, in Chromium."""

import json
from itertools import pairwise

import pytest

from truing.report import write_report

pytestmark = pytest.mark.browser

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844, "touch": True}
READERS = {
    "desk-light": {**DESK, "dark": False},
    "desk-dark": {**DESK, "dark": True},
    "phone-light": {**PHONE, "dark": False},
    "phone-dark": {**PHONE, "dark": True},
}
NASTY = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    "</script></p></div><b>bold</b> {{ 7*7 }} \x00\x07\x1b[31m\u202eesrever \ud800 &lt;kept&gt;"
)
SHOWN = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    "</script></p></div><b>bold</b> {{ 7*7 }} ␀␇␛[31m⟨U+202E⟩esrever ⟨U+D800⟩ &lt;kept&gt;"
)

# Contrast of every text with what lies behind it, WCAG 2.2; SVG and hidden text left out.
CONTRAST = """(() => {
    const channels = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = (c) => { const v = channels(c).slice(0, 3).map((x) => x / 255)
        .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
    const behind = (e) => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if ((channels(c)[3] ?? 1) > 0) return c; } return "rgb(255,255,255)"; };
    const worst = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim()) continue;
        if (e.closest("svg, script, noscript, .unseen, .skip")) continue;
        if (!e.getClientRects().length) continue;
        const pair = [light(getComputedStyle(e).color), light(behind(e))].sort();
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < 4.5) worst.push([ratio, e.className, e.textContent.slice(0, 40)]);
    }
    return worst;
})()"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, fake_runs):
    return write_report(fake_runs.write_run(tmp_path_factory.mktemp("runs") / "sampo-1"))


@pytest.fixture(scope="module", params=READERS)
def page(browser, report, request):
    found = browser.open(report, **READERS[request.param])
    yield found
    found.close()


@pytest.fixture(scope="module")
def desk(browser, report):
    found = browser.open(report, **DESK)
    yield found
    found.close()


@pytest.fixture
def small_run(tmp_path, fake_runs):
    """A run without curves: a page that opens at once."""
    run = fake_runs.write_run(tmp_path / "run", samples=1)
    (run / "metrics.jsonl").unlink()
    (run / "evaluation.json").unlink()
    return run


def test_the_page_is_no_wider_than_the_window(page):
    widths = page.run("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]


def test_nothing_but_the_page_itself_is_fetched_and_nothing_complains(page, report):
    assert page.requests() == [report.resolve().as_uri()]
    assert page.complaints() == []


def test_every_plot_is_drawn_as_wide_as_its_place(page):
    plots = page.run(
        """[...document.querySelectorAll(".plot")].map((p) => [p.clientWidth,
            p.querySelector(".main-svg").getBoundingClientRect().width,
            p.querySelectorAll(".trace, .point").length])"""
    )
    assert len(plots) == 14
    for place, drawn, traces in plots:
        assert drawn == pytest.approx(place, abs=1)
        assert traces > 0


def test_what_is_in_sight_is_drawn_first(browser, report):
    page = browser.open(report, **DESK, until="in sight")
    undrawn = """[...document.querySelectorAll(".plot")].filter((p) => !p.querySelector(".trace"))
        .map((p) => p.getBoundingClientRect()).filter((r) => r.bottom > 0 && r.top < innerHeight)"""
    assert page.run(f"{undrawn}.length") == 0
    page.settle()
    assert page.run('document.querySelectorAll(".plot:not(:has(.trace, .point))").length') == 0
    page.close()


def test_every_text_stands_out_from_its_ground(page):
    assert page.run(CONTRAST) == []


def test_plots_and_page_follow_a_change_of_scheme(desk):
    look = """[getComputedStyle(document.body).backgroundColor,
        document.querySelector("#plot-rewards .js-line").style.stroke]"""
    light = desk.run(look)
    desk.scheme("dark")
    stroke = 'document.querySelector("#plot-rewards .js-line").style.stroke'
    desk.run(
        f"new Promise((done) => {{ const look = () => {stroke} !== {light[1]!r} ? done() "
        ": setTimeout(look, 20); setTimeout(done, 10000); look(); })"
    )
    dark = desk.run(look)
    desk.scheme("light")
    assert light[0] != dark[0]
    assert light[1] != dark[1]


def test_a_narrower_window_makes_narrower_plots(desk):
    desk.resize(500, 800)
    widest = """Math.max(...[...document.querySelectorAll(".plot .main-svg")]
        .map((svg) => svg.getBoundingClientRect().right))"""
    desk.run(
        f"new Promise((done) => {{ const look = () => {widest} <= 500 ? done() "
        ": setTimeout(look, 20); setTimeout(done, 10000); look(); })"
    )
    found = desk.run(widest)
    desk.resize(1280, 900)
    assert found <= 500


def test_headings_go_down_one_step_at_a_time_from_a_single_first(desk):
    levels = desk.run(
        """[...document.querySelectorAll("h1, h2, h3, h4")].map((h) => Number(h.tagName[1]))"""
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_each_plot_has_a_name_and_its_numbers_in_words_for_those_who_do_not_see_it(desk):
    tree = desk.call("Accessibility.getFullAXTree")["nodes"]
    pictures = [n["name"]["value"] for n in tree if n.get("role", {}).get("value") == "image"]
    assert len(pictures) == 14
    assert any("Does the loss fall?" in name and "at step 180" in name for name in pictures)


def test_controls_have_names_and_links_lead_somewhere(desk):
    unnamed = desk.run(
        """[...document.querySelectorAll("input, select")].filter((c) => !c.labels.length).length"""
    )
    lost = desk.run(
        """[...document.querySelectorAll("a")].filter((a) =>
            !document.getElementById(a.getAttribute("href").slice(1))).length"""
    )
    assert (unnamed, lost) == (0, 0)


def choose(page, **values):
    page.run(
        f"""(() => {{
            const form = document.querySelector(".filter");
            for (const [name, value] of Object.entries({json.dumps(values)}))
                form.elements[name].value = value;
            form.dispatchEvent(new Event("input"));
        }})()"""
    )


def shown_samples(page, what):
    return page.run(
        f"""[...document.querySelectorAll(".sample")].filter((s) => !s.hidden)
            .map((s) => {what})"""
    )


def test_samples_come_in_pages_and_more_at_a_click(desk):
    choose(desk, text="", kind="all", order="file")
    assert len(shown_samples(desk, "1")) == 20
    desk.run('document.getElementById("more-samples").click()')
    assert len(shown_samples(desk, "1")) == 40
    desk.run('document.getElementById("more-samples").click()')
    assert len(shown_samples(desk, "1")) == 48
    assert desk.run('document.getElementById("more-samples").hidden')


def test_samples_are_filtered_by_words_and_by_what_became_of_them(desk):
    choose(desk, text="RABBIT", kind="worse", order="loss")
    gains = shown_samples(desk, "Number(s.dataset.gain)")
    texts = shown_samples(desk, "s.textContent")
    assert 0 < len(gains) < 12
    assert gains == sorted(gains)
    assert all(gain < 0 for gain in gains)
    assert all("rabbit" in text for text in texts)
    count = desk.run('document.querySelector(".filter output").value')
    assert count == f"{len(gains)} of {len(gains)} (of 48)"


def test_text_of_models_stays_text_in_every_field(browser, small_run, fake_runs):
    run = small_run
    turns = [{"role": NASTY, "content": NASTY}]
    sample = {"prompt": turns, "before": NASTY, "after": NASTY}
    fake_runs.lines(run / "samples.jsonl", [sample])
    fake_runs.lines(run / "alarms.jsonl", [{"alarm": "a", "what": NASTY, "fix": NASTY}])
    (run / "data.json").write_text(json.dumps({"train": {NASTY: NASTY, "rows": [NASTY]}}))
    config = {"objective": NASTY, "model": NASTY, "made_with": {NASTY: NASTY}}
    (run / "run.yaml").write_text(json.dumps(config))
    page = browser.open(write_report(run), **DESK)
    texts = page.run('[...document.querySelectorAll("#samples .text")].map((t) => t.textContent)')
    owned = page.run("window.owned ?? null")
    foreign = page.run('document.querySelectorAll("img, b, main script").length')
    asked, complaints = page.requests(), page.complaints()
    page.close()
    assert texts == [SHOWN] * 3
    assert (owned, foreign, len(asked), complaints) == (None, 0, 1, [])


def test_a_script_that_slipped_in_would_not_run(browser, small_run, tmp_path):
    text = write_report(small_run).read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    slipped = '<script>window.owned = 1</script><img src="https://example.org/x.png">'
    broken.write_text(text.replace("<footer", f"{slipped}<footer"), encoding="utf-8")
    page = browser.open(broken, **DESK)
    owned, complaints = page.run("window.owned ?? null"), page.complaints()
    page.close()
    assert owned is None
    assert sum("Content Security Policy" in complaint for complaint in complaints) == 2


def test_a_page_of_an_empty_run_holds_together(browser, tmp_path):
    (tmp_path / "run.yaml").write_text("model: m\n", encoding="utf-8")
    page = browser.open(write_report(tmp_path), **PHONE)
    widths = page.run("[document.documentElement.scrollWidth, window.innerWidth]")
    missing = page.run('document.querySelectorAll("#missing li").length')
    complaints = page.complaints()
    page.close()
    assert widths[0] <= widths[1]
    assert (missing, complaints) == (5, [])
