"""The admin API of the built program, fuzzed against its own OpenAPI document by schemathesis.

Every answer has to be one that the document names, in the form that it names, and none of 500 and above. That a command
fits the schema doesn't mean that it can be carried out (422): which fields go with which command is said in words.

More cases: CROSSFADE_API_CASES=1000 tests/.env/bin/python -m pytest tests/api
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "dashboard"))
from server import Program  # noqa: E402


def test_no_answer_is_undocumented_and_none_is_a_failure_of_ours(tmp_path):
    program = Program(tmp_path)
    try:
        command = [
            str(Path(sys.executable).parent / "st"), "run", f"{program.base_url}/api/v1/openapi.json",
            "-H", f"Authorization: Bearer {program.token}",
            "--checks", "all", "--exclude-checks", "positive_data_acceptance",
            # It never ends.
            "--exclude-path", "/api/v1/events",
            "--phases", "examples,coverage,fuzzing", "-n", os.environ.get("CROSSFADE_API_CASES", "60"),
            "--seed", "7", "--no-color",
        ]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        print(done.stdout[-4000:], done.stderr[-2000:])
        assert done.returncode == 0, done.stdout[-4000:]
        # It lives, and takes what makes sense; whether any of the cases did is chance.
        assert program.api("GET", "status")["draining"] is False
        before = program.api("GET", "status")["revision"]
        assert program.shift("fly", 12.5)["revision"] == before + 1
        assert program.api("GET", "history")["revisions"][0]["command"] == "shift fly 12.5%"
    finally:
        program.stop()
        program.close()


def test_the_document_is_there_without_a_token_and_names_every_answer(tmp_path):
    program = Program(tmp_path)
    try:
        with urllib.request.urlopen(f"{program.base_url}/api/v1/openapi.json", timeout=10) as answer:
            document = json.load(answer)
        answers = document["paths"]["/api/v1/commands"]["post"]["responses"]
        assert {"200", "400", "401", "403", "409", "413", "415", "422", "429", "503"} <= set(answers)
        assert document["components"]["securitySchemes"]
    finally:
        program.stop()
        program.close()
