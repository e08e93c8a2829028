import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Map;

/** A function in Java, as it would be on AWS Lambda. */
public class OrderHandler implements RequestHandler<Map<String, Object>, String> {
  @Override
  public String handleRequest(Map<String, Object> order, Context context) {
    int count = ((Number) order.get("count")).intValue();
    double price = ((Number) order.get("price")).doubleValue();
    context.getLogger().log("order of " + order.get("item"));
    return String.format("%d × %s: %.2f", count, order.get("item"), count * price);
  }
}
