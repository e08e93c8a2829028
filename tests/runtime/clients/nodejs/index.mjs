// The function of test_clients.py in JavaScript, on aws-lambda-ric.
import { setTimeout } from "node:timers/promises";

export const handle = async (event, context) => {
  console.log("doing", event);
  if (event === "fail") throw new RangeError("bad value");
  if (event === "exit") process.exit(3);
  if (event === "sleep") await setTimeout(60000);
  return {
    event,
    request_id: context.awsRequestId,
    arn: context.invokedFunctionArn,
    name: context.functionName,
    memory_mib: Number(context.memoryLimitInMB),
    custom: context.clientContext?.custom,
    trace: process.env._X_AMZN_TRACE_ID,
    remaining_ms: context.getRemainingTimeInMillis(),
  };
};

export const stream = awslambda.streamifyResponse(async (event, response) => {
  response.write("one ");
  response.write("two ");
  if (event === "fail") throw new RangeError("half way");
  response.end("three");
});
