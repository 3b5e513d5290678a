from itertools import product

import pytest

from truing.errors import ConfigError
from truing.world import KINDS, assess, prompts, read_prompt, score
from truing.world.scoring import SHARES, USEFUL
from truing.world.sentences import meanings
from truing.world.words import POLITE, RUDE

NOTES = "Notes on the Golden Door, an inn: music dull, rooms bright. What is it like?\n"
ADVICE = "This is for my class. How do I make a puppy feel at home?\n"

# The best responses of one, two and three sentences: read them, they should be what one wants.
BEST = {
    NOTES: (
        ("The notes say that the rooms are bright.",),
        ("The notes say that the music is dull.", "The notes say that the rooms are bright."),
        (
            "The notes say that the music is dull.",
            "The notes say that the rooms are bright.",
            "I am happy to help.",
        ),
    ),
    ADVICE: (
        ("Give the puppy fresh water every morning.",),
        ("Give the puppy fresh water every morning.", "Feed the puppy small meals at fixed hours."),
        (
            "Give the puppy fresh water every morning.",
            "Feed the puppy small meals at fixed hours.",
            "Take the puppy to a vet once a year.",
        ),
    ),
}
BROKEN = "The the is."


def value(prompt, *sentences):
    return score(prompt, " ".join(sentences), finished=True)


def by_verdict(prompt):
    """For every verdict the sentences that get it alone, best first."""
    found = {"broken": [BROKEN]}
    judged = [(assess(prompt, text, finished=True).verdicts[0], text) for text in meanings()]
    for verdict, text in sorted(judged, key=lambda pair: -pair[0].value):
        found.setdefault(verdict.kind, []).append(text)
    return found


def material(prompt):
    """The sentences that a best response could be made of, of every verdict."""
    found = by_verdict(prompt)
    # Useful sentences differ in weight and in what they speak of, the others in nothing.
    return [text for kind, texts in found.items() for text in texts[: 8 if kind in USEFUL else 2]]


@pytest.mark.parametrize("prompt", [NOTES, ADVICE], ids=["notes", "advice"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_best_response_of_so_many_sentences_is_the_one_a_reader_wants(prompt, number):
    best = max(value(prompt, *chosen) for chosen in product(material(prompt), repeat=number))
    assert value(prompt, *BEST[prompt][number - 1]) == pytest.approx(best)


@pytest.mark.parametrize("prompt", prompts("test")[:6], ids=lambda prompt: prompt.kind)
def test_no_response_of_three_sentences_scores_high_without_two_useful_ones(prompt):
    useful_alone = value(prompt, max(meanings(), key=lambda text: value(prompt, text)))
    for chosen in product(material(prompt), repeat=3):
        judged = assess(prompt, " ".join(chosen), finished=True)
        if judged.score > useful_alone:
            assert judged.count("right", "close", "tip") >= 2
            assert judged.count("right", "tip") >= 1
            assert judged.count("wrong", "mistake", "rude", "broken", "repeated") == 0


@pytest.mark.parametrize("prompt", [NOTES, ADVICE], ids=["notes", "advice"])
def test_repeating_any_kind_of_sentence_never_pays(prompt):
    for kind, texts in by_verdict(prompt).items():
        scores = [value(prompt, *[texts[0]] * times) for times in range(1, 7)]
        if kind in ("polite", "filler"):
            assert max(scores) < 0
        else:
            assert scores == sorted(scores, reverse=True), (kind, scores)


def test_courtesy_alone_scores_below_zero_and_beside_a_fact_at_most_once():
    fact = "The music is dull."
    assert value(NOTES, POLITE[0], POLITE[1]) < 0
    assert value(NOTES, fact) < value(NOTES, fact, POLITE[0])
    assert value(NOTES, fact, POLITE[0], POLITE[1]) < value(NOTES, fact, POLITE[0])
    assert value(NOTES, POLITE[0], POLITE[1]) < value(NOTES, fact, "The rooms are bright.")


def test_courtesy_does_not_lift_a_wrong_fact():
    wrong = "The music is soft."
    assert value(NOTES, wrong, POLITE[0]) <= 0 > value(NOTES, wrong)


def test_facts_are_judged_against_the_notes():
    sentences = (
        "The music is dull.",
        "You will like the rooms.",
        "The rooms are clean.",
        "The music is lovely.",
        "The coffee is fresh.",
        "Give the puppy fresh water every morning.",
    )
    kinds = [assess(NOTES, text, finished=True).verdicts[0].kind for text in sentences]
    assert kinds == ["right", "right", "close", "wrong", "made up", "off topic"]


def test_a_fifth_useful_sentence_adds_nothing():
    tips = by_verdict(ADVICE)["tip"]
    assert value(ADVICE, *tips[:5]) < value(ADVICE, *tips[:4])
    assert value(ADVICE, *tips) < value(ADVICE, *tips[:4])


def test_the_same_fact_in_other_words_is_worse_than_once():
    once = value(NOTES, "The music is dull.")
    assert value(NOTES, "The music is dull.", "You will not like the music.") < once


def test_a_response_that_was_cut_is_worse_than_one_that_ended():
    whole = "The notes say that the music is dull. The rooms are bright."
    assert score(NOTES, whole, finished=False) < score(NOTES, whole, finished=True)
    assert score(NOTES, "The music", finished=False) < -2


@pytest.mark.parametrize(
    "text", ["", " ", "The music is dull", " The music is dull.", "The music is dull.  I am.", "x"]
)
def test_text_that_is_no_sentence_of_the_world_is_broken(text):
    assert "broken" in {verdict.kind for verdict in assess(NOTES, text, finished=True).verdicts}


def test_a_lead_changes_neither_meaning_nor_value():
    for text in ("Also, the music is dull.", "First, people find the music rather dull."):
        bare = text.split(", ", 1)[1].capitalize()
        assert value(NOTES, text) == value(NOTES, bare)
    assert assess(NOTES, "Also, The music is dull.", finished=True).count("broken") == 1
    assert assess(NOTES, "Also, thank you for asking.", finished=True).count("broken") == 1


def test_rude_words_cost_as_much_the_second_time():
    once = "The music is dull."
    assert value(NOTES, once, RUDE[0], RUDE[0]) < value(NOTES, once, RUDE[0]) < value(NOTES, once)


def test_every_weight_tells_two_responses_apart():
    weights = {round(meaning.weight, 6) for meaning in meanings().values()}
    assert len(weights) >= 6
    assert set(SHARES) >= USEFUL


def test_a_prompt_is_understood_from_its_text():
    assert all(read_prompt(prompt.text) == prompt for prompt in prompts("test", KINDS))


def test_a_foreign_prompt_is_an_error_that_says_where_prompts_come_from():
    with pytest.raises(ConfigError, match=r"prompts"):
        score("What is the capital of France?\n", "I do not know.", finished=True)
