// One call with the AWS SDK for JavaScript: {endpoint, operation, input} on standard input; prints what came of it, as JSON.
import { readFileSync } from "node:fs";
import { InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient } from "@aws-sdk/client-lambda";

const text = (bytes) => Buffer.from(bytes ?? []).toString();

async function invoke(client, input) {
  const answer = await client.send(new InvokeCommand(input));
  return {
    status: answer.StatusCode,
    payload: text(answer.Payload),
    function_error: answer.FunctionError ?? null,
    executed_version: answer.ExecutedVersion ?? null,
    log_result: answer.LogResult ?? null,
  };
}

async function stream(client, input) {
  const answer = await client.send(new InvokeWithResponseStreamCommand(input));
  const pieces = [];
  let end = {};
  for await (const event of answer.EventStream) {
    if (event.PayloadChunk) pieces.push(text(event.PayloadChunk.Payload));
    if (event.InvokeComplete) end = event.InvokeComplete;
  }
  return {
    status: answer.StatusCode,
    payload: pieces.join(""),
    function_error: end.ErrorCode ?? null,
    executed_version: answer.ExecutedVersion ?? null,
    log_result: end.LogResult ?? null,
  };
}

const { endpoint, operation, input } = JSON.parse(readFileSync(0));
const credentials = { accessKeyId: "test", secretAccessKey: "test" };
const client = new LambdaClient({ endpoint, region: "us-east-1", credentials, maxAttempts: 1 });
try {
  console.log(JSON.stringify(await (operation === "Invoke" ? invoke : stream)(client, input)));
} catch (error) {
  if (error.$metadata?.httpStatusCode === undefined) throw error;
  const { name, message, Reason, $metadata } = error;
  console.log(JSON.stringify({ status: $metadata.httpStatusCode, error: name, message, reason: Reason ?? null }));
}
