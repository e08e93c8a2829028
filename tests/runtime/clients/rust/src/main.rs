//! The function of test_clients.py in Rust, on lambda_runtime.

use lambda_runtime::streaming::{channel, Body, Response};
use lambda_runtime::{run, service_fn, Context, Error, LambdaEvent};
use serde_json::{json, Value};
use std::env;
use std::path::PathBuf;
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

/// Gives its second piece once the gate is there.
async fn stream(event: LambdaEvent<Value>) -> Result<Response<Body>, Error> {
    let gate = PathBuf::from(event.payload["gate"].as_str().ok_or("a gate is needed")?);
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        sender.send_data("one ".into()).await?;
        while !gate.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sender.send_data("two three".into()).await
    });
    Ok(Response::from(body))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if env::var("_HANDLER").as_deref() == Ok("index.stream") {
        return run(service_fn(stream)).await;
    }
    run(service_fn(handle)).await
}
