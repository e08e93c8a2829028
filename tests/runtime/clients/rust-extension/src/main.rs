//! An extension with AWS's own crate: prints each telemetry event as that has understood it.
use lambda_extension::{service_fn, Error, Extension, LambdaTelemetry, SharedService};

async fn print(events: Vec<LambdaTelemetry>) -> Result<(), Error> {
    for event in events {
        println!("shipped {:?}", event.record);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Extension::new()
        .with_events(&["INVOKE", "SHUTDOWN"])
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_port_number(std::env::var("SHIPPER_PORT")?.parse()?)
        .with_telemetry_processor(SharedService::new(service_fn(print)))
        .run()
        .await
}
