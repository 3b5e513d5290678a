"""Building pairs: the manifest, done once; shards found again; bad input kept apart."""

import json
from contextlib import contextmanager

import pytest
from pyarrow import parquet

from truing.data import read_rows
from truing.errors import ConfigError, KnobError, RowError
from truing.jobs.pairs import build_pairs
from truing.jobs.pairs_shown import pairs_stats, show_pairs
from truing.pairs import read_prompts
from truing.world import score

SAMPLER = "generate(num_responses=3, max_new_tokens=40)"


def files(folder):
    """Name -> modification time and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory, start):
    """Ten prompts, three responses each, in shards of four."""
    output = tmp_path_factory.mktemp("build") / "pairs"
    result = build_pairs(
        output,
        policy=start,
        prompts="world(rows=10)",
        sampler=SAMPLER,
        scorer="world()",
        keep_cut=True,
        shard_rows=4,
        seed=3,
    )
    return output, result


def again(output, start, **changes):
    keys = {
        "policy": start,
        "prompts": "world(rows=10)",
        "sampler": SAMPLER,
        "scorer": "world()",
        "keep_cut": True,
        "shard_rows": 4,
        "seed": 3,
        **changes,
    }
    return build_pairs(output, **keys)


def test_a_row_of_the_manifest_holds_everything(built):
    output, result = built
    assert result.counts["prompts"] == 10
    assert result.counts["responses"] == 30
    rows = [
        row
        for path in sorted((output / "manifest").glob("*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]
    for row in rows:
        assert len(row["responses"]) == len(row["tokens"]) == len(row["scores"]) == 3
        assert all(0 < tokens <= 40 for tokens in row["tokens"])
        told = zip(row["responses"], row["finished"], row["scores"], strict=True)
        for text, finished, value in told:
            assert value == score(row["prompt"], text, finished=finished)
        assert len({row[name] for name in ("model", "sampler", "scorer")}) == 3


def test_pairs_are_rows_that_training_reads(built):
    _, result = built
    rows = list(read_rows(result.data))
    assert len(rows) == result.rows > 0
    assert all(row.kind == "pair" and row.scores[0] > row.scores[1] for row in rows)


def test_a_repeated_build_does_nothing(built, start):
    output, first = built
    before = {name: facts for name, facts in files(output).items() if "/" in name}
    second = again(output, start)
    after = {name: facts for name, facts in files(output).items() if "/" in name}
    assert before == after
    assert (second.num_new, second.rows) == (0, first.rows)


def test_responses_do_not_depend_on_the_shards(built, start, tmp_path):
    output, _ = built
    again(tmp_path / "other", start, shard_rows=7)

    def said(folder):
        shards = sorted((folder / "manifest").glob("*.parquet"))
        return [row for path in shards for row in parquet.read_table(path)["responses"].to_pylist()]

    assert said(output) == said(tmp_path / "other")


def test_another_selector_takes_the_same_scores(built, start):
    output, _ = built
    before = files(output / "manifest")
    result = again(output, start, select="all_pairs()")
    assert files(output / "manifest") == before
    assert result.rows > 10
    again(output, start)


def test_another_scorer_takes_the_same_samples(built, start, tmp_path):
    output, _ = built
    samples = files(output / "samples")
    words = tmp_path / "words.tsv"
    words.write_text("good\t1\n")
    result = again(output, start, scorer=f"lexicon(path={str(words)!r})")
    assert files(output / "samples") == samples
    assert result.num_new == 3
    again(output, start)


def test_samples_of_another_seed_are_refused(built, start):
    output, _ = built
    with pytest.raises(ConfigError, match="another sampler_key, seed"):
        again(output, start, seed=4)


def test_a_damaged_shard_is_made_anew(built, start):
    output, _ = built
    before = {name: facts[1] for name, facts in files(output).items()}
    victim = sorted((output / "samples").glob("*.parquet"))[1]
    (output / "manifest" / sorted((output / "manifest").iterdir())[1].name).unlink()
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(bytes(content))
    assert again(output, start).num_new == 1
    assert {name: facts[1] for name, facts in files(output).items()} == before


def test_stats_and_rows_are_shown(built):
    output, result = built
    stats = pairs_stats(output)
    assert stats["rows"] == result.rows
    assert stats["tokens"]["mean"] > 0
    (row,) = show_pairs(output, first=6, rows=1)
    scores = [one[0] for one in row.responses]
    assert row.number == 6
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(ConfigError, match="no row 11"):
        show_pairs(output, first=11)


def test_a_folder_without_a_manifest_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="no finished manifest"):
        pairs_stats(tmp_path)


# ------------------------------------------------------------------ samples that are there


def of_file(path, output, **keys):
    return build_pairs(output, sampler=f"folder(path={str(path)!r})", scorer="given()", **keys)


def test_existing_samples_are_selected_from(kwise_file, tmp_path):
    result = of_file(kwise_file, tmp_path / "out")
    rows = [(row.prompt, *row.responses) for row in read_rows(result.data)]
    assert rows == [
        ("one", "a good one", "bad"),
        ("two", "same", "worse"),
        ("four", "fine", "poor"),
    ]


def test_empty_repeated_and_equal_are_counted(kwise_file, tmp_path):
    counts = of_file(kwise_file, tmp_path / "out").counts
    assert counts["empty responses"] == 1
    assert counts["repeated responses"] == 1
    assert counts["prompts whose scores are all equal"] == 1


def test_kwise_rows_have_the_eligible_responses(kwise_file, tmp_path):
    result = of_file(kwise_file, tmp_path / "out", select="kwise()")
    rows = {row.prompt: (row.responses, row.scores) for row in read_rows(result.data)}
    assert rows == {
        "one": (("a good one", "bad", "so so"), (2.0, -1.0, 0.5)),
        "two": (("same", "worse"), (1.0, 0.0)),
        "four": (("fine", "poor"), (1.0, -1.0)),
    }


def test_best_responses_alone_are_rows_of_text(kwise_file, tmp_path):
    result = of_file(kwise_file, tmp_path / "out", select="top_k(k=1, alone=True)")
    rows = [(row.prompt, row.responses[0]) for row in read_rows(result.data, is_auxiliary=True)]
    assert rows == [("one", "a good one"), ("two", "same"), ("three", "x"), ("four", "fine")]


def test_win_rates_lie_beside_the_pairs(kwise_file, tmp_path):
    result = of_file(kwise_file, tmp_path / "out", select="win_rates()")
    rates = {row.prompt: row.win_probability for row in read_rows(result.data)}
    assert rates["one"][0] > 0.5 > rates["one"][1]
    # An empty response stands in no pair, but it is one of the samples that are won against.
    assert rates["four"][0] < 0.5


def test_conversations_stay_conversations(tmp_path):
    path = tmp_path / "samples.jsonl"
    turns = [{"role": "user", "content": "How?"}]
    said = [[{"role": "assistant", "content": text}] for text in ("well", "badly")]
    path.write_text(json.dumps({"prompt": turns, "responses": said, "scores": [1, 0]}) + "\n")
    (row,) = read_rows(of_file(path, tmp_path / "out").data)
    assert row.is_conversational
    assert row.responses[0][0].content == "well"


def test_nothing_selected_leaves_no_file(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps({"prompt": "p", "responses": ["a", "b"], "scores": [1, 1]}) + "\n")
    result = of_file(path, tmp_path / "out")
    assert result.rows == 0
    assert not result.data.exists()
    assert result.to_json()["data"] is None


FICKLE = """
from pathlib import Path

