"""Serve moto's S3, which checks signatures and permissions. Runs in an environment of its own.

Prints one line of JSON: the endpoint and two pairs of keys, one of which may only read. Then it does what the
lines of its standard input say, answering each with a line, and ends with it.
"""

from __future__ import annotations

import base64
import json
import sys
import urllib.request
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "wheels"


def _user(iam: Any, name: str, actions: list[str]) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def _client(service: str, endpoint: str, keys: dict[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )


def _do(s3: Any, order: dict[str, str]) -> Any:
    match order:
        case {"put": key, "content": content}:
            s3.put_object(Bucket=BUCKET, Key=key, Body=base64.b64decode(content))
        case {"get": key}:
            return base64.b64encode(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()).decode()
        case {"do": "list"}:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
            return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}
        case {"do": "make"}:
            s3.create_bucket(Bucket=BUCKET)
        case {"do": "remove"}:
            for key in _do(s3, {"do": "list"}):
                s3.delete_object(Bucket=BUCKET, Key=key)
            s3.delete_bucket(Bucket=BUCKET)
    return None


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    iam = _client("iam", endpoint, {"AWS_ACCESS_KEY_ID": "setup", "AWS_SECRET_ACCESS_KEY": "setup"})
    writer = _user(iam, "writer", ["s3:*"])
    reader = _user(iam, "reader", ["s3:GetObject", "s3:ListBucket"])
    # From here on signatures and permissions count.
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers=plain)
    urllib.request.urlopen(request).close()
    print(json.dumps({"endpoint": endpoint, "writer": writer, "reader": reader}), flush=True)
    s3 = _client("s3", endpoint, writer)
    for line in sys.stdin:
        print(json.dumps(_do(s3, json.loads(line))), flush=True)
    server.stop()


main()
