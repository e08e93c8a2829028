//! A function in Rust on lambda_runtime, as it would be on AWS Lambda.

use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::Value;

async fn handle(event: LambdaEvent<Value>) -> Result<String, Error> {
    let order = event.payload;
    let count = order["count"].as_u64().ok_or("count must be a whole number")?;
    let price = order["price"].as_f64().ok_or("price must be a number")?;
    Ok(format!("{count} × {}: {:.2}", order["item"].as_str().unwrap_or("?"), count as f64 * price))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
