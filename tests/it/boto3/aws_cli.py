"""The unmodified AWS CLI takes the steps of walk.json, each operation of IVS at least once, and reads pages.

The newest CLI lacks the operations on failover slates, still: it is given boto3's model of IVS, by AWS_DATA_PATH.
One process runs all commands by the entry point that the program `aws` has, which takes seconds to start.
The environment names the server: ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

import contextlib
import io
import json
import os
import re
from pathlib import Path

from awscli.clidriver import create_clidriver

FOLDER = Path(__file__).parent
DRIVER = create_clidriver()


def command_of(operation):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation).lower()


def aws(command, *arguments):
    """Runs `aws ivs COMMAND`; its output, and the code of its error."""
    output, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    general = ["--endpoint-url", os.environ["ENDPOINT"], "--region", "eu-west-1", "--output", "json"]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = DRIVER.main(["ivs", command, *arguments, *general])
        except SystemExit as end:  # arguments that it does not know
            status = end.code
    output.seek(0)
    text, words = output.read(), errors.getvalue()
    code = re.search(r"An error occurred \((\w+)\)", words)
    assert (status == 0) == (not words.strip()) and (status == 0 or code), (command, arguments, status, words)
    return json.loads(text) if text.strip() else {}, code and code[1]


def filled(value, names):
    """The value with what is known under its `$name`s."""
    if isinstance(value, dict):
        return {key: filled(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    return names[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def holds(answer, expected):
    """Whether all that is expected is in the answer: lists in full, of objects the members that are named."""
    if isinstance(expected, dict):
        return isinstance(answer, dict) and all(holds(answer.get(key), value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(holds, answer, expected))
    return answer == expected


def walk():
    names = {"pem": (FOLDER / "keys/1.pem").read_text()}
    steps = json.loads((FOLDER / "walk.json").read_text())
    for step in steps:
        given = filled(step["input"], names)
        answer, error = aws(command_of(step["operation"]), "--cli-input-json", json.dumps(given))
        assert error == step.get("error"), (step, error)
        assert holds(answer, filled(step.get("output", {}), names)), (step, answer)
        for name, path in step.get("save", {}).items():
            member, of = path.split(".")
            names[name] = answer[member][of]
    service = DRIVER.session.get_service_model("ivs")
    missing = set(service.operation_names) - {step["operation"] for step in steps}
    assert not missing, missing


def pages():
    made = [aws("create-channel", "--name", "page", "--tags", f"n={n}")[0]["channel"]["arn"] for n in range(5)]
    listed, error = aws("list-channels", "--filter-by-name", "page", "--page-size", "2")
    assert error is None and [channel["arn"] for channel in listed["channels"]] == made, listed
    first, _ = aws("list-channels", "--filter-by-name", "page", "--page-size", "2", "--max-items", "3")
    rest, _ = aws("list-channels", "--filter-by-name", "page", "--starting-token", first["NextToken"])
    both = first["channels"] + rest["channels"]
    assert len(first["channels"]) == 3 and [channel["arn"] for channel in both] == made, both
    for arn in made:
        aws("delete-channel", "--arn", arn)


walk()
pages()
