//! What opens a server, from the environment: a flag would stand in the list of processes.

use std::path::{Path, PathBuf};

use hermes_discovery::client::{Access, ApiKey};
use hermes_discovery::settings::{Variables, read_file, variables_of_process};

use crate::exit::Exit;
use crate::failure::Failure;

/// The key and the certificates that the variables of this process name.
///
/// # Errors
/// When a variable names what cannot be used.
pub(crate) fn of_process() -> Result<Access, Failure> {
    let variables = variables_of_process();
    let file = |name: &str| said(&variables, name).map(PathBuf::from);
    let certificate = match (file("HERMES_CERT_FILE"), file("HERMES_CERT_KEY_FILE")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            let what = "HERMES_CERT_FILE and HERMES_CERT_KEY_FILE go together";
            return Err(Failure::told(Exit::Usage, what, "set both, or neither"));
        }
    };
    Ok(Access {
        key: key_of(&variables)?,
        ca_file: file("HERMES_CA_FILE"),
        certificate,
    })
}

/// An empty variable counts as none.
fn said<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    let text = variables.get(name).map(String::as_str);
    text.filter(|text| !text.is_empty())
}

fn key_of(variables: &Variables) -> Result<Option<ApiKey>, Failure> {
    let (name, text) = match said(variables, "HERMES_API_KEY") {
        Some(text) => ("HERMES_API_KEY", text.to_owned()),
        None => {
            let Some(path) = said(variables, "HERMES_API_KEY_FILE") else {
                return Ok(None);
            };
            let read = read_file(Path::new(path));
            let text = read.map_err(|error| {
                let what = format!("the key in {path} cannot be read: {error}");
                Failure::told(Exit::Usage, what, "HERMES_API_KEY_FILE names the file")
            })?;
            ("the file that HERMES_API_KEY_FILE names", text)
        }
    };
    let key = ApiKey::new(&text).ok_or_else(|| {
        let what = format!("{name} holds no key");
        Failure::told(
            Exit::Usage,
            what,
            "a key looks like hk_0123456789abcdef_...",
        )
    })?;
    Ok(Some(key))
}
