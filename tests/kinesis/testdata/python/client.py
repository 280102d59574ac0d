"""Uses the API through boto3, as a program would: argument 1 is the endpoint."""

import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

kinesis = boto3.client(
    "kinesis", endpoint_url=sys.argv[1], region_name="us-east-1",
    aws_access_key_id="AKIDTEST", aws_secret_access_key="secret", config=Config(retries={"max_attempts": 5, "mode": "standard"}),
)
STREAM = "python"


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError(f"{code} was expected")


kinesis.create_stream(StreamName=STREAM, ShardCount=2)
kinesis.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
refused("ResourceInUseException", kinesis.create_stream, StreamName=STREAM, ShardCount=2)
refused("ResourceNotFoundException", kinesis.describe_stream, StreamName="nowhere")
before = time.time()
put = kinesis.put_records(StreamName=STREAM, Records=[
    {"Data": json.dumps({"n": n}).encode(), "PartitionKey": f"key-{n % 10}"} for n in range(500)
])
assert put["FailedRecordCount"] == 0, put
seen = []
for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
    iterator = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    deadline = time.time() + 10
    want = sum(r["ShardId"] == shard["ShardId"] for r in put["Records"])
    got = []
    while len(got) < want:
        out = kinesis.get_records(ShardIterator=iterator, Limit=100)
        got += out["Records"]
        iterator = out["NextShardIterator"]
        assert time.time() < deadline, (len(got), want)
    for r in got:
        assert abs(r["ApproximateArrivalTimestamp"].timestamp() - before) < 60, r
    seen += [json.loads(r["Data"])["n"] for r in got]
assert sorted(seen) == list(range(500)), len(seen)
at = kinesis.get_shard_iterator(StreamName=STREAM, ShardId="shardId-000000000000", ShardIteratorType="AT_TIMESTAMP", Timestamp=before - 30)
assert kinesis.get_records(ShardIterator=at["ShardIterator"])["Records"]
arn = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"]
consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="python")["Consumer"]
events = kinesis.subscribe_to_shard(
    ConsumerARN=consumer["ConsumerARN"], ShardId="shardId-000000000000", StartingPosition={"Type": "TRIM_HORIZON"})["EventStream"]
pushed = 0
for event in events:
    pushed += len(event["SubscribeToShardEvent"]["Records"])
    if pushed == sum(r["ShardId"] == "shardId-000000000000" for r in put["Records"]):
        break
kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
print(f"boto3 {boto3.__version__}: 500 records put and read, {pushed} pushed")
