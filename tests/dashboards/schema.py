"""Grafana's own schema, by way of the classes that its project publishes: what of a dashboard it doesn't know.

Used by test_shape.py. A dashboard goes through the classes and comes out again: what Grafana doesn't know is lost on
the way, and every value is held to the type that its class says.
"""

import enum
import json
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, FieldColorModeId

register_default_plugins()

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
COLOUR_MODES = {mode.value for mode in FieldColorModeId}
# What the classes don't have, though Grafana reads it: in annotations what the data source's plugin reads
# (packages/grafana-prometheus/src/annotations.ts), in variables what its list of them shows.
BESIDE = {
    "annotations": {"titleFormat", "textFormat", "refId", "expr", "range"},
    "templating": {"definition"},
}
# JSON has one kind of number.
NUMBERS = (int, float)


def unknown(dashboard):
    """The places that Grafana doesn't know, or whose value it wouldn't take."""
    read = Dashboard.from_json(dashboard)
    return [*lost(dashboard, json.loads(json.dumps(read, cls=JSONEncoder)), ""), *mistyped(read, Dashboard, "")]


def lost(before, after, place):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{place}.{key}")
            elif key not in BESIDE.get(place.split(".")[1] if "." in place else "", ()):
                yield f"{place}.{key}: unknown"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} is read as {after!r}"


def mistyped(value, kind, place):
    """Goes down by the classes' annotations; where they say nothing, nothing is held."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        # The one that it is by its outside says best what is wrong within.
        near = [each for each in of if is_near(value, each)]
        if near:
            yield from mistyped(value, near[0], place)
        elif not any(not list(mistyped(value, each, place)) for each in of):
            yield f"{place}: {value!r} is none of {of}"
    elif origin is typing.Literal:
        if value not in of:
            yield f"{place}: {value!r} is none of {of}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
        else:
            for number, each in enumerate(value):
                yield from mistyped(each, of[0], f"{place}[{number}]")
    elif origin is dict:
        for key, each in value.items():
            yield from mistyped(each, of[1], f"{place}.{key}")
    elif isinstance(kind, type):
        yield from mistyped_of_class(value, kind, place)


def is_near(value, kind):
    outside = typing.get_origin(kind) or kind
    nested = isinstance(outside, type) and outside not in (*NUMBERS, str, bool, types.NoneType, object)
    return nested and isinstance(value, outside)


def mistyped_of_class(value, kind, place):
    if issubclass(kind, enum.Enum):
        if value not in [each.value for each in kind]:
            yield f"{place}: {value!r} is no {kind.__name__}"
    elif kind in NUMBERS or kind in (str, bool):
        wanted = NUMBERS if kind is float else kind
        if not isinstance(value, wanted) or isinstance(value, bool) != (kind is bool):
            yield f"{place}: {value!r} is no {kind.__name__}"
    elif kind is types.NoneType:
        if value is not None:
            yield f"{place}: {value!r} is not null"
    elif kind is not object:
        # A class of which it may be a nearer one: a query of Prometheus where any query may stand.
        if not isinstance(value, kind):
            yield f"{place}: {value!r} is no {kind.__name__}"
        else:
            for name, inner in typing.get_type_hints(type(value)).items():
                yield from mistyped(getattr(value, name, None), inner, f"{place}.{name}")
            for name in ("options", "custom"):
                within = getattr(value, name, None)
                if hasattr(within, "to_json"):
                    yield from mistyped(within, type(within), f"{place}.{name}")
