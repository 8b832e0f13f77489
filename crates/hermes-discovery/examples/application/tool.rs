//! Calls a tool of a service, as plainly as it gets. Retries and a circuit breaker are a client's
//! business.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Error};
use tokio::net::TcpStream;

/// What the tool of the service at `url` answers.
pub(crate) async fn call(url: &str, tool: &str, arguments: Value) -> Result<Value, Error> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
    let (body, mut answer) = (arguments.to_string(), String::new());
    let head = format!(
        "POST /tool/{tool} HTTP/1.0\r\ncontent-length: {}",
        body.len()
    );
    let request = format!("{head}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_string(&mut answer).await?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}
