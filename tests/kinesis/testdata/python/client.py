"""Uses the API through boto3, as a program would. Argument 1 is the endpoint; the key comes from the environment."""

import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

STREAM = "python"
FIRST = "shardId-000000000000"


def client(**key):
    return boto3.client(
        "kinesis", endpoint_url=sys.argv[1], region_name="us-east-1",
        config=Config(retries={"max_attempts": 5, "mode": "standard"}), **key)


kinesis = client()


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError(f"{code} was expected")


def soon(check):
    """Waits until every node knows: until check has been true for a while."""
    deadline = time.time() + 10
    while not check():
        assert time.time() < deadline, "it does not come true"
        time.sleep(0.05)


def exists(stream):
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def pages(operation, member, **arguments):
    """Returns what all pages of a listing hold, and how many pages they were."""
    out, count = [], 0
    for page in kinesis.get_paginator(operation).paginate(**arguments):
        count += 1
        value = page
        for name in member.split("."):
            value = value[name]
        out += value
    return out, count


def read(shard, want, **position):
    """Reads so many records of a shard."""
    iterator = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard, **position)["ShardIterator"]
    deadline, got = time.time() + 10, []
    while len(got) < want:
        out = kinesis.get_records(ShardIterator=iterator, Limit=100)
        assert len(out["Records"]) <= 100, len(out["Records"])
        got += out["Records"]
        iterator = out["NextShardIterator"]
        assert time.time() < deadline, (len(got), want)
    return got


def keys():
    wrong = client(aws_access_key_id="AKIDTEST", aws_secret_access_key="wrong")
    refused("InvalidSignatureException", wrong.list_streams)
    unknown = client(aws_access_key_id="AKIDNOBODY", aws_secret_access_key="secret")
    refused("UnrecognizedClientException", unknown.list_streams)
    reader = client(aws_access_key_id="AKIDREADER", aws_secret_access_key="only reads")
    reader.describe_stream_summary(StreamName=STREAM)
    refused("AccessDeniedException", reader.put_record, StreamName=STREAM, PartitionKey="k", Data=b"d")


def records():
    before = time.time()
    put = kinesis.put_records(StreamName=STREAM, Records=[
        {"Data": json.dumps({"n": n}).encode(), "PartitionKey": f"key-{n % 10}"} for n in range(500)
    ])
    assert put["FailedRecordCount"] == 0, put
    seen, count = [], {}
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        own = [r for r in put["Records"] if r["ShardId"] == shard["ShardId"]]
        got = read(shard["ShardId"], len(own), ShardIteratorType="TRIM_HORIZON")
        assert [r["SequenceNumber"] for r in got] == [r["SequenceNumber"] for r in own]
        for r in got:
            assert abs(r["ApproximateArrivalTimestamp"].timestamp() - before) < 60, r
        seen += [json.loads(r["Data"])["n"] for r in got]
        count[shard["ShardId"]] = len(own)
    assert sorted(seen) == list(range(500)), len(seen)
    assert count[FIRST] > 0, count
    assert len(read(FIRST, count[FIRST], ShardIteratorType="AT_TIMESTAMP", Timestamp=before - 30)) == count[FIRST]
    one = kinesis.put_record(StreamName=STREAM, PartitionKey="k", ExplicitHashKey="0", Data=b"\x00\xff")
    assert one["ShardId"] == FIRST, one
    at = read(FIRST, 1, ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=one["SequenceNumber"])
    assert at[0]["Data"] == b"\x00\xff" and at[0]["PartitionKey"] == "k", at
    refused("ValidationException", kinesis.get_shard_iterator, StreamName=STREAM, ShardId=FIRST, ShardIteratorType="SOMEWHERE")
    refused("InvalidArgumentException", kinesis.get_records, ShardIterator="nonsense")
    return count[FIRST] + 1


