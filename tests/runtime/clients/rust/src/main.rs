//! The function of test_clients.py in Rust, on lambda_runtime.

use lambda_runtime::{run, service_fn, Context, Error, LambdaEvent};
use serde_json::{json, Value};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn remaining_ms(context: &Context) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    context.deadline.saturating_sub(now)
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    println!("doing {event}");
    match event.as_str() {
        Some("fail") => return Err("bad value".into()),
        Some("exit") => std::process::exit(3),
        Some("sleep") => tokio::time::sleep(Duration::from_secs(60)).await,
        _ => (),
    }
    Ok(json!({
        "event": event,
        "request_id": context.request_id,
        "arn": context.invoked_function_arn,
        "name": context.env_config.function_name,
        "memory_mib": context.env_config.memory,
        "custom": context.client_context.as_ref().map(|client| &client.custom),
        "trace": context.xray_trace_id,
        "remaining_ms": remaining_ms(&context),
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
