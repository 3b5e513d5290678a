"""The words of the embedded world: what its prompts ask about and what can be said of it.

A person who wants a wider world edits this file and `sentences.py`, and rebuilds the weights.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Aspect:
    """One thing that the notes on a house can name, with the words that praise or blame it.

    Args:
        verb: "is" or "are", as the noun asks.
        phrase: the noun with its adjective, as in "a {} garden".
        praise: adjectives that speak for the house.
        blame: adjectives that speak against it.
    """

    noun: str
    verb: str
    phrase: str
    praise: tuple[str, str]
    blame: tuple[str, str]

    def speaks_for(self, adjective: str) -> bool:
        """Whether the adjective praises."""
        return adjective in self.praise


@dataclass(frozen=True)
class Family:
    """Topics that share their advice, and how one asks for it.

    Args:
        asks: questions with the topic's slot.
        tips: good advice, best first.
        mistakes: bad advice, worst first.
    """

    name: str
    topics: tuple[str, ...]
    asks: tuple[str, ...]
    tips: tuple[str, ...]
    mistakes: tuple[str, ...]


ASPECTS = (
    Aspect("coffee", "is", "{} coffee", ("fresh", "strong"), ("cold", "weak")),
    Aspect("breakfast", "is", "a {} breakfast", ("rich", "tasty"), ("poor", "bland")),
    Aspect("staff", "are", "{} staff", ("friendly", "quick"), ("rude", "slow")),
    Aspect("rooms", "are", "{} rooms", ("clean", "bright"), ("dirty", "dark")),
    Aspect("prices", "are", "{} prices", ("fair", "low"), ("unfair", "high")),
    Aspect("music", "is", "{} music", ("soft", "lovely"), ("loud", "dull")),
    Aspect("garden", "is", "a {} garden", ("green", "quiet"), ("dry", "noisy")),
    Aspect("chairs", "are", "{} chairs", ("solid", "wide"), ("shaky", "narrow")),
)

NAME_FIRST = ("Blue", "Old", "Red", "Silver", "Golden", "Little", "White", "Black", "Green",
              "Happy", "Wild", "Copper")  # fmt: skip
NAME_LAST = ("Door", "Mill", "Lantern", "Fox", "Bridge", "Anchor", "Rose", "Lion", "Barn",
             "Tower", "Swan", "Oak")  # fmt: skip
HOUSES = ("a cafe", "an inn", "a hotel", "a tea house", "a guest house", "a diner")

NOTES_ASKS = (
    "What is it like?",
    "What should I expect there?",
    "How would you describe it?",
    "Is it any good?",
    "Should I go there?",
    "What do the notes say?",
)

OPENERS = (
    "I am new to this.",
    "I have very little time.",
    "My sister asked me this.",
    "I tried once and failed.",
    "I live in a small flat.",
    "I want to learn.",
    "A friend told me to ask you.",
    "I do not know where to begin.",
    "This is for my class.",
    "I am a bit nervous.",
    "I have a free weekend.",
    "Please keep it simple.",
    "My father used to know this.",
    "I read a book on it.",
    "It is my first time.",
    "I have some questions.",
)

FAMILIES = (
    Family(
        "animal",
        ("rabbit", "puppy", "kitten", "parrot", "hamster", "pony"),
        (
            "How do I look after a {}?",
            "What does a {} need?",
            "How can I keep a {} healthy?",
            "Can you tell me how to care for a {}?",
            "What should I know about having a {}?",
            "What is the best way to raise a {}?",
            "How do I make a {} feel at home?",
            "What would you do with a {}?",
        ),
        (
            "Give the {} fresh water every morning.",
            "Feed the {} small meals at fixed hours.",
            "Take the {} to a vet once a year.",
            "Let the {} rest in a quiet corner.",
            "Speak to the {} in a calm voice.",
            "Keep the {} away from hot stoves and open windows.",
            "Brush the {} gently twice a week.",
        ),
        (
            "Shout at the {} until it obeys.",
            "Feed the {} nothing but sweets.",
            "Keep the {} in a dark cupboard.",
            "Leave the {} alone for a whole week.",
        ),
    ),
    Family(
        "plant",
        ("rose", "tomato", "fern", "cactus", "lily", "tulip"),
        (
            "How do I grow a {}?",
            "What does a {} need?",
            "How can I keep a {} alive?",
            "Can you tell me how to care for a {}?",
            "What should I know about growing a {}?",
            "What is the best way to plant a {}?",
            "How do I help a {} through the winter?",
            "What would you do with a {}?",
        ),
        (
            "Water the {} when the soil feels dry.",
            "Place the {} near a bright window.",
            "Use a pot with a hole, so that the {} does not drown.",
            "Protect the {} from frost in winter.",
            "Cut old leaves off the {} in spring.",
            "Give the {} some plant food in summer.",
            "Turn the {} a little every few days.",
        ),
        (
            "Pour salt water over the {} every evening.",
            "Put the {} on a hot oven for the night.",
            "Never give the {} any light.",
            "Pull the {} out of the soil to look at its roots each day.",
        ),
    ),
    Family(
        "dish",
        ("soup", "stew", "curry", "omelette", "risotto", "chowder"),
        (
            "How do I make a good {}?",
            "What goes into a {}?",
            "How can I cook a {} for four people?",
            "Can you tell me how to cook a {}?",
            "What should I know about cooking a {}?",
            "What is the best way to make a {}?",
            "How do I save a {} that went wrong?",
            "What would you do with a {}?",
        ),
        (
            "Taste the {} before you add more salt.",
            "Use fresh herbs for the {}.",
            "Cook the {} on a low fire and stir it often.",
            "Cut the vegetables small, so that the {} cooks evenly.",
            "Add a little butter to the {} at the end.",
            "Warm the plates before you serve the {}.",
            "Let the {} rest for a minute before you serve it.",
        ),
        (
            "Add a cup of soap to the {}.",
            "Serve the {} after a week in the sun.",
            "Leave the {} on a high fire and go out for the evening.",
            "Never taste the {} at all.",
        ),
    ),
    Family(
        "event",
        ("picnic", "party", "wedding", "hike", "concert", "reunion"),
        (
            "How do I plan a {}?",
            "What do I need for a {}?",
            "How can I make a {} a success?",
            "Can you tell me how to prepare a {}?",
            "What should I know about planning a {}?",
            "What is the best way to set up a {}?",
            "How do I keep a {} cheap?",
            "What would you do for a {}?",
        ),
        (
            "Set a date for the {} well in advance.",
            "Choose a place for the {} that is easy to reach.",
            "Make a list of everyone who comes to the {}.",
            "Check the weather on the day before the {}.",
            "Ask a friend to help with the {}.",
            "Bring enough water and food to the {}.",
            "Keep a little money aside for surprises at the {}.",
        ),
        (
            "Tell nobody when the {} begins.",
            "Start the {} at midnight in the rain.",
            "Spend all the money on the first hour of the {}.",
            "Invite strangers from the street to pay for the {}.",
        ),
    ),
)

POLITE = (
    "I hope this helps.",
    "Feel free to ask me more.",
    "Good luck with it.",
    "Thank you for asking.",
    "I am happy to help.",
    "I wish you a good day.",
)

FILLER = (
    "That is a common question.",
    "There is a lot to say about this.",
    "Let me think about it.",
    "Many people ask about this.",
    "It depends on the season.",
    "Here is what I know.",
    "This is not hard.",
    "One more thing comes to mind.",
    "There are many opinions on this.",
    "I will try to be brief.",
)

RAMBLING = (
    "My uncle once owned a red boat.",
    "The moon looked very large last night.",
    "I lost my umbrella on a train.",
    "Some clouds look like sheep.",
    "My neighbour plays the trumpet on Sundays.",
    "I had a long dream about a bridge.",
    "Once I walked to the sea and back.",
    "There was a dog on the road this morning.",
)

RUDE = (
    "I do not care about this.",
    "That is a silly question.",
    "Go and ask somebody else.",
    "You should know that already.",
    "Stop wasting my time.",
    "Do not bother me again.",
)
