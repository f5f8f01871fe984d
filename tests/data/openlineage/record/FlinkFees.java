// The Flink job of the recording: one Kafka topic into another, in a cluster of its own inside this process, until the topic's end.
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

public class FlinkFees {
  public static void main(String[] arguments) throws Exception {
    String broker = arguments[0];
    Configuration conf = new Configuration();
    conf.setString("execution.job-status-changed-listeners", "io.openlineage.flink.listener.OpenLineageJobStatusChangedListenerFactory");
    conf.setString("openlineage.transport.type", "file");
    conf.setString("openlineage.transport.location", arguments[1]);
    conf.setString("openlineage.job.namespace", "flink");
    conf.setString("openlineage.job.name", "fees_priced");
    // The listener asks the cluster itself how the job goes on.
    conf.setString("openlineage.trackingIntervalInSeconds", "1");
    conf.setString("openlineage.enableDetachedJobTracking", System.getenv().getOrDefault("DETACHED", "false"));
    for (String key : new String[] {"rest.address", "rest.bind-address"}) conf.setString(key, "127.0.0.1");
    for (String key : new String[] {"rest.port", "rest.bind-port"}) conf.setString(key, arguments[2]);
    StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, conf);
    KafkaSource<String> source = KafkaSource.<String>builder().setBootstrapServers(broker).setTopics("fees.raw").setGroupId("fees")
        .setStartingOffsets(OffsetsInitializer.earliest()).setBounded(OffsetsInitializer.latest())
        .setValueOnlyDeserializer(new SimpleStringSchema()).build();
    KafkaSink<String> sink = KafkaSink.<String>builder().setBootstrapServers(broker)
        .setRecordSerializer(KafkaRecordSerializationSchema.builder().setTopic("fees.priced")
            .setValueSerializationSchema(new SimpleStringSchema()).build()).build();
    env.enableCheckpointing(500);
    env.fromSource(source, WatermarkStrategy.noWatermarks(), "fees").map(FlinkFees::priced).sinkTo(sink);
    env.execute("fees_priced");
    Thread.sleep(3000);
    System.exit(0);
  }

  private static String priced(String line) throws InterruptedException {
    Thread.sleep(2000);
    return line.toUpperCase();
  }
}
