"""Every study at its smallest, once for all tests, in one folder."""

import pytest

from truing.studies.runner import Request, run_study
from truing.studies.shelf import shelf


@pytest.fixture(scope="session")
def smoked(tmp_path_factory):
    """The folder, and each study's result."""
    output = tmp_path_factory.mktemp("studies")
    return output, {
        name: run_study(Request(study, "smoke", output, jobs=1)) for name, study in shelf().items()
    }
