// Puts and reads records through the AWS SDK for JavaScript, and has some pushed. It speaks HTTP/2 without TLS from the first byte on.
// Arguments: endpoint, stream, consumer ARN, number of records that are pushed. The key comes from the environment.
import {
  CreateStreamCommand, GetRecordsCommand, GetShardIteratorCommand, KinesisClient, PutRecordsCommand, SubscribeToShardCommand, waitUntilStreamExists,
} from "@aws-sdk/client-kinesis";

const [endpoint, stream, consumer, countText] = process.argv.slice(2);
const shard = "shardId-000000000000";
const client = new KinesisClient({ endpoint, region: "us-east-1" });
const decoder = new TextDecoder();

function check(ok, why) {
  if (!ok) {
    throw new Error(why);
  }
}

async function putAndGet(name) {
  await client.send(new CreateStreamCommand({ StreamName: name, ShardCount: 1 }));
  await waitUntilStreamExists({ client, maxWaitTime: 30, minDelay: 1, maxDelay: 1 }, { StreamName: name });
  const now = Date.now();
  const records = Array.from({ length: 500 }, (_, i) => ({ PartitionKey: `k${i}`, Data: new TextEncoder().encode(`record ${i}`) }));
  const put = await client.send(new PutRecordsCommand({ StreamName: name, Records: records }));
  check(put.FailedRecordCount === 0, "records failed");
  let { ShardIterator: iterator } = await client.send(new GetShardIteratorCommand({
    StreamName: name, ShardId: shard, ShardIteratorType: "AT_TIMESTAMP", Timestamp: new Date(now - 30_000),
  }));
  const deadline = now + 30_000;
  for (let read = 0; read < 500;) {
    const out = await client.send(new GetRecordsCommand({ ShardIterator: iterator }));
    for (const r of out.Records) {
      check(decoder.decode(r.Data) === `record ${read}`, `record ${read} is ${decoder.decode(r.Data)}`);
      check(r.SequenceNumber === put.Records[read].SequenceNumber, `record ${read} has the sequence number ${r.SequenceNumber}`);
      check(Math.abs(r.ApproximateArrivalTimestamp.getTime() - now) < 60_000, `arrived at ${r.ApproximateArrivalTimestamp}`);
      read++;
    }
    iterator = out.NextShardIterator;
    check(Date.now() < deadline, `only ${read} records can be read`);
  }
  console.log("JavaScript: 500 records put and read");
}

async function push(count) {
  const latencies = [];
  let next = 0;
  let last = "";
  let from = { Type: "TRIM_HORIZON" };
  while (next < count) {
    const abort = new AbortController();
    const out = await client.send(new SubscribeToShardCommand({ ConsumerARN: consumer, ShardId: shard, StartingPosition: from }), { abortSignal: abort.signal });
    console.log("subscribed");
    for await (const event of out.EventStream) {
      const e = event.SubscribeToShardEvent;
      check(e, "an event without records: " + JSON.stringify(event));
      const now = performance.timeOrigin + performance.now();
      for (const r of e.Records) {
        const v = JSON.parse(decoder.decode(r.Data));
        check(v.N === next, `record ${next} is ${JSON.stringify(v)} with the sequence number ${r.SequenceNumber}, after ${last}`);
        next++;
        last = r.SequenceNumber;
        latencies.push(now - v.At / 1e6);
      }
      from = { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: e.ContinuationSequenceNumber };
      if (next === count) {
        break;
      }
    }
    abort.abort(); // leaving the loop alone does not end the subscription
  }
  latencies.sort((a, b) => a - b);
  const at = (q) => latencies[Math.floor(q * (latencies.length - 1))].toFixed(1);
  console.log(`JavaScript: ${count} records pushed in order; from before the put to the consumer p50 ${at(0.5)} ms p99 ${at(0.99)} ms max ${at(1)} ms`);
}

await putAndGet(`${stream}-js`);
await push(Number(countText));
client.destroy();
