"""What holds for every recipe on the shelf, whoever wrote it."""

import pytest

from truing.recipes._recipe import SHELF
from truing.testing import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SHELF)
def test_every_recipe(name, check):
    check(SHELF[name])