def push(arn, want):
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="python")["Consumer"]
    for n in range(4):
        kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=f"other-{n}")
    soon(lambda: len(pages("list_stream_consumers", "Consumers", StreamARN=arn, PaginationConfig={"PageSize": 2})[0]) == 5)
    events = kinesis.subscribe_to_shard(
        ConsumerARN=consumer["ConsumerARN"], ShardId=FIRST, StartingPosition={"Type": "TRIM_HORIZON"})["EventStream"]
    pushed = 0
    for event in events:
        pushed += len(event["SubscribeToShardEvent"]["Records"])
        if pushed >= want:
            break
    assert pushed == want, (pushed, want)
    events.close()
    refused("ResourceInUseException", kinesis.delete_stream, StreamName=STREAM)
    kinesis.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    soon(lambda: len(kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]) == 4)
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, ConsumerARN=consumer["ConsumerARN"])
    return pushed


def settings(arn):
    kinesis.add_tags_to_stream(StreamName=STREAM, Tags={"team": "north", "cost": "none"})
    kinesis.remove_tags_from_stream(StreamName=STREAM, TagKeys=["cost"])
    assert kinesis.list_tags_for_stream(StreamName=STREAM)["Tags"] == [{"Key": "team", "Value": "north"}]
    kinesis.increase_stream_retention_period(StreamName=STREAM, RetentionPeriodHours=48)
    kinesis.enable_enhanced_monitoring(StreamName=STREAM, ShardLevelMetrics=["IncomingBytes"])
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    assert summary["RetentionPeriodHours"] == 48 and summary["EnhancedMonitoring"] == [{"ShardLevelMetrics": ["IncomingBytes"]}], summary
    refused("InvalidArgumentException", kinesis.decrease_stream_retention_period, StreamName=STREAM, RetentionPeriodHours=72)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Sid": "s", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kinesis:GetRecords", "Resource": arn}]})
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy)
    assert json.loads(kinesis.get_resource_policy(ResourceARN=arn)["Policy"]) == json.loads(policy)
    kinesis.delete_resource_policy(ResourceARN=arn)


def reshard():
    kinesis.update_shard_count(StreamName=STREAM, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    exists(STREAM)
    shards, count = pages("list_shards", "Shards", StreamName=STREAM, PaginationConfig={"PageSize": 2})
    assert len(shards) == 6 and count == 3, (len(shards), count)
    listed, _ = pages("describe_stream", "StreamDescription.Shards", StreamName=STREAM, PaginationConfig={"PageSize": 4})
    assert [s["ShardId"] for s in listed] == [s["ShardId"] for s in shards], listed
    opened = kinesis.list_shards(StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert len(opened) == 4, opened
    opened.sort(key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))
    kinesis.merge_shards(StreamName=STREAM, ShardToMerge=opened[0]["ShardId"], AdjacentShardToMerge=opened[1]["ShardId"])
    exists(STREAM)
    assert kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["OpenShardCount"] == 3


def lifecycle():
    for n in range(4):
        kinesis.create_stream(StreamName=f"{STREAM}-{n}", StreamModeDetails={"StreamMode": "ON_DEMAND"}, Tags={"n": str(n)})
        exists(f"{STREAM}-{n}")
    names, count = pages("list_streams", "StreamNames", PaginationConfig={"PageSize": 2})
    assert [n for n in names if n.startswith(STREAM)] == [STREAM] + [f"{STREAM}-{n}" for n in range(4)] and count >= 3, (names, count)
    for n in range(4):
        kinesis.delete_stream(StreamName=f"{STREAM}-{n}")
    kinesis.delete_stream(StreamName=STREAM, EnforceConsumerDeletion=True)
    for gone in [STREAM] + [f"{STREAM}-{n}" for n in range(4)]:
        kinesis.get_waiter("stream_not_exists").wait(StreamName=gone, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    refused("ResourceNotFoundException", kinesis.describe_stream, StreamName=STREAM)


kinesis.create_stream(StreamName=STREAM, ShardCount=2)
exists(STREAM)
refused("ResourceInUseException", kinesis.create_stream, StreamName=STREAM, ShardCount=2)
refused("ResourceNotFoundException", kinesis.describe_stream, StreamName="nowhere")
stream = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"]
keys()
first = records()
all_pushed = push(stream, first)
settings(stream)
reshard()
lifecycle()
print(f"boto3 {boto3.__version__}: 501 records put and read, {all_pushed} pushed; waiters, paginators and the operations around streams work")
