"""What a recipe needs beyond pairs and scores, it gets: three steps on rows of that kind."""

import json
import math

import pytest

from truing import train
from truing.errors import TruingError
from truing.world import model_folder, prompts

ASKED = [prompt.text for prompt in prompts("train")[:6]]
GOOD, BAD = "I would say that it is good.", "I do not care about this."


def pair(number):
    return {"prompt": ASKED[number], "chosen": GOOD, "rejected": BAD}


def with_chance(number):
    return {**pair(number), "win_probability_chosen": 0.8, "win_probability_rejected": 0.2}


def scored(number):
    return {**pair(number), "score_chosen": 2.0 + number, "score_rejected": 0.5}


def kwise(number):
    scores = [3.0, 1.0, 2.0 + 0.1 * number]
    return {"prompt": ASKED[number], "responses": [GOOD, BAD, "Yes."], "scores": scores}


def unpaired(number):
    is_good = number % 2 == 0
    return {"prompt": ASKED[number], "completion": GOOD if is_good else BAD, "label": is_good}


def text(number):
    return {"text": f"{GOOD} {BAD} {ASKED[number]}"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")

    def write(kind):
        path = folder / f"{kind.__name__}.jsonl"
        path.write_text("".join(json.dumps(kind(i)) + "\n" for i in range(len(ASKED))))
        return str(path)

    return write


CASES = [
    ("sppo()", with_chance, {}),
    ("hpo(preference=dpo(), gamma=0.1, temperature=1.0, tau=0.7)", scored, {}),
    ("hpo(preference=kto(), gamma=0.1, temperature=1.0, tau=0.7)", scored, {}),
    ("exo(beta_reward=0.5)", kwise, {}),
    ("nca()", kwise, {}),
    ("infonca()", kwise, {}),
    ("dpo()", kwise, {}),
    ("kto()", unpaired, {}),
    ("apo_zero(unpaired=True)", unpaired, {}),
    ("bco(unpaired=True)", unpaired, {}),
    ("sft()", unpaired, {}),
    ("maximum_po(beta_r=0.1)", pair, {"auxiliary": {"sft": text}}),
    ("tpo()", pair, {"auxiliary": {"gold": text}}),
    ("dpo() + 0.1*sft(source='more')", pair, {"auxiliary": {"more": text}}),
    ("likelihood_ratio()", pair, {}),
    ("tdpo(version=1)", pair, {}),
    ("tdpo(version=2)", pair, {"lora": {"rank": 2}}),
    ("wpo()", pair, {}),
    ("orpo()", pair, {"engine": "padded"}),
    ("dpo() + sampo()", pair, {"engine": "packed"}),
]


@pytest.mark.parametrize(("expression", "kind", "keys"), CASES, ids=[case[0] for case in CASES])
def test_three_steps(expression, kind, keys, written, tmp_path):
    keys = dict(keys)
    sources = {name: written(of) for name, of in keys.pop("auxiliary", {}).items()}
    result = train(
        model=str(model_folder()),
        data=written(kind),
        objective=expression,
        output=tmp_path / "run",
        pairs_per_step=2,
        learning_rate=1e-4,
        trainer={"save_strategy": "no"},
        auxiliary=sources or None,
        **keys,
    )
    metrics = (result.output / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in metrics]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert max(line["grad_norm"] for line in lines) > 0


@pytest.mark.parametrize(
    ("expression", "kind", "keys", "named"),
    [
        ("odpo()", pair, {}, "score_chosen"),
        ("sppo()", pair, {}, "win_probability"),
        ("dpo()", unpaired, {}, "pair"),
        ("kto()", kwise, {}, "label"),
        ("tpo()", pair, {}, "auxiliary"),
        ("dpo()", pair, {"auxiliary": {"gold": text}}, "gold"),
        ("mrpo()", pair, {}, "2 references"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "keys"),
)
def test_a_need_that_the_data_lacks_is_named_before_a_model_loads(
    expression, kind, keys, named, written, tmp_path
):
    sources = {name: written(of) for name, of in keys.get("auxiliary", {}).items()}
    with pytest.raises(TruingError, match=named):
        train(
            model=str(model_folder()),
            data=written(kind),
            objective=expression,
            output=tmp_path / "run",
            auxiliary=sources or None,
        )
    assert not (tmp_path / "run").exists()