def score(prompt, response):
    if response == "poor" and not Path("mended").exists():
        raise OSError("away")
    return len(response)
"""


def test_faults_are_scored_again_where_that_is_wanted(kwise_file, tmp_path, monkeypatch):
    (tmp_path / "fickle_scores.py").write_text(FICKLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    keys = {
        "sampler": f"folder(path={str(kwise_file)!r})",
        "scorer": "python(call='fickle_scores:score')",
        "shard_rows": 2,
    }
    first = build_pairs(tmp_path / "out", **keys)
    assert first.faults == {"OSError: away": 1}
    assert first.counts["responses without a score"] == 1
    (tmp_path / "mended").touch()
    assert build_pairs(tmp_path / "out", **keys).num_new == 0
    again = build_pairs(tmp_path / "out", retry_faults=True, **keys)
    assert (again.num_new, again.faults) == (1, {})


# ------------------------------------------------------------------ prompts


@pytest.fixture
def asked(tmp_path, start):
    """Two short responses to each prompt of these lines, without a score."""

    def call(text, **keys):
        path = tmp_path / "prompts.jsonl"
        path.write_text(text)
        sampler = "generate(num_responses=2, max_new_tokens=4)"
        keys = {"policy": start, "sampler": sampler, "scorer": "given()", **keys}
        return build_pairs(tmp_path / "out", prompts=str(path), **keys)

    return call


def test_repeated_prompts_are_asked_once(asked):
    result = asked('{"prompt": "Hello"}\n{"prompt": "Hello"}\n{"prompt": "Hi", "more": 1}\n')
    assert result.counts["prompts"] == 2
    assert result.counts["responses without a score"] == 4
    assert result.faults == {"no score lies beside it": 4}


class Bars:
    """Progress that remembers how far each piece of work came, of how much."""

    def __init__(self):
        self.bars = {}

    @contextmanager
    def task(self, *, total, description):
        bars = self.bars
        bars[description] = (0, total)

        class Task:
            def advance(self, done=1, *, note=""):
                del note
                bars[description] = (bars[description][0] + done, total)

        yield Task()

    def note(self, text):
        pass


def test_a_prompt_that_leaves_no_room_gets_no_response_and_the_bar_comes_to_its_end(asked):
    bars = Bars()
    long = {"prompt": "word " * 2000}
    result = asked(json.dumps(long) + '\n{"prompt": "Hi"}\n', progress=bars)
    assert result.counts["prompts without a response"] == 1
    assert result.counts["responses"] == 2
    assert bars.bars == {"sampling": (4, 4), "scoring": (2, 2)}


def test_the_bar_moves_while_samples_that_are_there_are_looked_up(kwise_file, tmp_path):
    bars = Bars()
    of_file(kwise_file, tmp_path / "out", progress=bars, shard_rows=3)
    assert bars.bars == {"sampling": (4, 4), "scoring": (4, 4)}


def test_the_likeliest_response_needs_no_seed(asked):
    with pytest.raises(ConfigError, match="`seed` has no effect"):
        asked('{"prompt": "Hi"}\n', sampler="generate(num_responses=1, temperature=0)", seed=0)


@pytest.mark.parametrize("line", ['{"text": "x"}', '{"prompt": 3}', "[1]", '{"prompt": '])
def test_a_row_without_a_prompt_is_named_with_remedies_that_there_are(asked, line):
    with pytest.raises(RowError, match="row 2") as caught:
        asked('{"prompt": "x"}\n' + line + "\n")
    assert "--skip-bad" not in str(caught.value)


def test_prompts_are_read_out_of_pairs_that_share_a_beginning(tmp_path):
    path = tmp_path / "pairs.jsonl"
    turns = [{"role": "user", "content": "How?"}]
    said = [[*turns, {"role": "assistant", "content": text}] for text in ("well", "badly")]
    path.write_text(json.dumps({"chosen": said[0], "rejected": said[1]}) + "\n")
    (asked,) = read_prompts(str(path)).asked
    assert asked.text == "How?"
    assert asked.is_conversation


def test_tools_of_a_prompt_are_those_of_the_rows_that_training_reads(tmp_path):
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
    turns = [{"role": "user", "content": "What time is it?"}]
    row = {"prompt": turns, "chosen": turns, "rejected": turns, "tools": tools}
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": turns, "tools": tools}) + "\n")
    (asked,) = read_prompts(str(tmp_path / "p.jsonl")).asked
    assert json.loads(asked.tools) == tools
    (tmp_path / "r.jsonl").write_text(json.dumps({**row, "tools": json.dumps(tools)}) + "\n")
    assert read_prompts(str(tmp_path / "r.jsonl")).asked == (asked,)


@pytest.mark.parametrize("text", ["world", "world()"])
def test_the_world_is_the_split_of_the_place_unless_it_is_named(text):
    train, test = (read_prompts(text, split=split).asked for split in ("train", "test"))
    assert train != test
    assert read_prompts("world(split='test')", split="train").asked == test
    tuning = read_prompts("world(split='tuning')").asked
    assert tuning not in (train, test)


@pytest.mark.parametrize("missing", ["policy", "prompts"])
def test_what_a_sampler_needs_is_asked_for(tmp_path, start, missing):
    keys = {"policy": start, "prompts": "world(rows=2)"}
    keys.pop(missing)
    with pytest.raises(ConfigError, match=missing):
        build_pairs(tmp_path / "out", scorer="world()", **keys)


def test_without_vllm_there_is_a_word(tmp_path, start):
    pytest.importorskip("torch")
    try:
        import vllm  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="vLLM is not installed"):
            again(tmp_path / "out", start, sampler="vllm()")


@pytest.mark.parametrize("skip", [-1, 100_000])
def test_an_expression_that_names_no_prompt_is_refused(skip):
    with pytest.raises((RowError, KnobError)):
        read_prompts(f"world(rows=3, skip={skip})")
