"""Scorers: what they give, how they join, and what becomes of a response that cannot be scored."""

import math
import shutil
import sys

import pytest

from truing.errors import ConfigError, KnobError, ModelError
from truing.responses.groups import Asked, Group, Message, Said
from truing.responses.parse import parse_scorer
from truing.world import prompts, score

LINES = "token\tvalence\tsd\ngood\t2.0\t0\nbad\t-3.0\t0\nlol\t1.0\t0\nlol\t2.5\t0\n:-)\t1.5\t0\n"


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text(LINES)
    return f"lexicon(path={str(path)!r})"


def scored(expression, *groups):
    return parse_scorer(expression).opened()(list(groups))


def test_a_lexicon_gives_the_mean_of_the_words_it_knows(lexicon, group):
    (verdict,) = scored(lexicon, group("Good, good dog.", "a BAD but good cat", "nothing", ""))
    assert verdict.scores == (2.0, -0.5, 0.0, 0.0)


def test_of_a_word_that_stands_twice_the_last_line_counts(lexicon, group):
    (verdict,) = scored(lexicon, group("lol :-)", ":-) x"))
    assert verdict.scores == (2.0, 1.5)


def test_the_shared_lexicon_is_read_whole(shared, group):
    path = shared / "data/scorers/vader-lexicon/lexicon.tsv"
    (verdict,) = scored(f"lexicon(path={str(path)!r})", group("He was happy.", "She was sad."))
    assert verdict.scores[0] > 0 > verdict.scores[1]


