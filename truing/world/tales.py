"""The words of stories: whom and where they are asked about, and what can happen in them.

A form has slots for the trait, the hero and the place that the prompt names. The number beside it
is its weight: how much a reader likes it.
"""

from types import MappingProxyType

TRAITS = ("shy", "brave", "lazy", "clever", "lonely", "tiny", "proud", "gentle")
HEROES = (
    "fox", "bear", "wolf", "mouse", "goose", "duck", "frog", "crow", "deer", "badger",
    "hare", "goat", "sheep", "cat", "dog", "horse", "hen", "turtle", "bee", "lion",
)  # fmt: skip
PLACES = ("mill", "castle", "barn", "tower", "chapel", "farm", "school", "bakery", "palace", "inn")

STORY_ASKS = (
    "Tell me a story about a {trait} {hero} and {place}.",
    "Can you tell a story about a {trait} {hero} near {place}?",
    "Please make up a tale: a {trait} {hero} comes to {place}.",
    "My daughter wants a story with a {trait} {hero} and {place}.",
    "What happened to the {trait} {hero} at {place}?",
    "Write a story in which a {trait} {hero} finds {place}.",
)
"""The place comes with its article."""

OPENINGS = MappingProxyType(
    {
        "Once there was a {trait} {hero}.": 1.0,
        "There once lived a {hero} near the {place}.": 1.1,
        "This is the story of a {trait} {hero}.": 0.9,
        "A {hero} came to the {place} on a cold day.": 1.2,
        "Long ago a {trait} {hero} set out to see the world.": 1.15,
    }
)
SCENES = MappingProxyType(
    {
        "The {hero} walked to the {place} in the morning.": 0.95,
        "The {hero} found an old key on the road.": 1.1,
        "The {hero} met a kind miller and said hello.": 1.0,
        "The {hero} shared some bread with a hungry bird.": 1.2,
        "The {hero} crossed the river on a fallen tree.": 1.0,
        "Rain began to fall, so the {hero} looked for a dry corner.": 0.85,
        "The {hero} sang a song, and the birds sang too.": 1.05,
        "The {hero} climbed a hill to look at the whole valley.": 0.9,
        "An old owl told the {hero} a secret.": 1.15,
        "The {hero} helped a child to find the way home.": 1.2,
        "The {hero} followed a light into the woods.": 1.0,
        "A cold wind came, but the {hero} did not turn back.": 1.1,
        "The {hero} opened the door of the {place} and looked inside.": 1.05,
        "The {hero} found a map under a stone.": 1.0,
        "The {hero} made a boat out of leaves.": 0.95,
        "The {hero} waited until the moon was up.": 0.7,
        "The {hero} gave the key to the guard of the {place}.": 0.9,
        "A friend came by and walked with the {hero} for a while.": 0.8,
        "The {hero} heard soft music behind the {place}.": 0.9,
        "The {hero} hid from the storm in a hollow tree.": 0.95,
        "The {hero} counted the stars and felt less alone.": 1.05,
        "The {hero} picked apples and kept three of them.": 0.75,
        "The {hero} mended the broken gate of the {place}.": 1.1,
        "The people at the {place} thanked the {hero}.": 1.0,
        "The {hero} slept for an hour under a bright window.": 0.6,
        "The {hero} asked an old man for help.": 0.8,
    }
)
ENDINGS = MappingProxyType(
    {
        "In the end the {hero} came home and slept well.": 1.0,
        "From that day on the {hero} was never alone.": 1.1,
        "And so the {hero} learned to be brave.": 1.15,
        "The {hero} told this story for many years.": 0.85,
        "At last the {hero} found a home at the {place}.": 1.2,
        "That was the best day of the {hero}.": 0.9,
    }
)
CRUELTIES = MappingProxyType(
    {
        "The {hero} broke all the windows of the {place}.": 1.0,
        "The {hero} stole the bread of a poor child.": 1.2,
        "The {hero} set fire to the {place} for fun.": 1.2,
        "The {hero} laughed at everyone who fell.": 0.9,
        "The {hero} threw stones at the birds.": 1.0,
        "The {hero} lied to the old owl and ran away.": 0.9,
        "The {hero} pushed a friend into the river.": 1.1,
        "The {hero} ate all the food and left the others hungry.": 0.95,
    }
)
