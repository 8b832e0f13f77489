//! The seed's application: lists its services, stores input with one, asks another for context.
//!
//!     SERVICE_MEMORY=http://localhost:9000 cargo run -p hermes-discovery --example application
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
mod tool;
use axum::extract::{Path, State};
use axum::{Json, Router, http::StatusCode as Status, routing};
use hermes_discovery::{Environment, ServiceDiscovery, settings::variables_of_process};
use serde_json::{Value, json};

type Failure = (Status, String);
const AWAY: &str = "Memory service is currently unavailable";

async fn services(State(discovery): State<Environment>) -> Json<Value> {
    let mut services = json!({});
    for (name, at) in discovery.get_all().await.unwrap_or_default() {
        services[name] = json!({"endpoint": at.url(), "healthy": at.is_healthy()});
    }
    Json(json!({ "services": services }))
}

async fn input(State(discovery): State<Environment>, data: Json<Value>) -> Result<String, Failure> {
    let memory = discovery.resolve_ready("memory").await;
    let memory = memory.or(Err((Status::SERVICE_UNAVAILABLE, AWAY.to_owned())))?;
    let user = data.get("user_id").cloned().unwrap_or("anonymous".into());
    let input = json!({"user_id": user, "input_data": *data});
    match tool::call(memory.url(), "store_input", input).await {
        Ok(result) => Ok(json!({"status": "success", "result": result}).to_string()),
        Err(e) => Err((Status::INTERNAL_SERVER_ERROR, format!("Service error: {e}"))),
    }
}

async fn context(State(discovery): State<Environment>, Path(user): Path<String>) -> Json<Value> {
    let Ok(at) = discovery.resolve_ready("cognition").await else {
        return Json(json!({"context": [], "status": "fallback"}));
    };
    let answer = tool::call(at.url(), "get_context", json!({ "user_id": user })).await;
    let error = |e| json!({"context": [], "status": "error", "message": format!("{e}")});
    let success = |result: Value| json!({"status": "success", "context": result["context"]});
    Json(answer.map_or_else(error, success))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let discovery = Environment::new();
    discovery.initialize().await?;
    let variables = variables_of_process();
    let port = variables.get("PORT").map_or("8000", String::as_str);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let routes = Router::new()
        .route("/services", routing::get(services))
        .route("/input", routing::post(input))
        .route("/context/{user}", routing::get(context));
    let stopped = async { drop(tokio::signal::ctrl_c().await) };
    let application = axum::serve(listener, routes.with_state(discovery.clone()));
    application.with_graceful_shutdown(stopped).await?;
    discovery.shutdown().await;
    Ok(())
}
