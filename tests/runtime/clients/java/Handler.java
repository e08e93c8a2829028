import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.HashMap;
import java.util.Map;

/** The function of test_clients.py in Java, on aws-lambda-java-runtime-interface-client. */
public class Handler implements RequestHandler<Object, Object> {
  @Override
  public Object handleRequest(Object event, Context context) {
    System.out.println("doing " + event);
    if ("fail".equals(event)) throw new IllegalArgumentException("bad value");
    if ("exit".equals(event)) Runtime.getRuntime().halt(3);
    if ("sleep".equals(event)) sleep();
    Map<String, Object> seen = new HashMap<>();
    seen.put("event", event);
    seen.put("request_id", context.getAwsRequestId());
    seen.put("arn", context.getInvokedFunctionArn());
    seen.put("name", context.getFunctionName());
    seen.put("memory_mib", context.getMemoryLimitInMB());
    seen.put("custom", context.getClientContext() == null ? null : context.getClientContext().getCustom());
    seen.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
    seen.put("remaining_ms", context.getRemainingTimeInMillis());
    return seen;
  }

  private static void sleep() {
    try {
      Thread.sleep(60_000);
    } catch (InterruptedException interrupted) {
      throw new IllegalStateException(interrupted);
    }
  }
}
