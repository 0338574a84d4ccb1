"""What visitors got is what was wanted: read from Prometheus alone, after a ramp."""

import pytest
from dashboard import Dashboard, substituted
from stage import RAMP, SIDES, STEP

# Half a percentage point.
TOLERANCE = 0.005


def answered(prometheus, moment):
    """Requests of each side until a scrape."""
    found = prometheus.at(moment, 'sum by (backend) (crossfade_requests_total{route="web"})')
    return {labels["backend"]: count for labels, count in found}


@pytest.mark.parametrize("step", range(len(RAMP)), ids=[f"{percent}%" for percent in RAMP])
def test_the_share_got_is_the_share_wanted(play, step):
    step = play.stage.steps[step]
    before, after = (answered(play.prometheus, moment) for moment in (step.before, step.after))
    counts = {side: after[side] - before[side] for side in SIDES}
    assert sum(counts.values()) == STEP
    weights = play.prometheus.at(step.after, 'crossfade_weight_ratio{route="web"}')
    wanted = {labels["backend"]: weight for labels, weight in weights}
    assert wanted["fly"] == pytest.approx(step.percent / 100)
    got = {side: count / STEP for side, count in counts.items()}
    print(f"wanted {wanted['fly']:.2%}, got {got['fly']:.2%}: {counts}")
    for side in SIDES:
        assert abs(got[side] - wanted[side]) <= TOLERANCE, f"{side}: wanted {wanted[side]:.2%}, got {got[side]:.2%}"


@pytest.mark.parametrize("step", range(len(RAMP)), ids=[f"{percent}%" for percent in RAMP])
def test_the_panel_shows_it(play, step):
    """The panel's own queries over the step, as over a range that lies within it on a real dashboard."""
    step = play.stage.steps[step]
    queries = {panel["title"] + query.where.rsplit(":", 1)[1]: query for panel, query in Dashboard("rollout").targets()}
    # From scrape to scrape, so that nothing is extrapolated.
    span = f"{1000 * (step.after - step.before) + 1:.0f}ms"
    values = {"route": ["web"], "stable": "heroku", "candidate": "fly", "__rate_interval": span}
    shown = {}
    for what in ("wanted", "got"):
        query = queries[f"Share wanted and got {what}-candidate"]
        ((_, shown[what]),) = play.prometheus.at(step.after, substituted(query.expr, values))
    assert abs(shown["got"] - shown["wanted"]) <= TOLERANCE, shown