def test_a_table_that_is_none_is_named_with_its_line(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("good\t1\nbad\n")
    with pytest.raises(ConfigError, match="line 2"):
        parse_scorer(f"lexicon(path={str(path)!r})").opened()


def test_the_world_scores_its_own_prompts():
    prompt = prompts("train")[0].text
    asked = Group(Asked(prompt), (Said("I do not care about this."), Said("Cut", finished=False)))
    (verdict,) = scored("world()", asked)
    assert verdict.scores == (
        score(prompt, "I do not care about this.", finished=True),
        score(prompt, "Cut", finished=False),
    )


def test_a_strange_prompt_is_a_fault_of_its_group_alone(group):
    good = Group(Asked(prompts("train")[0].text), (Said("Hm."),))
    strange, known = scored("world()", group("x", prompt="not of this world"), good)
    assert math.isnan(strange.scores[0])
    assert strange.faults
    assert math.isfinite(known.scores[0])


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's with functions of every temper."""
    name = f"my_scores_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "def length(prompt, response):\n    return len(response)\n"
        "def fragile(prompt, response):\n    return 1 / len(response)\n"
        "def odd(prompt, response):\n    return float('nan') if response == 'nan' else 1\n"
        "def both(prompt, response):\n    return float('nan') if response else 1 / 0\n"
        "def batch(prompts, responses):\n"
        "    if 'crash' in responses:\n        raise RuntimeError('no')\n"
        "    return [len(r) for r in responses]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_function_scores_each_response(module, group):
    assert scored(f"python(call='{module}:length')", group("a", "abc"))[0].scores == (1, 3)


def test_a_crash_concerns_one_response_and_says_why(module, group):
    first, second = scored(f"python(call='{module}:fragile')", group("ab", ""), group("abcd"))
    assert first.scores[0] == 0.5
    assert math.isnan(first.scores[1])
    assert "ZeroDivisionError" in first.faults[0]
    assert second.scores == (0.25,)
    assert second.faults == ()


def test_a_score_that_is_no_number_is_a_fault(module, group):
    (verdict,) = scored(f"python(call='{module}:odd')", group("nan", "x"))
    assert math.isnan(verdict.scores[0])
    assert verdict.faults == ("the score is nan",)


def test_every_fault_of_a_prompt_is_told(module, group):
    (verdict,) = scored(f"python(call='{module}:both')", group("x", "", "y"))
    assert sorted(fault.split(":")[0] for fault in verdict.faults) == [
        "ZeroDivisionError", "the score is nan", "the score is nan",
    ]  # fmt: skip


def test_a_sum_tells_the_faults_of_its_parts_once_and_its_own(module, lexicon, group):
    odd = f"python(call='{module}:odd')"
    (verdict,) = scored(f"{odd} + {lexicon}", group("nan", "good"))
    assert verdict.faults == ("the score is nan",)
    (verdict,) = scored(f"1e308*{lexicon} + 1e308*{lexicon}", group("good", "nothing"))
    assert verdict.faults == ("the score is inf",)
    assert verdict.scores[1] == 0


def test_a_crash_in_a_batch_is_narrowed_down(module, group):
    (verdict,) = scored(
        f"python(call='{module}:batch', batched=True)", group("ab", "crash", "abcd")
    )
    assert verdict.scores[0] == 2
    assert math.isnan(verdict.scores[1])
    assert verdict.scores[2] == 4
    assert "RuntimeError: no" in verdict.faults[0]


@pytest.mark.parametrize("call", ["nowhere:f", "math:nothing", "math", "math:pi"])
def test_a_function_that_is_not_there_is_said_so(call):
    with pytest.raises(ConfigError):
        parse_scorer(f"python(call='{call}')").opened()


def test_scorers_add_up_with_weights(lexicon, group):
    (verdict,) = scored(f"2*{lexicon} + 0.5*{lexicon}", group("good", "bad"))
    assert verdict.scores == (5.0, -7.5)


@pytest.mark.parametrize(("how", "wanted"), [("mean", 1.25), ("lowest", -1.5), ("highest", 4.0)])
def test_an_ensemble_is_the_mean_or_an_end_of_its_scorers(lexicon, group, how, wanted):
    expression = f"ensemble([2*{lexicon}, 0.5*{lexicon}], how='{how}')"
    text = {"mean": "good", "lowest": "bad lol good", "highest": "good"}[how]
    wanted = {"mean": 2.5, "lowest": 0.25, "highest": 4.0}[how]
    assert scored(expression, group(text))[0].scores == (wanted,)


@pytest.mark.parametrize(
    ("how", "wanted"),
    [("rank", (1.0, 0.0, 0.5)), ("range", (1.0, 0.0, 0.6)), ("z", (2 / 3, -3, 0))],
)
def test_scores_are_put_on_one_scale_within_a_prompt(lexicon, group, how, wanted):
    (verdict,) = scored(f"normalised({lexicon}, how='{how}')", group("good", "bad", "nothing"))
    if how == "z":
        mean, spread = -1 / 3, (((2 + 1 / 3) ** 2 + (3 - 1 / 3) ** 2 + 1 / 9) / 3) ** 0.5
        wanted = tuple((value - mean) / spread for value in (2, -3, 0))
    assert verdict.scores == pytest.approx(wanted)


def test_equal_scores_have_a_scale_too(lexicon, group):
    assert scored(f"normalised({lexicon})", group("x", "y"))[0].scores == (0.0, 0.0)
    # Of three times 0.7 the mean is one rounding away.
    mixed = f"normalised(0.1*{lexicon} + 0.7*python(call='operator:eq'))"
    same = Group(Asked("x"), (Said("x"), Said("x"), Said("x")))
    assert scored(mixed, same)[0].scores == (0.0, 0.0, 0.0)


def test_what_has_no_score_does_not_disturb_the_scale(module, group):
    (verdict,) = scored(
        f"normalised(python(call='{module}:fragile'), how='rank')", group("a", "", "abc")
    )
    assert verdict.scores[0] == 1.0
    assert verdict.scores[2] == 0.0


def test_a_scorer_prints_as_it_is_written(lexicon):
    expression = f"0.5*{lexicon} + normalised(scorer=world(), how='rank')"
    assert repr(parse_scorer(expression)) == expression


@pytest.mark.parametrize(
    "expression", ["ensemble([world()])", "ensemble([1, 2])", "normalised(3)", "best()", "3"]
)
def test_what_is_no_scorer_is_refused(expression):
    with pytest.raises(KnobError):
        parse_scorer(expression)


def test_the_key_of_a_lexicon_is_its_content(tmp_path):
    one, other = tmp_path / "a.tsv", tmp_path / "b.tsv"
    one.write_text(LINES)
    other.write_text(LINES)
    keys = [parse_scorer(f"lexicon(path={str(p)!r})").key() for p in (one, other)]
    other.write_text(LINES + "new\t1\n")
    changed = parse_scorer(f"lexicon(path={str(other)!r})").key()
    assert keys[0] == keys[1] != changed


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory, request):
    """A reward model: the embedded model's trunk with a head of one number."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from truing.world import model_folder

    folder = tmp_path_factory.mktemp("reward")
    config = AutoConfig.from_pretrained(model_folder())
    config.num_labels = 1
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder()).save_pretrained(folder)
    return folder


def test_a_reward_model_gives_each_text_what_it_gets_alone(reward_folder, group):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    groups = [group("Yes.", "No, not at all, never."), group("Maybe so.", prompt="And then?")]
    expression = f"reward_model(path={str(reward_folder)!r}, batch_size=2)"
    found = [value for verdict in scored(expression, *groups) for value in verdict.scores]
    tokenizer = AutoTokenizer.from_pretrained(reward_folder)
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder).eval()
    alone = []
    for one in groups:
        for said in one.responses:
            ids = tokenizer(one.prompt.text + said.text)["input_ids"] + [tokenizer.eos_token_id]
            with torch.no_grad():
                hidden = model.model(torch.tensor([ids])).last_hidden_state
                alone.append(float(model.score(hidden)[0, -1, 0]))
    assert found == pytest.approx(alone, abs=1e-5)


def test_a_model_that_writes_is_no_reward_model():
    from truing.world import model_folder

    with pytest.raises(ModelError, match=r"1 of the model's weights are not in its .*score"):
        parse_scorer(f"reward_model(path={str(model_folder())!r})").opened()


def test_a_reward_model_is_read_from_safetensors_alone(reward_folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    copied = shutil.copytree(reward_folder, tmp_path / "copied")
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no reward model can be loaded"):
        parse_scorer(f"reward_model(path={str(copied)!r})").opened()


def test_prompts_of_conversations_have_their_words(lexicon):
    turns = (Message("user", "How?"), Message("assistant", "So."), Message("user", "And?"))
    assert Asked(turns).text == "How?\nSo.\nAnd?"
    stored = Asked(turns).stored()
    assert Asked.of_stored(stored, is_conversation=True, tools="") == Asked(turns)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("schön\t2\n".encode("latin-1"), "UTF-8"),
        (b"token,valence\n", "knows no word"),
        (b"word\tvalence\ngood\tnan\n", "no token with a number"),
    ],
)
def test_a_lexicon_that_would_score_nothing_is_refused(tmp_path, content, message):
    path = tmp_path / "words.tsv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        parse_scorer(f"lexicon(path='{path}')").opened()


def test_a_function_without_a_file_of_its_own_has_a_key():
    assert "operator:eq" in parse_scorer("python(call='operator:eq')").key()
    assert "math:sin" in parse_scorer("python(call='math:sin')").key()
