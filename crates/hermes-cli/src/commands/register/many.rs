//! Registering everything that a file names.
//!
//! A file with a fault changes nothing. What is sound is sent endpoint by endpoint: what the server
//! refuses does not hold up the others, and is told at the end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hermes_core::wire::answer::RegistrationAnswer;
use hermes_discovery::client::ClientError;
use hermes_discovery::settings::FILE_BYTES_MAX;

use super::file::{self, Entry};
use super::send;
use crate::commands::{Context, reason};
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(path: &Path, is_new: bool, context: &Context<'_>) -> Result<Exit, Failure> {
    let text = read(path)?;
    let shown = path.display();
    let entries = file::read(&text).map_err(|faults| Failure::Listed {
        exit: Exit::Usage,
        what: match faults.len() {
            1 => format!("one thing in {shown} is wrong; nothing was registered"),
            many => format!("{many} things in {shown} are wrong; nothing was registered"),
        },
        facts: faults
            .iter()
            .map(|fault| format!("{shown}:{fault}"))
            .collect(),
        hint: Some("`hermes register --help` shows what such a file looks like".into()),
    })?;
    let mut rows = Vec::new();
    let mut refused: Vec<(Exit, String)> = Vec::new();
    for (number, entry) in (1..).zip(&entries) {
        context
            .output
            .wait_for(&format!("registering {number} of {}", entries.len()));
        match register(entry, is_new, context).await {
            Ok(row) => rows.push(row),
            // Of what the server refuses the rest knows nothing.
            Err(Failure::Client(ClientError::Problem(problem)))
                if (400..429).contains(&problem.status) && !matches!(problem.status, 401 | 403) =>
            {
                let id = entry.id.as_ref();
                let id = id.map_or_else(String::new, |id| format!(" {}", id.as_str()));
                let fact = format!("{}{id}: {}", entry.service, problem.detail);
                refused.push((Exit::from(&*problem), fact));
            }
            Err(failure) => {
                show(&rows, context)?;
                if !rows.is_empty() {
                    let done = rows.len();
                    context
                        .output
                        .say(&format!("{done} of {} were registered", entries.len()));
                }
                return Err(failure);
            }
        }
    }
    show(&rows, context)?;
    let Some(&(exit, _)) = refused.first() else {
        return Ok(Exit::Done);
    };
    Err(Failure::Listed {
        exit,
        what: format!("the server refused {} of {}", refused.len(), entries.len()),
        facts: refused.into_iter().map(|(_, fact)| fact).collect(),
        hint: Some("mend these and run it again: what is registered already stays as it is".into()),
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let is_stdin = path.as_os_str() == "-";
    let mut text = String::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    let read = if is_stdin {
        io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            let hint = "say which file: hermes register -f FILE; - is stdin";
            Err(Failure::told(Exit::Failed, what, hint))
        }
    }
}

/// Registers one endpoint; gives its row of the table.
async fn register(
    entry: &Entry,
    is_new: bool,
    context: &Context<'_>,
) -> Result<Vec<String>, Failure> {
    let answer = send(
        &entry.service,
        entry.id.as_ref(),
        is_new,
        &entry.body,
        context,
    )
    .await?;
    let registered = answer.read(serde_json::from_slice::<RegistrationAnswer>)?;
    context.output.json(&answer.body)?;
    let endpoint = &registered.endpoint;
    Ok(vec![
        endpoint.name.clone(),
        endpoint.id.clone(),
        endpoint.url.clone(),
        if registered.changed {
            "registered"
        } else {
            "unchanged"
        }
        .to_owned(),
        if endpoint.ready { "yes" } else { "no" }.to_owned(),
        reason(endpoint),
    ])
}

fn show(rows: &[Vec<String>], context: &Context<'_>) -> Result<(), Failure> {
    if context.output.is_json() || rows.is_empty() {
        return Ok(());
    }
    let header = ["SERVICE", "ID", "URL", "WHAT", "READY", "REASON"];
    context.output.table(&header, rows)
}
