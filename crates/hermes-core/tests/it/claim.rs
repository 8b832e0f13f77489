//! Whose an endpoint is: who may touch it, who becomes its owner, and what that survives.

use hermes_core::change::ChangeKind;
use hermes_core::command::{Claim, Command, DrainWish, OverridePatch};
use hermes_core::limits::Limits;
use hermes_core::rejection::Rejection;
use serde_json::json;

use crate::driver::Machine;
use crate::make::{id, register, service};

const URL: &str = "http://10.0.0.1:80";

fn owner(name: &str) -> Claim {
    Claim::Owner(name.into())
}

fn admin(name: &str) -> Claim {
    Claim::Admin(name.into())
}

fn register_at(url: &str) -> Command {
    register(&service("web"), &id("a"), &json!({"url": url}))
}

/// A machine on which `claim` has registered `web` `a`.
fn machine_of(claim: &Claim) -> Machine {
    let mut machine = Machine::new(Limits::default());
    machine
        .ask_by(claim, &register_at(URL))
        .expect("it is accepted");
    machine
}

fn owner_of(machine: &Machine) -> Option<String> {
    let endpoint = machine.catalog.endpoint(&service("web"), &id("a"));
    let owner = &endpoint.expect("it is there").state.owner;
    owner.as_deref().map(Into::into)
}

/// Everything that somebody may do to an endpoint that is there.
fn deeds() -> Vec<Command> {
    let (service, id) = (service("web"), id("a"));
    let drain = |wish| Command::Drain {
        service: service.clone(),
        id: id.clone(),
        wish,
    };
    vec![
        register_at(URL),
        register_at("http://10.0.0.2:80"),
        Command::Override {
            service: service.clone(),
            id: id.clone(),
            patch: OverridePatch {
                weight: Some(Some(7)),
                ..OverridePatch::default()
            },
        },
        drain(Some(DrainWish::default())),
        drain(None),
        Command::Deregister {
            service: service.clone(),
            id: id.clone(),
            incarnation: None,
        },
        Command::Forget {
            service: service.clone(),
        },
    ]
}

#[test]
fn what_is_somebodys_is_touched_by_its_owner_and_by_admins_only() {
    for deed in deeds() {
        let machine = machine_of(&owner("team"));
        let refused = machine.plan_by(&owner("other"), &deed);
        let (service, id) = (service("web"), id("a"));
        let expected = Rejection::NotOwner {
            service,
            id,
            owner: "team".into(),
        };
        assert_eq!(refused, Err(expected), "{deed:?}");
        for claim in [owner("team"), admin("ops"), Claim::Free] {
            let plan = machine.plan_by(&claim, &deed);
            assert!(plan.is_ok(), "{claim:?} {deed:?}: {plan:?}");
        }
    }
}

#[test]
fn nobodys_endpoint_is_touched_by_all_and_belongs_to_whoever_registers_it_next() {
    for deed in deeds() {
        let machine = machine_of(&Claim::Free);
        assert!(
            machine.plan_by(&owner("team"), &deed).is_ok(),
            "{deed:?} is nobody's affair"
        );
    }
    let mut machine = machine_of(&Claim::Free);
    assert_eq!(owner_of(&machine), None);
    let committed = machine.ask_by(&owner("team"), &register_at(URL));
    let committed = committed.expect("it is accepted");
    let kinds: Vec<ChangeKind> = committed.iter().map(|change| change.change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Updated], "the log has to learn of it");
    assert_eq!(owner_of(&machine).as_deref(), Some("team"));
    let again = machine.ask_by(&owner("team"), &register_at(URL));
    assert!(again.expect("it is accepted").is_empty());
}

#[test]
fn an_owner_keeps_what_others_with_the_right_to_it_register_again() {
    let mut machine = machine_of(&owner("team"));
    for (claim, url) in [
        (admin("ops"), URL),
        (admin("ops"), "http://10.0.0.3:80"),
        (Claim::Free, "http://10.0.0.4:80"),
    ] {
        machine
            .ask_by(&claim, &register_at(url))
            .expect("it is accepted");
        assert_eq!(owner_of(&machine).as_deref(), Some("team"), "{claim:?}");
    }
}

#[test]
fn what_is_gone_belongs_to_nobody() {
    let mut machine = machine_of(&owner("team"));
    let gone = Command::Deregister {
        service: service("web"),
        id: id("a"),
        incarnation: None,
    };
    machine.ask_by(&owner("team"), &gone).expect("it is theirs");
    machine
        .ask_by(&owner("other"), &register_at(URL))
        .expect("the id is free");
    assert_eq!(owner_of(&machine).as_deref(), Some("other"));
}

#[test]
fn a_service_is_forgotten_whole_or_not_at_all() {
    let mut machine = machine_of(&owner("team"));
    let other = register(&service("web"), &id("b"), &json!({"url": URL}));
    machine.ask_by(&owner("other"), &other).expect("it is new");
    let forget = Command::Forget {
        service: service("web"),
    };
    for claim in [owner("team"), owner("other")] {
        let refused = machine.ask_by(&claim, &forget);
        assert!(matches!(refused, Err(Rejection::NotOwner { .. })));
    }
    assert_eq!(machine.ask_by(&admin("ops"), &forget).unwrap().len(), 3);
}
