// Has records pushed through the AWS SDK for JavaScript, which speaks HTTP/2 without TLS from the first byte on.
// Arguments: endpoint, consumer ARN, number of records.
import { KinesisClient, SubscribeToShardCommand } from "@aws-sdk/client-kinesis";

const [endpoint, consumer, countText] = process.argv.slice(2);
const count = Number(countText);
const client = new KinesisClient({
  endpoint, region: "us-east-1", credentials: { accessKeyId: "AKIDTEST", secretAccessKey: "secret" },
});
const latencies = [];
let next = 0;
let from = { Type: "TRIM_HORIZON" };
const decoder = new TextDecoder();
while (next < count) {
  const out = await client.send(new SubscribeToShardCommand({ ConsumerARN: consumer, ShardId: "shardId-000000000000", StartingPosition: from }));
  for await (const event of out.EventStream) {
    const e = event.SubscribeToShardEvent;
    if (!e) {
      throw new Error("an event without records: " + JSON.stringify(event));
    }
    const now = Date.now();
    for (const r of e.Records) {
      const v = JSON.parse(decoder.decode(r.Data));
      if (v.N !== next) {
        throw new Error(`record ${next} is ${JSON.stringify(v)}`);
      }
      next++;
      latencies.push(now - v.At / 1e6);
    }
    from = { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: e.ContinuationSequenceNumber };
    if (next === count) {
      break;
    }
  }
}
latencies.sort((a, b) => a - b);
const at = (q) => latencies[Math.floor(q * (latencies.length - 1))].toFixed(1);
console.log(`JavaScript: ${count} records pushed in order; from before the put to the consumer p50 ${at(0.5)} ms p99 ${at(0.99)} ms max ${at(1)} ms`);
client.destroy();
