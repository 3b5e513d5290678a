"""The page of a comparison as a reader sees it, in Chromium."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from truing.evaluation import (
    Estimate,
    Measured,
    bradley_terry,
    corrected,
    frontier,
    paired_bootstrap,
)
from truing.evaluation.judgements import from_scores, head_to_head
from truing.report import compared
from truing.report.collect import collect
from truing.report.compare_page import write_comparison

pytestmark = pytest.mark.browser

NASTY = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    "</script></p></div><b>bold</b> {{ 7*7 }} \x00\x07\x1b[31m\u202eesrever \ud800 &lt;kept&gt;"
)
SHOWN = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
    "</script></p></div><b>bold</b> {{ 7*7 }} ␀␇␛[31m⟨U+202E⟩esrever ⟨U+D800⟩ &lt;kept&gt;"
)


def replies(draw, number, names):
    """Made-up samples: every token with a log-ratio."""
    words = ("the", "coffee", "is", "fresh", "staff", "slow", "hall", "dark", ".", "")
    found = []
    for place in range(number):
        row = []
        for _ in names:
            pieces = [f"{draw.choice(words)} " for _ in range(draw.randrange(5, 90))]
            ratios = tuple(draw.gauss(0.1, 0.7) for _ in range(len(pieces) + 1))
            row.append(
                compared.Reply(
                    "".join(pieces), (*pieces, ""), ratios, round(draw.gauss(0, 1), 3),
                    len(pieces) + 1, finished=bool(place % 7),
                )
            )  # fmt: skip
        found.append(compared.Answered(f"Question {place}: what is it like?", tuple(row)))
    return tuple(found)


def around(values):
    mean = values.mean()
    return Estimate(mean, mean - 0.1, mean + 0.1, len(values))


def made_up(fake_runs, folder, names, samples):
    rng = np.random.default_rng(0)
    runs = tuple(
        collect(fake_runs.write_run(folder / f"run{i}", seed=i)) for i in range(len(names))
    )
    scores = [rng.normal(0.1 * i, 1, 200) for i in range(len(names))]
    kls = [rng.normal(1 + i, 0.3, 200) for i in range(len(names))]
    verdicts = from_scores(tuple(names), np.stack(scores))
    means = {"score": scores, "length": [30 + 4 * score for score in scores]}
    return compared.Comparison(
        names=tuple(names),
        runs=runs,
        measures=tuple(
            compared.Measured(
                key,
                key,
                tuple(Estimate(v.mean(), v.mean() - 0.1, v.mean() + 0.1, 200) for v in values),
            )
            for key, values in means.items()
        ),
        differences=corrected(
            [paired_bootstrap(("score", names[0], names[1]), scores[0], scores[1])]
        ),
        frontier=frontier(
            [Measured(n, "dpo", s, k) for n, s, k in zip(names, scores, kls, strict=True)]
        ),
        wins=head_to_head(verdicts),
        ranking=bradley_terry(verdicts),
        answered=replies(random.Random(1), samples, names),
        asked={"prompts": "made up"},
        notes=("one run of each",),
    )


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory, fake_runs):
    folder = tmp_path_factory.mktemp("compare")
    path = write_comparison(
        made_up(fake_runs, folder, ["one", "two", "three"], 30), folder / "c.html"
    )
    found = browser.open(path, width=1280, height=900)
    yield found
    found.close()


def sift(page, **values):
    page.run(
        f"""(() => {{
            const form = document.querySelector(".sift");
            for (const [name, value] of Object.entries({json.dumps(values)}))
                if (typeof value === "boolean") form.elements[name].checked = value;
                else form.elements[name].value = value;
            form.dispatchEvent(new Event("input"));
        }})()"""
    )


def test_nothing_is_fetched_nothing_complains_and_nothing_is_wider_than_the_window(page):
    assert len(page.requests()) == 1
    assert page.complaints() == []
    widths = page.run("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]


def test_every_plot_is_drawn(page):
    drawn = page.run(
        "[...document.querySelectorAll('.plot')].map((p) => p.querySelectorAll('.trace').length)"
    )
    assert len(drawn) > 6
    assert all(drawn)


def test_samples_stand_side_by_side_with_coloured_tokens(page):
    sift(page, text="", kind="all", order="asked", colour=True)
    assert page.run('document.querySelectorAll("#reply-list .sample").length') == 10
    assert (
        page.run('document.querySelectorAll("#reply-list .sample:first-child .response").length')
        == 3
    )
    coloured = page.run(
        '[...document.querySelectorAll(".token")].filter((t) => t.style.background).length'
    )
    assert coloured > 100
    assert "nats" in page.run('document.querySelector(".token").title')
    sift(page, colour=False)
    assert page.run('document.querySelectorAll(".token").length') == 0


def test_samples_are_filtered_ordered_and_of_chosen_runs(page):
    sift(page, text="question 7:", kind="all", order="asked")
    assert page.run('document.querySelector(".sift output").value') == "1 of 1 (of 30)"
    sift(page, text="", kind="cut")
    assert page.run('document.querySelector(".sift output").value') == "5 of 5 (of 30)"
    page.run('document.querySelectorAll("input[name=run]")[1].click()')
    titles = page.run(
        '[...document.querySelectorAll(".sample:first-child h4")].map((h) => h.firstChild.data)'
    )
    page.run('document.querySelectorAll("input[name=run]")[1].click()')
    assert titles == ["one", "three"]


def only(page, *places):
    """Show these runs and no other."""
    page.run(
        f"""document.querySelectorAll("input[name=run]").forEach((box) => {{
            if (box.checked !== {json.dumps(places)}.includes(Number(box.value))) box.click();
        }})"""
    )


def test_filters_and_orders_look_at_the_shown_runs_alone(page):
    sift(page, text="", kind="scored", order="length")
    only(page, 0)
    alone = page.run('document.querySelector(".sift output").value')
    only(page, 0, 2)
    apart = page.run(
        """[...document.querySelectorAll("#reply-list .sample")].map((sample) => {
            const sizes = [...sample.querySelectorAll(".chip")].map((chip) => chip.textContent)
                .filter((text) => text.endsWith(" tokens")).map(parseFloat);
            return Math.abs(sizes[0] - sizes[1]);
        })"""
    )
    only(page, 0, 1, 2)
    assert alone.startswith("0 of 0")  # one run's score does not differ from itself
    assert apart == sorted(apart, reverse=True)
    assert apart[0] > 30


def test_a_response_longer_than_is_shown_keeps_its_sum_and_says_what_is_left_out(
    browser, tmp_path, fake_runs
):
    whole = made_up(fake_runs, tmp_path, ["one", "two"], 1)
    long = compared.Reply("a " * 700, ("a ",) * 700, (0.1,) * 700, 0.0, 700, finished=False)
    fields = {**vars(whole), "answered": (compared.Answered("How?", (long, long)),)}
    page = browser.open(write_comparison(compared.Comparison(**fields), tmp_path / "long.html"))
    for colour in (True, False):
        sift(page, colour=colour)
        shown = page.run('document.querySelector("#reply-list .response").textContent')
        assert "sum +70.00 nats" in shown
        assert "100 more tokens" in shown
    page.close()


def test_the_share_of_the_frontier_stands_beside_the_share_of_the_runs(page):
    cells = page.run("[...document.querySelectorAll('#frontier td')].map((c) => c.textContent)")
    assert cells[:2] == ["3", "100\u202f%"]
    assert cells[2].startswith("100\u202f%")


def test_more_samples_come_at_a_click(page):
    sift(page, text="", kind="all", order="score")
    page.run('document.getElementById("more-replies").click()')
    assert page.run('document.querySelectorAll("#reply-list .sample").length') == 20


def test_tables_say_what_differs_and_what_does_not(page):
    text = page.run("document.body.textContent")
    assert "corrected for all of them together (Holm)" in text
    assert "other seeds differ too" in text
    assert "not told apart" in text or "significant" in text


def test_text_of_models_stays_text_in_every_field(browser, tmp_path, fake_runs):
    names = [NASTY, "plain"]
    for i in range(2):
        run = fake_runs.write_run(tmp_path / f"run{i}")
        (run / "run.yaml").write_text(
            json.dumps({"objective": NASTY + str(i), NASTY: f"{NASTY}{i}"})
        )
    whole = made_up(fake_runs, tmp_path / "made", names, 2)
    runs = tuple(collect(tmp_path / f"run{i}") for i in range(2))
    nasty = compared.Reply(
        NASTY, tuple(NASTY), tuple(0.5 for _ in NASTY), 1.0, len(NASTY), finished=True
    )
    plain = compared.Reply(NASTY, (), (), None, 3, finished=False)
    fields = {**vars(whole), "runs": runs, "notes": (NASTY,), "asked": {NASTY: NASTY}}
    fields["answered"] = (compared.Answered(NASTY, (nasty, plain)),)
    fields["measures"] = tuple(
        compared.Measured(NASTY, NASTY, m.values, words=NASTY) for m in whole.measures
    )
    page = browser.open(write_comparison(compared.Comparison(**fields), tmp_path / "nasty.html"))
    assert page.run("window.owned") is None
    assert (
        page.run('document.querySelectorAll("main img, main b, header b, header img").length') == 0
    )
    shown = page.run(
        "[...document.querySelectorAll('#reply-list .text')].map((t) => t.textContent)"
    )
    assert shown == [SHOWN, SHOWN, SHOWN]
    for where in ("h1", "#measures", "#configuration", ".runs"):
        assert SHOWN in page.run(f"document.querySelector({where!r}).textContent"), where
    assert page.complaints() == []
    page.close()


@pytest.mark.soak
def test_five_runs_with_five_hundred_samples_open_quickly(browser, tmp_path, fake_runs):
    names = [f"run-{i}" for i in range(5)]
    path = write_comparison(made_up(fake_runs, tmp_path, names, 500), Path(tmp_path / "big.html"))
    assert path.stat().st_size < 15e6
    before = time.perf_counter()
    page = browser.open(path)
    assert time.perf_counter() - before < 10  # two seconds on a free machine, see benchmarks
    page.close()
