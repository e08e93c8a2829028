"""Reads the story as it is told: python read.py http://127.0.0.1:8080 (with boto3 installed)."""

import json
import sys

import boto3

client = boto3.client(
    "lambda",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="any",
    aws_secret_access_key="any",  # noqa: S106  Funclet asks for none
)
answer = client.invoke_with_response_stream(FunctionName="story", Payload=json.dumps({"pause": 0.1}), LogType="Tail")
for event in answer["EventStream"]:
    if "PayloadChunk" in event:
        print(event["PayloadChunk"]["Payload"].decode(), end="", flush=True)
    elif "ErrorCode" in event["InvokeComplete"]:
        sys.exit(f"{event['InvokeComplete']['ErrorCode']}: {event['InvokeComplete']['ErrorDetails']}")
