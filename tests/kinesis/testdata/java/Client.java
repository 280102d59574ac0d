import java.net.URI;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/**
 * Puts and reads records through the AWS SDK for Java, which speaks CBOR, and has some pushed over HTTP/2, as the consumer library does. Arguments:
 * endpoint, stream, consumer ARN, number of records that are pushed. The key comes from the environment.
 */
public final class Client {
  private static final Pattern VALUE = Pattern.compile("\\{\"N\":(\\d+),\"At\":(\\d+)}");

  private static final String SHARD = "shardId-000000000000";

  // Written by one thread of the SDK at a time, for one subscription after the other.
  private static volatile int next = 0;
  private static volatile String from = null;
  private static final List<Double> latencies = new ArrayList<>();

  public static void main(String[] args) {
    try (KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
        .endpointOverride(URI.create(args[0])).region(Region.US_EAST_1).build()) {
      putAndGet(kinesis, args[1] + "-java");
      push(kinesis, args[2], Integer.parseInt(args[3]));
    }
  }

  private static void putAndGet(KinesisAsyncClient kinesis, String stream) {
    kinesis.createStream(r -> r.streamName(stream).shardCount(1)).join();
    kinesis.waiter().waitUntilStreamExists(r -> r.streamName(stream)).join();
    List<PutRecordsRequestEntry> entries = new ArrayList<>();
    for (int i = 0; i < 500; i++) {
      entries.add(PutRecordsRequestEntry.builder().partitionKey("k" + i).data(SdkBytes.fromUtf8String("record " + i)).build());
    }
    var put = kinesis.putRecords(r -> r.streamName(stream).records(entries)).join();
    check(put.failedRecordCount() == 0, "records failed");
    long now = System.currentTimeMillis();
    String iterator = kinesis.getShardIterator(r -> r.streamName(stream).shardId(SHARD)
        .shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(Instant.ofEpochMilli(now - 30_000))).join().shardIterator();
    int read = 0;
    while (read < 500) {
      check(System.currentTimeMillis() < now + 30_000, "only " + read + " records can be read");
      final String at = iterator;
      var out = kinesis.getRecords(r -> r.shardIterator(at)).join();
      for (Record record : out.records()) {
        check(record.data().asUtf8String().equals("record " + read), "record " + read + " is " + record.data().asUtf8String());
        check(record.sequenceNumber().equals(put.records().get(read).sequenceNumber()), "record " + read + " has the sequence number " + record.sequenceNumber());
        check(Math.abs(record.approximateArrivalTimestamp().toEpochMilli() - now) < 60_000, "arrived at " + record.approximateArrivalTimestamp());
        read++;
      }
      iterator = out.nextShardIterator();
    }
    System.out.println("Java: 500 records put and read");
  }

  private static void push(KinesisAsyncClient kinesis, String consumer, int count) {
    while (next < count) {
      StartingPosition position = from == null
          ? StartingPosition.builder().type(ShardIteratorType.TRIM_HORIZON).build()
          : StartingPosition.builder().type(ShardIteratorType.AFTER_SEQUENCE_NUMBER).sequenceNumber(from).build();
      CompletableFuture<Void> all = new CompletableFuture<>();
      SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
          .onResponse(r -> System.out.println("subscribed"))
          .subscriber(SubscribeToShardResponseHandler.Visitor.builder().onSubscribeToShardEvent(e -> take(e, count, all)).build()).build();
      CompletableFuture<Void> call = kinesis.subscribeToShard(
          r -> r.consumerARN(consumer).shardId(SHARD).startingPosition(position), handler);
      CompletableFuture.anyOf(all, call).join(); // shows what was wrong, if the call ended with an error
      call.cancel(true);
    }
    Collections.sort(latencies);
    System.out.printf("Java: %d records pushed in order; from before the put to the consumer p50 %.1f ms p99 %.1f ms max %.1f ms%n",
        count, at(0.5), at(0.99), at(1));
  }

  private static void take(SubscribeToShardEvent event, int count, CompletableFuture<Void> all) {
    Instant instant = Instant.now();
    double now = instant.getEpochSecond() * 1e3 + instant.getNano() / 1e6;
    for (Record record : event.records()) {
      Matcher value = VALUE.matcher(record.data().asUtf8String());
      check(value.matches() && Integer.parseInt(value.group(1)) == next, "record " + next + " is " + record.data().asUtf8String());
      next++;
      latencies.add(now - Long.parseLong(value.group(2)) / 1e6);
    }
    from = event.continuationSequenceNumber();
    if (next == count) {
      all.complete(null);
    }
  }

  private static double at(double q) {
    return latencies.get((int) (q * (latencies.size() - 1)));
  }

  private static void check(boolean ok, String why) {
    if (!ok) {
      System.err.println(why);
      System.exit(1);
    }
  }
}
