"""What the fuzzer of test_api.py may not do: end the program that it asks, or have another take its place."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and case.body.get("command") in ("drain", "upgrade"):
        case.body["dry_run"] = True
