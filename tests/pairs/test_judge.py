"""The judge against a real server on the loopback: good manners and bad ones."""

import importlib.util
import itertools
import json
import math
import traceback
from pathlib import Path

import pytest

pytest.importorskip("openai")

from truing.errors import ConfigError, StoppedError
from truing.responses.pace import asked_pause
from truing.responses.parse import parse_scorer


def _loopback():
    path = Path(__file__).with_name("judge_loopback.py")
    spec = importlib.util.spec_from_file_location("judge_loopback", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loopback = _loopback()
Reply = loopback.Reply
KEY = "sk-a-secret-of-the-test"


@pytest.fixture(autouse=True)
def own_cache_and_key(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def judged(server, *groups, **knobs):
    knobs = {"attempts": 2, **knobs}
    written = "".join(f", {name}={value!r}" for name, value in knobs.items())
    scorer = parse_scorer(f"judge(model='m', url={server.url!r}{written})").opened()
    return scorer(list(groups)), scorer.cost()


def honest(question, number):
    del number
    return Reply(loopback.better(question))


def test_scores_are_win_rates_against_the_others(group):
    with loopback.Loopback(honest) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa", "bb", "a"))
    assert verdict.scores == (1.0, 0.5, 0.5, 0.0)
    assert verdict.faults == ()
    assert cost["calls"] == 12


def test_both_orders_cancel_a_liking_for_a_side(group):
    with loopback.Loopback(lambda question, number: Reply("A")) as server:
        (both,), _ = judged(server, group("aaaa", "a"))
        (one,), _ = judged(server, group("aaaa", "a"), orders="one")
    assert both.scores == (0.5, 0.5)
    assert one.scores == (1.0, 0.0)


def test_equal_responses_tie_without_a_request(group):
    with loopback.Loopback(honest) as server:
        (verdict,), _ = judged(server, group("same", "same"))
        assert server.questions == []
    assert verdict.scores == (0.5, 0.5)


def test_a_verdict_is_not_paid_for_twice(group):
    with loopback.Loopback(honest) as server:
        first, _ = judged(server, group("aaaa", "aa"))
        second, cost = judged(server, group("aaaa", "aa"))
        assert len(server.questions) == 2
    assert first == second
    assert (cost["calls"], cost["cached"]) == (0, 2)


def test_tokens_and_money_are_counted(group):
    with loopback.Loopback(honest) as server:
        _, cost = judged(server, group("aaaa", "aa"), price_in=1.0, price_out=10.0)
    assert (cost["tokens_in"], cost["tokens_out"]) == (200, 4)
    assert cost["money"] == pytest.approx((200 * 1 + 4 * 10) / 1e6)


@pytest.mark.parametrize("text", ["A", " b", "**C**", "A.", "Response B is better", '"A"'])
def test_a_letter_is_found_in_what_judges_write(group, text):
    with loopback.Loopback(lambda question, number: Reply(text)) as server:
        (verdict,), _ = judged(server, group("aaaa", "aa"))
    assert all(math.isfinite(score) for score in verdict.scores)


def test_a_verdict_that_cannot_be_read_is_asked_for_again_and_then_a_fault(group):
    with loopback.Loopback(lambda question, number: Reply("Well, both are nice")) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa"))
        assert len(server.questions) == 4
    assert all(math.isnan(score) for score in verdict.scores)
    assert "cannot be read" in verdict.faults[0]
    assert cost["unreadable"] == 4


def test_one_bad_comparison_leaves_the_others(group):
    def manners(question, number):
        del number
        return Reply("hm") if "zzz" in question and "qqqqq" in question else honest(question, 0)

    with loopback.Loopback(manners) as server:
        (verdict,), _ = judged(server, group("zzz", "qqqqq", "a"))
    assert verdict.scores == (1.0, 1.0, 0.0)
    assert len(verdict.faults) == 1


def test_a_refusal_is_a_fault_and_not_asked_again(group):
    with loopback.Loopback(lambda q, n: Reply(None, refusal="I cannot help")) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa"))
        assert len(server.questions) == 2
    assert verdict.faults == ("the judge refuses to compare",)
    assert cost["refused"] == 2


def test_too_many_requests_are_waited_out(group):
    def manners(question, number):
        busy = Reply(status=429, headers={"retry-after-ms": "20"})
        return busy if number == 1 else honest(question, number)

    with loopback.Loopback(manners) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa"), at_once=1)
        assert len(server.questions) == 3
    assert verdict.scores == (1.0, 0.0)
    assert cost["failed"] == 0


def test_a_timeout_is_tried_again(group):
    def manners(question, number):
        return Reply("A", delay_s=1.0) if number == 1 else honest(question, number)

    with loopback.Loopback(manners) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa"), at_once=1, timeout_s=0.4)
    assert verdict.scores == (1.0, 0.0)
    assert cost["failed"] == 0


def test_a_server_that_is_always_late_is_a_fault_of_the_item(group):
    with loopback.Loopback(lambda q, n: Reply("A", delay_s=0.6)) as server:
        (verdict,), cost = judged(server, group("aaaa", "aa"), timeout_s=0.1)
    assert all(math.isnan(score) for score in verdict.scores)
    assert "timed out" in verdict.faults[0]
    assert cost["failed"] == 2


def test_a_server_that_is_away_stops_the_work(group):
    groups = [group(f"{'a' * n}", "b", prompt=str(n)) for n in range(2, 12)]
    slow = {"headers": {"retry-after-ms": "1"}}
    with (
        loopback.Loopback(lambda q, n: Reply(status=503, **slow)) as server,
        pytest.raises(StoppedError, match="again and again"),
    ):
        judged(server, *groups)


@pytest.mark.parametrize("status", [401, 404])
def test_a_key_or_name_that_is_refused_is_the_users_error(group, status):
    with (
        loopback.Loopback(lambda q, n: Reply(status=status)) as server,
        pytest.raises(ConfigError, match=str(status)),
    ):
        judged(server, group("aaaa", "aa"))


def test_a_body_that_is_no_reply_is_a_fault(group):
    with loopback.Loopback(lambda q, n: Reply(body='{"choices": []}')) as server:
        (verdict,), _ = judged(server, group("aaaa", "aa"))
    assert "cannot be read" in verdict.faults[0]


def test_requests_are_spaced(group):
    with loopback.Loopback(honest) as server:
        judged(server, group("aaaa", "aa", "a"), per_minute=1200, at_once=6)
        gaps = [b - a for a, b in itertools.pairwise(server.times)]
    assert sum(gaps) >= 0.9 * 5 * 0.05


def test_requests_that_are_tried_again_are_spaced_too(group):
    def manners(question, number):
        return Reply(status=500) if number <= 2 else honest(question, number)

    with loopback.Loopback(manners) as server:
        judged(server, group("aaaa", "aa"), per_minute=60, at_once=1, attempts=3)
        gaps = [b - a for a, b in itertools.pairwise(server.times)]
    assert len(gaps) == 3
    assert min(gaps) >= 0.9


def test_a_pause_that_the_server_asks_for_is_everybodys(group):
    busy = Reply(status=429, headers={"retry-after-ms": "700"})

    def manners(question, number):
        return busy if number == 1 else honest(question, number)

    with loopback.Loopback(manners) as server:
        judged(server, group("aaaa", "aa", "a"), per_minute=6000, at_once=1)
        first, second = server.times[:2]
    assert second - first >= 0.65


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "9999"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_to_wait_is_read(headers, seconds):
    assert asked_pause(headers) == seconds


def test_the_server_of_the_environment_is_part_of_what_scores_depend_on(monkeypatch):
    scorer = parse_scorer("judge(model='m')")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one.example/v1")
    one = scorer.key()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://other.example/v1")
    assert scorer.key() != one
    assert parse_scorer("judge(model='m', url='http://one.example/v1')").key() == one


def test_a_response_that_stands_alone_cannot_be_compared(group):
    with loopback.Loopback(honest) as server:
        (verdict,), _ = judged(server, group("aaaa"))
    assert verdict.faults == ("it stands alone: there is nothing to compare it with",)


@pytest.mark.parametrize("status", [401, 402])
def test_a_server_that_repeats_the_key_does_not_bring_it_into_words_or_traces(group, status):
    body = json.dumps({"error": {"message": f"wrong key {KEY}{'.' * 150}", "type": "x"}})
    with loopback.Loopback(lambda q, n: Reply(status=status, body=body)) as server:
        try:
            (verdict,), _ = judged(server, group("aaaa", "aa"))
            told = repr(verdict)
        except ConfigError:
            told = traceback.format_exc()
    assert str(status) in told
    assert KEY not in told


def test_a_verdict_that_repeats_the_key_is_masked(group):
    with loopback.Loopback(lambda q, n: Reply(f"I know {KEY}")) as server:
        (verdict,), _ = judged(server, group("aaaa", "aa"))
    assert "***" in verdict.faults[0]
    assert KEY not in verdict.faults[0]


def test_without_a_key_there_is_a_word(group, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        parse_scorer("judge(model='m')").opened()


def test_the_key_is_sent_and_written_nowhere(group, tmp_path):
    with loopback.Loopback(honest) as server:
        judged(server, group("aaaa", "aa"))
        scorer = parse_scorer(f"judge(model='m', url={server.url!r})")
        assert server.keys == [f"Bearer {KEY}"] * 2
    assert KEY not in repr(scorer) + scorer.key()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("knob", [f"key_variable={KEY!r}", f"url='http://name:{KEY}@127.0.0.1/v1'"])
def test_a_key_that_would_be_written_down_is_refused_and_not_repeated(knob):
    with pytest.raises(ConfigError, match="a run writes its settings into files") as caught:
        parse_scorer(f"judge(model='m', {knob})")
    assert KEY not in str(caught.value)
