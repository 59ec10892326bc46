"""One run for all tests of figures and pages."""

import pytest

from tests.pages import made


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
  """The folder of a run of MCR on words."""
  return made.run(tmp_path_factory.mktemp("pages"))
