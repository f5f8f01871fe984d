// Reads one event a line with the official client and writes what it understood, or why it refused, as one JSON object a line:
//   {"type": "RunEvent", "event": {…}}  or  {"refused": "InvalidFormatException: …"}
// java -cp 'JARS/*' RoundTrip.java < events.ndjson
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.openlineage.client.OpenLineage;
import io.openlineage.client.OpenLineageClientUtils;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

public class RoundTrip {
  public static void main(String[] arguments) throws Exception {
    ObjectMapper mapper = OpenLineageClientUtils.newObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    for (String line; (line = in.readLine()) != null; ) {
      ObjectNode answer = mapper.createObjectNode();
      try {
        var tree = mapper.readTree(line);
        Class<?> type =
            tree.has("run") ? OpenLineage.RunEvent.class : tree.has("job") ? OpenLineage.JobEvent.class : OpenLineage.DatasetEvent.class;
        Object event = mapper.readValue(line, type);
        answer.put("type", type.getSimpleName()).set("event", mapper.readTree(OpenLineageClientUtils.toJson(event)));
      } catch (Exception e) {
        answer.put("refused", e.getClass().getSimpleName() + ": " + String.valueOf(e.getMessage()).split("\n")[0]);
      }
      out.println(mapper.writeValueAsString(answer));
    }
    out.flush();
  }
}
