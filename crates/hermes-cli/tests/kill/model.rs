//! What a client knows of its endpoints, from what it asked for and what was acknowledged.

use serde_json::{Map, Value, json};

/// Which endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) service: String,
    pub(crate) id: String,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// PUT, at this place, with a number of its own and so many bytes more.
    Register(Key, Registered),
    /// PATCH of weight and of one member of the metadata.
    Override(Key, u16, u64),
    /// PUT …/drain with a reason, or DELETE.
    Drain(Key, Option<String>),
    /// DELETE of the endpoint.
    Deregister(Key),
    /// DELETE of the whole service.
    Forget(String),
}

/// What an endpoint says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) host: String,
    pub(crate) serial: u64,
    pub(crate) filler: usize,
}

/// What an endpoint should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    registered: Registered,
    overrides: Option<(u16, u64)>,
    drain: Option<String>,
}

/// What a client knows of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// It was never registered, or forgotten with its service.
    Never,
    /// It was deregistered, and the service remembers it.
    Gone,
    /// It is there, and looks like this.
    There(Wanted, Value),
}

impl Write {
    /// Whether it touches the endpoint.
    pub(crate) fn touches(&self, key: &Key) -> bool {
        match self {
            Self::Register(of, _)
            | Self::Override(of, ..)
            | Self::Drain(of, _)
            | Self::Deregister(of) => of == key,
            Self::Forget(service) => *service == key.service,
        }
    }
}

impl Registered {
    /// The body of the PUT.
    pub(crate) fn body(&self) -> String {
        let metadata = json!({"serial": self.serial, "filler": "x".repeat(self.filler)});
        json!({"host": self.host, "port": 80, "ttl": null, "checks": [], "metadata": metadata})
            .to_string()
    }
}

/// What a write makes of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    Never,
    Gone,
    There(Wanted),
}

impl Known {
    pub(crate) fn is_there(&self) -> bool {
        matches!(self, Self::There(..))
    }

    /// What a write that touches it makes of it.
    pub(crate) fn after(&self, write: &Write) -> Then {
        let wanted = match self {
            Self::There(wanted, _) => Some(wanted.clone()),
            Self::Never | Self::Gone => None,
        };
        match (write, wanted) {
            (Write::Forget(_), _) => Then::Never,
            (Write::Deregister(_), _) => Then::Gone,
            (Write::Register(_, registered), wanted) => Then::There(match wanted {
                None => Wanted {
                    registered: registered.clone(),
                    overrides: None,
                    drain: None,
                },
                Some(old) => old.registered_again(registered),
            }),
            (Write::Override(_, weight, note), Some(old)) => Then::There(Wanted {
                overrides: Some((*weight, *note)),
                ..old
            }),
            (Write::Drain(_, reason), Some(old)) => Then::There(Wanted {
                drain: reason.clone(),
                ..old
            }),
            (Write::Override(..) | Write::Drain(..), None) => {
                panic!("{write:?} is only asked for what is there")
            }
        }
    }

    /// Whether `found`, which comes from a write, is a next state of this: its revision is newer, and
    /// its incarnation begins if and only if it moved.
    pub(crate) fn check_step(&self, found: &Value) -> Result<(), String> {
        let Self::There(_, before) = self else {
            let begins = found["incarnation"] == found["revision"];
            return begins
                .then_some(())
                .ok_or_else(|| format!("no incarnation begins with it: {found}"));
        };
        let moved = before["host"] != found["host"];
        let incarnation = if moved {
            &found["revision"]
        } else {
            &before["incarnation"]
        };
        if found["incarnation"] != *incarnation {
            return Err(format!("the wrong incarnation: {before} became {found}"));
        }
        if found["revision"].as_u64() < before["revision"].as_u64() {
            return Err(format!("the revision went down: {before} became {found}"));
        }
        Ok(())
    }
}

impl Wanted {
    /// Overrides stay; a drain ends with the incarnation.
    fn registered_again(self, registered: &Registered) -> Self {
        let moved = self.registered.host != registered.host;
        Self {
            registered: registered.clone(),
            drain: self.drain.filter(|_| !moved),
            ..self
        }
    }

    /// Whether an endpoint of the API is as wanted.
    pub(crate) fn check(&self, found: &Value) -> Result<(), String> {
        let (weight, note) = self.overrides.unzip();
        let pairs = [
            (&found["host"], json!(self.registered.host)),
            (&found["metadata"]["serial"], json!(self.registered.serial)),
            (&found["metadata"]["note"], json!(note)),
            (&found["weight"], json!(weight.unwrap_or(100))),
            (&found["ready"], json!(self.drain.is_none())),
        ];
        for (found, wanted) in pairs {
            if *found != wanted {
                return Err(format!("{found} where {wanted} was acknowledged"));
            }
        }
        let filler = found["metadata"]["filler"].as_str().map(str::len);
        let whole = filler == Some(self.registered.filler);
        whole
            .then_some(())
            .ok_or_else(|| "metadata is missing".into())
    }

    /// Whether the overrides that `GET …/endpoints/{id}` adds are as wanted.
    pub(crate) fn check_overrides(&self, detail: &Value) -> Result<(), String> {
        let mut found = detail["overrides"].as_object().cloned().unwrap_or_default();
        let drain = found.remove("drain").map(|drain| drain["reason"].clone());
        let mut wanted = Map::new();
        if let Some((weight, note)) = self.overrides {
            wanted.insert("weight".into(), json!(weight));
            wanted.insert("metadata".into(), json!({"note": note}));
        }
        if found != wanted {
            return Err(format!("the overrides are {found:?}, not {wanted:?}"));
        }
        let reason = drain.as_ref().and_then(Value::as_str);
        if reason == self.drain.as_deref() {
            Ok(())
        } else {
            Err(format!(
                "it drains because of {drain:?}, not {:?}",
                self.drain
            ))
        }
    }
}

/// An endpoint without what may move without a change, and without what only its detail shows.
pub(crate) fn settled(mut endpoint: Value) -> Value {
    if let Some(members) = endpoint.as_object_mut() {
        for moving in ["last_heartbeat", "checks", "overrides", "lease", "owner"] {
            members.remove(moving);
        }
    }
    endpoint
}

/// An answer about a service without what is chosen for each request.
pub(crate) fn settled_service(mut service: Value) -> Value {
    if let Some(members) = service.as_object_mut() {
        members.remove("selected_url");
        members.remove("selected_id");
    }
    if let Some(endpoints) = service["endpoints"].as_array_mut() {
        for endpoint in endpoints {
            *endpoint = settled(endpoint.take());
        }
    }
    service
}
