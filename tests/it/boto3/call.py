"""One operation through boto3: CALL is its name as boto3 spells it, INPUT its input as JSON. Prints its output as JSON.

It says `ready` first, and calls when a line comes in.
"""

import json
import os
import sys

from aws import client

operation = getattr(client(), os.environ["CALL"])
print("ready", flush=True)
sys.stdin.readline()
answer = operation(**json.loads(os.environ["INPUT"]))
answer.pop("ResponseMetadata")
print(json.dumps(answer, default=str))  # times, as text
