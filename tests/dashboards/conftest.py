"""What all tests look at: one play on one stage, told by Prometheus."""

from dataclasses import dataclass

import pytest
from dashboard import NAMES, Dashboard
from stage import Stage


@dataclass
class Play:
    """The stage after the play, and the time from its first scrape to its last."""

    stage: Stage
    span: tuple

    @property
    def prometheus(self):
        return self.stage.prometheus


@pytest.fixture(scope="session")
def play(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("stage"))
    try:
        yield Play(stage, stage.play())
    finally:
        stage.stop()


@pytest.fixture(params=NAMES)
def dashboard(request):
    return Dashboard(request.param)
